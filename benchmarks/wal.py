"""What a flush of the write-ahead log costs, against the bare system calls it cannot do without.

The reference is a loop of one `pwrite` of the same number of bytes into a preallocated file and one `fdatasync`, called
from Python as the log is. Rounds of all candidates are interleaved, and medians compared. Run
`python benchmarks/wal.py [--directory DIR]`; the directory decides which disk is measured.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median

from tenure._storage.wal import WriteAheadLog

CLUSTER = b"benchmark of wal"
SHAPES = {"1 entry of 64 B": (1, 64), "20 entries of 64 B": (20, 64), "64 entries of 1 KiB": (64, 1024)}


class Candidate:
    """The log itself, with or without sync."""

    def __init__(self, folder, count, size, *, sync):
        self.log = WriteAheadLog(folder, CLUSTER, 1, segment_bytes=1 << 26, sync=sync)
        self.count, self.data, self.index = count, bytes(size), 0

    def flush(self):
        first = self.index + 1
        self.index += self.count
        self.log.add(1, hard=(1, 1, first, 0), entries=[(1, i, self.data) for i in range(first, self.index + 1)])
        begin = time.perf_counter_ns()
        self.log.flush()
        return time.perf_counter_ns() - begin

    @property
    def bytes_written(self):
        return self.log.bytes_written


class Bare:
    """One write, and one sync where wanted, at the end of a preallocated file."""

    def __init__(self, path, size, *, sync):
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.posix_fallocate(self.fd, 0, 1 << 26)
        os.fsync(self.fd)
        self.data, self.at, self.sync, self.bytes_written = bytes(size), 0, sync, 0

    def flush(self):
        begin = time.perf_counter_ns()
        os.pwrite(self.fd, self.data, self.at)
        if self.sync:
            os.fdatasync(self.fd)
        taken = time.perf_counter_ns() - begin
        self.at = (self.at + len(self.data)) % ((1 << 26) - len(self.data)) // 8 * 8
        self.bytes_written += len(self.data)
        return taken


def measure(directory, count, size, *, sync, rounds):
    with tempfile.TemporaryDirectory(dir=directory) as place:
        log = Candidate(Path(place) / "host", count, size, sync=sync)
        before = log.bytes_written
        log.flush()
        bare = Bare(Path(place) / "bare", log.bytes_written - before, sync=sync)
        times = {"log": [], "bare": []}
        for _ in range(rounds):
            times["log"].append(log.flush())
            times["bare"].append(bare.flush())
        log.log.close()
        os.close(bare.fd)
        return median(times["log"]), median(times["bare"]), len(bare.data)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--directory", help="where to write; the default is the directory for temporary files")
    parser.add_argument("--rounds", type=int, default=800)
    arguments = parser.parse_args()
    print(f"{'batch':22} {'fsync':6} {'bytes':>8} {'flushes/s':>10} {'MB/s':>8} {'bare/s':>10} {'ratio':>7}")
    for name, (count, size) in SHAPES.items():
        for sync in (True, False):
            mine, bare, size_written = measure(arguments.directory, count, size, sync=sync, rounds=arguments.rounds)
            print(
                f"{name:22} {'on' if sync else 'off':6} {size_written:8} {1e9 / mine:10.0f}"
                f" {size_written * 1e3 / mine:8.1f} {1e9 / bare:10.0f} {mine / bare:7.2f}"
            )


if __name__ == "__main__":
    main()
