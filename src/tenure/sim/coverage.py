"""What a set of runs went through: the simulator's counters, added up, and the few of them that say how hard it was.

    coverage = Coverage()
    coverage.add(report)
    print(coverage.table())

A run in which nothing was found proves little unless it met what it was made for. `TARGETS` are the numbers that a long
run of this project has to reach.
"""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tenure.sim.simulation import SimulationReport

__all__ = ["MARKS", "TARGETS", "Coverage"]

# What the table shows first, and the counter behind it.
MARKS: dict[str, str] = {
    "client operations": "operations",
    "elections": "elections",
    "restarts inside a promise": "restarts_in_promise",
    "transfers completed": "transfers_done",
    "transfers aborted": "transfers_aborted",
    "orders to take over that came late": "late_timeout_now",
    "membership changes": "changes",
    "reads in the last 5 ms of a lease": "late_lease_reads",
    "snapshots taken": "snapshots",
    "snapshots installed": "snapshots_installed",
    "disk stalls": "disk_stalls",
    "leaders that gave up on a stalled disk": "disk_step_downs",
    "disk failures": "disk_failures",
    "clock jumps": "clock_jumps",
    "partitions": "partitions",
    "crashes": "crashes",
    "pauses": "pauses",
    "writes tried again": "retries",
    "retried writes that had taken effect": "duplicates_refused",
    "outcomes that nobody knows": "unknown",
    "calms after a while without progress": "calms",
}
TARGETS: dict[str, int] = {
    "operations": 10_000_000,
    "elections": 10_000,
    "restarts_in_promise": 1_000,
    "transfers_aborted": 1_000,
    "changes": 1_000,
    "late_lease_reads": 1_000,
    "lease_read_percent": 50,
}


class Coverage:
    """Adds up reports. One thread."""

    def __init__(self) -> None:
        self.counters: collections.Counter[str] = collections.Counter()
        self.runs = 0
        self.simulated_ns = 0
        self.violations = 0

    def add(self, report: SimulationReport) -> None:
        """Count a run in."""
        self.counters.update(report.counters)
        self.runs += 1
        self.simulated_ns += report.simulated_ns
        self.violations += not report.ok

    @property
    def reads(self) -> int:
        """Reads that reached a member, by whatever way."""
        names = ("lease_reads", "read_index_leader", "read_index_follower")
        return sum(self.counters[name] for name in names)

    @property
    def lease_read_percent(self) -> float:
        """The share of them that a lease answered."""
        return 100 * self.counters["lease_reads"] / self.reads if self.reads else 0.0

    def reached(self, name: str) -> float:
        """The number that a target is about."""
        return self.lease_read_percent if name == "lease_read_percent" else self.counters[name]

    def lacking(self, targets: Mapping[str, int] = TARGETS) -> dict[str, int]:
        """The targets that are not reached yet."""
        return {name: wanted for name, wanted in targets.items() if self.reached(name) < wanted}

    def table(self, targets: Mapping[str, int] | None = None) -> str:
        """The marks, one a line, with what was wanted of each."""
        rows = [("runs", str(self.runs), ""), ("simulated seconds", f"{self.simulated_ns / 1e9:.0f}", "")]
        for label, name in MARKS.items():
            wanted = (targets or {}).get(name)
            rows.append((label, f"{self.counters[name]}", "" if wanted is None else f"of {wanted}"))
        share = (targets or {}).get("lease_read_percent")
        rows.append(("reads by lease", f"{self.lease_read_percent:.1f} %", "" if share is None else f"of {share} %"))
        rows.append(("runs with a violation", str(self.violations), ""))
        width = max(len(label) for label, _, _ in rows)
        return "\n".join(f"{label:<{width}}  {value:>12}  {wanted}".rstrip() for label, value, wanted in rows)

    def as_json(self) -> dict[str, object]:
        """Everything that was counted, for a program to read."""
        return {
            "runs": self.runs,
            "violations": self.violations,
            "simulated_ns": self.simulated_ns,
            "lease_read_percent": round(self.lease_read_percent, 3),
            "counters": dict(self.counters),
        }
