"""The log through a follower's eyes: matching, conflicts, compaction, and writes that are overtaken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure import errors
from tenure._raft.node import HardState, Message

from .members import NOW, append, elect, entries, finish, flush, member, terms_of


@pytest.mark.parametrize(
    ("message", "after", "reply"),
    [
        (append(3, 13, 2, 3), [1, 1, 2, 3], "1->2 MsgAppResp Term:3 Log:0/14"),
        (append(3, 12, 1, 3, 3), [1, 1, 3, 3], "1->2 MsgAppResp Term:3 Log:0/14"),
        (append(3, 10, 1, 1, 1), [1, 1, 2], "1->2 MsgAppResp Term:3 Log:0/12"),
        (append(3, 13, 2), [1, 1, 2], "1->2 MsgAppResp Term:3 Log:0/13"),
        (append(3, 13, 3), [1, 1, 2], "1->2 MsgAppResp Term:3 Log:2/13 Rejected (Hint: 13)"),
        (append(3, 20, 3), [1, 1, 2], "1->2 MsgAppResp Term:3 Log:2/20 Rejected (Hint: 13)"),
        (append(3, 20, 1), [1, 1, 2], "1->2 MsgAppResp Term:3 Log:1/20 Rejected (Hint: 12)"),
    ],
)
def test_an_append_extends_overwrites_or_is_rejected(message: Message, after: list[int], reply: str) -> None:
    node = member(terms=(1, 1, 2))
    node.step(message, NOW)
    assert terms_of(node) == after
    assert [str(each) for each in flush(node)] == [reply]


@pytest.mark.parametrize(
    "message",
    [
        Message("MsgApp", from_=2, to=1, term=3, index=13, log_term=2, entries=entries(15, 3)),
        append(3, 13, 2, 3, 2),
        append(3, 13, 2, 4),
    ],
    ids=["a gap", "a term that goes down", "a term from the future"],
)
def test_a_malformed_append_is_ignored(message: Message) -> None:
    node = member(terms=(1, 1, 2))
    node.step(message, NOW)
    assert terms_of(node) == [1, 1, 2]
    assert node.failed is None


def test_a_stale_append_is_answered_with_the_commit_index() -> None:
    node = member(terms=(1, 1, 1), hard_state=HardState(term=1, commit=12))
    node.step(append(1, 10, 1), NOW)
    assert [str(each) for each in flush(node)] == ["1->2 MsgAppResp Term:1 Log:0/12"]


def test_commit_never_passes_what_the_append_proved_to_match() -> None:
    node = member(terms=(1, 1, 1))
    node.step(append(2, 10, 1, 1, commit=13), NOW)
    assert node.commit == 11


def test_a_leader_that_contradicts_a_committed_entry_fails_the_member() -> None:
    node = member(terms=(1, 1), hard_state=HardState(term=1, commit=12))
    with pytest.raises(errors.MemberFailed):
        node.step(append(3, 12, 1, 3, commit=20, stamp_ns=0), NOW) or node.step(
            Message("MsgHeartbeat", from_=2, to=1, term=3, commit=99), NOW
        )
    assert node.failed == "InvariantBroken"
    with pytest.raises(errors.MemberFailed):
        node.tick(NOW)


def test_acknowledging_an_overwritten_write_makes_nothing_stable() -> None:
    node = member()
    node.step(append(2, 10, 1, 2, 2, 2), NOW)
    first = node.ready()
    node.step(append(3, 11, 2, 3), NOW)
    second = node.ready()
    assert [entry.term for entry in second.entries] == [3]
    assert second.entries[0].index == 12

    node.appended(first.number, NOW)
    assert node.stable == 10  # a write of an earlier term says nothing: 12 and 13 of term 2 were written, and are void
    node.appended(second.number, NOW)
    assert node.stable == 12
    assert terms_of(node) == [2, 3]


def test_with_asynchronous_storage_nothing_is_applied_before_it_is_durable_here() -> None:
    node = member(async_storage=True)
    node.step(append(2, 10, 1, 2, 2, commit=12), NOW)
    written = node.ready()
    assert (node.commit, written.committed) == (12, ())
    node.appended(written.number, NOW)
    assert [entry.index for entry in node.ready().committed] == [11, 12]


def test_compaction_keeps_the_term_of_its_last_entry() -> None:
    node = member(terms=(1, 2, 2), hard_state=HardState(term=2, commit=12))
    with pytest.raises(errors.InvalidArgument, match="Unavailable"):
        node.compact(12)
    flush(node)
    node.compact(12)
    assert (node.first_index, node.last_index, terms_of(node)) == (13, 13, [2])
    with pytest.raises(errors.InvalidArgument, match="Compacted"):
        node.compact(11)
    node.step(append(3, 12, 2, 3), NOW)
    assert terms_of(node) == [3]


def test_entries_beyond_the_commit_index_are_not_compacted() -> None:
    node = member(terms=(1, 1))
    with pytest.raises(errors.InvalidArgument, match="Unavailable"):
        node.compact(11)


def test_a_member_that_recovers_contradictory_state_does_not_start() -> None:
    with pytest.raises(ValueError, match="cannot start"):
        member(terms=(1,), hard_state=HardState(term=1, commit=12))
    with pytest.raises(ValueError, match="cannot start"):
        member(voters=(1, 2), outgoing=(3,), promise_ns=-1)


def test_proposals_are_refused_once_too_many_bytes_are_uncommitted() -> None:
    node = member(max_uncommitted_bytes=10, max_message_bytes=20)
    with pytest.raises(errors.NotLeader):
        node.propose(b"early", NOW)
    elect(node)
    assert node.propose(b"12345", NOW) == 12
    assert node.propose([b"1", b"2345"], NOW) == 13
    with pytest.raises(errors.Overloaded):
        node.propose(b"x", NOW)
    with pytest.raises(errors.TooLarge) as refused:
        node.propose(b"x" * 21, NOW)
    assert (refused.value.size_bytes, refused.value.limit_bytes) == (21, 20)
    assert node.last_index == 14

    flush(node)
    node.step(Message("MsgAppResp", from_=2, to=1, term=2, index=14), NOW)
    flush(node)
    assert (node.applied, node.uncommitted_bytes) == (14, 0)
    assert node.propose(b"again", NOW) == 15


class Model:
    """What a follower's log must be: a list of terms from index 11 on, and what the disk holds of it."""

    def __init__(self) -> None:
        self.terms: list[int] = []
        self.disk: list[int] = []


