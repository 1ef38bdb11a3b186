"""Each guard of the lease's contract that this simulator can express: with it nothing is found, without it something.

A scenario's world is made so that the absence shows (`tenure.sim.scenarios` says what masks it otherwise). Without the
guard an invariant must fail, and, in the same world with the monitor silent, the clients' history alone must be
unexplainable.
"""

from __future__ import annotations

import pytest

from tenure.sim.scenarios import FROZEN_LEADER, SCENARIOS
from tenure.sim.simulation import InvariantViolation, Simulation, SimulationReport, StaleHistory

SEEDS_WITH_GUARD = 12

TWO = "two members hold a valid lease"
COMMIT = "an entry of a higher term is committed under a valid lease"
BEHIND = "the lease holder has not applied what was applied elsewhere"
AHEAD = "a message carries a commit index above its sender's applied index"
STALE_READ = "a lease read is served where not everything applied elsewhere is applied"


def find(name: str, invariants: bool) -> SimulationReport:
    """The first run without the guard that finds something."""
    scenario = SCENARIOS[name]
    off = {name, *scenario.partners}
    for seed in range(1, scenario.seeds + 1):
        report = Simulation(seed, scenario.profile, off, invariants=invariants).run(operations=scenario.operations)
        if report.violations:
            return report
    pytest.fail(f"{name} switched off ({scenario.idea}): nothing found in {scenario.seeds} seeds")


def holds_with_the_guard(name: str) -> None:
    scenario = SCENARIOS[name]
    leases = 0
    for seed in range(1, SEEDS_WITH_GUARD + 1):
        report = Simulation(seed, scenario.profile).run(operations=scenario.operations)
        assert report.ok, report.explain()
        leases += report.counters["lease_reads"]
    assert leases > 1_000 * SEEDS_WITH_GUARD, "a world without lease reads proves nothing"


def breaks_without_it(name: str, *expected: str) -> None:
    by_invariant = find(name, invariants=True).violations[0]
    assert isinstance(by_invariant, InvariantViolation)
    assert by_invariant.what in expected, str(by_invariant)
    by_history = find(name, invariants=False).violations[0]
    assert isinstance(by_history, StaleHistory)
    print(f"{name}: {by_invariant}; {by_history}")


def test_h01_acknowledgement_stamped_on_receipt() -> None:
    holds_with_the_guard("H01")
    breaks_without_it("H01", TWO, COMMIT, BEHIND)


def test_h02_a_read_without_a_deadline() -> None:
    holds_with_the_guard("H02")
    breaks_without_it("H02", STALE_READ)


def test_h03_a_transfer_leaves_the_lease_standing() -> None:
    holds_with_the_guard("H03")
    breaks_without_it("H03", TWO, COMMIT, BEHIND)


def test_h04_a_restarted_member_forgot_its_promise() -> None:
    holds_with_the_guard("H04")
    breaks_without_it("H04", TWO, COMMIT, BEHIND)


def test_h05_a_promise_tied_to_knowing_a_leader() -> None:
    holds_with_the_guard("H05")
    breaks_without_it("H05", TWO, COMMIT, BEHIND)


def test_h07_a_stamp_echoed_without_a_promise() -> None:
    holds_with_the_guard("H07")
    breaks_without_it("H07", TWO, COMMIT, BEHIND)


def test_h08_a_reading_older_than_the_receipt() -> None:
    holds_with_the_guard("H08")
    breaks_without_it("H08", TWO, COMMIT, BEHIND)


def test_h11_one_check_serves_many_reads() -> None:
    holds_with_the_guard("H11")
    breaks_without_it("H11", STALE_READ)


def test_h12_somebody_is_ahead_of_the_lease_holder() -> None:
    holds_with_the_guard("H12")
    breaks_without_it("H12", AHEAD, BEHIND)


def test_h13_a_new_leader_does_not_know_what_was_acknowledged() -> None:
    holds_with_the_guard("H13")
    breaks_without_it("H13", BEHIND, TWO, COMMIT)


def test_h19_the_role_changes_before_the_lease_is_withdrawn() -> None:
    holds_with_the_guard("H19")
    breaks_without_it("H19", TWO, COMMIT, BEHIND)


def test_h20_a_late_extension_revives_a_withdrawn_lease() -> None:
    holds_with_the_guard("H20")
    breaks_without_it("H20", TWO, COMMIT, BEHIND)


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
