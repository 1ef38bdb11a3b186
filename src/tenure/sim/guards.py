"""The guard table: for every hazard of the lease's contract, its world, that nothing is found there, and what the lack
of its guard breaks, on this machine, now. Hazards beyond a simulation say why, and where they are tested.

    rows = table()
    print(render(rows))
    assert all(row.as_expected for row in rows)

A row is judged in three steps: with the guard nothing may be found in `seeds` runs; without it one of the invariants
named by the scenario must fail within the scenario's bound; and, with the monitor silent, the clients' history alone
must be unexplainable, unless what breaks is a bound on liveness.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tenure.sim.scenarios import FROZEN_LEADER, SCENARIOS, Scenario
from tenure.sim.simulation import InvariantViolation, Simulation, StaleHistory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = [
    "HAZARDS",
    "WITH_GUARD_SEEDS",
    "Elsewhere",
    "Row",
    "judge",
    "names",
    "render",
    "render_row",
    "summary",
    "table",
]

WITH_GUARD_SEEDS = 8


@dataclass(frozen=True)
class Elsewhere:
    """A hazard that no run of this simulator can show: the reason, and the tests that look."""

    hazard: str
    reason: str
    tests: tuple[str, ...] = ()


_HOSTILE = "tests/unit/net/test_hostile_peers.py::"
_COORDINATOR = "tests/unit/coordinator/test_coordinator.py::"
HAZARDS: dict[str, Elsewhere] = {
    "H21": Elsewhere(
        "index and lease read from different leaderships",
        "defence in depth: readers load `applied` after the word, and read data after both. With the two loads swapped"
        " the data would still be at or past a legal point; only the index handed out could be older than the call.",
    ),
    "H24": Elsewhere(
        "the commit index is not durable",
        "defence in depth: a stored commit index is a lower bound of the true one, so what rests on it is late, never"
        " wrong; and reads wait for an entry of the leader's own term (H13), whatever the disk says.",
    ),
    "H25": Elsewhere(
        "coalesced or hibernating heartbeats say nothing about a group",
        "nothing to switch off: promise, holder and word are fields of one group's state, every heartbeat is one"
        " group's, and no group sleeps. A change that shares heartbeats has to bring its own scenario.",
    ),
    "H28": Elsewhere(
        "copied directories give two members one identity",
        "a matter of the handshake between hosts, below the simulated network",
        (
            f"{_HOSTILE}test_h28_a_copied_directory_is_refused_while_the_original_lives",
            f"{_HOSTILE}test_h28_a_later_start_supersedes_and_the_earlier_one_stays_out",
        ),
    ),
    "H30": Elsewhere(
        "a Python callback runs seconds after the engine's check",
        "a matter of the Python edge of coordinators, which the simulator does not have",
        (f"{_COORDINATOR}test_h30_no_lease_for_a_member_that_leads_no_more_although_the_callback_is_late",),
    ),
    "H31": Elsewhere(
        "a forked child reads a copy of the word",
        "a matter of processes, which the simulator does not have",
        ("tests/unit/core/test_lease.py::test_h31_a_forked_child_finds_every_lease_closed",),
    ),
}
BEYOND_GUARDS = "H09"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One hazard's line. Where nothing was run, `runs_with` is 0 and `reason` says why."""

    id: str
    hazard: str
    world: str = ""
    runs_with: int = 0
    found_with: str = ""  # with the guard; must stay empty
    lease_reads_with: int = 0
    breaks: str = ""  # what failed without the guard
    seed: int = 0  # the first seed in which it did, from 1: so many runs it took
    history_seed: int = 0  # and the first whose history alone gives it away
    history_wanted: bool = False
    reason: str = ""
    tests: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def as_expected(self) -> bool:
        """Nothing with the guard, and something without it."""
        if not self.runs_with:
            return bool(self.reason)
        return not self.found_with and self.seed > 0 and (self.history_seed > 0 or not self.history_wanted)

    def as_json(self) -> dict[str, object]:
        """The fields, and whether the row is as expected."""
        return {**dataclasses.asdict(self), "seconds": round(self.seconds, 3), "as_expected": self.as_expected}


def first_seed(scenario: Scenario, name: str, *, invariants: bool) -> tuple[int, str]:
    """The first run without the guard that finds what the scenario says, and what that is; 0 when none does."""
    for seed in range(1, scenario.seeds + 1):
        report = scenario.play(name, seed, guarded=False, invariants=invariants)
        for found in report.violations:
            if isinstance(found, StaleHistory) and not invariants:
                return seed, str(found)
            if isinstance(found, InvariantViolation) and found.what in scenario.breaks:
                return seed, found.what
    return 0, ""


