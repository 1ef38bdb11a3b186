"""The applied index: published by the thread that applies, awaited by whoever needs an entry's effects.

Waiters leave the smallest index any of them sleeps for in `lowest_wanted`, so the writer calls the kernel only when a
waiter's index was reached, and then once for all of them: it takes the wish list (by setting it back to NOBODY_WAITS),
moves `round` on, and wakes everyone who slept on the old round. Those whose index is still to come register again.

Why no wake-up is lost. A waiter (1) reads `round`, (2) registers its wish, (3) looks at the index, (4) sleeps unless `round`
moved. The writer (a) stores the index, (b) reads the wish list, (c) takes it, (d) moves `round`, (e) wakes. Steps 2, 3, a
and b are sequentially consistent: either b sees the wish, or 3 sees the index. A wish registered between b and c is taken
unseen, but then d comes after 1, and 4 does not sleep. A wish registered after c stands for the next publication.
"""

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport INT64_MAX
from libcpp.atomic cimport memory_order_acquire, memory_order_relaxed, memory_order_release, memory_order_seq_cst

from tenure._core.clock cimport clock_monotonic_ns
from tenure._core.posix cimport EINTR, ETIMEDOUT, futex_wait, futex_wake_all

import threading

cdef int64_t SLICE_NS = 50_000_000                        # the main thread looks for signals this often while it waits


cdef void wake_all(AppliedWord* applied) noexcept nogil:
    # seq_cst: step c of the argument above
    applied.lowest_wanted.exchange(NOBODY_WAITS, memory_order_seq_cst)
    # release: a waiter that finds the new round also finds what was published before it
    applied.round.fetch_add(1, memory_order_release)
    futex_wake_all(&applied.round)


cdef void applied_publish(AppliedWord* applied, int64_t index) noexcept nogil:
    # relaxed: this thread is the only writer
    if index <= applied.index.load(memory_order_relaxed):
        return
    # seq_cst (and so release: the entry's effects come first): step a
    applied.index.store(index, memory_order_seq_cst)
    # seq_cst: step b
    if index >= applied.lowest_wanted.load(memory_order_seq_cst):
        wake_all(applied)


cdef void applied_fail(AppliedWord* applied, int32_t code) noexcept nogil:
    cdef int32_t alive = 0
    # seq_cst: a waiter registers and then looks here, as it does with the index
    applied.failure.compare_exchange_strong(alive, code if code != 0 else -1, memory_order_seq_cst)
    wake_all(applied)


cdef int32_t applied_failure(AppliedWord* applied) noexcept nogil:
    # acquire: what the failing thread recorded before it is visible
    return applied.failure.load(memory_order_acquire)


cdef WaitResult applied_wait(AppliedWord* applied, int64_t index, int64_t deadline_ns) noexcept nogil:
    cdef uint32_t round
    cdef int64_t lowest
    cdef int result
    # acquire (inside): the effects of every entry up to the index are visible to the caller
    if applied_load(applied) >= index:
        return WAIT_REACHED
    while True:
        # acquire: pairs with the release in wake_all; step 1
        round = applied.round.load(memory_order_acquire)
        # relaxed: a guess that the swap corrects
        lowest = applied.lowest_wanted.load(memory_order_relaxed)
        # seq_cst: step 2. A wish that stands already is written again, for the same place in the order
        while not applied.lowest_wanted.compare_exchange_weak(lowest, min(lowest, index), memory_order_seq_cst):
            pass
        # seq_cst: step 3
        if applied.index.load(memory_order_seq_cst) >= index:
            return WAIT_REACHED
        # seq_cst: step 3 for failures
        if applied.failure.load(memory_order_seq_cst) != 0:
            return WAIT_FAILED
        result = futex_wait(&applied.round, round, deadline_ns)
        if applied_load(applied) >= index:
            return WAIT_REACHED
        if result == ETIMEDOUT:
            return WAIT_TIMED_OUT
        if result == EINTR:
            return WAIT_INTERRUPTED


@cython.final
cdef class AppliedIndex:
    """An applied index that threads publish, read and wait for.

    One thread publishes; any thread may call the rest. Waiting releases the GIL.
    """

    def __cinit__(self):
        self.applied = applied_new()
        if self.applied == NULL:
            raise MemoryError("no memory for an applied index")

    def __dealloc__(self):
        applied_release(self.applied)

    @staticmethod
    cdef AppliedIndex wrap(AppliedWord* applied):
        cdef AppliedIndex wrapped = AppliedIndex.__new__(AppliedIndex)
        applied_release(wrapped.applied)
        wrapped.applied = applied_retain(applied)
        return wrapped

    @property
    def index(self) -> int:
        """The greatest index whose effects are visible."""
        return applied_load(self.applied)

    @property
    def failure(self) -> int:
        """The code given to `fail`; 0 while none was."""
        return applied_failure(self.applied)

    def publish(self, int64_t index) -> None:
        """Announce that everything up to `index` is applied; a smaller index than before is ignored. One thread only."""
        applied_publish(self.applied, index)

    def fail(self, int32_t code) -> None:
        """End every wait, present and future, for an index that was not reached. The first code stays."""
        applied_fail(self.applied, code)

    def wait(self, int64_t index, timeout_ns: int | None = None) -> WaitResult:
        """Wait until `index` is applied, at most `timeout_ns` nanoseconds (None: without limit).

        Returns `WAIT_REACHED`, `WAIT_TIMED_OUT` or `WAIT_FAILED`. Ctrl-C ends the wait of the main thread.
        """
        cdef WaitResult result
        cdef bint sliced
        cdef int64_t now_ns, slice_end_ns, deadline_ns = INT64_MAX
        if applied_load(self.applied) >= index:
            return WAIT_REACHED
        if timeout_ns is not None:
            now_ns = clock_monotonic_ns()
            deadline_ns = now_ns + min(max(timeout_ns, 0), INT64_MAX - now_ns)
        # only the main thread runs signal handlers, and a signal may be delivered to any thread or just before the sleep
        sliced = threading.get_ident() == threading.main_thread().ident
        while True:
            slice_end_ns = min(deadline_ns, clock_monotonic_ns() + SLICE_NS) if sliced else deadline_ns
            with nogil:
                result = applied_wait(self.applied, index, slice_end_ns)
            if result == WAIT_REACHED or result == WAIT_FAILED:
                return result
            if result == WAIT_TIMED_OUT and slice_end_ns == deadline_ns:
                return result
            PyErr_CheckSignals()
