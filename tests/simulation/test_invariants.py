"""Worlds full of faults in which nothing may be found, and the proof that the faults really happened."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

import pytest

from tenure.sim.linearizability import Verdict, check
from tenure.sim.profile import PROFILES
from tenure.sim.simulation import Simulation

OPERATIONS = 10_000

# profile: seeds, and the least that must have happened over all of them
COVERAGE: dict[str, tuple[int, dict[str, int]]] = {
    "calm": (3, {"ok": 20_000, "lease_reads": 8_000, "read_index_leader": 500, "read_index_follower": 1_000}),
    "lossy": (30, {"dropped": 20_000, "duplicated": 5_000, "held": 1_500, "partitions": 150, "late_lease_reads": 5}),
    "crashes": (30, {"crashes": 200, "restarts_in_promise": 20, "lost_writes": 200, "elections": 60}),
    "clocks": (30, {"clock_faults": 150, "pauses": 120, "lease_spans": 60, "late_lease_reads": 5, "unknown": 200}),
    "handover": (30, {"transfers_done": 300, "step_downs": 50, "late_extensions_refused": 1_000, "elections": 400}),
    "swarm": (60, {"crashes": 200, "pauses": 200, "transfers_done": 100, "transfers_aborted": 5, "apply_stalls": 100}),
    "swarm5": (30, {"crashes": 120, "partitions": 150, "elections": 200, "late_extensions": 800}),
    "swarm-plain-raft": (30, {"elections": 150, "crashes": 100, "lease_reads": 50_000}),
    "swarm-no-lease": (20, {"read_index_leader": 20_000, "elections": 80}),
    "two": (20, {"elections": 40, "crashes": 60}),
    "single": (10, {"restarts": 4, "lease_reads": 2_000}),
    "seven": (15, {"elections": 80, "crashes": 50}),
}


@pytest.mark.parametrize("name", COVERAGE)
def test_nothing_is_found(name: str) -> None:
    seeds, least = COVERAGE[name]
    total: collections.Counter[str] = collections.Counter()
    for seed in range(1, seeds + 1):
        report = Simulation(seed, PROFILES[name]).run(operations=OPERATIONS)
        assert report.ok, report.explain()
        assert report.counters["operations"] == OPERATIONS
        total.update(report.counters)
    lacking = {counter: (total[counter], wanted) for counter, wanted in least.items() if total[counter] < wanted}
    assert not lacking, f"seen less than wanted: {lacking}; all: {dict(total)}"


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
