"""What a sync costs in a preallocated segment, in one that was written before, and in the log, which zeroes ahead.

A file system keeps preallocated blocks as "not written yet"; the first sync of each must also change that, in its
journal. The two references are one `pwrite` and one `fdatasync` at the end of a file of either kind, called from Python
as the log is. Rounds of all three are interleaved, medians and means compared. Run
`python benchmarks/segments.py [--directory DIR]`; the directory decides which disk is measured.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import mean, median
from typing import Protocol

from tenure._storage.wal import WriteAheadLog

CLUSTER = b"zeros are ahead!"
SEGMENT_BYTES = 1 << 26
SIZES = {"256 B": 256, "4 KiB": 4096, "16 KiB": 16_384, "60 KiB": 61_440}
OVERHEAD_BYTES = 64 + 16 + 16  # of a batch, a record and an entry


class Candidate(Protocol):
    """One way to make a batch durable."""

    def flush(self) -> int: ...


class Log:
    """The log itself: a batch of one entry."""

    def __init__(self, folder: Path, size: int) -> None:
        self.log = WriteAheadLog(folder, CLUSTER, 1, segment_bytes=SEGMENT_BYTES)
        self.data, self.index = bytes(size - OVERHEAD_BYTES), 0

    def flush(self) -> int:
        """Nanoseconds of one flush."""
        self.index += 1
        self.log.add(1, entries=[(1, self.index, self.data)])
        begin = time.perf_counter_ns()
        self.log.flush()
        return time.perf_counter_ns() - begin


class Bare:
    """One write and one sync in a file of the segment's size."""

    def __init__(self, path: Path, size: int, *, written: bool) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.posix_fallocate(self.fd, 0, SEGMENT_BYTES)
        if written:
            for at in range(0, SEGMENT_BYTES, 1 << 20):
                os.pwrite(self.fd, bytes(1 << 20), at)
        os.fsync(self.fd)
        self.data, self.at = b"x" * size, 0

    def flush(self) -> int:
        """Nanoseconds of one write and its sync."""
        begin = time.perf_counter_ns()
        os.pwrite(self.fd, self.data, self.at)
        os.fdatasync(self.fd)
        taken = time.perf_counter_ns() - begin
        self.at += len(self.data)
        return taken


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--directory", help="where to write; the default is the directory for temporary files")
    parser.add_argument("--rounds", type=int, default=600)
    arguments = parser.parse_args()
    print(f"{'batch':8} {'log us':>8} {'preallocated us':>16} {'written us':>11} {'log/preallocated':>17} {'means':>6}")
    for name, size in SIZES.items():
        with tempfile.TemporaryDirectory(dir=arguments.directory) as place:
            candidates: dict[str, Candidate] = {
                "log": Log(Path(place) / "host", size),
                "preallocated": Bare(Path(place) / "preallocated", size, written=False),
                "written": Bare(Path(place) / "written", size, written=True),
            }
            times: dict[str, list[int]] = {which: [] for which in candidates}
            for _ in range(arguments.rounds):
                for which, candidate in candidates.items():
                    times[which].append(candidate.flush())
        middle = {which: median(taken) for which, taken in times.items()}
        means = mean(times["log"]) / mean(times["preallocated"])
        print(
            f"{name:8} {middle['log'] / 1e3:8.0f} {middle['preallocated'] / 1e3:16.0f} {middle['written'] / 1e3:11.0f}"
            f" {middle['log'] / middle['preallocated']:17.2f} {means:6.2f}"
        )


if __name__ == "__main__":
    main()
