"""A child process: appends entries for ever and prints each index once it is durable, then one batch that never is."""

from __future__ import annotations

import sys
import warnings

warnings.simplefilter("ignore", RuntimeWarning)

from tenure._storage.wal import WriteAheadLog  # noqa: E402

path, flushes = sys.argv[1], int(sys.argv[2])
log = WriteAheadLog(path, bytes(range(16)), 7, segment_bytes=1 << 16)
found = log.recovered().get(1)
last = found.entries[-1].index if found else 0
for index in range(last + 1, last + flushes + 1):
    log.add(1, hard=(index, 1, index - 1, 0), entries=[(1, index, index.to_bytes(8, "big") * 200)])
    log.flush()
    print(index, flush=True)
log.add(1, entries=[(1, last + flushes + 1, b"never flushed")])
print("waiting", flush=True)
sys.stdin.read()
