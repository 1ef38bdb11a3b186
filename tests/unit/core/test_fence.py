"""The fence: the applied index under a valid lease, nothing otherwise."""

from __future__ import annotations

import gc

import pytest

from tenure._core import clock, fence
from tenure._core.applied_index import AppliedIndex
from tenure._core.fence import Fence
from tenure._core.lease import Lease


@pytest.fixture
def held() -> tuple[Lease, AppliedIndex, Fence]:
    lease, applied = Lease(), AppliedIndex()
    lease.extend(clock.now_ns() + 10**12, 1)
    applied.publish(41)
    return lease, applied, Fence(lease, applied)


def test_under_a_lease_it_gives_the_applied_index(held: tuple[Lease, AppliedIndex, Fence]) -> None:
    _, applied, checked = held
    assert checked.try_lease_read() == 41
    applied.publish(1 << 40)
    assert checked.try_lease_read() == 1 << 40


def test_index_zero_is_an_answer_and_not_a_refusal() -> None:
    lease = Lease()
    lease.extend(clock.now_ns() + 10**12, 1)
    assert Fence(lease, AppliedIndex()).try_lease_read() == 0


def test_without_a_lease_it_refuses(held: tuple[Lease, AppliedIndex, Fence]) -> None:
    lease, applied, checked = held
    assert Fence(Lease(), applied).try_lease_read() is None
    lease.invalidate()
    assert checked.try_lease_read() is None
    lease.extend(clock.now_ns() + 10**12, lease.generation)
    assert checked.try_lease_read() == 41
    lease.close()
    assert checked.try_lease_read() is None


def test_after_its_end_it_refuses() -> None:
    lease, applied = Lease(), AppliedIndex()
    checked = Fence(lease, applied)
    end_ns = clock.now_ns() + 30_000_000
    lease.extend(end_ns, 1)
    answers = []
    while clock.now_ns() < end_ns:
        answers.append(checked.try_lease_read())
    assert answers[0] == 0
    assert checked.try_lease_read() is None


def test_h08_without_a_clock_it_refuses(held: tuple[Lease, AppliedIndex, Fence]) -> None:
    _, _, checked = held
    try:
        fence._set_clock_source(9999)
        assert checked.try_lease_read() is None
    finally:
        fence._set_clock_source(clock.CLOCK_ID)
    assert checked.try_lease_read() == 41


def test_it_outlives_the_objects_it_was_made_of() -> None:
    lease, applied = Lease(), AppliedIndex()
    lease.extend(clock.now_ns() + 10**12, 1)
    applied.publish(5)
    checked = Fence(lease, applied)
    del lease, applied
    gc.collect()
    noise = [(Lease(), AppliedIndex()) for _ in range(100)]
    assert checked.try_lease_read() == 5
    assert len(noise) == 100


@pytest.mark.parametrize("arguments", [(None, None), (1, 2), (), (Lease(),), (AppliedIndex(), Lease())])
def test_it_is_made_of_a_lease_and_an_applied_index(arguments: tuple[object, ...]) -> None:
    with pytest.raises(TypeError):
        Fence(*arguments)  # type: ignore[arg-type]
