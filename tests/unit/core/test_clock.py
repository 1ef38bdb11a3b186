"""The lease clock: suspend-aware, monotonic, 0 on failure."""

from __future__ import annotations

import time

import pytest

from tenure._core import clock


def test_it_is_the_clock_that_counts_through_suspend() -> None:
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    now_ns = clock.now_ns()
    assert before <= now_ns <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert clock.CLOCK_ID == time.CLOCK_BOOTTIME


def test_it_never_goes_back() -> None:
    readings = [clock.now_ns() for _ in range(10_000)]
    assert readings == sorted(readings)


def test_granularity_is_a_nanosecond_to_a_tick() -> None:
    assert 1 <= clock.granularity_ns() <= 10_000_000


def test_wall_time_is_milliseconds_since_1970() -> None:
    assert abs(clock.wall_ms() - time.time() * 1000) < 1000


def test_h08_a_clock_that_cannot_be_read_is_zero() -> None:
    try:
        clock._set_source(9999)
        assert clock.now_ns() == 0
        assert clock.granularity_ns() == 0
    finally:
        clock._set_source(clock.CLOCK_ID)
    assert clock.now_ns() > 0


@pytest.mark.parametrize("name", ["now_ns", "granularity_ns", "wall_ms"])
def test_it_takes_no_arguments(name: str) -> None:
    with pytest.raises(TypeError):
        getattr(clock, name)(1)
