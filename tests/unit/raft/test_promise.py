"""Promises, rule by rule: what is made, what it forbids, what passes it, and what the leader may conclude."""

from __future__ import annotations

from typing import Any

import pytest

from tenure._core.lease import Lease
from tenure._raft.node import HardState, Message, RawNode

from .members import MS, NOW, append, elect, flush, member

D = 900 * MS
STAMP = 7_000 * MS  # a reading of another machine's clock
DURABLE = HardState(term=2, promise_bound_ns=D)
LATER = NOW + D  # when a member that recovered DURABLE is free


def follower(**options: Any) -> RawNode:
    """A member whose bound of D is durable and whose wait after the restart is over."""
    return member(hard_state=DURABLE, promise_ns=D, **options)


def heartbeat(term: int = 2, promise_ns: int = D, sender: int = 2) -> Message:
    return Message("MsgHeartbeat", from_=sender, to=1, term=term, stamp_ns=STAMP, promise_ns=promise_ns)


def reply_to(node: RawNode, message: Message, now_ns: int) -> Message:
    node.step(message, now_ns)
    (reply,) = flush(node, now_ns)
    return reply


def granted(node: RawNode, now_ns: int, **fields: int) -> bool:
    request = {"from_": 3, "term": 3, "index": 99, "log_term": 2, **fields}
    before = (node.term, node.lead)
    node.step(Message("MsgVote", to=1, **request), now_ns)
    replies = [each for each in flush(node, now_ns) if each.type == "MsgVoteResp" and not each.reject]
    if not replies:
        assert (node.term, node.lead) == before, "a refusal changed something"
    return bool(replies)


