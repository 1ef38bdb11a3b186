"""The scenarios would notice: with one guard of the proof build switched off, the scenario of its hazard fails.

Guards that no transcript can show, or that live outside of the pure core, are the simulator's to find.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conformance.cluster import Cluster
from tests.conformance.datadriven import run_file
from tests.conformance.transcript import parse

from tenure._proof.raft.node import RawNode

SCENARIOS = Path(__file__).parent / "scenarios"
GUARDS = [
    (1, "lease_ends_before_the_promises"),
    (3, "h03_delayed_timeout_now"),
    (4, "h04_restart_waits"),
    (5, "h05_promise_needs_no_leader"),
    (7, "h07_promise_made_is_what_counts"),
    (10, "h10_clock_rates"),
    (12, "h12_nobody_is_ahead_of_the_holder"),
    (13, "h13_lease_waits_for_own_term_entry"),
    (14, "h14_sole_voter_means_this_member"),
    (14, "h14_joint_configuration_has_no_sole_voter"),
    (15, "h15_removed_leader"),
    (16, "h16_joint_lease_needs_both_halves"),
    (16, "h16_lease_shrinks_at_a_switch"),
    (17, "h17_one_change_at_a_time"),
    (18, "h18_replies_are_forgotten"),
    (19, "rule4_vote_refused_changes_nothing"),
]


@pytest.mark.parametrize(("guard", "scenario"), GUARDS, ids=[scenario for _, scenario in GUARDS])
def test_the_scenario_fails_without_its_guard(guard: int, scenario: str) -> None:
    path = SCENARIOS / f"{scenario}.txt"
    assert run_file(path, Cluster(RawNode)).verdict == "PASS"  # type: ignore[arg-type]  # the same class, built twice
    assert run_file(path, Cluster(RawNode, 1 << guard)).verdict == "FAIL"  # type: ignore[arg-type]


def last_word(scenario: str, command: str, guards_off: int = 0) -> str:
    """What the last such directive of the scenario prints."""
    cluster = Cluster(RawNode, guards_off)  # type: ignore[arg-type]
    printed = ""
    for directive in parse((SCENARIOS / f"{scenario}.txt").read_text(encoding="utf-8")):
        text = cluster.run(directive)
        if directive.command == command:
            printed = text
    return printed


def old_leader_holds_a_lease(scenario: str, guards_off: int) -> bool:
    """Member 1 of term 1, after the scenario has elected another member in term 2."""
    leaders = [line for line in last_word(scenario, "raft-state", guards_off).split("\n") if "StateLeader" in line]
    assert [line.split(" Term:")[1][0] for line in leaders] == ["1", "2"]
    return last_word(scenario, "lease", guards_off).startswith("1: lease ")


@pytest.mark.parametrize(
    ("guard", "scenario"),
    [
        (15, "h15_removed_leader"),
        (16, "h16_joint_lease_needs_both_halves"),
        (17, "h17_one_change_at_a_time"),
        (18, "h18_replies_are_forgotten"),
    ],
)
def test_without_the_guard_a_lease_is_valid_while_another_member_leads_a_later_term(guard: int, scenario: str) -> None:
    assert not old_leader_holds_a_lease(scenario, 0)
    assert old_leader_holds_a_lease(scenario, 1 << guard)
