"""The bounded multi-producer, single-consumer queue: a ring of cells, each with the number of the turn it is in.

A producer claims a position by moving `tail` with one compare-and-swap, writes the item into the position's cell, and hands
the cell over by advancing its turn. The consumer takes cells in order while their turn says filled, and returns each to
the producers of the next lap. A producer that stops between claim and hand-over delays those behind it, but corrupts
nothing; the queue never allocates, and never waits. Full is an answer, not a wait: backpressure is the caller's decision.

Order: items of one producer come out in the order of their pushes; a push that returned before another began comes first.
"""

cimport cython
from libc.stdint cimport int64_t, uintptr_t
from libc.stdlib cimport free, malloc
from libcpp.atomic cimport memory_order_acquire, memory_order_relaxed, memory_order_release


cdef extern from *:
    """
    static inline tenure::Queue* queue_allocate() noexcept {
        return new (std::nothrow) tenure::Queue();
    }
    static inline void queue_deallocate(tenure::Queue* queue) noexcept { delete queue; }
    """
    Queue* queue_allocate() noexcept nogil
    void queue_deallocate(Queue* queue) noexcept nogil


cdef PushResult queue_push(Queue* queue, void* item) noexcept nogil:
    cdef QueueCell* cell
    cdef uint64_t turn
    # relaxed: a guess that the swap verifies; the cell's turn carries the order
    cdef uint64_t position = queue.tail.load(memory_order_relaxed)
    while True:
        if position & QUEUE_CLOSED_BIT:
            return PUSH_CLOSED
        cell = &queue.cells[position & queue.mask]
        # acquire: the consumer's reading of the last lap's item comes before our writing over it
        turn = cell.turn.load(memory_order_acquire)
        if turn == position:
            # relaxed: claiming a position publishes nothing
            if queue.tail.compare_exchange_weak(position, position + 1, memory_order_relaxed):
                cell.item = item
                # release: the item, and what it points to, are visible to the consumer
                cell.turn.store(position + 1, memory_order_release)
                return PUSHED
        elif <int64_t> (turn - position) < 0:
            return PUSH_FULL
        else:
            # relaxed: another producer was faster; guess again
            position = queue.tail.load(memory_order_relaxed)


cdef size_t queue_pop_batch(Queue* queue, void** items, size_t limit) noexcept nogil:
    cdef size_t count = 0
    cdef QueueCell* cell
    # relaxed: only this thread writes head
    cdef uint64_t position = queue.head.load(memory_order_relaxed)
    if queue.cells == NULL:
        return 0
    while count < limit:
        cell = &queue.cells[position & queue.mask]
        # acquire: pairs with the producer's release
        if cell.turn.load(memory_order_acquire) != position + 1:
            break
        items[count] = cell.item
        # release: our reading of the item comes before the next lap's writing
        cell.turn.store(position + queue.mask + 1, memory_order_release)
        position += 1
        count += 1
    # relaxed: others read head for statistics only
    queue.head.store(position, memory_order_relaxed)
    return count


cdef void queue_close(Queue* queue) noexcept nogil:
    # relaxed: claims and the closing bit are in one word, so every push falls on one side of it
    queue.tail.fetch_or(QUEUE_CLOSED_BIT, memory_order_relaxed)


cdef bint queue_drained(Queue* queue) noexcept nogil:
    # relaxed: once closed, tail never moves again, and a claimed position counts as long as it was not popped
    cdef uint64_t tail = queue.tail.load(memory_order_relaxed)
    return tail == (queue.head.load(memory_order_relaxed) | QUEUE_CLOSED_BIT)


cdef size_t queue_size(Queue* queue) noexcept nogil:
    # relaxed: a number for people; a pair of loads that do not fit each other is cut to the legal range
    cdef uint64_t head = queue.head.load(memory_order_relaxed)
    cdef uint64_t tail = queue.tail.load(memory_order_relaxed) & ~QUEUE_CLOSED_BIT
    return <size_t> min(max(<int64_t> (tail - head), 0), <int64_t> (queue.mask + 1))


cdef size_t queue_capacity(Queue* queue) noexcept nogil:
    return <size_t> (queue.mask + 1)


@cython.final
cdef class PointerQueue:
    """The queue with numbers for pointers: an edge for tests. Any thread may push; one thread pops."""

    def __cinit__(self, uint64_t capacity):
        self.queue = queue_allocate()
        if self.queue == NULL or not queue_open(self.queue, capacity):
            raise MemoryError("no memory for a queue")

    def __dealloc__(self):
        if self.queue != NULL:
            queue_free(self.queue)
            queue_deallocate(self.queue)

    def push(self, uintptr_t item) -> bool:
        """True when the number was queued, False when the queue is full; ValueError when it is closed."""
        cdef PushResult result = queue_push(self.queue, <void*> item)
        if result == PUSH_CLOSED:
            raise ValueError("the queue is closed")
        return result == PUSHED

    def pop_batch(self, size_t limit) -> list[int]:
        """Up to `limit` numbers, oldest first."""
        cdef size_t count, i
        limit = min(limit, queue_capacity(self.queue))
        cdef void** items = <void**> malloc((limit + 1) * sizeof(void*))
        if items == NULL:
            raise MemoryError()
        try:
            count = queue_pop_batch(self.queue, items, limit)
            return [<uintptr_t> items[i] for i in range(count)]
        finally:
            free(items)

    def close(self) -> None:
        """Refuse further pushes."""
        queue_close(self.queue)

    @property
    def drained(self) -> bool:
        """Whether the queue is closed and empty for good."""
        return queue_drained(self.queue)

    @property
    def capacity(self) -> int:
        return queue_capacity(self.queue)

    def __len__(self) -> int:
        return queue_size(self.queue)
