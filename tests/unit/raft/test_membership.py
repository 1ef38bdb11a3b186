"""Changes of membership in the life of one member: what may be proposed, what applying does, what a restart knows."""

from __future__ import annotations

from typing import Any

import pytest

from tenure import errors
from tenure._core.lease import Lease
from tenure._proof.raft.node import RawNode as ProofNode
from tenure._raft.changes import Change, encode_change
from tenure._raft.node import Configuration, Entry, HardState, Message, RawNode, Snapshot

from .members import MS, NOW, elect, finish, flush, member

V1, V2 = 1, 2  # kinds of entries that carry changes
PROMISE = {"promise_ns": 900 * MS}


def changes(text: str) -> list[Change]:
    return [Change(word[0], int(word[1:])) for word in text.split()]


def change_entry(term: int, index: int, text: str, **options: Any) -> Entry:
    return Entry(term, index, encode_change(changes(text), **options), V2)


def acknowledge(node: RawNode, *members: int, now_ns: int = NOW, **fields: Any) -> None:
    """These members stored everything that the leader has; with promises if it asks for them."""
    for each in members:
        node.step(
            Message("MsgAppResp", from_=each, to=node.id, term=node.term, index=node.last_index, **fields), now_ns
        )


def leader(**options: Any) -> RawNode:
    """Leader of term 2 with its first entry, 11, committed and applied everywhere."""
    node = member(**options)
    elect(node)
    settle(node)
    return node


def settle(node: RawNode, *members: int, **fields: Any) -> list[Message]:
    """Everybody (or these) acknowledges until nothing is left to do; what was sent."""
    sent = flush(node)
    while node.role == "StateLeader" and node.commit < node.last_index:
        before = node.commit
        acknowledge(node, *(members or [each for each in node.progress if each != node.id]), **fields)
        sent += flush(node)
        assert node.commit > before, "nothing is committed"
    return sent


def change(node: RawNode, text: str, **options: Any) -> str | None:
    return node.propose_conf_change(changes(text), NOW, **options)


def members_of(node: RawNode) -> str:
    return node.describe_members()


# ---- proposing


def test_a_change_takes_effect_when_it_is_applied() -> None:
    node = leader()
    assert change(node, "v4") is None
    assert node.entries[-1] == change_entry(2, 12, "v4")
    assert members_of(node) == "voters=(1 2 3)"
    settle(node)
    assert (members_of(node), node.configuration_index) == ("voters=(1 2 3 4)", 12)
    assert sorted(node.progress) == [1, 2, 3, 4]


def test_a_v1_change_is_an_entry_of_its_own_kind() -> None:
    node = leader()
    assert change(node, "v4", v1=True) is None
    assert node.entries[-1].kind == V1
    settle(node)
    assert members_of(node) == "voters=(1 2 3 4)"


def test_the_second_change_waits_until_the_first_is_applied() -> None:
    node = leader()
    assert change(node, "v4") is None
    assert change(node, "v5") == "ChangePending"
    assert node.entries[-1] == Entry(2, 13, b"", 0)
    node.appended(node.ready().number, NOW)
    acknowledge(node, 2)
    assert node.commit == 13
    assert change(node, "v5") == "ChangePending"  # committed is not applied
    settle(node)
    assert change(node, "v5") is None


def test_a_new_leader_changes_nothing_before_it_has_applied_what_it_found() -> None:
    node = member(terms=(1, 1))
    elect(node)
    assert change(node, "v4") == "ChangePending"
    settle(node)
    assert change(node, "v4") is None


def test_a_joint_configuration_is_left_before_the_next_change() -> None:
    node = leader()
    assert change(node, "") == "NotJoint"
    settle(node)
    assert change(node, "v4 r3", transition="explicit") is None
    settle(node)
    assert members_of(node) == "voters=(1 2 4)&&(1 2 3)"
    assert change(node, "v5") == "AlreadyJoint"
    settle(node)
    assert change(node, "") is None
    settle(node)
    assert members_of(node) == "voters=(1 2 4)"


