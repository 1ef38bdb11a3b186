"""Numbers from many timings: summaries, medians of rounds, and loops that time a call."""

from __future__ import annotations

import time
from array import array
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Rounds", "Summary", "call_ns", "each_call_ns", "percentile", "summarize"]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a set of timings looks like."""

    n: int
    min: float
    p50: float
    p90: float
    p99: float
    p99_9: float
    max: float

    def as_dict(self, scale: float = 1.0) -> dict[str, float]:
        """By the names people know, each divided by `scale`."""
        named = {
            "min": self.min,
            "p50": self.p50,
            "p90": self.p90,
            "p99": self.p99,
            "p99.9": self.p99_9,
            "max": self.max,
        }
        return {"n": self.n} | {name: round(value / scale, 4) for name, value in named.items()}


def percentile(ordered: Sequence[float], fraction: float) -> float:
    """The smallest value that at least `fraction` of them do not exceed."""
    if not ordered:
        raise ValueError("no timings")
    rank = -(-len(ordered) * fraction // 1)  # rounded up
    return ordered[min(len(ordered), max(1, int(rank))) - 1]


def summarize(values: Iterable[float]) -> Summary:
    """The summary of timings in any order."""
    ordered = sorted(values)
    p50, p90, p99, p99_9 = (percentile(ordered, fraction) for fraction in (0.5, 0.9, 0.99, 0.999))
    return Summary(len(ordered), ordered[0], p50, p90, p99, p99_9, ordered[-1])


class Rounds:
    """The timings of one candidate, round by round."""

    def __init__(self) -> None:
        self._rounds: list[array[int]] = []

    def add(self, values: array[int]) -> None:
        """Another round."""
        self._rounds.append(values)

    def __len__(self) -> int:
        return len(self._rounds)

    def median_of(self, fraction: float) -> float:
        """The median of the rounds' percentiles: one slow second of the machine moves one round."""
        return median(percentile(sorted(values), fraction) for values in self._rounds)

    def all(self) -> array[int]:
        """Every timing."""
        together = array("q")
        for values in self._rounds:
            together.extend(values)
        return together


def call_ns(call: Callable[[], object], count: int) -> float:
    """Nanoseconds a call, with an eighth of a loop's turn in it."""
    turns = range(count // 8)
    begin = time.perf_counter_ns()
    for _ in turns:
        call()
        call()
        call()
        call()
        call()
        call()
        call()
        call()
    return (time.perf_counter_ns() - begin) / (len(turns) * 8)


def each_call_ns(call: Callable[[], object], count: int) -> array[int]:
    """Nanoseconds of each call, one reading of the clock included."""
    clock = time.perf_counter_ns
    found = array("q")
    note = found.append
    for _ in range(count):
        begin = clock()
        call()
        note(clock() - begin)
    return found
