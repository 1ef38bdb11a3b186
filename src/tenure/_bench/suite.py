"""The suite behind `tenure bench`: measures side by side, judges by the goals, knows nothing of terminals and files.

Every latency is a median of rounds in which tenure and its reference take turns, so that a slow second of the machine
hurts both. All that runs in other processes is ended before `run` returns or raises.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tenure._bench import etcd, load, redis
from tenure._bench.bare import BareCluster
from tenure._bench.live import LiveCluster
from tenure._bench.processes import Remote
from tenure._bench.results import Finding, Goal, Shape, ratio_at_most
from tenure._bench.rounds import measure_rounds
from tenure._bench.timing import call_ns, summarize
from tenure._core import clock, stress
from tenure._core.applied_index import AppliedIndex
from tenure._core.fence import Fence
from tenure._core.lease import Lease
from tenure._kv.machine import KeyValueMachine

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterator

__all__ = ["FULL", "SHORT", "Effort", "Report", "run"]

PAYLOAD_BYTES = 64
CALLERS = 64
REDIS_UNTIL_S = 32.0  # of the whole run, which must end within 45
ETCD_UNTIL_S = 31.0


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured."""

    rounds: int
    reads: int  # of a kind, a round
    writes: int
    lease_reads: int
    fence_rounds: int
    idle_s: float
    saturated_s: float
    apply_entries: int
    redis: redis.Load
    rounds_limit_s: float  # no further round is begun after that


FULL = Effort(
    rounds=20,
    reads=300,
    writes=110,
    lease_reads=20_000,
    fence_rounds=201,
    idle_s=5.0,
    saturated_s=2.0,
    apply_entries=500_000,
    redis=redis.Load(requests=12_000, pipelined_requests=60_000, rounds=3, limit_s=4.0),
    rounds_limit_s=11.0,
)
SHORT = Effort(
    rounds=2,
    reads=60,
    writes=20,
    lease_reads=2_000,
    fence_rounds=11,
    idle_s=0.5,
    saturated_s=0.3,
    apply_entries=20_000,
    redis=redis.Load(requests=1_000, pipelined_requests=3_200, rounds=1, limit_s=0.0),
    rounds_limit_s=6.0,
)


@dataclass(slots=True)
class Report:
    """What was found, and on what."""

    findings: list[Finding] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    seconds: float = 0.0


# ------------------------------------------------------------------------------------------------------------- fences


def held_fence() -> Fence:
    """A fence under a lease that outlasts any benchmark."""
    lease, applied = Lease(), AppliedIndex()
    lease.extend(clock.now_ns() + 10**13, lease.generation)
    applied.publish(1)
    return Fence(lease, applied)


def measure_fences(effort: Effort) -> Iterator[Finding]:
    """The fence by itself, from Python and compiled."""
    count = 1_000
    fence = held_fence()
    candidates: dict[str, Callable[[], float]] = {
        "python": lambda: call_ns(fence.try_lease_read, count),
        "monotonic": lambda: call_ns(time.monotonic_ns, count),
        "compiled": lambda: stress.fence_loop_ns(fence, count)[0] / count,
        "clock": lambda: stress.clock_loop_ns(count)[0] / count,
    }
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(effort.fence_rounds):
        for name, candidate in candidates.items():
            samples[name].append(candidate())
    for name, value, reference, reference_name, bound in (
        ("fence from Python", "python", "monotonic", "time.monotonic_ns()", 0.9),
        ("fence in compiled code", "compiled", "clock", "one clock reading", 1.15),
    ):
        yield Finding(
            name,
            median(samples[value]),
            "ns",
            reference=median(samples[reference]),
            reference_name=reference_name,
            goal=ratio_at_most(bound),
            floor=ratio_at_most(bound),
            samples=summarize(samples[value]),
            reference_samples=summarize(samples[reference]),
            note="samples are means of 1000 calls",
        )


# ------------------------------------------------------------------------------------------------------- live cluster


