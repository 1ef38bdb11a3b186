"""The published applied index of a member: one writer, any number of readers and waiters.

The writer is the thread that applies entries. A reader needs one load. A waiter sleeps until the index it wants was
applied, the member failed, or its time is over.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t
from libcpp.atomic cimport atomic


cdef extern from "tenure/_core/applied_index.hpp" namespace "tenure" nogil:
    const int64_t NOBODY_WAITS

    cdef cppclass AppliedWord:
        atomic[int64_t] index
        atomic[int64_t] lowest_wanted
        atomic[uint32_t] round
        atomic[int32_t] failure

    AppliedWord* applied_new() noexcept                  # null without memory; one reference; index 0
    AppliedWord* applied_retain(AppliedWord* applied) noexcept
    void applied_release(AppliedWord* applied) noexcept
    int64_t applied_load(const AppliedWord* applied) noexcept


cpdef enum WaitResult:
    WAIT_REACHED = 0                                      # the index was applied
    WAIT_TIMED_OUT = 1
    WAIT_FAILED = 2                                       # the member failed or closed; see `applied_failure`
    WAIT_INTERRUPTED = 3                                  # a signal came; look at it and call again


# The applying thread only. An index that is not above the published one is ignored.
cdef void applied_publish(AppliedWord* applied, int64_t index) noexcept nogil

# Any thread. Every waiter, present and future, gets WAIT_FAILED unless what it wants was applied. The first code stays.
cdef void applied_fail(AppliedWord* applied, int32_t code) noexcept nogil
cdef int32_t applied_failure(AppliedWord* applied) noexcept nogil

# Any thread; never under the GIL. The deadline is an instant of CLOCK_MONOTONIC, negative for none.
cdef WaitResult applied_wait(AppliedWord* applied, int64_t index, int64_t deadline_ns) noexcept nogil


cdef class AppliedIndex:
    cdef AppliedWord* applied                            # one reference, set once

    @staticmethod
    cdef AppliedIndex wrap(AppliedWord* applied)       # takes a reference of its own
