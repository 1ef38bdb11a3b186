"""The bound on liveness is judged in a calm, to which every world comes that does too much harm; it finds deadlocks."""

from __future__ import annotations

import dataclasses

import pytest

from tenure.sim.profile import MS, PROFILES, S, random_profile
from tenure.sim.schedule import Fault
from tenure.sim.shrinking import shrink, signature
from tenure.sim.simulation import InvariantViolation, Simulation

NO_PROGRESS = "no operation ended well for too long"
TOO_HARSH = 878  # its world crashes somebody every 0.8 s, by slow disks: hardly an election ends
DEADLOCKED = 108  # two of three meet a stalled disk before anybody restarts them


def test_a_world_that_is_too_harsh_is_left_alone_until_something_ends_well() -> None:
    report = Simulation(TOO_HARSH, random_profile(TOO_HARSH)).run(operations=5_000)
    assert report.ok, report.explain()
    assert report.counters["calms"] > 0
    assert report.counters["crashes"] > 30, "a calm ends with the first success: harm goes on"


def test_without_the_calm_nothing_ends_well_there_for_minutes() -> None:
    """Faults that go on for ever excuse everything: with no calm the bound is never judged."""
    harsh = dataclasses.replace(random_profile(TOO_HARSH), calm_after_ns=0)
    simulation = Simulation(TOO_HARSH, harsh)
    before = simulation.run(until_ns=20 * S).counters["ok"]
    after = simulation.run(until_ns=130 * S)
    assert after.ok
    assert after.counters["ok"] == before


@pytest.mark.parametrize("planted", [True, False])
def test_a_planted_deadlock_is_found_by_the_bound_and_by_nothing_else(planted: bool) -> None:
    off = {"lost-wakeup"} if planted else set()
    report = Simulation(DEADLOCKED, random_profile(DEADLOCKED), off).run(operations=5_000)
    found = [one.what for one in report.violations if isinstance(one, InvariantViolation)]
    assert found == ([NO_PROGRESS] if planted else [])
    assert report.counters["operations"] < 5_000 or not planted


@pytest.mark.parametrize(("down_ms", "found"), [(1_000_000, True), (40_000, False)])
def test_a_majority_that_stays_down_is_found_and_one_that_returns_is_not(down_ms: int, found: bool) -> None:
    """Scripted faults are judged alike: from the last of them on, after the same time without success."""
    faults = [
        Fault(kind="crash", at_ns=5 * S, member=member, until_ns=5 * S + down_ms * MS, value=1) for member in (1, 2)
    ]
    report = Simulation(1, PROFILES["calm"], faults=faults).run(until_ns=80 * S)
    assert [str(one).partition(": ")[2].partition(" (")[0] for one in report.violations] == [NO_PROGRESS] * found


def test_a_planted_deadlock_is_made_small() -> None:
    """Of three members and three spares; nothing may name a member that is gone."""
    report = Simulation(DEADLOCKED, random_profile(DEADLOCKED), {"lost-wakeup"}, record=True).run(operations=5_000)
    whole = report.schedule
    small = shrink(whole, max_runs=400)
    assert signature(Simulation.replay(small).run()) == NO_PROGRESS
    assert not signature(Simulation.replay(dataclasses.replace(small, guards_off=())).run())
    assert small.size < whole.size / 3
