"""`FencedRead`: one call that answers from the lease, or hands over to the slower way."""

from __future__ import annotations

import pytest

from tenure._core import clock
from tenure._core.applied_index import AppliedIndex
from tenure._core.fence import Fence, FencedRead
from tenure._core.lease import Lease


@pytest.fixture
def parts():
    lease, applied = Lease(), AppliedIndex()
    applied.publish(7)
    asked = []

    def slower(*, timeout):
        asked.append(timeout)
        return 99

    return lease, FencedRead(Fence(lease, applied), slower).lease_read, asked


def test_under_a_lease_the_applied_index_is_the_answer_and_nobody_else_is_asked(parts):
    lease, lease_read, asked = parts
    assert lease.extend(clock.now_ns() + 10**10, lease.generation)
    assert lease_read() == 7
    assert lease_read(timeout=3.0) == 7
    assert asked == []


def test_without_a_lease_the_slower_way_answers_and_learns_the_time_limit(parts):
    _, lease_read, asked = parts
    assert [lease_read(), lease_read(timeout=2.5)] == [99, 99]
    assert asked == [None, 2.5]


def test_a_lease_that_ended_is_not_used_again(parts):
    lease, lease_read, asked = parts
    lease.extend(clock.now_ns() + 10**10, lease.generation)
    lease.invalidate()
    assert lease_read() == 99
    assert asked == [None]


def test_what_the_slower_way_raises_is_raised(parts):
    lease, _, _ = parts

    def slower(*, timeout):
        raise TimeoutError(timeout)

    with pytest.raises(TimeoutError):
        FencedRead(Fence(lease, AppliedIndex()), slower).lease_read(timeout=1)


def test_the_time_limit_is_given_by_name(parts):
    _, lease_read, _ = parts
    with pytest.raises(TypeError):
        lease_read(1.0)
