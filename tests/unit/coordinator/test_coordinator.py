"""`Coordinator` over engines of every kind: where leases come from, what extends them and what ends them."""

from __future__ import annotations

import threading
import time

import pytest

from tenure._core.clock import now_ns
from tenure.coordinator import Coordinator
from tenure.engine.protocol import Engine, LeaseProvider, LeaseReader, ProposalResult, State
from tenure.errors import Closed, InvalidArgument, NotLeader, OutcomeUnknown, Overloaded, ProposalRefused, Timeout

from .single_process import DurationEngine, LeaseKeepingEngine, SingleProcessEngine

SECOND = 1_000_000_000


def test_the_engines_of_these_tests_are_what_they_claim():
    assert isinstance(SingleProcessEngine(), Engine)
    assert not isinstance(SingleProcessEngine(), LeaseProvider)
    assert isinstance(DurationEngine(), LeaseProvider)
    assert not isinstance(DurationEngine(), LeaseReader)
    assert isinstance(LeaseKeepingEngine(), LeaseReader)


# ---------------------------------------------------------------------------------------------- where reads come from


def test_lease_reads_are_the_engines_own_methods_where_it_keeps_the_lease():
    engine = LeaseKeepingEngine()
    coordinator = Coordinator(engine)
    assert coordinator.lease_read == engine.lease_read
    assert coordinator.try_lease_read == engine.try_lease_read
    coordinator.dispatch(b"a")
    assert coordinator.lease_read() == 1
    assert engine.quorum_reads == 0
    assert engine.callbacks == []  # the coordinator keeps nothing of its own


@pytest.mark.parametrize(
    "engine",
    [SingleProcessEngine(), DurationEngine(0), LeaseKeepingEngine(0)],
    ids=lambda engine: type(engine).__name__,
)
def test_every_lease_read_asks_a_quorum_where_there_are_no_leases(engine):
    coordinator = Coordinator(engine)
    assert coordinator.dispatch(b"a", timeout=1) == ProposalResult(1, 1, b"A")
    for asked in (1, 2, 3):
        assert coordinator.lease_read(timeout=1) == 1
        assert engine.quorum_reads == asked
    assert coordinator.try_lease_read() is None
    assert coordinator.lease_remaining_ns == 0


def test_a_lease_read_for_a_key_is_the_groups_lease_read():
    engine = DurationEngine()
    coordinator = Coordinator(engine)
    assert coordinator.lease_read_for_key(b"k", timeout=1) == 0
    assert engine.quorum_reads == 1
    coordinator.dispatch(b"a")
    assert coordinator.lease_read_for_key(b"k") == 1
    assert engine.quorum_reads == 1


def test_a_linearizable_read_asks_a_quorum_although_a_lease_holds():
    engine = DurationEngine()
    coordinator = Coordinator(engine)
    coordinator.dispatch(b"a")
    assert coordinator.try_lease_read() == 1
    assert coordinator.linearizable_read(timeout=1) == 1
    assert engine.quorum_reads == 1


# --------------------------------------------------------------------------------- the lease that a coordinator keeps


def test_no_lease_before_the_first_commit():
    engine = DurationEngine()
    coordinator = Coordinator(engine)
    assert coordinator.try_lease_read() is None
    assert coordinator.lease_read() == 0
    assert engine.quorum_reads == 1


def test_a_commit_extends_the_lease_from_the_instant_before_its_dispatch():
    engine = DurationEngine(lease_duration_ns=SECOND)
    engine.before_commit = lambda: time.sleep(0.2)
    coordinator = Coordinator(engine)
    before = now_ns()
    coordinator.dispatch(b"a")
    after = now_ns()
    assert coordinator.try_lease_read() == 1
    remaining = coordinator.lease_remaining_ns
    assert remaining <= SECOND - 200_000_000
    assert before + SECOND - 2**21 < after + remaining  # not much before either
    assert engine.quorum_reads == 0


def test_a_commit_that_took_longer_than_the_duration_gives_no_lease():
    engine = DurationEngine(lease_duration_ns=50_000_000)
    engine.before_commit = lambda: time.sleep(0.06)
    coordinator = Coordinator(engine)
    coordinator.dispatch(b"a")
    assert coordinator.try_lease_read() is None


