"""Compiled fuzz targets; see `targets.pyi`."""
