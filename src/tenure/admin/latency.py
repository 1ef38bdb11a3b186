"""`Latencies`: the last few thousand durations of each kind of call, for percentiles that show what happens now.

One thread records a kind; any thread asks. Recording stores one number into a ring and takes no lock; a picture taken
meanwhile may hold one sample more or less.
"""

from __future__ import annotations

import math
import time
from array import array

__all__ = ["Latencies", "Ring", "timer_cost_ns"]

KEPT = 4096


class Ring:
    """The last durations of one kind of call, in nanoseconds."""

    def __init__(self, kept: int = KEPT) -> None:
        self._samples = array("q", bytes(8 * kept))
        self._kept = kept
        self.count = 0

    def record(self, duration_ns: int) -> None:
        """Remember one duration."""
        self._samples[self.count % self._kept] = duration_ns
        self.count += 1

    def summary(self) -> dict[str, int]:
        """How many there were, and the median and the 99th percentile of the last ones; without any, only the count."""
        count = self.count
        ordered = sorted(self._samples[: min(count, self._kept)])
        if not ordered:
            return {"count": 0}
        return {"count": count, "p50_ns": at_rank(ordered, 0.5), "p99_ns": at_rank(ordered, 0.99)}


def at_rank(ordered: list[int], share: float) -> int:
    """The smallest value that at least `share` of them do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


class Latencies:
    """A ring for each kind of call, by name."""

    def __init__(self, *kinds: str) -> None:
        self._rings = {kind: Ring() for kind in kinds}

    def __getitem__(self, kind: str) -> Ring:
        return self._rings[kind]

    def summary(self) -> dict[str, dict[str, int]]:
        """The summary of every ring."""
        return {kind: ring.summary() for kind, ring in self._rings.items()}


def timer_cost_ns(rounds: int = 2001) -> int:
    """What two readings of the timer around nothing show, which is no part of what stands between them."""
    read = time.perf_counter_ns
    costs = []
    for _ in range(rounds):
        begin = read()
        costs.append(read() - begin)
    return sorted(costs)[rounds // 2]
