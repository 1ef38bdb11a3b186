"""The bounded queue, used by one thread at a time: order, bounds, closing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tenure._core.queue import PointerQueue


@given(st.integers(1, 1000))
def test_capacity_is_rounded_up_to_a_power_of_two(wanted: int) -> None:
    capacity = PointerQueue(wanted).capacity
    assert capacity >= wanted
    assert capacity & (capacity - 1) == 0
    assert capacity < max(2 * wanted, 3)


def test_a_queue_nobody_could_hold_is_refused() -> None:
    with pytest.raises(MemoryError):
        PointerQueue(1 << 60)


def test_full_is_an_answer() -> None:
    queue = PointerQueue(4)
    assert [queue.push(i) for i in range(6)] == [True] * 4 + [False] * 2
    assert len(queue) == 4
    assert queue.pop_batch(1) == [0]
    assert queue.push(9)
    assert not queue.push(10)
    assert queue.pop_batch(100) == [1, 2, 3, 9]
    assert queue.pop_batch(100) == []


def test_a_closed_queue_refuses_pushes_and_gives_out_the_rest() -> None:
    queue = PointerQueue(4)
    queue.push(1)
    assert not queue.drained
    queue.close()
    queue.close()
    with pytest.raises(ValueError, match="closed"):
        queue.push(2)
    assert not queue.drained
    assert len(queue) == 1
    assert queue.pop_batch(10) == [1]
    assert queue.drained


class QueueAgainstAList(RuleBasedStateMachine):
    """Any sequence of calls does what a list with a bound does."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = PointerQueue(8)
        self.model: list[int] = []
        self.closed = False

    @precondition(lambda self: not self.closed)
    @rule(item=st.integers(0, (1 << 64) - 1))
    def push(self, item: int) -> None:
        if self.queue.push(item):
            self.model.append(item)
            assert len(self.model) <= 8
        else:
            assert len(self.model) == 8

    @rule(limit=st.integers(0, 12))
    def pop(self, limit: int) -> None:
        assert self.queue.pop_batch(limit) == self.model[:limit]
        del self.model[:limit]
        assert len(self.queue) == len(self.model)

    @rule(closing=st.integers(0, 19))
    def close(self, closing: int) -> None:
        if closing == 0:
            self.queue.close()
            self.closed = True
        assert self.queue.drained == (self.closed and not self.model)


TestQueueAgainstAList = QueueAgainstAList.TestCase
TestQueueAgainstAList.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