def measure_lease(live: LiveCluster, effort: Effort, report: Report) -> None:
    """A lease read on the leader of a live cluster, from Python."""
    fence, whole, monotonic = live.on_leader("lease_rounds", effort.fence_rounds, 1_000)
    each: array[int] = live.on_leader("lease_reads", effort.lease_reads)
    for name, value, samples, note in (
        ("lease_read(), live leader", whole, summarize(each), "samples are single calls, a clock reading in each"),
        ("try_lease_read(), live leader", fence, None, None),
    ):
        report.findings.append(
            Finding(
                name,
                value,
                "ns",
                reference=monotonic,
                reference_name="time.monotonic_ns()",
                goal=ratio_at_most(0.9),
                floor=ratio_at_most(0.9),
                samples=samples,
                note=note,
            )
        )
    report.shapes.append(Shape("lease read", list(each)))


def measure_saturation(live: LiveCluster, effort: Effort) -> Iterator[Finding]:
    """As many durable writes as 64 compiled callers get through."""
    live.on_leader("saturate", CALLERS, 0.1)
    outcome: dict[str, Any] = live.on_leader("saturate", CALLERS, effort.saturated_s)
    if outcome["failed"] or not outcome["batches"]:
        raise RuntimeError(f"{outcome['failed']} writes failed under load")
    samples = summarize(outcome["latencies_ns"])
    yield Finding(
        f"writes per fdatasync, {CALLERS} callers",
        outcome["completed"] / outcome["batches"],
        "writes",
        goal=Goal("value", ">=", 20.0),
        floor=Goal("value", ">=", 20.0),
        note=f"{outcome['completed']} writes in {outcome['batches']} syncs of the leader's log",
    )
    yield Finding(
        f"durable writes, {CALLERS} callers",
        outcome["completed"] / outcome["elapsed_ns"] * 1e9,
        "writes/s",
        note=f"p50 {samples.p50 / 1e6:.2f} ms, p99 {samples.p99 / 1e6:.2f} ms",
    )


def measure_idle(live: LiveCluster, effort: Effort) -> Finding:
    """The processor time of three members that nobody asks anything."""
    time.sleep(min(0.5, effort.idle_s))
    begin, before = time.monotonic_ns(), live.on_all("cpu_ns")
    time.sleep(effort.idle_s)
    after, end = live.on_all("cpu_ns"), time.monotonic_ns()
    used = sum(after) - sum(before)
    bound = Goal("value", "<=", 2.0)
    return Finding(
        "idle, three members",
        100 * used / (end - begin),
        "% of a core",
        goal=bound,
        floor=bound,
        note=f"{effort.idle_s:g} s",
    )


def measure_redis(live: LiveCluster, directory: Path, effort: Effort, report: Report, began: float) -> None:
    """The leader's Redis front end beside a stand-alone server, where one is there."""
    gone = redis.missing()
    if gone is not None:
        report.skipped.append(gone)
        return
    port: int = live.on_leader("redis_port")
    with redis.stand_alone(directory) as peer_port:
        for finding in redis.compare(port, peer_port, effort.redis):
            report.findings.append(finding)
            if time.monotonic() - began > REDIS_UNTIL_S:
                report.skipped.append(f"Redis side by side after {finding.name!r}: this machine is too busy now")
                return
        report.findings.append(redis.compare_among_writes(port, peer_port, effort.redis))


def measure_etcd(live: LiveCluster, directory: Path, effort: Effort, report: Report, began: float) -> None:
    """The leader's durable writes beside those of etcd, where it is there."""
    gone = etcd.missing()
    if gone is not None:
        report.skipped.append(gone)
        return
    if time.monotonic() - began > ETCD_UNTIL_S:
        report.skipped.append("etcd side by side: this machine is too busy now")
        return
    port: int = live.on_leader("redis_port")
    with etcd.three_members(directory) as peer_port:
        report.findings.append(etcd.compare(port, peer_port, directory, effort.redis, PAYLOAD_BYTES))


# -------------------------------------------------------------------------------------------------------------- apply