def test_the_lease_ends_by_itself():
    engine = DurationEngine(lease_duration_ns=30_000_000)
    coordinator = Coordinator(engine)
    coordinator.dispatch(b"a")
    time.sleep(0.04)
    assert coordinator.try_lease_read() is None
    assert coordinator.lease_read(timeout=1) == 1
    assert engine.quorum_reads == 1


def test_a_lease_read_sees_what_was_applied_after_the_lease_was_extended():
    engine = DurationEngine()
    coordinator = Coordinator(engine)
    coordinator.dispatch(b"a")
    engine.propose(b"by somebody else")
    assert coordinator.try_lease_read() == 2


def test_h20_a_completion_after_leadership_was_lost_and_won_again_revives_no_lease():
    engine = DurationEngine()
    coordinator = Coordinator(engine)

    def lose_and_win_back() -> None:
        engine.lose_leadership()
        engine.win_leadership()

    engine.before_commit = lose_and_win_back
    term = engine.term
    engine.term = term  # the proposal is of this term
    result = coordinator.dispatch(b"a")
    assert result.term == term
    assert coordinator.try_lease_read() is None


def test_h20_the_generation_is_what_refuses_a_late_completion():
    """The role and the term look unchanged here: only the generation tells."""
    engine = DurationEngine()
    coordinator = Coordinator(engine)

    def lose_and_pretend() -> None:
        for fn in list(engine.callbacks):
            fn()

    engine.after_commit = lose_and_pretend
    coordinator.dispatch(b"a")
    assert engine.state is State.LEADER
    assert coordinator.try_lease_read() is None


def test_h30_a_leader_of_a_later_term_gets_no_lease_from_an_older_commit_although_the_callback_is_late():
    engine = DurationEngine()
    coordinator = Coordinator(engine)
    late = list(engine.callbacks)
    engine.callbacks.clear()

    def lose_and_win_back() -> None:
        engine.lose_leadership()
        engine.win_leadership()

    engine.after_commit = lose_and_win_back
    coordinator.dispatch(b"a")
    assert engine.state is State.LEADER
    assert coordinator.try_lease_read() is None
    late[0]()
    assert coordinator.try_lease_read() is None


def test_h30_no_lease_for_a_member_that_leads_no_more_although_the_callback_is_late():
    engine = DurationEngine()
    coordinator = Coordinator(engine)
    engine.callbacks.clear()
    engine.after_commit = engine.lose_leadership
    coordinator.dispatch(b"a")
    assert coordinator.try_lease_read() is None


def test_no_lease_without_a_quorum():
    """An index of 0 is an engine's word for: answered without a commit."""
    engine = DurationEngine()
    coordinator = Coordinator(engine)
    engine.propose = lambda data, *, timeout=None: ProposalResult(0, engine.term, b"cached")
    assert coordinator.dispatch(b"a").value == b"cached"
    assert coordinator.try_lease_read() is None


def test_no_lease_for_a_command_that_another_member_committed():
    engine = DurationEngine()
    engine.lose_leadership()
    coordinator = Coordinator(engine)
    engine.propose = lambda data, *, timeout=None: ProposalResult(7, engine.term, b"forwarded")
    coordinator.dispatch(b"a")
    assert coordinator.try_lease_read() is None


def test_no_lease_from_a_clock_that_cannot_be_read(monkeypatch):
    monkeypatch.setattr("tenure.coordinator.coordinator.now_ns", lambda: 0)
    engine = DurationEngine(lease_duration_ns=10**18)
    coordinator = Coordinator(engine)
    coordinator.dispatch(b"a")
    assert coordinator.try_lease_read() is None


def test_loss_of_leadership_ends_the_lease_at_once():
    engine = DurationEngine()
    coordinator = Coordinator(engine)
    coordinator.dispatch(b"a")
    assert coordinator.try_lease_read() == 1
    engine.lose_leadership()
    assert coordinator.try_lease_read() is None
    engine.win_leadership()
    assert coordinator.try_lease_read() is None  # not even when it leads again
    coordinator.dispatch(b"b")
    assert coordinator.try_lease_read() == 2


