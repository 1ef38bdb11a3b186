"""Election rules: who may be voted for, by whom, and when."""

from __future__ import annotations

import pytest

from tenure import errors
from tenure._raft.node import HardState, Message, RawNode

from .members import MS, NOW, elect, flush, member


def ask(node: RawNode, kind: str = "MsgVote", **fields: int) -> str:
    """Ask member 1 for its vote as member 2; the answer: granted, rejected or silence."""
    request = {"term": 5, "index": 13, "log_term": 2, **fields}
    node.step(Message(kind, from_=request.pop("from_", 2), to=1, **request), NOW)
    replies = [each for each in flush(node) if each.type == kind + "Resp"]
    return "silence" if not replies else "rejected" if replies[0].reject else "granted"


@pytest.mark.parametrize(
    ("index", "log_term", "answer"),
    [(13, 2, "granted"), (14, 2, "granted"), (11, 3, "granted"), (12, 2, "rejected"), (99, 1, "rejected")],
)
@pytest.mark.parametrize("kind", ["MsgVote", "MsgPreVote"])
def test_a_vote_goes_only_to_a_log_that_is_up_to_date(kind: str, index: int, log_term: int, answer: str) -> None:
    assert ask(member(terms=(1, 1, 2)), kind, index=index, log_term=log_term) == answer


def test_one_vote_a_term_and_again_for_the_same_candidate() -> None:
    node = member(terms=(1, 1, 2))
    assert ask(node, from_=2) == "granted"
    assert ask(node, from_=3) == "rejected"
    assert ask(node, from_=2) == "granted"
    assert ask(node, from_=3, term=6) == "granted"


def test_a_vote_survives_a_restart() -> None:
    node = member(terms=(1, 1, 2), hard_state=HardState(term=5, vote=2))
    assert ask(node, from_=3) == "rejected"
    assert ask(node, from_=2) == "granted"


def test_a_pre_vote_changes_nothing() -> None:
    node = member(terms=(1, 1, 2))
    assert ask(node, "MsgPreVote") == "granted"
    assert (node.term, node.vote) == (2, 0)


def test_a_vote_waits_until_it_is_durable() -> None:
    node = member(terms=(1, 1, 2))
    node.step(Message("MsgVote", from_=2, to=1, term=5, index=13, log_term=2), NOW)
    ready = node.ready()
    assert ready.must_sync
    assert ready.hard_state == HardState(term=5, vote=2, commit=10)
    assert ready.messages == []
    assert [str(each) for each in ready.after_append] == ["1->2 MsgVoteResp Term:5 Log:0/0"]


def test_the_candidate_counts_its_own_vote_only_once_it_is_durable() -> None:
    node = member(voters=(1,))
    node.campaign(NOW)
    ready = node.ready()
    assert node.role == "StateCandidate"
    node.appended(ready.number, NOW)
    assert node.role == "StateLeader"


def test_a_follower_that_hears_its_leader_ignores_candidates_while_quorums_are_checked() -> None:
    node = member(terms=(1, 1, 2), check_quorum=True)
    node.step(Message("MsgHeartbeat", from_=3, to=1, term=2), NOW)
    assert ask(node) == "silence"
    assert node.term == 2
    for _ in range(9):
        node.tick(NOW)
    assert ask(node) == "silence"
    node.set_election_timeout(100)
    node.tick(NOW)
    assert ask(node) == "granted"


