"""Leases of others that depend on a member's leadership: withdrawn with it, in the step that withdraws it.

Each test fails when `lease_withdraw` leaves the dependents alone, or touches them where nothing was lost.
"""

from __future__ import annotations

from typing import Any

import pytest

from tenure._core.lease import Lease
from tenure._raft.node import Message, RawNode

from .members import MS, NOW, VOTERS, elect, flush, member

FAR = NOW + 3_600_000 * MS


def leader(**options: Any) -> tuple[RawNode, Lease]:
    """A leader, and a lease that depends on it and stands."""
    node = member(lease=Lease(), **options)
    elect(node)
    flush(node)
    lease = Lease()
    node.add_dependent(lease)
    assert lease.extend(FAR, lease.generation)
    return node, lease


def test_a_higher_term_withdraws_it_before_the_answer_leaves() -> None:
    node, lease = leader()
    generation = lease.generation
    node.step(Message("MsgApp", from_=2, to=1, term=node.term + 1, index=10, log_term=1), NOW)
    assert not lease.valid_at(NOW)
    assert not lease.extend(FAR, generation)  # what was proved before the loss proves nothing after it (H20)


def test_a_transfer_withdraws_it_in_the_step_that_queues_timeout_now() -> None:
    node, lease = leader(promise_ns=900 * MS)
    reply = {"from_": 2, "to": 1, "term": node.term, "index": node.last_index}
    node.step(Message("MsgAppResp", **reply), NOW)
    node.transfer(2, NOW)
    assert node.has_ready()
    assert not lease.valid_at(NOW)


def test_it_is_withdrawn_at_once_where_nobody_leads() -> None:
    node = member(lease=Lease())
    lease = Lease()
    lease.extend(FAR, lease.generation)
    node.add_dependent(lease)
    assert not lease.valid_at(NOW)


def test_taken_back_it_stands_on_its_own() -> None:
    node, lease = leader()
    node.add_dependent(lease)
    node.drop_dependent(lease)  # once of twice
    node.step_down(NOW)
    assert not lease.valid_at(NOW)
    node.drop_dependent(lease)
    node.drop_dependent(lease)  # there is nothing left to drop
    lease.extend(FAR, lease.generation)
    del node
    assert lease.valid_at(NOW)


def test_a_member_that_is_gone_closes_what_depends_on_it() -> None:
    node, lease = leader()
    del node
    assert lease.generation == 0


def test_the_word_outlives_the_object_that_was_registered() -> None:
    node, lease = leader()
    del lease
    node.step_down(NOW)
    assert node.role == "StateFollower"


@pytest.mark.parametrize("others", [0, 1, 5])
def test_all_of_them_are_withdrawn(others: int) -> None:
    node, lease = leader(voters=VOTERS)
    more = [Lease() for _ in range(others)]
    for one in more:
        node.add_dependent(one)
        one.extend(FAR, one.generation)
    node.step_down(NOW)
    assert not any(one.valid_at(NOW) for one in (lease, *more))
