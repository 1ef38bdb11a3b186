"""Quorum rounds and durable writes of one caller, in turn with the skeleton's and on the same cores.

Each is compared with a caller of its own kind. A caller in Python needs some microseconds between two calls, in which
the loops fall asleep again: a hop more, which a compiled caller that calls again at once does not pay. The skeleton's
callers pay it, or not, as tenure's do.

What is judged is measured where the leader has a core to itself (`placement.apart`), reads on one core as well: there
nothing but work and switches is left of a round. What the kernel makes of it, left to itself, is told and not judged.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tenure._bench import placement
from tenure._bench.results import Finding, Shape, ratio_at_most
from tenure._bench.timing import Rounds, summarize

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterator, Sequence

    from tenure._bench.bare import BareCluster
    from tenure._bench.live import LiveCluster
    from tenure._bench.placement import Placement

__all__ = ["Compared", "measure_rounds"]

P50, P99 = ("p50", 0.5, 1.3, 1.6), ("p99", 0.99, 2.0, None)  # label, fraction, goal, floor


@dataclass(frozen=True, slots=True)
class Series:
    """One kind of call in one placement: ours, the skeleton's, and what is said about them."""

    name: str
    method: str  # of `LiveMember`, and of `BareCluster`
    where: Placement
    suffix: str
    points: tuple[tuple[str, float, float, float | None], ...]
    judged: bool = True


@dataclass(frozen=True, slots=True)
class Compared:
    """What came of it."""

    findings: list[Finding]
    shapes: list[Shape]


def all_series(cores: Sequence[int]) -> list[Series]:
    """What is measured, in the order in which it is told."""
    apart, one_core, anywhere = (make(cores, 3) for make in (placement.apart, placement.together, placement.anywhere))
    series = [
        Series("ReadIndex", "reads", apart, "", (P50, P99)),
        Series("ReadIndex", "compiled_reads", apart, ", compiled caller", (P50, P99)),
        Series("durable write", "writes", apart, "", (P50, P99)),
        Series("durable write", "compiled_writes", apart, ", compiled caller", (P50, P99)),
    ]
    if len(cores) > 1:
        series[2:2] = [
            Series("ReadIndex", "reads", one_core, ", one core", (P50,)),
            Series("ReadIndex", "compiled_reads", one_core, ", one core, compiled", (P50,)),
            Series("ReadIndex", "reads", anywhere, ", unpinned", (P50,), judged=False),
        ]
    return series


def measure_rounds(
    live: LiveCluster,
    bare: BareCluster,
    *,
    rounds: int,
    reads: int,
    writes: int,
    limit_s: float,
    step: Callable[[], None],
) -> Compared:
    """Up to `rounds` rounds of each kind of call, none begun after `limit_s`; `step` is told of each."""
    cores = placement.own_cores()
    series = all_series(cores)
    ours, theirs = [Rounds() for _ in series], [Rounds() for _ in series]

    def one_turn(order: Sequence[int], *, keep: bool) -> None:
        for i in order:
            one = series[i]
            count = reads if "read" in one.method else writes
            candidates: list[tuple[Sequence[int], Callable[[], array[int]], Rounds]] = [
                (bare.processes, partial(getattr(bare, one.method), count), theirs[i]),
                (live.processes, partial(live.on_leader, one.method, count), ours[i]),
            ]
            for processes, call, into in candidates:
                one.where.apply(processes)
                timings = call()
                if keep:
                    into.add(timings[len(timings) // 10 :])  # its threads were asleep while the others had their turn

    indexes = range(len(series))
    one_turn(indexes, keep=False)  # warm: buffers grown, code and branches known
    end = time.monotonic() + limit_s
    for turn in range(rounds):
        if turn >= 2 and time.monotonic() > end:
            break
        first = turn % len(series)
        one_turn([*indexes[first:], *indexes[:first]], keep=True)  # nobody always follows the same neighbour
        step()
    for processes in (live.processes, bare.processes):
        placement.anywhere(cores, 3).apply(processes)
    together = zip(series, ours, theirs, strict=True)
    findings = [finding for one, own, other in together for finding in judged(one, own, other)]
    shapes = [
        Shape(one.name, list(own.all()), list(other.all()))
        for one, own, other in zip(series, ours, theirs, strict=True)
        if one.suffix == ""
    ]
    return Compared(findings, shapes)


def judged(series: Series, ours: Rounds, theirs: Rounds) -> Iterator[Finding]:
    """The lines of the report."""
    caller = "in compiled code" if series.method.startswith("compiled") else "in Python"
    for label, fraction, goal, floor in series.points:
        yield Finding(
            f"{series.name} {label}{series.suffix}",
            ours.median_of(fraction) / 1e3,
            "us",
            reference=theirs.median_of(fraction) / 1e3,
            reference_name="skeleton",
            goal=ratio_at_most(goal) if series.judged else None,
            floor=ratio_at_most(floor) if series.judged and floor is not None else None,
            samples=summarize(ours.all()),
            reference_samples=summarize(theirs.all()),
            note=f"median of {len(ours)} rounds; both callers {caller}; cores: {series.where.name}",
        )
