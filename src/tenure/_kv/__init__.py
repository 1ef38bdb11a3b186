"""Compiled modules; see the `.pyi` beside each."""
