"""Helpers of these tests: one member, whose host is the test."""

from __future__ import annotations

from typing import Any

from tenure._raft.node import Configuration, Entry, HardState, Message, RawNode, Ready, Snapshot

NOW = 5_000_000_000_000
MS = 1_000_000
VOTERS = (1, 2, 3)


def member(number: int = 1, *, terms: tuple[int, ...] = (), **options: Any) -> RawNode:
    """A member behind a snapshot at 10 (term 1), with entries of these terms after it. No leases unless asked for.

    `recovered` are entries to recover instead; `node_type` may be the class of the proof build.
    """
    recovered = options.pop("recovered", entries(11, *terms))
    node_type: type[RawNode] = options.pop("node_type", RawNode)
    hard_state = options.pop("hard_state", HardState(term=max((1, *terms))))
    defaults = {
        "voters": VOTERS,
        "election_ticks": 10,
        "heartbeat_ticks": 1,
        "pre_vote": False,
        "check_quorum": False,
        "async_storage": False,
        "promise_ns": 0,
        "now_ns": NOW,
    }
    snapshot = Snapshot(10, 1, Configuration(voters=VOTERS))
    return node_type(
        number,
        hard_state=hard_state,
        snapshot=snapshot,
        entries=recovered,
        **{**defaults, **options},
    )


def entries(first: int, *terms: int) -> list[Entry]:
    return [Entry(term, first + offset, b"%d/%d" % (term, first + offset)) for offset, term in enumerate(terms)]


def append(term: int, index: int, log_term: int, *terms: int, commit: int = 0, **more: Any) -> Message:
    """An append from member 2 to member 1."""
    return Message(
        "MsgApp",
        from_=2,
        to=1,
        term=term,
        index=index,
        log_term=log_term,
        commit=commit,
        entries=entries(index + 1, *terms),
        **more,
    )


def terms_of(node: RawNode) -> list[int]:
    return [entry.term for entry in node.entries]


def flush(node: RawNode, now_ns: int = NOW) -> list[Message]:
    """Be a host with a perfect disk until nothing is left to do; what would have been sent."""
    sent: list[Message] = []
    while node.has_ready():
        ready = node.ready()
        sent += ready.messages
        finish(node, ready, now_ns)
        sent += ready.after_append
    return sent


def finish(node: RawNode, ready: Ready, now_ns: int = NOW) -> None:
    for entry in ready.committed:
        if entry.kind:
            node.apply_conf_change(entry, now_ns)
    node.appended(ready.number, now_ns)
    if ready.committed:
        node.applied_to(ready.committed[-1].index, now_ns)


def elect(node: RawNode, now_ns: int = NOW) -> None:
    """Make the member leader of its next term, with the vote of member 2 if its own is not enough."""
    node.campaign(now_ns)
    flush(node, now_ns)
    if node.role != "StateLeader":
        node.step(Message("MsgVoteResp", from_=2, to=node.id, term=node.term), now_ns)
    assert node.role == "StateLeader"