def test_a_release_passes_stickiness() -> None:
    node = member(terms=(1, 1, 2), check_quorum=True)
    node.step(Message("MsgHeartbeat", from_=3, to=1, term=2), NOW)
    assert ask(node, term=3, release_term=2) == "granted"


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_a_leader_needs_a_majority(size: int) -> None:
    node = member(voters=tuple(range(1, size + 1)))
    node.campaign(NOW)
    flush(node)
    votes = 1
    for voter in range(2, size + 1):
        assert (node.role == "StateLeader") == (votes > size // 2)
        node.step(Message("MsgVoteResp", from_=voter, to=1, term=node.term), NOW)
        votes += 1
    assert node.role == "StateLeader"


def test_in_a_joint_configuration_both_halves_must_agree() -> None:
    node = member(voters=(1, 2, 3), outgoing=(1, 4, 5))
    node.campaign(NOW)
    flush(node)
    for voter in (2, 3):
        node.step(Message("MsgVoteResp", from_=voter, to=1, term=node.term), NOW)
        assert node.role == "StateCandidate"
    node.step(Message("MsgVoteResp", from_=4, to=1, term=node.term), NOW)
    assert node.role == "StateLeader"


def test_learners_and_strangers_do_not_campaign_and_their_votes_do_not_count() -> None:
    learner = member(3, voters=(1, 2), learners=(3,))
    learner.campaign(NOW)
    for _ in range(50):
        learner.tick(NOW)
    assert learner.role == "StateFollower"

    node = member(voters=(1, 2), learners=(3,))
    node.campaign(NOW)
    flush(node)
    node.step(Message("MsgVoteResp", from_=3, to=1, term=node.term), NOW)
    with pytest.raises(errors.Refused, match="UnknownPeer"):
        node.step(Message("MsgVoteResp", from_=9, to=1, term=node.term), NOW)
    assert node.role == "StateCandidate"


def test_two_rejections_send_the_candidate_back() -> None:
    node = member()
    node.campaign(NOW)
    flush(node)
    for voter in (2, 3):
        node.step(Message("MsgVoteResp", from_=voter, to=1, term=node.term, reject=True), NOW)
    assert (node.role, node.term) == ("StateFollower", 2)


def test_election_timeouts_are_spread_and_the_same_for_the_same_seed() -> None:
    timeouts = {seed: member(seed=seed).election_timeout for seed in range(50)}
    assert timeouts == {seed: member(seed=seed).election_timeout for seed in range(50)}
    assert set(timeouts.values()) == set(range(10, 20))


def test_a_leader_without_an_active_quorum_steps_down() -> None:
    node = member(check_quorum=True)
    elect(node)
    flush(node)
    for _ in range(20):
        node.tick(NOW)
    assert (node.role, node.lead) == ("StateFollower", 0)


def test_only_entries_of_the_own_term_are_committed_by_counting() -> None:
    node = member(terms=(1, 1))
    elect(node)
    flush(node)
    node.step(Message("MsgAppResp", from_=2, to=1, term=2, index=12), NOW)
    assert node.commit == 10
    node.step(Message("MsgAppResp", from_=2, to=1, term=2, index=13), NOW)
    assert node.commit == 13


def test_ticks_before_the_end_of_the_rest_do_nothing_for_a_follower() -> None:
    node = member(terms=(1,))
    node.set_election_timeout(13)
    for rest in range(13, 1, -1):
        assert node.rest_ticks() == rest
        node.tick(NOW)
        assert not node.has_ready()
    assert node.rest_ticks() == 1
    node.tick(NOW)
    assert node.has_ready()
    assert node.term == 2


def test_ticks_before_the_end_of_the_rest_do_nothing_for_a_leader() -> None:
    node = member(terms=(1,), heartbeat_ticks=4)
    elect(node)
    flush(node)
    acted: list[int] = []
    for turn in range(1, 13):
        resting = node.rest_ticks() > 1
        node.tick(NOW)
        if node.has_ready():
            assert not resting
            acted.append(turn)
        flush(node)
    assert acted == [4, 8, 12]


def test_a_campaign_set_for_an_instant_leaves_no_rest() -> None:
    """A refused pre-vote names the time at which to ask again: no number of ticks tells when that is."""
    node = member(terms=(1,), pre_vote=True, promise_ns=MS)
    node.set_election_timeout(5)
    assert node.rest_ticks() == 5
    node.campaign(NOW)
    flush(node)
    for other in (2, 3):
        refusal = Message("MsgPreVoteResp", from_=other, to=1, term=node.term, reject=True, remaining_ns=40 * MS)
        node.step(refusal, NOW)
    assert node.rest_ticks() == 1
