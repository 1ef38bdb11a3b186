"""A bounded queue of pointers: any number of pushing threads, one popping thread. Nobody ever blocks in it."""

from libc.stdint cimport uint64_t
from libcpp.atomic cimport atomic


cdef extern from "tenure/_core/queue.hpp" namespace "tenure" nogil:
    const uint64_t QUEUE_CLOSED_BIT

    cdef cppclass QueueCell:
        atomic[uint64_t] turn
        void* item

    cdef cppclass Queue:
        atomic[uint64_t] tail
        atomic[uint64_t] head
        QueueCell* cells
        uint64_t mask

    bint queue_open(Queue* queue, uint64_t capacity) noexcept     # rounded up to a power of two; False without memory
    void queue_free(Queue* queue) noexcept                        # when nobody uses it any more


cdef enum PushResult:
    PUSHED = 0
    PUSH_FULL = 1
    PUSH_CLOSED = 2


# Any thread. The item belongs to the consumer once PUSHED is returned, to the caller otherwise.
cdef PushResult queue_push(Queue* queue, void* item) noexcept nogil

# The consumer. Takes up to `limit` items in order and returns how many; none from a queue that was never opened.
cdef size_t queue_pop_batch(Queue* queue, void** items, size_t limit) noexcept nogil

# Any thread. Pushes that begin afterwards are refused; what was pushed can still be popped.
cdef void queue_close(Queue* queue) noexcept nogil

# The consumer. True when the queue is closed and everything ever pushed was popped.
cdef bint queue_drained(Queue* queue) noexcept nogil

# Any thread: positions filled or being filled and not yet taken; exact when nobody pushes or pops.
cdef size_t queue_size(Queue* queue) noexcept nogil
cdef size_t queue_capacity(Queue* queue) noexcept nogil


cdef class PointerQueue:
    cdef Queue* queue