@pytest.mark.parametrize("options", [{"transition": "implicit"}, {}], ids=["implicit", "auto with two changes"])
def test_an_automatic_transition_is_left_once_everything_is_applied(options: dict[str, str]) -> None:
    node = leader()
    assert change(node, "v4 r3", **options) is None
    settle(node)
    assert members_of(node) == "voters=(1 2 4)"
    assert [entry.kind for entry in node.entries] == [0, V2, V2]


@pytest.mark.parametrize(
    ("text", "options", "refusal"),
    [
        ("r1 r2 r3", {}, "NoVoters"),
        ("v0", {}, "BadChange"),
        ("", {"transition": "explicit"}, "BadChange"),
        (" ".join(f"v{n}" for n in range(1, 34)), {}, "TooManyMembers"),
    ],
)
def test_a_change_that_cannot_be_made_is_refused_and_leaves_nothing(
    text: str, options: dict[str, str], refusal: str
) -> None:
    node = leader()
    with pytest.raises(errors.InvalidArgument, match=refusal):
        change(node, text, **options)
    assert node.last_index == 11
    assert change(node, "v4") is None


def test_who_may_not_propose_says_why() -> None:
    node = member()
    with pytest.raises(errors.NotLeader):
        change(node, "v4")
    elect(node)
    settle(node)
    node.step(Message("MsgHeartbeatResp", from_=2, to=1, term=2), NOW)
    node.transfer(2, NOW)
    with pytest.raises(errors.ProposalRefused, match="TransferInProgress"):
        change(node, "v4")
    assert node.last_index == 11


def test_a_removed_leader_that_goes_on_proposes_nothing() -> None:
    node = leader(on_removal="stay")
    change(node, "r1")
    settle(node)
    assert node.role == "StateLeader"
    for propose in (lambda: change(node, "v4"), lambda: node.propose(b"x", NOW)):
        with pytest.raises(errors.Refused, match="Removed"):
            propose()


def test_every_append_with_a_change_covers_the_change_before_it() -> None:
    """What a member that stores a change needs to know: that the change before it is committed."""
    node = leader(**PROMISE)
    sent = []
    for text in ("v4", "v5", "v6 r2", "l3", "r3"):
        assert change(node, text) is None
        sent += settle(node)
    indexes = [entry.index for entry in node.entries if entry.kind]
    carried = 0
    for message in (each for each in sent if each.type == "MsgApp"):
        for entry in message.entries:
            if entry.index in indexes[1:]:
                former = max(index for index in indexes if index < entry.index)
                assert message.commit >= former
                carried += 1
    assert carried > 10


# ---- applying


def handed_out(node: RawNode, text: str) -> Any:
    """A Ready of the leader with this change committed; acknowledged, not applied."""
    change(node, text)
    flush(node)
    acknowledge(node, 2)
    ready = node.ready()
    assert [entry.kind for entry in ready.committed] == [V2]
    node.appended(ready.number, NOW)
    return ready


def test_a_host_that_forgets_to_apply_a_change_is_stopped() -> None:
    node = leader()
    ready = handed_out(node, "v4")
    with pytest.raises(errors.MemberFailed):
        node.applied_to(ready.committed[-1].index, NOW)
    assert node.failed == "InvariantBroken"


def test_applying_a_change_twice_changes_nothing_more() -> None:
    node = leader()
    ready = handed_out(node, "v4")
    first = node.apply_conf_change(ready.committed[0], NOW)
    assert node.apply_conf_change(ready.committed[0], NOW) == first
    node.applied_to(12, NOW)
    assert node.configuration == Configuration(voters=(1, 2, 3, 4))


