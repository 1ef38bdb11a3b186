"""The explicit-state model of leases: no state breaks an invariant; without a guard, the one it is there for fails.

Each test searches a whole world, so it is slow by nature and bounded by the world: none depends on time or chance.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from pathlib import Path

import pytest

from tenure._proof import model_search
from tenure.sim.model import GAPS, INVARIANTS, LONG_WORLDS, NOT_EXPRESSED, WORLDS, Result, World, explore, main

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "model.md"
SMALL = World("small enough to be searched many times")

pytestmark = pytest.mark.timeout(600)  # the largest takes 8 s of one idle core


@functools.cache
def with_every_guard(name: str) -> Result:
    return explore(WORLDS[name])


@functools.cache
def without(name: str) -> Result:
    return explore(WORLDS[GAPS[name].world], [name])


def breaks(result: Result) -> set[str]:
    """What the last state of a trace breaks, judged anew from what the trace tells."""
    state = result.trace[-1][2]
    holders = [member for member in state["members"] if member["lease"] > 0]
    highest = max((entry[0] for entry in state["committed"]), default=0)
    found = set()
    if len(holders) > 1:
        found.add("two-leases")
    if any(member["lease_term"] < highest for member in holders):
        found.add("commit-under-lease")
    if any(member["applied"] < state["shown"] for member in holders):
        found.add("holder-behind")
    return found


# ---- the worlds and the gaps


@pytest.mark.parametrize("name", WORLDS)
def test_with_every_guard_no_state_breaks_an_invariant(name: str) -> None:
    result = with_every_guard(name)
    assert result.violation is None, result.explain()
    assert result.exhausted
    assert result.leased_states > result.states // 100, "a world without leases proves nothing"
    assert result.collision_probability < 1e-6


@pytest.mark.parametrize("name", [name for name, gap in GAPS.items() if gap.breaks is not None])
def test_without_a_guard_its_invariant_fails(name: str) -> None:
    result = without(name)
    assert result.violation == GAPS[name].breaks
    assert len(result.trace) == result.depth + 1
    if result.violation != "stale-read":  # that one is about a call that has returned, not about a state
        assert result.violation in breaks(result), result.explain()


@pytest.mark.parametrize("name", [name for name, gap in GAPS.items() if gap.breaks is None])
def test_defence_in_depth_breaks_nothing_alone(name: str) -> None:
    result = without(name)
    assert result.violation is None, result.explain()
    assert result.exhausted


def test_every_rule_is_used_in_some_world() -> None:
    fired = dict.fromkeys(model_search.ACTIONS, 0)
    for name in WORLDS:
        for action, count in with_every_guard(name).transitions.items():
            fired[action] += count
    only_gaps = {"start", "forget", "wipe"}
    assert {action for action, count in fired.items() if count == 0} == only_gaps
    assert without("H05").transitions["forget"] > 0
    assert without("H04-wiped").transitions["wipe"] > 0


def test_every_hazard_is_expressed_or_said_why_not() -> None:
    expressed = {name[:3] for name in GAPS}
    excused = {hazard for names in NOT_EXPRESSED for hazard in re.findall(r"H\d\d", names)}
    assert expressed | excused == {f"H{number:02}" for number in range(1, 32)}
    assert tuple(GAPS) == model_search.GAPS


# ---- that the search is to be believed


@pytest.mark.parametrize(
    ("gap", "invariant"), [("H04-wait", "two-leases"), ("H04-wait", "holder-behind"), ("H04-wiped", "divergence")]
)
def test_an_invariant_that_others_precede_can_fail_too(gap: str, invariant: str) -> None:
    result = explore(WORLDS["core"], [gap], judged=[invariant])
    assert result.violation == invariant
    assert result.depth >= without(gap).depth


@pytest.mark.parametrize("gap", ["H01", "H02", "H05", "H06", "H10", "H12", "H13"])
def test_symmetry_changes_no_shortest_way(gap: str) -> None:
    merged, apart = explore(SMALL, [gap]), explore(SMALL, [gap], symmetry=False)
    assert merged.violation == apart.violation == GAPS[gap].breaks
    assert merged.depth == apart.depth
    assert merged.states < apart.states


def test_symmetry_merges_no_more_states_than_there_are_orders() -> None:
    merged, apart = explore(SMALL), explore(SMALL, symmetry=False)
    assert merged.violation is apart.violation is None
    assert 2 * merged.states < apart.states <= 6 * merged.states


def test_a_search_is_repeatable() -> None:
    first, second = explore(SMALL, ["H13"]), explore(SMALL, ["H13"])
    assert (first.states, first.depth, first.transitions) == (second.states, second.depth, second.transitions)
    assert first.trace == second.trace


def test_the_first_state_may_be_the_only_one() -> None:
    result = explore(World("nothing can happen", members=1, voters=1, terms=1, log=0, writes=0))
    assert result.exhausted
    assert (result.states, result.depth) == (1, 0)
    assert result.violation is None


def test_a_search_given_up_shows_nothing() -> None:
    result = explore(SMALL, most_states=1_000)
    assert not result.exhausted
    assert result.violation is None


@pytest.mark.parametrize(
    "bounds",
    [
        {"members": 5},
        {"voters": 4},
        {"terms": 4},
        {"log": 6},
        {"log": 0},
        {"steps": 0},
        {"writes": -1},
        {"restarts": 16},
    ],
    ids=str,
)
def test_bounds_that_the_model_cannot_hold_are_refused(bounds: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="bound of the world"):
        explore(dataclasses.replace(SMALL, **bounds))


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="'H99' is none of H01, H02"):
        explore(SMALL, ["H99"])
    with pytest.raises(ValueError, match="'no-leases' is none of two-leases"):
        explore(SMALL, judged=["no-leases"])
    with pytest.raises(ValueError, match="'double' is none of remove"):
        explore(dataclasses.replace(SMALL, change_kinds=("double",)))


# ---- the command and the document


def test_the_command_tells_a_way(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--gap", "H12", "--trace"]) == 0
    printed = capsys.readouterr().out
    assert "without H12" in printed
    assert "holder-behind" in printed
    assert "  0. A leads term 1" in printed
    assert f"  {without('H12').depth}. " in printed
    assert "LEASE of term 1" in printed


def test_the_command_tells_what_was_covered(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--world", "pair", "--trace"]) == 0
    printed = capsys.readouterr().out
    assert "all states hold" in printed
    assert re.search(r"propose +\d+", printed)


def test_the_command_fails_when_a_result_is_not_the_expected_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--world", "core", "--most-states", "1000"]) == 1
    assert main(["--gap", "H20", "--world", "pair"]) == 1  # nothing is made late there, so nothing breaks
    assert main(["--gap", "H12", "--set", "terms=1", "--set", "writes=0"]) == 1
    assert capsys.readouterr().out.count("NOT AS EXPECTED") == 3


@pytest.mark.parametrize("change", ["speed=1", "terms=many", "change_kinds=double"])
def test_the_command_refuses_what_is_no_bound(change: str) -> None:
    with pytest.raises(SystemExit):
        main(["--world", "pair", "--set", change])


def rows(heading: str) -> dict[str, list[str]]:
    """The table below a heading of the document: its first column, and the others."""
    section = DOCUMENT.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    return {row[0]: row[1:] for row in cells}


def test_the_document_tells_what_the_gaps_do() -> None:
    documented = rows("Gaps")
    assert list(documented) == list(GAPS)
    for name, (hazard, world, violation, length) in documented.items():
        gap, result = GAPS[name], without(name)
        assert (hazard, world, violation) == (gap.hazard, gap.world, gap.breaks or "nothing"), name
        assert length == (str(result.depth) if gap.breaks else "-"), name


def test_the_document_tells_what_the_worlds_hold() -> None:
    documented = rows("Worlds")
    assert list(documented) == [*WORLDS, *LONG_WORLDS]
    for name, world in (WORLDS | LONG_WORLDS).items():
        assert documented[name][0] == world.idea, name
    for name in WORLDS:
        result = with_every_guard(name)
        states, depth = documented[name][1:3]
        assert (states.replace(" ", ""), depth) == (str(result.states), str(result.depth)), name


def test_the_document_shows_a_way_as_it_is_told() -> None:
    assert without("H12").explain() in DOCUMENT.read_text()


def test_the_document_lists_what_is_not_expressed() -> None:
    assert {hazard: why for hazard, (why,) in rows("Not expressed").items()} == NOT_EXPRESSED


def test_invariants_of_the_document() -> None:
    assert list(rows("Invariants")) == list(INVARIANTS)
