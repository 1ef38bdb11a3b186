"""Threads that really run at once on every primitive. These are the tests to run in a ThreadSanitizer build."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import partial

import pytest

from tenure._core import clock, stress
from tenure._core.applied_index import AppliedIndex, WaitResult
from tenure._core.fence import Fence
from tenure._core.lease import Lease
from tenure._core.queue import PointerQueue

SCALE = float(os.environ.get("TENURE_STRESS", "1"))


def at_once(*calls: Callable[[], object]) -> list[object]:
    """Run the calls in threads of their own that start together; their results in order."""
    results: list[object] = [None] * len(calls)
    start = threading.Barrier(len(calls))

    def run(number: int) -> None:
        start.wait()
        results[number] = calls[number]()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads)
    return results


def test_the_lease_word_under_fire() -> None:
    storm = stress.LeaseStorm(Lease())
    count = int(200_000 * SCALE)
    results = at_once(
        lambda: storm.invalidate(count),
        lambda: storm.extend(count),
        lambda: storm.extend(count),
        lambda: storm.read(count),
        lambda: storm.read(count),
    )
    assert results == [0] * 5


def test_closing_under_fire_is_for_good() -> None:
    for _ in range(int(20 * SCALE) or 1):
        lease = Lease()
        extend = partial(stress.LeaseStorm(lease).extend, 20_000)
        at_once(extend, extend, lease.close)
        assert (lease.generation, lease.expiry_ns) == (0, 0)


def test_leases_made_shared_and_dropped_by_many_threads() -> None:
    def churn() -> int:
        bad = 0
        for _ in range(int(2000 * SCALE)):
            lease, applied = Lease(), AppliedIndex()
            lease.extend(clock.now_ns() + 10**12, 1)
            fences = [Fence(lease, applied) for _ in range(3)]
            del lease, applied
            bad += sum(fence.try_lease_read() != 0 for fence in fences)
        return bad

    assert at_once(churn, churn, churn, churn) == [0] * 4


def test_the_applied_index_never_goes_back_for_any_reader() -> None:
    applied = AppliedIndex()
    last = int(300_000 * SCALE)
    results = at_once(
        lambda: stress.publish_range(applied, 1, last),
        lambda: stress.watch_index(applied, last),
        lambda: stress.watch_index(applied, last),
        lambda: [applied.wait(index, 60 * 10**9) for index in range(1, last, max(1, last // 200))],
    )
    assert results[1:3] == [0, 0]
    assert set(results[3]) == {WaitResult.WAIT_REACHED}  # type: ignore[call-overload]


@pytest.mark.parametrize("with_epoll", [False, True], ids=["futex", "epoll"])
@pytest.mark.parametrize("capacity", [2, 16, 4096])
def test_everything_pushed_arrives_once_and_in_each_producers_order(with_epoll: bool, capacity: int) -> None:
    queue = PointerQueue(capacity)
    storm = stress.QueueStorm(queue, with_epoll)
    each = int((20_000 if capacity == 2 else 100_000) * SCALE)
    producers = 4
    *_, consumed = at_once(
        *(partial(storm.produce, number, each) for number in range(producers)),
        lambda: storm.consume(producers * each, 20 * 10**9),
    )
    assert consumed == (producers * each, 0)
    assert len(queue) == 0


def test_a_loop_that_is_awake_is_not_written_to() -> None:
    queue = PointerQueue(1 << 16)
    storm = stress.QueueStorm(queue, True)
    storm.produce(0, 10_000)
    assert storm.eventfd_writes == 0, "nobody was asleep"
    assert storm.consume(10_000, 10**9) == (10_000, 0)


@pytest.mark.parametrize("with_epoll", [False, True], ids=["futex", "epoll"])
def test_every_push_wakes_a_consumer_that_sleeps_after_each(with_epoll: bool) -> None:
    """Ping-pong over two queues: one lost wake-up and it stands still."""
    there, back = PointerQueue(2), PointerQueue(2)
    out, home = stress.QueueStorm(there, with_epoll), stress.QueueStorm(back, with_epoll)
    rounds = int(2000 * SCALE)

    def echo() -> int:
        return sum(out.consume(1, 20 * 10**9)[0] + 0 * home.produce(0, 1) for _ in range(rounds))

    def call() -> int:
        return sum(0 * out.produce(0, 1) + home.consume(1, 20 * 10**9)[0] for _ in range(rounds))

    assert at_once(echo, call) == [rounds, rounds]


def test_native_threads_take_no_signals_and_carry_a_name() -> None:
    facts = stress.native_thread_facts(b"stress-thread-with-a-long-name", 256 * 1024)
    assert (facts["unblocked"], facts["name"]) == (0, b"stress-thread-w")
    assert 256 * 1024 <= facts["stack_bytes"] < 2 << 20, "as asked (a sanitizer adds its own), and not the default"