class Applier:
    """Applies in a process of its own, so that its memory can be weighed."""

    KEY_BYTES = 16

    def apply(self, entries: int, seed: int) -> tuple[float, float, float]:
        """Entries a second, by the wall and by the processor time used, and bytes of overhead a key.

        Distinct random keys into an empty store.
        """
        commands = load.Commands(entries, value_bytes=PAYLOAD_BYTES, key_space=4 * entries, seed=seed, distinct=True)
        before = resident_bytes()
        machine = KeyValueMachine()
        began_ns = time.thread_time_ns()
        spent_ns = load.apply_all(machine, commands)
        used_ns = time.thread_time_ns() - began_ns
        grown = resident_bytes() - before
        if machine.size != entries:
            raise RuntimeError(f"{machine.size} keys after {entries} entries")
        return entries / spent_ns * 1e9, entries / used_ns * 1e9, grown / entries - self.KEY_BYTES - PAYLOAD_BYTES

    def close(self) -> None:
        """Nothing to end."""


def resident_bytes() -> int:
    """The memory of this process that is really there."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def measure_apply(effort: Effort) -> Iterator[Finding]:
    """The inner loop of applying, and what a key costs."""
    rates: list[float] = []
    undisturbed: list[float] = []
    weights: list[float] = []
    for turn in range(3):
        applier = Remote("applier", Applier)  # a fresh one: what one run left on the heap must not serve the next
        try:
            rate, by_processor_time, weight = applier.call("apply", effort.apply_entries, turn + 1)
        finally:
            applier.close()
        rates.append(rate / 1e6)
        undisturbed.append(by_processor_time / 1e6)
        weights.append(weight)
    yield Finding(
        "apply loop, native machine",
        median(rates),
        "million/s",
        goal=Goal("value", ">=", 2.0),
        floor=Goal("value", ">=", 1.0),
        note=f"{effort.apply_entries} distinct random keys, decoded from log bytes; by processor time "
        f"{median(undisturbed):.2f}, best {max(undisturbed):.2f}",
    )
    yield Finding(
        "memory overhead a key",
        median(weights),
        "bytes",
        goal=Goal("value", "<=", 100.0),
        note=f"resident growth less {Applier.KEY_BYTES} bytes of key and {PAYLOAD_BYTES} of value",
    )


# ---------------------------------------------------------------------------------------------------------------- all


def run(effort: Effort, directory: Path | None = None, progress: Callable[[str, float], None] | None = None) -> Report:
    """Measure everything.

    Args:
        effort: how much.
        directory: where the members' directories go for the time of the run; it decides which disk is measured.
        progress: told what is being done now, and which part of the whole is behind.
    """
    tell = progress or (lambda what, done: None)
    began = time.monotonic()
    report = Report()
    tell("fence", 0.0)
    report.findings.extend(measure_fences(effort))
    with TemporaryDirectory(prefix="tenure-bench-", dir=directory) as place:
        tell("starting three members and the skeleton", 0.06)
        live = LiveCluster(Path(place), PAYLOAD_BYTES)
        try:
            tell("idle members", 0.12)
            idle = measure_idle(live, effort)
            tell("lease reads", 0.28)
            measure_lease(live, effort, report)
            bare = BareCluster(Path(place), PAYLOAD_BYTES)
            try:
                done = iter(0.32 + 0.38 * (turn + 1) / effort.rounds for turn in range(effort.rounds))
                tell("quorum rounds and durable writes", 0.32)
                compared = measure_rounds(
                    live,
                    bare,
                    rounds=effort.rounds,
                    reads=effort.reads,
                    writes=effort.writes,
                    limit_s=effort.rounds_limit_s,
                    step=lambda: tell("quorum rounds and durable writes", next(done)),
                )
                report.findings.extend(compared.findings)
                report.shapes.extend(compared.shapes)
            finally:
                bare.close()
            tell("saturated writes", 0.7)
            report.findings.extend(measure_saturation(live, effort))
            tell("Redis", 0.8)
            measure_redis(live, Path(place), effort, report, began)
            tell("etcd", 0.88)
            measure_etcd(live, Path(place), effort, report, began)
        finally:
            live.close()
    tell("apply loop", 0.92)
    report.findings.extend(measure_apply(effort))
    report.findings.append(idle)
    report.seconds = time.monotonic() - began
    tell("done", 1.0)
    return report