@pytest.mark.parametrize("data", [b"\x02what a later version writes", b"\x01"])
def test_a_change_that_cannot_be_read_stops_the_member(data: bytes) -> None:
    node = member()
    node.step(Message("MsgApp", from_=2, to=1, term=2, index=10, log_term=1, commit=11,
                      entries=[Entry(2, 11, data, V2)]), NOW)  # fmt: skip
    ready = node.ready()
    with pytest.raises(errors.MemberFailed):
        node.apply_conf_change(ready.committed[0], NOW)
    assert node.failed == "InvariantBroken"


def test_what_was_not_handed_out_is_not_applied() -> None:
    node = leader()
    change(node, "v4")
    with pytest.raises(errors.MemberFailed):
        node.apply_conf_change(node.entries[-1], NOW)


def test_without_validation_an_impossible_change_changes_nothing_anywhere() -> None:
    node = leader(disable_change_validation=True)
    assert change(node, "") is None  # there is nothing to leave
    flush_refusing(node)
    assert (members_of(node), node.failed) == ("voters=(1 2 3)", None)
    assert change(node, "v4") is None
    assert change(node, "v5") is None
    settle(node)
    assert members_of(node) == "voters=(1 2 3 4 5)"


def flush_refusing(node: RawNode) -> None:
    flush(node)
    acknowledge(node, 2)
    ready = node.ready()
    with pytest.raises(errors.ProposalRefused, match="NotJoint"):
        node.apply_conf_change(ready.committed[0], NOW)
    node.appended(ready.number, NOW)
    node.applied_to(ready.committed[-1].index, NOW)


def test_switching_validation_off_switches_leases_off() -> None:
    lease = Lease()
    node = leader(disable_change_validation=True, lease=lease, **PROMISE)
    node.tick(NOW)
    sent = flush(node)
    assert sent
    assert {(each.stamp_ns, each.promise_ns) for each in sent} == {(0, 0)}
    acknowledge(node, 2, 3, stamp_ns=NOW, promised_ns=900 * MS)
    assert not lease.valid_at(NOW + 1)


def test_a_removal_commits_what_only_the_removed_was_missing() -> None:
    node = leader()
    change(node, "r3")
    node.propose(b"waits for two of three", NOW)
    flush(node)
    node.step(Message("MsgAppResp", from_=2, to=1, term=2, index=12), NOW)
    node.step(Message("MsgAppResp", from_=3, to=1, term=2, index=12), NOW)
    assert node.commit == 12
    node.step(Message("MsgAppResp", from_=2, to=1, term=2, index=13), NOW)
    settle(node, 2)
    assert (members_of(node), node.commit) == ("voters=(1 2)", 13)


def test_newcomers_are_fed_at_once_and_have_an_election_timeout_to_answer() -> None:
    node = leader(voters=(1,), check_quorum=True)
    change(node, "v2")
    assert [(each.type, each.to, each.index) for each in flush(node)] == [("MsgApp", 2, 11)]
    for _ in range(19):
        node.tick(NOW)
        assert node.role == "StateLeader"
    node.tick(NOW)
    assert node.role == "StateFollower"


def test_replies_of_strangers_are_refused_whatever_their_term() -> None:
    node = leader()
    change(node, "r3")
    settle(node)
    for kind in ("MsgAppResp", "MsgHeartbeatResp", "MsgVoteResp", "MsgPreVoteResp"):
        with pytest.raises(errors.Refused, match="UnknownPeer"):
            node.step(Message(kind, from_=3, to=1, term=99, index=50, reject=True), NOW)
    assert (node.role, node.term) == ("StateLeader", 2)


def test_a_read_of_a_stranger_is_refused_and_not_left_to_wait() -> None:
    node = leader()
    node.step(Message("MsgReadIndex", from_=9, to=1, term=2, read_id=5), NOW)
    assert [str(each) for each in flush(node)] == ["1->9 MsgReadIndexResp Term:2 Log:0/0 Rejected (Hint: 0) Read:5"]


