"""A caller's claim on an outcome: one native thread answers it once, one caller waits for it or gives it up."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libcpp.atomic cimport atomic

from tenure._core.blob cimport Blob
from tenure._core.queue cimport Queue
from tenure._core.wakeup cimport LoopWakeup


cdef extern from "tenure/_host/waiter.hpp" namespace "tenure" nogil:
    cdef cppclass Inbox:
        # Completions of one asyncio loop: answered waiters in order of completion, and the descriptor that says so.
        Queue queue
        LoopWakeup wakeup
        atomic[int32_t] references

    cdef cppclass Waiter:
        atomic[uint32_t] done       # futex word; 1 after the fields below are final
        atomic[int32_t] references  # the caller's and the answering side's
        int32_t code                # host.pxd: Outcome
        uint64_t index
        uint64_t term
        uint64_t leader             # hint with NOT_LEADER; 0 = unknown
        Blob* value                 # owned; null = none
        Inbox* inbox                # null: the caller waits on `done`
        void* tag                   # the caller's own

    Waiter* waiter_new() noexcept   # two references
    void waiter_free(Waiter* waiter) noexcept       # one that nobody else knows; null is fine
    Inbox* inbox_new() noexcept     # one reference
    Inbox* inbox_retain(Inbox* inbox) noexcept


cdef struct Completion:
    # A compiled caller on the loop's own thread, called back there exactly once; the struct is the caller's and lives until
    # then. It takes over `value`. It must not call the member: it notes the outcome and acts on it later in the pass.
    void (*done)(
        Completion* self, int32_t code, uint64_t index, uint64_t term, uint64_t leader, Blob* value) noexcept nogil

cdef struct Caller:
    # Who wants the outcome: one of the two, or nobody.
    Waiter* waiter
    Completion* completion


cdef void waiter_release(Waiter* waiter) noexcept nogil
cdef void inbox_release(Inbox* inbox) noexcept nogil
# The answering side; gives up its reference. Takes over `value`.
cdef void waiter_answer(
    Waiter* waiter, int32_t code, uint64_t index, uint64_t term, uint64_t leader, Blob* value) noexcept nogil
# The caller, without the GIL: 1 answered, 0 the deadline (CLOCK_MONOTONIC) passed, -1 a signal came.
cdef int waiter_wait(Waiter* waiter, int64_t deadline_ns) noexcept nogil
# For either kind of caller; takes over `value`.
cdef void caller_answer(
    const Caller* caller, int32_t code, uint64_t index, uint64_t term, uint64_t leader, Blob* value) noexcept nogil
