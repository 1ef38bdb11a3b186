"""The scenarios would notice: with one guard of the proof build switched off, the scenario of its hazard fails.

Guards that no transcript can show, or that live outside of the pure core, are the simulator's to find.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conformance.cluster import Cluster
from tests.conformance.datadriven import run_file

from tenure._proof.raft.node import RawNode

SCENARIOS = Path(__file__).parent / "scenarios"
GUARDS = {
    1: "lease_ends_before_the_promises",
    3: "h03_delayed_timeout_now",
    4: "h04_restart_waits",
    5: "h05_promise_needs_no_leader",
    7: "h07_promise_made_is_what_counts",
    10: "h10_clock_rates",
    12: "h12_nobody_is_ahead_of_the_holder",
    13: "h13_lease_waits_for_own_term_entry",
    19: "rule4_vote_refused_changes_nothing",
}


@pytest.mark.parametrize(("guard", "scenario"), GUARDS.items(), ids=[f"h{guard:02}" for guard in GUARDS])
def test_the_scenario_fails_without_its_guard(guard: int, scenario: str) -> None:
    path = SCENARIOS / f"{scenario}.txt"
    assert run_file(path, Cluster(RawNode)).verdict == "PASS"  # type: ignore[arg-type]  # the same class, built twice
    assert run_file(path, Cluster(RawNode, 1 << guard)).verdict == "FAIL"  # type: ignore[arg-type]
