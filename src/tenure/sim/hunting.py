"""Seed after seed until one fails; then that run is recorded, made small, and told as a scenario.

failure = hunt(range(1, 100), PROFILES["swarm"], operations=2_000, workload=workload)
assert failure is None, failure.scenario()
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tenure.sim.shrinking import shrink
from tenure.sim.simulation import Simulation, SimulationReport
from tenure.sim.text import outcome, render

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tenure.sim.machines import Workload
    from tenure.sim.profile import Profile
    from tenure.sim.schedule import Schedule

__all__ = ["Failure", "hunt", "make_small"]


@dataclass(frozen=True)
class Failure:
    """A seed that fails. `report` is of the whole run, `schedule` what is left of it, which fails alike."""

    seed: int
    report: SimulationReport
    schedule: Schedule
    decisions: int  # of the whole run

    def scenario(self, *, about: Iterable[str] = (), workload: str = "") -> str:
        """For the data-driven runner: it fails there for as long as what was found is not mended.

        `workload`, as "module:name", is where the runner finds a user's own.
        """
        found = outcome(Simulation.replay(self.schedule).run())
        head = f"seed {self.seed}, shrunk from {self.decisions} decisions to {self.schedule.size}; {found}"
        return render(self.schedule, about=[head, *about], expected=found, workload=workload)


def make_small(report: SimulationReport, operations: int, *, max_seconds: float = 20.0) -> Failure:
    """Play a failed run again, recorded, and shrink it; ValueError when it does not fail again."""
    schedule = report.schedule
    simulation = Simulation(
        report.seed,
        schedule.profile,
        schedule.guards_off,
        invariants=schedule.invariants,
        record=True,
        workload=schedule.workload,
    )
    again = simulation.run(operations=operations)
    whole = again.schedule
    return Failure(report.seed, report, shrink(whole, max_seconds=max_seconds), whole.size)


def hunt(
    seeds: Iterable[int],
    profile: Profile,
    *,
    operations: int,
    guards_off: Iterable[str] = (),
    invariants: bool = True,
    workload: Workload | None = None,
    max_seconds: float = 20.0,
) -> Failure | None:
    """The first seed in which something is found, shrunk within `max_seconds`; None when nothing is."""
    off = tuple(guards_off)
    for seed in seeds:
        report = Simulation(seed, profile, off, invariants=invariants, workload=workload).run(operations=operations)
        if report.violations:
            return make_small(report, operations, max_seconds=max_seconds)
    return None