def test_reads_that_waited_for_members_that_leave_are_confirmed_by_who_stays() -> None:
    node = leader(voters=(1, 2))
    node.read_index(1, NOW)
    change(node, "r2")
    flush(node)
    acknowledge(node, 2)
    answered = []
    while node.has_ready():
        ready = node.ready()
        answered += ready.reads
        finish(node, ready)
    assert members_of(node) == "voters=(1)"
    assert [(read.read_id, read.code) for read in answered] == [(1, "OK")]


def test_a_transfer_to_a_member_that_leaves_is_given_up() -> None:
    node = leader()
    ready = handed_out(node, "r3")
    node.propose(b"3 lags", NOW)
    node.transfer(3, NOW)
    assert node.transferee == 3
    node.apply_conf_change(ready.committed[0], NOW)
    assert node.transferee == 0


# ---- the lease


def promised(node: RawNode, *members: int, now_ns: int = NOW) -> None:
    acknowledge(node, *members, now_ns=now_ns, stamp_ns=now_ns, promised_ns=900 * MS)


def leader_with_lease(**options: Any) -> tuple[RawNode, Lease]:
    lease = Lease()
    node = leader(lease=lease, **PROMISE, **options)
    promised(node, 2, 3)
    assert lease.valid_at(NOW + 600 * MS)
    return node, lease


def test_a_learner_does_not_touch_the_lease() -> None:
    node, lease = leader_with_lease()
    generation = lease.generation
    change(node, "l4")
    settle(node, 2, 3)
    assert lease.generation == generation
    assert lease.valid_at(NOW + 600 * MS)


def test_a_switch_goes_on_in_the_next_generation() -> None:
    node, lease = leader_with_lease()
    generation = lease.generation
    change(node, "v4")
    settle(node, 2, 3)
    assert lease.generation == generation + 1
    assert lease.valid_at(NOW + 600 * MS)
    assert not lease.extend(
        NOW + 2000 * MS, generation
    )  # what was proved under the former configuration comes too late


def test_who_invalidated_the_word_has_ended_the_term_s_lease_for_the_next_configuration_too() -> None:
    node, lease = leader_with_lease()
    lease.invalidate()
    change(node, "v4")
    settle(node, 2, 3)
    promised(node, 2, 3, 4)
    assert not lease.valid_at(NOW + 1)


@pytest.mark.parametrize("text", ["r1", "l1"])
def test_a_leader_that_is_no_voter_any_more_has_no_lease_in_its_term(text: str) -> None:
    node, lease = leader_with_lease(on_removal="stay")
    ready = handed_out(node, text)
    assert lease.valid_at(NOW + 1)
    node.apply_conf_change(ready.committed[0], NOW)
    assert not lease.valid_at(NOW + 1)
    node.applied_to(12, NOW)
    promised(node, 2, 3)
    assert (node.role, node.lease_cleared) == ("StateLeader", True)
    assert not lease.valid_at(NOW + 1)


def test_a_leader_that_removes_itself_goes_once_those_who_stay_have_heard_of_it() -> None:
    node, lease = leader_with_lease()
    ready = handed_out(node, "r1")
    node.apply_conf_change(ready.committed[0], NOW)
    assert not lease.valid_at(NOW + 1)
    with pytest.raises(errors.Refused, match="Removed"):
        node.propose(b"x", NOW)
    node.applied_to(12, NOW)
    assert not [each for each in flush(node) if each.type == "MsgHeartbeat"]  # 3 has not even stored it
    acknowledge(node, 3)
    heartbeats = [each for each in flush(node) if each.type == "MsgHeartbeat"]
    assert [(each.to, each.commit, each.promise_ns) for each in heartbeats] == [(2, 12, 0), (3, 12, 0)]
    for voter in (2, 3):
        assert node.role == "StateLeader"
        node.step(Message("MsgHeartbeatResp", from_=voter, to=1, term=2, round=heartbeats[0].round), NOW)
    assert node.role == "StateFollower"
    assert [str(each) for each in flush(node)] == ["1->2 MsgTimeoutNow Term:2 Log:0/0 Release:2"]


