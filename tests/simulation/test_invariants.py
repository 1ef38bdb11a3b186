"""Worlds full of faults in which nothing may be found, and the proof that the faults really happened."""

from __future__ import annotations

import collections
import dataclasses
from collections import Counter
from typing import Any

import pytest

from tenure.sim.coverage import MARKS, Coverage
from tenure.sim.linearizability import Verdict, check
from tenure.sim.profile import FAULTS, PROFILES, random_profile
from tenure.sim.scenarios import JUMPING_FOLLOWER
from tenure.sim.simulation import Simulation, StaleHistory

OPERATIONS = 8_000

# profile: seeds, and the least that must have happened over all of them
COVERAGE: dict[str, tuple[int, dict[str, int]]] = {
    "calm": (3, {"ok": 15_000, "lease_reads": 6_000, "read_index_leader": 400, "read_index_follower": 800}),
    "lossy": (15, {"dropped": 8_000, "duplicated": 2_000, "held": 600, "partitions": 80, "late_lease_reads": 5}),
    "crashes": (15, {"crashes": 80, "restarts_in_promise": 8, "lost_writes": 40, "elections": 40}),
    "clocks": (15, {"clock_faults": 80, "pauses": 60, "lease_spans": 40, "late_lease_reads": 5, "unknown": 50}),
    "handover": (15, {"transfers_done": 200, "step_downs": 25, "late_extensions_refused": 500, "elections": 200}),
    "jumps": (15, {"clock_jumps": 200, "partitions": 60, "rate_alarms": 5}),
    "disks": (15, {"disk_failures": 60, "disk_stalls": 80, "disk_step_downs": 5, "lost_writes": 200}),
    "snapshots": (15, {"snapshots": 300, "snapshots_installed": 30, "crashes": 80}),
    "retries": (15, {"retries": 2_000, "duplicates_refused": 500, "snapshots": 200}),
    "transfers": (15, {"transfers_aborted": 150, "transfers_done": 100, "late_timeout_now": 20}),
    "membership": (15, {"changes": 300, "crashes": 40, "elections": 60, "snapshots_installed": 10}),
    "swarm": (30, {"crashes": 120, "pauses": 120, "transfers_done": 30, "transfers_aborted": 25, "apply_stalls": 80}),
    "swarm5": (15, {"crashes": 50, "partitions": 70, "elections": 80, "late_extensions": 300}),
    "swarm-plain-raft": (15, {"elections": 80, "crashes": 50, "lease_reads": 25_000}),
    "swarm-no-lease": (10, {"read_index_leader": 8_000, "elections": 40}),
    "two": (10, {"elections": 20, "crashes": 25}),
    "single": (6, {"restarts": 3, "lease_reads": 1_000}),
    "seven": (8, {"elections": 40, "crashes": 20}),
}


NEVER_DRAWN = {"clock_freeze", "wipe"}  # what leases cannot survive, and what is safe only at the right moment


def lacking(total: Counter[str], least: dict[str, int]) -> dict[str, tuple[int, int]]:
    return {name: (total[name], wanted) for name, wanted in least.items() if total[name] < wanted}


@pytest.mark.parametrize("name", COVERAGE)
def test_nothing_is_found(name: str) -> None:
    seeds, least = COVERAGE[name]
    total: collections.Counter[str] = collections.Counter()
    for seed in range(1, seeds + 1):
        report = Simulation(seed, PROFILES[name]).run(operations=OPERATIONS)
        assert report.ok, report.explain()
        assert report.counters["operations"] == OPERATIONS
        total.update(report.counters)
    assert not lacking(total, least), f"seen less than wanted: {lacking(total, least)}; all: {dict(total)}"


def test_nothing_is_found_in_worlds_drawn_at_random() -> None:
    coverage = Coverage()
    for seed in range(1, 81):
        report = Simulation(seed, random_profile(seed)).run(operations=4_000)
        assert report.ok, report.explain()
        coverage.add(report)
    seen = collections.Counter(coverage.counters)
    never = [fault for fault in MARKS.values() if not seen[fault]]
    assert not never, f"never happened: {never}"
    assert coverage.lease_read_percent > 50


