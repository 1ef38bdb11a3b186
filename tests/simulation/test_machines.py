"""A user's own state machine on every member of a simulated cluster: a good one passes, each bad one is found."""

from __future__ import annotations

import dataclasses
import random
from collections import deque
from pathlib import Path

import pytest
from tests.conformance.datadriven import run_file
from tests.simulation import queue_machine as queues

from tenure.sim import PROFILES, SCENARIOS, MachineViolation, Read, Simulation, Workload, Write, hunt
from tenure.sim.machines import state_of


def what(report) -> list[str]:
    return [found.what for found in report.violations if isinstance(found, MachineViolation)]


@pytest.mark.parametrize("profile", ["calm", "swarm", "crashes", "snapshots", "membership"])
@pytest.mark.parametrize(
    "workload", [queues.GOOD, queues.SNAPSHOTTED, queues.VALUES], ids=["log", "snapshot", "values"]
)
def test_a_correct_machine_passes(profile: str, workload: Workload) -> None:
    total = dict.fromkeys(("lease_reads", "snapshots", "snapshots_installed", "restarts"), 0)
    for seed in range(1, 4):
        report = Simulation(seed, PROFILES[profile], workload=workload).run(operations=1_500)
        assert report.ok, report.explain()
        assert report.counters["operations"] == 1_500
        total = {name: count + report.counters[name] for name, count in total.items()}
    assert total["lease_reads"] > 100
    if profile == "snapshots":
        takes = workload is queues.SNAPSHOTTED
        assert (total["snapshots"] > 20) is takes, "a machine that cannot be dumped keeps its log"
        assert total["restarts"] > 0


@pytest.mark.parametrize(
    ("machine", "profile", "found"),
    [
        (queues.Batched, "swarm", "two members answer one command differently"),
        (queues.Hidden, "swarm", "two members hold different states"),
        (queues.Forgetful, "snapshots", "a restored snapshot is another state"),
        (queues.Raising, "calm", "the state machine raised an exception"),
        (queues.Short, "calm", "the state machine raised an exception"),
        (queues.Odd, "calm", "the history is not linearizable"),
    ],
)
def test_a_wrong_machine_is_found_and_its_run_made_small(machine: type, profile: str, found: str) -> None:
    failure = hunt(range(1, 6), PROFILES[profile], operations=1_500, workload=queues.of(machine), max_seconds=8)
    assert failure is not None
    assert what(failure.report) == [found]
    assert failure.schedule.size < 70
    assert failure.schedule.size < failure.decisions / 3
    again = Simulation.replay(failure.schedule).run()
    assert what(again) == [found]
    good = dataclasses.replace(failure.schedule, workload=queues.SNAPSHOTTED)
    assert Simulation.replay(good).run().ok


def test_the_same_seed_is_the_same_run() -> None:
    one, other = (Simulation(5, PROFILES["swarm"], workload=queues.GOOD).run(operations=1_000) for _ in range(2))
    assert one.fingerprint == other.fingerprint
    assert one.history == other.history
    another = Simulation(6, PROFILES["swarm"], workload=queues.GOOD).run(operations=1_000)
    assert another.fingerprint != one.fingerprint


def test_a_stale_read_is_found_by_the_users_model_alone() -> None:
    """Without a guard of the lease, and with the monitor silent."""
    profile = SCENARIOS["H20"].profile
    options = {"operations": 3_000, "invariants": False, "workload": queues.VALUES, "max_seconds": 5}
    failure = hunt(range(1, 30), profile, guards_off={"H20"}, **options)
    assert failure is not None
    assert what(failure.report) == ["the history is not linearizable"]
    with_guard = dataclasses.replace(failure.schedule, guards_off=())
    assert Simulation.replay(with_guard).run().ok


def test_a_scenario_may_name_a_workload(tmp_path: Path) -> None:
    failure = hunt([1], PROFILES["swarm"], operations=1_500, workload=queues.BATCHED, max_seconds=5)
    assert failure is not None
    path = tmp_path / "batched.txt"
    path.write_text(failure.scenario(workload="tests.simulation.queue_machine:BATCHED"))
    assert run_file(path).verdict == "FAIL"
    path.write_text(failure.scenario(workload="tests.simulation.queue_machine:GOOD"))
    outcome = run_file(path)
    assert (outcome.verdict, outcome.reason) == ("PASS", "")


def test_a_digest_of_the_users_own_is_asked() -> None:
    class Counted(queues.Hidden):
        def digest(self) -> bytes:
            return b",".join(self.jobs)

    assert Simulation(1, PROFILES["swarm"], workload=queues.of(Counted)).run(operations=1_000).ok


def test_what_a_workload_does_wrong_is_raised() -> None:
    def broken(luck: random.Random, number: int) -> Write:
        raise LookupError("no more requests")

    with pytest.raises(LookupError, match="no more requests"):
        Simulation(1, PROFILES["calm"], workload=Workload(machine=queues.Queue, requests=broken)).run(operations=10)

    class Blind:
        def apply(self, batch):
            return [None] * len(batch)

    blind = Workload(machine=Blind, requests=lambda luck, number: Read(b"?"))
    with pytest.raises(TypeError, match="no query method"):
        Simulation(1, PROFILES["calm"], workload=blind).run(operations=10)


def test_states_are_compared_whatever_order_they_are_kept_in() -> None:
    assert state_of({1: {3, 2}, "a": deque([b"x"])}) == state_of({"a": deque([b"x"]), 1: {2, 3}})
    assert state_of([1, 2]) != state_of([2, 1])
    assert state_of([1]) != state_of((1,))
    with pytest.raises(TypeError, match="digest"):
        state_of(object())
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(TypeError, match="circle"):
        state_of(circle)