def judge(name: str, *, seeds: int = WITH_GUARD_SEEDS) -> Row:
    """One row; for H09 with the roles turned round: the checker must report what no guard can prevent."""
    begun = time.perf_counter()
    if name in HAZARDS:
        elsewhere = HAZARDS[name]
        return Row(id=name, hazard=elsewhere.hazard, reason=elsewhere.reason, tests=elsewhere.tests)
    if name == BEYOND_GUARDS:
        return _judge_frozen_clock(begun)
    scenario = SCENARIOS[name]
    found_with, lease_reads = "", 0
    for seed in range(1, seeds + 1):
        report = scenario.play(name, seed, guarded=True)
        lease_reads += report.counters["lease_reads"]
        if not report.ok and not found_with:
            found_with = report.explain()
    seed, breaks = first_seed(scenario, name, invariants=True)
    history_seed = first_seed(scenario, name, invariants=False)[0] if scenario.history else 0
    return Row(
        id=name,
        hazard=scenario.hazard,
        world=scenario.idea,
        runs_with=seeds,
        found_with=found_with,
        lease_reads_with=lease_reads,
        breaks=breaks,
        seed=seed,
        history_seed=history_seed,
        history_wanted=scenario.history,
        seconds=time.perf_counter() - begun,
    )


def _judge_frozen_clock(begun: float) -> Row:
    def report_of(invariants: bool) -> tuple[int, str]:
        for seed in range(1, 11):
            report = Simulation(seed, FROZEN_LEADER, invariants=invariants).run(operations=10_000)
            if report.violations:
                found = report.violations[0]
                return seed, found.what if isinstance(found, InvariantViolation) else str(found)
        return 0, ""

    seed, breaks = report_of(invariants=True)
    return Row(
        id=BEYOND_GUARDS,
        hazard="a hypervisor stops every guest clock",
        world="the leader's clock stands still while its process runs on, cut off from the others",
        runs_with=1,
        breaks=breaks,
        seed=seed,
        history_seed=report_of(invariants=False)[0],
        history_wanted=True,
        reason="no guest clock can tell, no guard helps: that the stale read is reported shows that the checker looks",
        seconds=time.perf_counter() - begun,
    )


def names() -> list[str]:
    """Every hazard that has a row, in order."""
    return sorted({*SCENARIOS, *HAZARDS, BEYOND_GUARDS})


def table(
    only: Iterable[str] = (), *, seeds: int = WITH_GUARD_SEEDS, on_row: Callable[[Row], None] | None = None
) -> list[Row]:
    """Judge every hazard, or only some; `on_row` is told of each as soon as it is judged."""
    chosen = list(only) or names()
    unknown = set(chosen) - set(names())
    if unknown:
        raise ValueError(f"no such hazards: {', '.join(sorted(unknown))}")
    rows = []
    for name in chosen:
        rows.append(judge(name, seeds=seeds))
        if on_row is not None:
            on_row(rows[-1])
    return rows


def after(seeds: int) -> str:
    """How many it took: they are tried from 1 on."""
    return "in the first seed" if seeds == 1 else f"after {seeds} seeds"


def render_row(row: Row) -> str:
    """A few lines for people."""
    lines = [f"{row.id}  {row.hazard}"]
    if row.world:
        lines.append(f"     world    {row.world}")
    if row.runs_with and row.id != BEYOND_GUARDS:
        found = row.found_with.split("\n")[0] if row.found_with else "nothing found"
        reads = f", {row.lease_reads_with} lease reads" if row.lease_reads_with else ""
        lines.append(f"     with     {found} in {row.runs_with} seeds{reads}")
    if row.runs_with:
        broken = f"{row.breaks}, {after(row.seed)}" if row.seed else "NOTHING FOUND"
        history = f"; by the history alone {after(row.history_seed)}" if row.history_seed else ""
        if row.history_wanted and not row.history_seed:
            history = "; NOTHING FOUND by the history alone"
        lines.append(f"     without  {broken}{history}")
    if row.reason:
        lines.append(f"     because  {row.reason}")
    lines.extend(f"     test     {test}" for test in row.tests)
    return "\n".join(lines)


def summary(rows: Sequence[Row]) -> str:
    """The last line."""
    judged = sum(bool(row.runs_with) for row in rows)
    wrong = [row.id for row in rows if not row.as_expected]
    verdict = f"not as expected: {', '.join(wrong)}" if wrong else "all as expected"
    return f"{len(rows)} hazards, {judged} of them played, {sum(row.seconds for row in rows):.1f} s: {verdict}"


def render(rows: Sequence[Row]) -> str:
    """The whole table."""
    return "\n".join([*map(render_row, rows), summary(rows)])
