# Compiled callers only: nothing here is for Python.