def test_a_leader_that_is_to_step_down_at_once_does() -> None:
    node, lease = leader_with_lease(on_removal="step-down")
    ready = handed_out(node, "r1")
    node.apply_conf_change(ready.committed[0], NOW)
    assert (node.role, lease.valid_at(NOW + 1)) == ("StateFollower", False)


def test_a_successor_named_too_early_campaigns_when_it_has_applied_the_change() -> None:
    node = member(hard_state=HardState(term=2, commit=11), recovered=[change_entry(2, 11, "r3")])
    ready = node.ready()
    node.step(Message("MsgTimeoutNow", from_=2, to=1, term=2, release_term=2), NOW)
    assert node.role == "StateFollower"
    node.apply_conf_change(ready.committed[0], NOW)
    node.appended(ready.number, NOW)
    node.applied_to(11, NOW)
    assert node.role == "StateCandidate"
    assert [(each.to, each.release_term) for each in flush(node)] == [(2, 2)]


@pytest.mark.parametrize("kind", ["MsgVote", "MsgPreVote"])
def test_a_refused_vote_says_what_is_committed(kind: str) -> None:
    node = member(terms=(1, 1, 1), hard_state=HardState(term=1, commit=12))
    flush(node)
    node.step(Message(kind, from_=2, to=1, term=2, index=12, log_term=1), NOW)
    (reply,) = flush(node)
    assert (reply.reject, reply.commit, reply.log_term) == (True, 12, 1)


def test_a_candidate_of_a_former_configuration_learns_that_it_is_gone() -> None:
    node = member(voters=(1, 2), hard_state=HardState(term=2), recovered=[change_entry(2, 11, "r2")], pre_vote=True)
    node.campaign(NOW)
    assert node.role == "StatePreCandidate"
    refusal = {"from_": 2, "to": 1, "term": 2, "reject": True, "commit": 11}
    node.step(Message("MsgPreVoteResp", log_term=1, **refusal), NOW)  # another entry than ours
    assert node.commit == 10
    node.campaign(NOW)
    node.step(Message("MsgPreVoteResp", log_term=2, **refusal), NOW)
    assert (node.role, node.commit) == ("StateFollower", 11)
    flush(node)
    assert members_of(node) == "voters=(1)"
    node.campaign(NOW)
    flush(node)
    assert node.role == "StateLeader"


def test_whoever_leaves_and_returns_has_promised_nothing() -> None:
    node, _ = leader_with_lease()
    assert node.progress[3].lease_until_ns > NOW
    for text in ("r3", "v3"):
        change(node, text)
        settle(node, 2)
    assert node.progress[3].lease_until_ns == 0


def test_what_a_learner_promised_counts_once_it_is_promoted() -> None:
    node, lease = leader_with_lease()
    change(node, "l4")
    settle(node, 2, 3)
    promised(node, 4)
    change(node, "v4 r2 r3", transition="explicit")
    settle(node, 2, 3, 4)
    change(node, "")
    settle(node, 2, 3, 4)
    assert members_of(node) == "voters=(1 4)"
    assert lease.valid_at(NOW + 600 * MS)


def test_in_a_joint_configuration_the_half_that_promised_less_decides() -> None:
    node, lease = leader_with_lease()
    change(node, "v4 v5 r2 r3", transition="explicit")
    settle(node, 2, 3)
    assert members_of(node) == "voters=(1 4 5)&&(1 2 3)"
    assert not lease.valid_at(NOW + 1)
    promised(node, 4)
    assert lease.valid_at(NOW + 600 * MS)


# ---- snapshots and restarts


