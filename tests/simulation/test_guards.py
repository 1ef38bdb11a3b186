"""Each guard of the lease's contract that this simulator can express: with it nothing is found, without it something.

A scenario's world is made so that the absence shows (`tenure.sim.scenarios` says what masks it otherwise). Without the
guard an invariant must fail, and, in the same world with the monitor silent, the clients' history alone must be
unexplainable.
"""

from __future__ import annotations

import json

import pytest

from tenure.sim.__main__ import main
from tenure.sim.guards import HAZARDS, judge, names, render, table
from tenure.sim.scenarios import FROZEN_LEADER, SCENARIOS
from tenure.sim.simulation import InvariantViolation, Simulation, StaleHistory

SEEDS_WITH_GUARD = 4
WITHOUT_LEASES = {"H14", "H22", "H23"}


def guard_is_needed(name: str) -> None:
    row = judge(name, seeds=SEEDS_WITH_GUARD)
    assert row.found_with == ""
    if name not in WITHOUT_LEASES:
        assert row.lease_reads_with > 500 * SEEDS_WITH_GUARD, "a world without lease reads proves nothing"
    assert row.breaks in SCENARIOS[name].breaks, f"nothing found in {SCENARIOS[name].seeds} seeds"
    assert row.history_seed > 0 or not SCENARIOS[name].history, "the history alone looks innocent"
    assert row.as_expected


def test_h01_acknowledgement_stamped_on_receipt() -> None:
    guard_is_needed("H01")


def test_h02_a_read_without_a_deadline() -> None:
    guard_is_needed("H02")


def test_h03_a_transfer_leaves_the_lease_standing() -> None:
    guard_is_needed("H03")


def test_h04_a_restarted_member_forgot_its_promise() -> None:
    guard_is_needed("H04")


def test_h05_a_promise_tied_to_knowing_a_leader() -> None:
    guard_is_needed("H05")


def test_h06_ticks_counted_as_time() -> None:
    guard_is_needed("H06")


def test_h07_a_stamp_echoed_without_a_promise() -> None:
    guard_is_needed("H07")


def test_h08_a_reading_older_than_the_receipt() -> None:
    guard_is_needed("H08")


def test_h10_clock_rates_beyond_the_bound() -> None:
    guard_is_needed("H10")


def test_h11_one_check_serves_many_reads() -> None:
    guard_is_needed("H11")


def test_h12_somebody_is_ahead_of_the_lease_holder() -> None:
    guard_is_needed("H12")


def test_h13_a_new_leader_does_not_know_what_was_acknowledged() -> None:
    guard_is_needed("H13")


def test_h14_a_single_voter_taken_for_this_member() -> None:
    guard_is_needed("H14")


def test_h15_a_removed_leader() -> None:
    guard_is_needed("H15")


def test_h16_a_joint_configuration() -> None:
    guard_is_needed("H16")


def test_h17_two_changes_in_a_row() -> None:
    guard_is_needed("H17")


def test_h18_an_acknowledgement_of_a_former_life() -> None:
    guard_is_needed("H18")


def test_h19_the_role_changes_before_the_lease_is_withdrawn() -> None:
    guard_is_needed("H19")


def test_h20_a_late_extension_revives_a_withdrawn_lease() -> None:
    guard_is_needed("H20")


def test_h22_an_earlier_acknowledgement_confirms_a_later_attempt() -> None:
    guard_is_needed("H22")


def test_h23_a_read_joins_a_round_that_has_left() -> None:
    guard_is_needed("H23")


def test_h26_a_leader_with_a_dead_disk_stays() -> None:
    guard_is_needed("H26")


def test_h27_a_vote_taken_for_a_promise() -> None:
    guard_is_needed("H27")


def test_h29_promises_longer_than_an_election_takes() -> None:
    guard_is_needed("H29")


@pytest.mark.parametrize("invariants", [True, False])
def test_h09_a_stopped_clock_is_reported_although_no_guard_can_help(invariants: bool) -> None:
    report = Simulation(1, FROZEN_LEADER, invariants=invariants).run(operations=10_000)
    assert report.violations, "the leader's clock stood still and nobody noticed"
    kind = InvariantViolation if invariants else StaleHistory
    assert isinstance(report.violations[0], kind)


def test_the_monitor_sees_and_does_not_steer() -> None:
    """The same seed is the same run whether the invariants are watched or not, and whether it is traced or not."""
    scenario = SCENARIOS["H08"]
    reports = [
        Simulation(3, scenario.profile, invariants=invariants, trace=trace).run(operations=5_000)
        for invariants, trace in ((True, False), (False, False), (True, True))
    ]
    assert len({report.fingerprint for report in reports}) == 1
    assert reports[0].history == reports[1].history == reports[2].history


def test_every_hazard_has_a_row() -> None:
    assert names() == [f"H{number:02}" for number in range(1, 32)]


def test_what_is_not_played_says_why() -> None:
    rows = table(HAZARDS)
    assert all(row.reason and row.as_expected for row in rows)
    assert "defence in depth" in render(rows)


def test_a_guard_that_is_not_needed_is_not_as_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table fails when the lack of a guard goes unnoticed: here the guard of another hazard is left out."""
    monkeypatch.setitem(SCENARIOS, "H20", SCENARIOS["H12"])
    row = judge("H20", seeds=1)
    assert row.seed == 0
    assert not row.as_expected
    assert "NOTHING FOUND" in render([row])


def test_the_command_writes_the_table(tmp_path, capsys) -> None:
    path = tmp_path / "guards.json"
    assert main(["guards", "--only", "H09,H12,H31", "--seeds", "1", "--json", str(path)]) == 0
    document = json.loads(path.read_text())
    assert document["as_expected"] is True
    assert [row["id"] for row in document["rows"]] == ["H09", "H12", "H31"]
    printed = capsys.readouterr().out
    assert "3 hazards, 2 of them played" in printed
    with pytest.raises(SystemExit, match="H99"):
        main(["guards", "--only", "H99"])