def test_an_engine_that_says_not_leader_ends_the_lease_although_the_callback_is_late():
    engine = DurationEngine()
    coordinator = Coordinator(engine)
    coordinator.dispatch(b"a")
    engine.callbacks.clear()
    engine.lose_leadership()
    with pytest.raises(NotLeader):
        coordinator.dispatch(b"b")
    assert coordinator.try_lease_read() is None


@pytest.mark.parametrize(
    "error",
    [
        OutcomeUnknown("deadline"),
        Timeout("deadline"),
        InvalidArgument("conflict"),
        Overloaded(limit="uncommitted_bytes"),
        ProposalRefused("a conflict"),
        ValueError("a state machine's own"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_no_loss_of_leadership_neither_ends_nor_extends_the_lease(error):
    engine = DurationEngine()
    coordinator = Coordinator(engine)
    coordinator.dispatch(b"a")
    remaining = coordinator.lease_remaining_ns

    def refuse() -> None:
        raise error

    engine.before_commit = refuse
    with pytest.raises(type(error)):
        coordinator.dispatch(b"b")
    assert coordinator.try_lease_read() == 1
    assert 0 < coordinator.lease_remaining_ns <= remaining


def test_a_read_that_fails_leaves_the_lease_alone():
    engine = DurationEngine()
    coordinator = Coordinator(engine)
    coordinator.dispatch(b"a")
    engine.quorum_reachable = False
    with pytest.raises(Timeout):
        coordinator.linearizable_read(timeout=0.1)
    assert coordinator.try_lease_read() == 1


def test_an_older_completion_never_shortens_a_lease():
    engine = DurationEngine(lease_duration_ns=SECOND)
    coordinator = Coordinator(engine)
    entered, go_on = threading.Event(), threading.Event()

    def first_waits() -> None:
        engine.before_commit = lambda: None
        entered.set()
        assert go_on.wait(10)

    engine.before_commit = first_waits
    slow = threading.Thread(target=coordinator.dispatch, args=(b"slow",))
    slow.start()
    assert entered.wait(10)
    time.sleep(0.1)
    coordinator.dispatch(b"fast")
    ends = now_ns() + coordinator.lease_remaining_ns
    go_on.set()
    slow.join(10)
    assert abs(now_ns() + coordinator.lease_remaining_ns - ends) < 20_000_000


# ---------------------------------------------------------------------------------------------------------------- end


@pytest.mark.parametrize("kind", [SingleProcessEngine, DurationEngine, LeaseKeepingEngine])
def test_after_close_nothing_is_answered(kind):
    engine = kind()
    with Coordinator(engine) as coordinator:
        coordinator.dispatch(b"a")
    assert engine.closed_with == [True]
    assert coordinator.try_lease_read() is None
    for call in (coordinator.lease_read, coordinator.linearizable_read, lambda: coordinator.dispatch(b"b")):
        with pytest.raises(Closed):
            call()
    coordinator.close()


def test_close_ends_the_lease_and_the_registration_and_may_leave_the_engine_open():
    engine = DurationEngine()
    coordinator = Coordinator(engine, close_engine=False)
    coordinator.dispatch(b"a")
    coordinator.close()
    assert coordinator.try_lease_read() is None
    assert engine.callbacks == []
    assert engine.state is State.LEADER
    with pytest.raises(Closed):
        coordinator.lease_read()


def test_a_closed_coordinator_reads_nothing_although_its_engine_lives():
    engine = LeaseKeepingEngine()
    coordinator = Coordinator(engine, close_engine=False)
    assert coordinator.try_lease_read() == 0
    coordinator.close()
    assert engine.state is State.LEADER
    assert coordinator.try_lease_read() is None
    with pytest.raises(Closed):
        coordinator.lease_read()
    with pytest.raises(Closed):
        coordinator.lease_read(timeout=1)


def test_a_dispatch_under_way_while_the_coordinator_closes_revives_nothing():
    engine = DurationEngine()
    coordinator = Coordinator(engine, close_engine=False)
    engine.after_commit = coordinator.close
    coordinator.dispatch(b"a")
    assert coordinator.try_lease_read() is None


def test_kv_needs_the_store():
    with pytest.raises(InvalidArgument, match="machine"):
        _ = Coordinator(SingleProcessEngine()).kv