def test_worlds_drawn_at_random_differ_and_are_the_same_again() -> None:
    drawn = [random_profile(seed) for seed in range(200)]
    assert drawn == [random_profile(seed) for seed in range(200)]
    assert len(set(drawn)) == 200
    for fault in (fault for fault in FAULTS if fault not in NEVER_DRAWN):
        without = sum(getattr(profile, f"{fault}_every_ns") == 0 for profile in drawn)
        assert without >= 20, f"{fault} is never left out"
        assert without <= 180, f"{fault} is never drawn"


def test_a_retry_without_a_session_takes_effect_twice() -> None:
    """The checker looks: the same worlds, without the sessions that make retries harmless."""
    profile = dataclasses.replace(PROFILES["retries"], sessions=False)
    reports = [Simulation(seed, profile).run(operations=4_000) for seed in range(1, 6)]
    assert any(isinstance(found, StaleHistory) for report in reports for found in report.violations)


def test_a_clock_that_jumps_beyond_the_bound_is_reported() -> None:
    """Leases assume that no follower's does: that nothing is found within the bound is not for want of looking."""
    within = dataclasses.replace(JUMPING_FOLLOWER, clock_jump_max_ns=190_000_000)
    for profile, expected in ((within, False), (JUMPING_FOLLOWER, True)):
        reports = [Simulation(seed, profile).run(operations=5_000) for seed in range(1, 11)]
        assert any(report.violations for report in reports) is expected


def test_a_disk_that_stays_stalled_costs_the_leader_its_office() -> None:
    profile = dataclasses.replace(
        PROFILES["calm"], disk_stall_every_ns=2_000_000_000, leader_bias_percent=100, fault_min_ns=4_000_000_000,
        fault_max_ns=6_000_000_000,
    )  # fmt: skip
    report = Simulation(3, profile).run(operations=8_000)
    assert report.ok, report.explain()
    assert report.counters["disk_step_downs"] >= 1


def test_one_seed_is_one_run() -> None:
    first, again, other = (Simulation(seed, PROFILES["swarm"]).run(operations=3_000) for seed in (5, 5, 6))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert first.history == again.history
    assert first.counters == again.counters


def test_a_run_goes_on_where_it_stopped() -> None:
    """Stopping at an instant of true time changes nothing."""
    profile = PROFILES["swarm"]
    whole = Simulation(9, profile).run(operations=4_000)
    parts = Simulation(9, profile)
    parts.run(operations=4_000, until_ns=whole.simulated_ns // 3)
    rest = parts.run(operations=4_000)
    assert rest.fingerprint == whole.fingerprint
    assert rest.history == whole.history


def test_the_history_is_the_public_one() -> None:
    report = Simulation(4, PROFILES["swarm"]).run(operations=3_000)
    history = report.history
    assert len(history) == 3_000
    assert {operation.op for operation in history} == {"get", "set", "incr", "cas", "del"}
    assert sum(operation.status == "unknown" for operation in history) == report.counters["unknown"]
    assert check(history).verdict is Verdict.LINEARIZABLE


def test_a_trace_can_be_read() -> None:
    quiet = dataclasses.replace(PROFILES["calm"], clients=1, readers=1)
    report = Simulation(4, quiet, trace=True).run(until_ns=3_500_000_000)
    text = "\n".join(report.trace)
    assert "is leader of term" in text
    assert "lease becomes valid until" in text
    assert "lease read, operation" in text


@pytest.mark.parametrize("change", [{"members": 0}, {"members": 8}, {"clients": 0}, {"clock_rate_max_ppm": 1_000_000}])
def test_an_impossible_profile_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        Simulation(1, dataclasses.replace(PROFILES["calm"], **change))


def test_an_unknown_guard_is_refused() -> None:
    with pytest.raises(ValueError, match="H99"):
        Simulation(1, PROFILES["calm"], {"H99"})


def test_a_run_needs_an_end() -> None:
    with pytest.raises(ValueError, match="until when"):
        Simulation(1, PROFILES["calm"]).run()
