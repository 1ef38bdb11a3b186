"""Nothing for Python: the store is reached through `tenure._kv.machine`."""
