"""A failing seed becomes a text that the data-driven runner plays: it fails without the guard and passes with it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tests.conformance.datadriven import find_files, main, rewrite_file, run_file

from tenure.sim import GUARDS, PROFILES, SCENARIOS, Fault, Simulation
from tenure.sim.__main__ import main as simulate
from tenure.sim.hunting import Failure
from tenure.sim.profile import S, random_profile
from tenure.sim.schedule import Schedule
from tenure.sim.shrinking import shrink, signature
from tenure.sim.text import BadScenario, outcome, read_world, render

KEPT = find_files([Path(__file__).parent / "scenarios"])
# Where the network loses much, or reads ask a quorum, it takes many steps.
STUBBORN = {"H03", "H14", "H22", "H23", "H27"}
SMALL = 30  # decisions
STEPS = 2_000


def failing(name: str) -> Schedule:
    scenario = SCENARIOS[name]
    for seed in range(1, scenario.seeds + 1):
        simulation = Simulation(seed, scenario.profile, {name}, record=True, faults=scenario.faults)
        report = simulation.run(operations=scenario.operations, until_ns=scenario.until_ns)
        if not report.ok:
            return report.schedule
    raise AssertionError(f"{name}: nothing found")


@pytest.mark.parametrize("name", sorted(GUARDS))
def test_a_failing_seed_is_printed_as_a_scenario_that_fails_without_the_guard(name: str, tmp_path: Path) -> None:
    whole = failing(name)
    small = shrink(whole, max_runs=100 if name in STUBBORN else STEPS)
    assert small.size <= (whole.size if name in STUBBORN else SMALL)
    found = outcome(Simulation.replay(small).run())
    path = tmp_path / f"{name}.txt"
    path.write_text(render(small, about=[SCENARIOS[name].hazard], expected=found))
    played = run_file(path)
    assert (played.verdict, played.reason) == ("PASS", ""), "with the guard nothing is found, without it what was found"
    unguarded = run_file(path, guards_off=(name,))
    assert unguarded.verdict == "FAIL"
    assert f"+{found}" in unguarded.reason


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_kept_scenario(path: Path) -> None:
    played = run_file(path)
    assert (played.verdict, played.reason) == ("PASS", "")
    assert "run without=(" in path.read_text(), "it shows what it is about"


def test_scenarios_are_kept() -> None:
    assert len(KEPT) >= 8


@pytest.mark.parametrize("seed", range(1, 40))
def test_a_text_is_the_run_that_it_tells(seed: int) -> None:
    report = Simulation(seed, random_profile(seed), record=True).run(operations=600)
    text = render(report.schedule)
    first = text.split("\n----")[0].split("\n")
    options = dict(word.split("=") for word in first[0].split()[1:])
    again = read_world(options, first[1:])
    assert Simulation.replay(again).run().fingerprint == Simulation.replay(report.schedule).run().fingerprint
    assert render(again) == text


def test_every_kind_of_fault_can_be_said() -> None:
    end = {"until_ns": 3 * S}
    faults = (
        Fault(kind="partition", at_ns=2 * S + 1, member=1, other=2, direction="in", from_ns=2 * S + 9, **end),
        Fault(kind="pause", at_ns=2 * S + 2, member=2, value=7_000_001),
        Fault(kind="crash", at_ns=2 * S + 3, member=3, value=7, rate_ppm=-5, reading_ns=9, **end),
        Fault(kind="clock_jump", at_ns=2 * S + 4, member=1, value=-3),
        Fault(kind="transfer", at_ns=2 * S + 5, member=1, other=3),
        Fault.membership(2 * S + 6, 1, "add 4", "remove 2", transition="explicit"),
        Fault.membership(2 * S + 7, 1),
    )
    whole = Schedule(seed=3, profile=PROFILES["swarm"], end_ns=5 * S, faults=faults)
    first = render(whole).split("\n----")[0].split("\n")
    again = read_world(dict(word.split("=") for word in first[0].split()[1:]), first[1:])
    assert again.profile == whole.profile
    assert [fault.compiled() for fault in again.faults] == [fault.compiled() for fault in faults]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"until": "5"}, "1.0 explode 2"),
        ({"until": "5"}, "1.0 crash 2 colour=red"),
        ({"until": "5"}, "soon crash 2"),
        ({"until": "5"}, "1.0 client 1 get key 2"),
        ({"until": "5"}, "1.0 drop 1->2"),
        ({"until": "5", "colour": "1"}, ""),
        ({}, ""),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, str], line: str) -> None:
    with pytest.raises(BadScenario):
        read_world(options, [line] if line else [])


def test_a_person_can_write_one(tmp_path: Path) -> None:
    """Without numbers, in any order, and the runner writes down what it found."""
    path = tmp_path / "own.txt"
    path.write_text(
        "world members=3 until=9000\n9.5 client 0 set 7 key 0 at 1 until=8000\n5 crash 2 until=400\n----\n"
        "2 decisions\n\nrun\n----\n?\n"
    )
    assert run_file(path).verdict == "FAIL"
    assert rewrite_file(path).verdict == "PASS"
    assert path.read_text().endswith("run\n----\nnothing found\n")
    path.write_text("world until=9000\n5 crash 9 until=400\n----\n1 decisions\n\nrun\n----\nnothing found\n")
    assert "no such member" in run_file(path).reason
    path.write_text("world until=9000\n----\n0 decisions\n\nwalk\n----\nok\n")
    assert "walk" in run_file(path).reason


def test_the_command_prints_a_scenario_that_the_runner_plays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        simulate(["run", "--profile", "handover", "--guards-off", "H20", "--seeds", "1:9", "--operations", "3000"]) == 1
    )
    printed = capsys.readouterr().out
    scenario = "# seed" + printed.partition("# seed")[2].partition("\nprofile handover")[0]
    path = tmp_path / "printed.txt"
    path.write_text(scenario)
    assert main([str(path)]) == 0
    assert main(["--guards-off", "H20", str(path)]) == 1


def test_the_command_takes_a_workload(tmp_path: Path, capsys) -> None:
    world = ["--profile", "swarm", "--seeds", "1:3", "--operations", "800", "--workload"]
    assert simulate(["run", *world, "tests.simulation.queue_machine:GOOD"]) == 0
    assert simulate(["run", *world, "tests.simulation.queue_machine:BATCHED"]) == 1
    printed = capsys.readouterr().out
    path = tmp_path / "printed.txt"
    path.write_text("# seed" + printed.partition("# seed")[2].partition("\nprofile swarm")[0])
    assert run_file(path).verdict == "FAIL"
    path.write_text(path.read_text().replace(":BATCHED", ":GOOD"))
    assert run_file(path).verdict == "PASS"


def test_with_its_guard_a_shrunk_run_stays_innocent() -> None:
    """A smaller world may be one that no guard can save, as one whose clocks nobody had the time to compare."""
    small = shrink(failing("H10"), max_runs=STEPS)
    assert signature(Simulation.replay(small).run())
    assert not signature(Simulation.replay(dataclasses.replace(small, guards_off=())).run())


def test_a_failure_tells_where_it_comes_from() -> None:
    whole = failing("H20")
    small = shrink(whole, max_runs=STEPS)
    failure = Failure(1, Simulation.replay(small).run(), small, whole.size)
    assert failure.scenario().startswith(f"# seed 1, shrunk from {whole.size} decisions to {small.size}; found: ")
