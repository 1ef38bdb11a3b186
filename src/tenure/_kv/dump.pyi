"""Nothing for Python: dumps are reached through `tenure._kv.machine`."""
