"""The applied index: publishing, waiting, waking many, failing, and Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from tenure._core import stress
from tenure._core.applied_index import AppliedIndex, WaitResult

SECOND_NS = 10**9
WAIT_REACHED, WAIT_TIMED_OUT, WAIT_FAILED = WaitResult.WAIT_REACHED, WaitResult.WAIT_TIMED_OUT, WaitResult.WAIT_FAILED


def in_threads(count: int, body) -> list[threading.Thread]:
    threads = [threading.Thread(target=body, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    return threads


def join_all(threads: list[threading.Thread], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
    assert not any(thread.is_alive() for thread in threads), "a waiter was never woken"


def test_it_only_grows() -> None:
    applied = AppliedIndex()
    assert applied.index == 0
    for index, expected in [(3, 3), (2, 3), (3, 3), (10, 10), (-1, 10)]:
        applied.publish(index)
        assert applied.index == expected


def test_what_was_applied_is_not_waited_for() -> None:
    applied = AppliedIndex()
    applied.publish(5)
    assert applied.wait(5) == WAIT_REACHED
    assert applied.wait(0, timeout_ns=0) == WAIT_REACHED


@pytest.mark.parametrize("timeout_ns", [-5, 0, 1, 20_000_000])
def test_a_wait_ends_after_its_timeout_and_not_before(timeout_ns: int) -> None:
    begin = time.monotonic_ns()
    assert AppliedIndex().wait(1, timeout_ns) == WAIT_TIMED_OUT
    assert timeout_ns <= time.monotonic_ns() - begin < timeout_ns + SECOND_NS


def test_a_timeout_of_any_length_is_understood() -> None:
    applied = AppliedIndex()
    threads = in_threads(1, lambda _: applied.wait(1, timeout_ns=1 << 200))
    applied.publish(1)
    join_all(threads)


def test_two_hundred_waiters_each_wake_for_their_own_index() -> None:
    applied = AppliedIndex()
    results: dict[int, tuple[WaitResult, int]] = {}

    def wait(number: int) -> None:
        result = applied.wait(number + 1, timeout_ns=30 * SECOND_NS)
        results[number] = (result, applied.index)

    threads = in_threads(200, wait)
    for index in range(1, 201):
        applied.publish(index)
        if index % 40 == 0:
            time.sleep(0.01)
    join_all(threads)
    assert len(results) == 200
    for number, (result, seen) in results.items():
        assert result == WAIT_REACHED
        assert seen >= number + 1


def test_two_hundred_waiters_for_one_index_wake_together() -> None:
    applied = AppliedIndex()
    results: list[WaitResult] = []
    threads = in_threads(200, lambda _: results.append(applied.wait(1, timeout_ns=30 * SECOND_NS)))
    time.sleep(0.05)
    assert results == []
    applied.publish(1)
    join_all(threads)
    assert results == [WAIT_REACHED] * 200


def test_a_sleeper_for_a_later_index_is_left_asleep() -> None:
    applied = AppliedIndex()
    status: list[Path] = []
    threads = in_threads(
        1,
        lambda _: (
            status.append(Path(f"/proc/self/task/{threading.get_native_id()}/status")),
            applied.wait(10**9, timeout_ns=60 * SECOND_NS),
        ),
    )
    time.sleep(0.1)

    def sleeps() -> int:
        (line,) = [line for line in status[0].read_text().splitlines() if line.startswith("voluntary")]
        return int(line.split()[1])

    before = sleeps()
    stress.publish_range(applied, 1, 200_000)
    assert sleeps() - before <= 2
    applied.publish(10**9)
    join_all(threads)


@pytest.mark.parametrize("asleep", [True, False])
def test_failing_ends_every_wait_for_what_was_not_reached(asleep: bool) -> None:
    applied = AppliedIndex()
    applied.publish(3)
    results: list[WaitResult] = []
    if not asleep:
        applied.fail(7)
    threads = in_threads(20, lambda _: results.append(applied.wait(4, timeout_ns=30 * SECOND_NS)))
    if asleep:
        time.sleep(0.05)
        applied.fail(7)
    applied.fail(8)
    join_all(threads)
    assert results == [WAIT_FAILED] * 20
    assert applied.failure == 7
    assert applied.wait(3) == WAIT_REACHED


def test_no_wake_up_is_lost_between_a_publisher_and_waiters_in_step() -> None:
    applied = AppliedIndex()
    echo = AppliedIndex()
    rounds = 3000

    def answer(_: int) -> None:
        for index in range(1, rounds + 1):
            assert applied.wait(index, timeout_ns=20 * SECOND_NS) == WAIT_REACHED
            echo.publish(index)

    threads = in_threads(1, answer)
    for index in range(1, rounds + 1):
        applied.publish(index)
        assert echo.wait(index, timeout_ns=20 * SECOND_NS) == WAIT_REACHED
    join_all(threads)


def test_ctrl_c_ends_a_wait_of_the_main_thread() -> None:
    program = """
        import sys, threading
        from tenure._core.applied_index import AppliedIndex
        applied = AppliedIndex()
        threading.Thread(target=applied.wait, args=(1,), daemon=True).start()  # a second thread may get the signal
        print("waiting", flush=True)
        try:
            applied.wait(1)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        applied.publish(1)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    time.sleep(0.2)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=10)
    assert rest == "interrupted\n"
    assert time.monotonic() - begin < 2
    assert process.returncode == 0


def test_a_handled_signal_does_not_end_a_wait() -> None:
    applied = AppliedIndex()
    calls: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda *_: calls.append(1))
    try:
        main = threading.main_thread().ident
        assert main is not None

        def disturb(_: int) -> None:
            for handled in range(5):
                time.sleep(0.02)
                signal.pthread_kill(main, signal.SIGUSR1)
                give_up = time.monotonic() + 10
                while len(calls) == handled and time.monotonic() < give_up:  # two that are not handled yet count as one
                    time.sleep(0.001)
            applied.publish(1)

        threads = in_threads(1, disturb)
        assert applied.wait(1, timeout_ns=20 * SECOND_NS) == WAIT_REACHED
        join_all(threads)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(calls) == 5