def test_a_snapshot_brings_its_configuration_and_outdates_changes_on_their_way() -> None:
    node = member()
    node.step(Message("MsgApp", from_=2, to=1, term=2, index=10, log_term=1, commit=11,
                      entries=[change_entry(2, 11, "v4")]), NOW)  # fmt: skip
    under_way = node.ready()
    joint = Configuration((1, 2, 5), (1, 2, 3), (6,), (3,), True)
    node.step(Message("MsgSnap", from_=2, to=1, term=2, snapshot=Snapshot(20, 2, joint)), NOW)
    assert (node.configuration, node.configuration_index) == (joint, 20)
    assert node.apply_conf_change(under_way.committed[0], NOW) == joint
    node.appended(under_way.number, NOW)
    flush(node)
    node.applied_to(20, NOW)
    assert (node.configuration, node.failed) == (joint, None)


@pytest.mark.parametrize(
    "configuration",
    [
        Configuration((1, 2), (), (2,)),
        Configuration((1, 2), (3,), (3,)),
        Configuration((1, 2), (), (), (2,)),
        Configuration((1, 2), (2,), (), (2,)),
        Configuration((1, 2), (3,), (), (1,)),
        Configuration((1, 2), auto_leave=True),
    ],
)
def test_a_snapshot_whose_configuration_contradicts_itself_is_not_taken_over(configuration: Configuration) -> None:
    node = member()
    node.step(Message("MsgSnap", from_=2, to=1, term=2, snapshot=Snapshot(20, 2, configuration)), NOW)
    assert (node.last_index, node.configuration.voters) == (10, (1, 2, 3))
    with pytest.raises(ValueError, match="contradicts itself"):
        member(**vars_of(configuration))


def vars_of(configuration: Configuration) -> dict[str, Any]:
    return {name: getattr(configuration, name) for name in configuration.__slots__}


def test_a_snapshot_is_noted_with_the_configuration_of_its_own_index() -> None:
    node = leader()
    node.propose(b"one", NOW)
    settle(node)
    change(node, "v4")
    settle(node)
    with pytest.raises(errors.InvalidArgument, match="Unavailable"):
        node.note_snapshot(12)
    node.note_snapshot(12, Configuration(voters=(1, 2, 3)))
    node.note_snapshot(13)


def test_a_committed_change_that_is_not_applied_forbids_to_campaign() -> None:
    node = member(voters=(1,), hard_state=HardState(term=2, commit=11), recovered=[change_entry(2, 11, "v2")])
    node.campaign(NOW)
    assert node.role == "StateFollower"
    flush(node)
    assert members_of(node) == "voters=(1 2)"
    node.campaign(NOW)
    assert node.role == "StateCandidate"


TWO_CHANGES = [change_entry(2, 11, "v4"), Entry(2, 12, b"x"), change_entry(2, 13, "v5"), Entry(2, 14, b"y")]


def test_after_a_restart_every_change_but_the_last_is_known_to_be_committed() -> None:
    """The commit index was lost: without this rule the member would campaign two configurations behind."""
    node = member(hard_state=HardState(term=2), recovered=TWO_CHANGES)
    assert node.commit == 11
    node.campaign(NOW)
    assert node.role == "StateFollower"
    flush(node)
    assert members_of(node) == "voters=(1 2 3 4)"
    node.campaign(NOW)
    assert node.role == "StateCandidate"


@pytest.mark.parametrize("commit", [10, 12, 14])
def test_what_is_stored_of_the_commit_index_is_never_lowered(commit: int) -> None:
    node = member(hard_state=HardState(term=2, commit=max(commit, 0)), recovered=TWO_CHANGES)
    assert node.commit == max(commit, 11)


def test_without_the_guard_a_restarted_member_campaigns_two_configurations_behind() -> None:
    node = member(hard_state=HardState(term=2), recovered=TWO_CHANGES, node_type=ProofNode, guards_off=1 << 17)
    assert node.commit == 10
    node.campaign(NOW)
    assert node.role == "StateCandidate"


def test_the_rule_needs_validation() -> None:
    node = member(hard_state=HardState(term=2), recovered=TWO_CHANGES, disable_change_validation=True)
    assert node.commit == 10
