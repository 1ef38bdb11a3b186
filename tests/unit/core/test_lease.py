"""The lease word, one thread at a time: packing, rounding, wrapping, closing, and the failing clock."""

from __future__ import annotations

import inspect
import os
import pickle
import subprocess
import sys
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tenure._core import clock, lease
from tenure._core.lease import Lease

from .lease_model import spec

UNIT = 1 << 20
LAST_GENERATION = (1 << 24) - 1
NO_SUCH_CLOCK = 9999


def test_a_new_lease_does_not_hold() -> None:
    fresh = Lease()
    assert not fresh.valid()
    assert (fresh.generation, fresh.expiry_ns, fresh.remaining_ns) == (1, 0, 0)


def test_a_lease_holds_until_strictly_before_its_end() -> None:
    held = Lease()
    assert held.extend(5 * UNIT, 1)
    assert held.valid_at(1)
    assert held.valid_at(5 * UNIT - 1)
    assert not held.valid_at(5 * UNIT)


@given(st.integers(min_value=-(1 << 63), max_value=(1 << 63) - 1))
def test_the_end_is_rounded_down_and_never_up(until_ns: int) -> None:
    held = Lease()
    held.extend(until_ns, held.generation)
    assert held.expiry_ns <= max(until_ns, 0)
    if 0 <= until_ns < 1 << 60:
        assert held.expiry_ns == until_ns // UNIT * UNIT
    assert not held.valid_at(max(until_ns, 0))


def test_an_end_beyond_forty_bits_is_cut_and_does_not_reach_the_generation() -> None:
    held = Lease()
    assert held.extend((1 << 63) - 1, 1)
    assert held.generation == 1
    assert held.expiry_ns == ((1 << 40) - 1) * UNIT


@given(st.integers(min_value=-(1 << 63), max_value=0))
def test_an_instant_that_is_no_instant_is_never_covered(now_ns: int) -> None:
    held = Lease()
    held.extend(1 << 50, 1)
    assert not held.valid_at(now_ns)


def test_only_a_later_end_replaces_an_end() -> None:
    held = Lease()
    assert held.extend(5 * UNIT, 1)
    assert not held.extend(5 * UNIT + 1, 1), "the same end after rounding"
    assert not held.extend(4 * UNIT, 1)
    assert held.extend(6 * UNIT, 1)
    assert held.expiry_ns == 6 * UNIT


def test_h20_an_extension_of_an_older_generation_fails() -> None:
    held = Lease()
    sampled = held.generation
    held.invalidate()
    assert not held.extend(5 * UNIT, sampled)
    assert held.extend(2 * UNIT, held.generation), "a smaller end may follow an invalidation"


def test_the_generation_wraps_and_skips_the_closed_one() -> None:
    held = Lease()
    for _ in range(LAST_GENERATION - 1):
        held.invalidate()
    assert held.generation == LAST_GENERATION
    assert held.extend((1 << 60) - 1, LAST_GENERATION)
    held.invalidate()
    assert (held.generation, held.expiry_ns) == (1, 0)


@pytest.mark.parametrize("generation", [0, 2, LAST_GENERATION + 1, LAST_GENERATION + 2, (1 << 32) - 1])
def test_no_other_number_passes_for_the_generation(generation: int) -> None:
    held = Lease()
    assert not held.extend(5 * UNIT, generation)
    assert held.expiry_ns == 0


def test_closed_is_for_ever() -> None:
    held = Lease()
    held.extend(5 * UNIT, 1)
    held.close()
    for _ in range(3):
        held.invalidate()
        assert not any(held.extend(9 * UNIT, generation) for generation in range(4))
        held.close()
    assert (held.generation, held.expiry_ns, held.valid_at(1)) == (0, 0, False)