@pytest.mark.parametrize(
    ("asked", "promised"), [(D, D), (D // 2, D // 2), (1, 1), (0, 0), (10_000 * MS, D), (10_000 * MS + 1, 0), (-5, 0)]
)
def test_the_promise_is_what_was_asked_within_what_is_durable(asked: int, promised: int) -> None:
    node = follower()
    assert reply_to(node, heartbeat(promise_ns=asked), LATER).promised_ns == promised
    assert node.promise_until_ns == LATER + promised


@pytest.mark.parametrize("message", [heartbeat(), append(2, 10, 1, stamp_ns=STAMP, promise_ns=D)])
def test_a_reply_carries_stamp_promise_and_clock(message: Message) -> None:
    reply = reply_to(follower(), message, LATER)
    assert (reply.stamp_ns, reply.promised_ns, reply.peer_clock_ns) == (STAMP, D, LATER)


def test_a_rejection_promises_as_well() -> None:
    reply = reply_to(follower(), append(2, 50, 2, stamp_ns=STAMP, promise_ns=D), LATER)
    assert reply.reject
    assert (reply.stamp_ns, reply.promised_ns) == (STAMP, D)


def test_a_reply_to_a_lower_term_carries_no_stamp_and_makes_no_promise() -> None:
    node = follower(check_quorum=True)
    node.step(heartbeat(term=1), LATER)
    assert [each.stamp_ns for each in flush(node, LATER)] == [0]
    assert node.promise_until_ns == LATER


def test_without_a_clock_there_is_neither_promise_nor_vote() -> None:
    node = follower()
    reply = reply_to(node, heartbeat(), 0)
    assert (reply.promised_ns, reply.peer_clock_ns) == (0, 0)
    assert not granted(node, 0)


def test_the_first_promise_waits_until_its_bound_is_durable() -> None:
    node = member(promise_ns=D)
    node.step(heartbeat(), NOW)
    ready = node.ready()
    assert [each.promised_ns for each in ready.messages] == [0]
    assert ready.must_sync
    assert ready.hard_state is not None
    assert ready.hard_state.promise_bound_ns == D
    node.step(heartbeat(), NOW)
    assert node.promise_until_ns == 0
    node.appended(ready.number, NOW)
    node.step(heartbeat(), NOW)
    assert node.promise_until_ns == NOW + D


def test_the_bound_shrinks_only_when_the_longer_promise_has_passed() -> None:
    node = follower()
    reply_to(node, heartbeat(), LATER)
    reply_to(node, heartbeat(promise_ns=D // 9), LATER + 1)
    assert node.promise_bound_ns == D
    reply_to(node, heartbeat(promise_ns=D // 9), LATER + D)
    assert node.promise_bound_ns == D
    reply_to(node, heartbeat(promise_ns=D // 9), LATER + 1 + D)
    assert node.promise_bound_ns == D // 9


def test_h04_a_write_in_flight_may_shrink_the_bound_so_no_longer_promise_rests_on_the_old_one() -> None:
    node = follower()
    reply_to(node, heartbeat(promise_ns=D // 9), LATER)
    node.step(heartbeat(promise_ns=D // 9), LATER + D)
    shrinking = node.ready()
    assert shrinking.hard_state is not None
    assert shrinking.hard_state.promise_bound_ns == D // 9
    # From here on a crash may find either bound on the disk, until a longer one is known to be durable again.
    node.step(heartbeat(), LATER + D)
    growing = node.ready()
    assert [each.promised_ns for each in growing.messages] == [D // 9]
    node.appended(shrinking.number, LATER + D)
    node.step(heartbeat(), LATER + D)
    assert node.promise_until_ns == LATER + D + D // 9
    node.appended(growing.number, LATER + D)
    node.step(heartbeat(), LATER + D)
    assert node.promise_until_ns == LATER + 2 * D


def test_a_promise_never_gets_shorter() -> None:
    node = follower()
    reply_to(node, heartbeat(), LATER)
    reply_to(node, heartbeat(promise_ns=MS), LATER + 1)
    assert node.promise_until_ns == LATER + D


@pytest.mark.parametrize(
    ("fields", "after_ns", "passes"),
    [
        ({}, 0, False),
        ({}, D - 1, False),
        ({}, D, True),
        ({"term": 99}, 0, False),
        ({"from_": 2}, 0, True),  # the holder itself
        ({"release_term": 2}, 0, True),
        ({"term": 4, "release_term": 2}, 0, False),  # worth one term
        ({"term": 3, "release_term": 1}, 0, False),  # of an earlier leader
        ({"term": 4, "release_term": 3}, 0, True),  # a later leader was elected: no earlier lease was left
    ],
)
def test_what_passes_a_promise(fields: dict[str, int], after_ns: int, passes: bool) -> None:
    node = follower()
    reply_to(node, heartbeat(), LATER)
    assert granted(node, LATER + after_ns, **fields) is passes


def test_a_promise_outlives_the_leader_and_the_role() -> None:
    node = follower()
    reply_to(node, heartbeat(), LATER)
    node.forget_leader()
    assert node.lead == 2
    node.step(Message("MsgAppResp", from_=2, to=1, term=7), LATER)  # a higher term: the leader is forgotten
    assert (node.term, node.lead) == (7, 0)
    assert not granted(node, LATER + D - 1, term=8)
    assert granted(node, LATER + D, term=8)


@pytest.mark.parametrize("pre_vote", [False, True])
def test_a_member_under_promise_does_not_campaign_from_any_cause(pre_vote: bool) -> None:
    node = follower(pre_vote=pre_vote)
    reply_to(node, heartbeat(), LATER)
    node.campaign(LATER + 1)
    for _ in range(100):
        node.tick(LATER + D - 1)
    node.step(Message("MsgTimeoutNow", from_=2, to=1, term=2, release_term=1), LATER + 1)
    assert (node.role, node.term) == ("StateFollower", 2)
    node.campaign(LATER + D)
    assert node.role == ("StatePreCandidate" if pre_vote else "StateCandidate")


def test_a_refused_pre_vote_is_told_how_long() -> None:
    node = follower(pre_vote=True)
    reply_to(node, heartbeat(), LATER)
    node.step(Message("MsgPreVote", from_=3, to=1, term=3, index=99, log_term=2), LATER + 100 * MS)
    (reply,) = flush(node)
    assert (reply.type, reply.reject, reply.remaining_ns) == ("MsgPreVoteResp", True, D - 100 * MS)


def test_a_learner_keeps_its_promise() -> None:
    node = follower(voters=(2, 3), learners=(1,))
    assert reply_to(node, heartbeat(), LATER).promised_ns == D
    assert not granted(node, LATER + D - 1)


@pytest.mark.parametrize("promise_ns", [0, D])
def test_a_restarted_member_waits_out_the_longest_promise_of_its_past(promise_ns: int) -> None:
    node = member(hard_state=DURABLE, promise_ns=promise_ns)
    node.campaign(LATER - 1)
    assert node.role == "StateFollower"
    assert not granted(node, LATER - 1)
    assert not granted(node, LATER - 1, from_=2)  # nobody is known to be the holder
    assert granted(node, LATER)


def test_the_wait_starts_with_the_first_reading_of_the_clock() -> None:
    node = member(hard_state=DURABLE, now_ns=0)
    assert not granted(node, 0)
    node.tick(NOW)
    assert not granted(node, NOW + D - 1)
    assert granted(node, NOW + D)


def test_a_member_that_never_promised_need_not_wait() -> None:
    assert granted(member(promise_ns=D), NOW)


# ---- the leader's side


def leader(**options: Any) -> tuple[RawNode, Lease]:
    lease = Lease()
    node = member(promise_ns=D, lease=lease, **options)
    elect(node)
    flush(node)
    return node, lease


def acknowledge(node: RawNode, sender: int, now_ns: int = NOW, **fields: Any) -> None:
    """A reply that stores everything and promises D, unless told otherwise."""
    answer = {"index": node.last_index, "stamp_ns": NOW, "promised_ns": D, **fields}
    node.step(Message("MsgAppResp", from_=sender, to=1, **{"term": node.term, **answer}), now_ns)


UNIT = 1 << 20


def test_the_lease_starts_only_when_the_own_term_entry_is_applied() -> None:
    node, lease = leader()
    acknowledge(node, 2)
    assert node.commit == node.own_term_index
    assert lease.expiry_ns == 0
    flush(node)
    assert lease.expiry_ns == (NOW + D * 7 // 9 - 1) // UNIT * UNIT


@pytest.mark.parametrize(
    ("fields", "until"),
    [
        ({}, NOW + D * 7 // 9),
        ({"promised_ns": D // 3}, NOW + D // 3 * 7 // 9),
        ({"stamp_ns": NOW - 100 * MS}, NOW - 100 * MS + D * 7 // 9),
        ({"promised_ns": 0}, None),
        ({"stamp_ns": 0}, None),
        ({"stamp_ns": NOW + 1}, None),  # a stamp from the future is not ours
        ({"promised_ns": 10_000 * MS + 1}, None),
        ({"term": 1}, None),
        ({"index": 5, "reject": True, "reject_hint": 5}, NOW + D * 7 // 9),
    ],
)
def test_what_a_reply_is_worth(fields: dict[str, Any], until: int | None) -> None:
    node, lease = leader()
    acknowledge(node, 2, promised_ns=0, stamp_ns=0)
    flush(node)
    assert lease.expiry_ns == 0
    acknowledge(node, 2, **fields)
    assert lease.expiry_ns == (0 if until is None else (until - 1) // UNIT * UNIT)


def test_a_majority_is_needed_and_learners_do_not_count() -> None:
    lease = Lease()
    node = member(voters=(1, 2, 3, 4, 5), learners=(6,), promise_ns=D, lease=lease)
    node.campaign(NOW)
    flush(node)
    for voter in (2, 3):
        node.step(Message("MsgVoteResp", from_=voter, to=1, term=node.term), NOW)
    flush(node)
    for voter in (2, 3, 4):
        acknowledge(node, voter, promised_ns=0)
    flush(node)
    for sender in (2, 6):
        acknowledge(node, sender)
        assert lease.expiry_ns == 0
    acknowledge(node, 4)
    assert lease.valid_at(NOW)


def test_the_lease_of_a_joint_configuration_is_the_smaller_of_both_halves() -> None:
    lease = Lease()
    node = member(voters=(1, 2, 3), outgoing=(1, 4, 5), promise_ns=D, lease=lease)
    node.campaign(NOW)
    flush(node)
    for voter in (2, 4):
        node.step(Message("MsgVoteResp", from_=voter, to=1, term=node.term), NOW)
    flush(node)
    acknowledge(node, 2)
    acknowledge(node, 4, promised_ns=0)
    flush(node)
    assert lease.expiry_ns == 0
    acknowledge(node, 5, promised_ns=D // 9)
    assert lease.expiry_ns == (NOW + D // 9 * 7 // 9 - 1) // UNIT * UNIT


def granted_lease() -> tuple[RawNode, Lease]:
    node, lease = leader()
    acknowledge(node, 2)
    flush(node)
    assert lease.valid_at(NOW)
    return node, lease


@pytest.mark.parametrize(
    "withdraw",
    [
        lambda node: node.transfer(2, NOW),
        lambda node: node.step_down(NOW),
        lambda node: node.step(Message("MsgAppResp", from_=3, to=1, term=9), NOW),
        lambda node: node.fail(),
    ],
    ids=["transfer", "step down", "higher term", "failure"],
)
def test_the_word_is_cleared_in_the_step_that_gives_leadership_away(withdraw: Any) -> None:
    node, lease = granted_lease()
    generation = lease.generation
    withdraw(node)
    assert not lease.valid_at(NOW)
    assert lease.generation > generation
    assert not lease.extend(NOW + D, generation)


def test_replies_after_a_transfer_bring_no_lease_back() -> None:
    node, lease = granted_lease()
    node.transfer(2, NOW)
    acknowledge(node, 2)
    acknowledge(node, 3)
    assert not lease.valid_at(NOW)
    node.tick(NOW)
    assert [each.promise_ns for each in flush(node) if each.type == "MsgHeartbeat"] == [0, 0]


def test_leases_off_means_no_stamp_no_promise_and_no_word() -> None:
    lease = Lease()
    node = member(lease=lease)
    elect(node)
    sent = flush(node)
    assert {(each.stamp_ns, each.promise_ns) for each in sent} == {(0, 0)}
    acknowledge(node, 2)
    flush(node)
    assert lease.expiry_ns == 0