@given(st.data())
def test_stable_is_never_ahead_of_what_the_disk_really_holds(data: st.DataObject) -> None:
    """Leaders of growing terms overwrite the tail while writes are in flight and are acknowledged late, in order."""
    node, model, term = member(), Model(), 1
    in_flight: list[tuple[int, int, list[int]]] = []  # Ready number, first index, terms
    for _ in range(data.draw(st.integers(1, 25))):
        action = data.draw(st.sampled_from(["append", "ready", "acknowledge"]))
        if action == "append":
            term += data.draw(st.integers(0, 1))
            keep = data.draw(st.integers(0, len(model.terms)))
            new = [term] * data.draw(st.integers(0, 3))
            previous = model.terms[keep - 1] if keep else 1
            node.step(append(max(term, 2), 10 + keep, previous, *[max(each, 2) for each in new]), NOW)
            new = [max(each, 2) for each in new]
            if model.terms[keep : keep + len(new)] != new:
                model.terms = model.terms[:keep] + new
        elif action == "ready" and node.has_ready():
            ready = node.ready()
            if ready.entries:
                in_flight.append((ready.number, ready.entries[0].index, [entry.term for entry in ready.entries]))
            else:
                in_flight.append((ready.number, 0, []))
        elif action == "acknowledge" and in_flight:
            number, first, written = in_flight.pop(0)
            if first:
                model.disk = model.disk[: first - 11] + written
            node.appended(number, NOW)
        assert terms_of(node) == model.terms
        durable = node.stable - 10
        assert model.disk[:durable] == model.terms[:durable]
        assert len(model.disk) >= durable


def test_two_readys_are_acknowledged_by_the_number_of_the_later_one() -> None:
    node = member()
    node.step(append(2, 10, 1, 2), NOW)
    node.ready()
    node.step(append(2, 11, 2, 2), NOW)
    finish(node, node.ready())
    assert node.stable == 12