def test_valid_and_remaining_read_the_clock() -> None:
    held = Lease()
    now_ns = clock.now_ns()
    held.extend(now_ns + 10**10, 1)
    assert held.valid()
    assert 10**10 - 10**9 - UNIT < held.remaining_ns <= 10**10
    past = Lease()
    past.extend(now_ns - UNIT, 1)
    assert not past.valid()
    assert past.remaining_ns == 0


def test_h08_without_a_clock_there_is_no_lease() -> None:
    held = Lease()
    held.extend(clock.now_ns() + 10**12, 1)
    try:
        lease._set_clock_source(NO_SUCH_CLOCK)
        assert not held.valid()
        assert held.remaining_ns == 0
    finally:
        lease._set_clock_source(clock.CLOCK_ID)
    assert held.valid()


class LeaseAgainstTheModel(RuleBasedStateMachine):
    """Any sequence of calls on the real word does what the model of the interleaving check says."""

    def __init__(self) -> None:
        super().__init__()
        self.real = Lease()
        self.word = (1, 0)
        self.sampled = 1

    def both(self, name: str, *arguments: int) -> object:
        self.word, result = spec(self.word, name, arguments, LAST_GENERATION)
        return result

    @rule()
    def sample(self) -> None:
        self.sampled = self.real.generation
        assert self.sampled == self.both("generation")

    @rule(until=st.integers(0, 20), fraction=st.integers(0, UNIT - 1))
    def extend(self, until: int, fraction: int) -> None:
        assert self.real.extend(until * UNIT + fraction, self.sampled) == self.both("extend", until, self.sampled)

    @rule()
    def invalidate(self) -> None:
        self.real.invalidate()
        self.both("invalidate")

    @rule(now=st.integers(0, 20))
    def valid(self, now: int) -> None:
        assert self.real.valid_at(now * UNIT) == self.both("valid", now)

    @rule(closing=st.integers(0, 9))
    def close(self, closing: int) -> None:
        if closing == 0:
            self.real.close()
            self.both("close")

    @invariant()
    def the_words_are_equal(self) -> None:
        assert (self.real.generation, self.real.expiry_ns) == (self.word[0], self.word[1] * UNIT)


TestLeaseAgainstTheModel = LeaseAgainstTheModel.TestCase
TestLeaseAgainstTheModel.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_h31_a_forked_child_finds_every_lease_closed() -> None:
    leases = [Lease() for _ in range(50)]
    for held in leases:
        held.extend(clock.now_ns() + 10**12, 1)
    del leases[10:20]
    child = os.fork()
    if child == 0:
        fine = not any(held.valid() or held.generation or held.extend(1 << 55, 1) for held in leases)
        fine = fine and Lease().extend(1 << 50, 1)  # and the child can make leases of its own
        os._exit(0 if fine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert all(held.valid() for held in leases)


def test_h31_forking_while_threads_make_and_drop_leases_does_not_hang() -> None:
    program = """
        import os, threading
        from tenure._core import clock
        from tenure._core.lease import Lease
        done = threading.Event()
        def churn():
            while not done.is_set():
                [Lease() for _ in range(20)]
        threads = [threading.Thread(target=churn) for _ in range(4)]
        for thread in threads: thread.start()
        held = Lease(); held.extend(clock.now_ns() + 10**12, 1)
        for _ in range(100):
            child = os.fork()
            if child == 0:
                [Lease() for _ in range(20)]
                os._exit(1 if held.valid() else 0)
            assert os.waitpid(child, 0)[1] == 0
        done.set()
        for thread in threads: thread.join()
        assert held.valid()
        print("fine")
    """
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.stdout.strip() == "fine", ran.stderr


def test_the_class_is_closed_to_subclasses_and_pickles() -> None:
    with pytest.raises(TypeError):
        type("Loose", (Lease,), {})
    with pytest.raises(TypeError):
        pickle.dumps(Lease())


def test_signatures_can_be_inspected() -> None:
    assert list(inspect.signature(Lease.extend).parameters) == ["self", "until_ns", "generation"]
