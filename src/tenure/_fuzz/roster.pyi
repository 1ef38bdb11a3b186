"""Compiled, for other compiled modules only: nothing here is visible to Python."""
