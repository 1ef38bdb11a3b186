"""Tight loops over the primitives, without the GIL, for tests, sanitizers and benchmarks. Nothing in production calls them.

Each method is run by one Python thread, so that several really run at once, and returns what it counted: violations of the
invariant it watches, or nanoseconds.
"""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memset
from libcpp.atomic cimport atomic, memory_order_acquire, memory_order_relaxed, memory_order_release

from tenure._core.applied_index cimport AppliedIndex, applied_load, applied_publish
from tenure._core.clock cimport clock_monotonic_ns, clock_now_ns
from tenure._core.fence cimport Fence, fence
from tenure._core.lease cimport (
    Lease, LeaseWord, lease_extend, lease_generation, lease_invalidate, lease_valid
)
from tenure._core.posix cimport (
    EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLLIN, close, cpu_pause, epoll_create1, epoll_ctl, epoll_event, epoll_wait, pthread_join,
    pthread_t, thread_start
)
from tenure._core.queue cimport PUSHED, PointerQueue, queue_pop_batch, queue_push
from tenure._core.wakeup cimport (
    LoopWakeup, Wakeup, loop_wakeup_arm, loop_wakeup_close, loop_wakeup_disarm, loop_wakeup_drain, loop_wakeup_notify,
    loop_wakeup_open, wakeup_notify, wakeup_wait
)

cdef extern from *:
    """
    #include <pthread.h>
    #include <sched.h>
    #include <signal.h>
    #include "tenure/_core/lease.hpp"
    #include "tenure/_core/wakeup.hpp"

    // On the heap, because a Python object is not aligned for them.
    struct Wakeups { tenure::Wakeup one; tenure::LoopWakeup loop; };
    static inline Wakeups* wakeups_new() noexcept { return new (std::nothrow) Wakeups(); }
    static inline void wakeups_delete(Wakeups* wakeups) noexcept { delete wakeups; }

    // What a thread finds out about itself: whether every blockable signal is blocked, its name, its stack.
    struct ThreadFacts { int unblocked; char name[16]; size_t stack_bytes; };
    static void* thread_look_around(void* argument) noexcept {
        auto* facts = static_cast<ThreadFacts*>(argument);
        sigset_t mask;
        pthread_sigmask(SIG_SETMASK, nullptr, &mask);
        for (int s = 1; s < 32; s++)
            if (s != SIGKILL && s != SIGSTOP && !sigismember(&mask, s)) facts->unblocked++;
        for (int tries = 0; tries < 1000; tries++) {  // the starter names the thread after it started
            pthread_getname_np(pthread_self(), facts->name, sizeof(facts->name));
            if (facts->name[0] == 's') break;
            sched_yield();
        }
        pthread_attr_t attributes;
        if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
            pthread_attr_getstacksize(&attributes, &facts->stack_bytes);
            pthread_attr_destroy(&attributes);
        }
        return nullptr;
    }
    // The whole word, so that a reader sees generation and end together.
    static inline uint64_t lease_snapshot(tenure::LeaseWord* lease) noexcept { return tenure::lease_load(lease); }
    """
    struct ThreadFacts:
        int unblocked
        char* name
        size_t stack_bytes
    struct Wakeups:
        Wakeup one
        LoopWakeup loop
    Wakeups* wakeups_new() noexcept
    void wakeups_delete(Wakeups* wakeups) noexcept
    void* thread_look_around(void* argument) noexcept nogil
    uint64_t lease_snapshot(LeaseWord* lease) noexcept nogil
    int sched_yield() noexcept nogil


cdef uint64_t EXPIRY_MASK = (<uint64_t> 1 << 40) - 1


@cython.final
cdef class LeaseStorm:
    """One lease under fire: one thread invalidates, some extend, some read. Every method returns the violations it saw."""

    cdef Lease lease
    cdef atomic[uint64_t] oldest_legal                    # every generation below it was withdrawn before it was stored
    cdef atomic[int64_t] clock                            # what the extenders extend by: a counter, in lease units

    def __cinit__(self, Lease lease not None):
        self.lease = lease
        self.oldest_legal.store(lease_generation(lease.word), memory_order_relaxed)
        self.clock.store(1, memory_order_relaxed)

    def invalidate(self, int64_t count) -> int:
        """One thread only: after an invalidation no older generation may be extended."""
        cdef LeaseWord* word = self.lease.word
        cdef int64_t i, bad = 0
        cdef uint32_t before
        with nogil:
            for i in range(count):
                before = lease_generation(word)
                lease_invalidate(word)
                if lease_generation(word) != before + 1:
                    bad += 1
                # release: who reads the mark also sees the invalidation
                self.oldest_legal.store(before + 1, memory_order_release)
                if i % 16 == 0:
                    sched_yield()
        return bad

    def extend(self, int64_t count) -> int:
        """Extends under the current generation, and tries to under a withdrawn one, which must fail."""
        cdef LeaseWord* word = self.lease.word
        cdef int64_t _i, until, bad = 0
        cdef uint32_t generation
        cdef uint64_t seen
        with nogil:
            for _i in range(count):
                # acquire: pairs with the mark's release
                generation = <uint32_t> (self.oldest_legal.load(memory_order_acquire) - 1)
                # relaxed: any number that grows will do
                until = self.clock.fetch_add(1, memory_order_relaxed) << 20
                if generation != 0 and lease_extend(word, until, generation):
                    bad += 1
                generation = lease_generation(word)
                if lease_extend(word, until, generation):
                    seen = lease_snapshot(word)
                    # it still stands, or a later end, or a later generation
                    if <uint32_t> (seen >> 40) == generation and <int64_t> ((seen & EXPIRY_MASK) << 20) < until:
                        bad += 1
        return bad

    def read(self, int64_t count) -> int:
        """Words never go back: neither the generation, nor the end within one; no end is one that nobody asked for."""
        cdef LeaseWord* word = self.lease.word
        cdef int64_t _i, bad = 0
        cdef uint64_t seen, last = 0
        with nogil:
            for _i in range(count):
                seen = lease_snapshot(word)
                if seen < last:                           # the generation is in front: one comparison says both
                    bad += 1
                last = seen
                # relaxed: the acquire of the word made the extender's step of the counter visible
                if <int64_t> (seen & EXPIRY_MASK) >= self.clock.load(memory_order_relaxed) or lease_valid(word, 0):
                    bad += 1
        return bad


@cython.final
cdef class QueueStorm:
    """Producers and one consumer on one queue, the consumer asleep whenever the queue is empty."""

    cdef PointerQueue queue
    cdef Wakeups* wakeups
    cdef bint with_epoll
    cdef atomic[uint64_t] writes                          # how often a producer had to write to the eventfd

    def __cinit__(self, PointerQueue queue not None, bint with_epoll=False):
        self.queue = queue
        self.with_epoll = with_epoll
        self.wakeups = wakeups_new()
        if self.wakeups == NULL:
            raise MemoryError("no memory for wakeups")
        if loop_wakeup_open(&self.wakeups.loop) != 0:
            raise OSError("no eventfd")

    def __dealloc__(self):
        if self.wakeups != NULL:
            loop_wakeup_close(&self.wakeups.loop)
            wakeups_delete(self.wakeups)

    @property
    def eventfd_writes(self) -> int:
        return self.writes.load()

    def produce(self, uint64_t producer, uint64_t count) -> int:
        """Push (producer, 1) ... (producer, count); returns how often the queue was full."""
        cdef uint64_t i
        cdef int64_t full = 0
        with nogil:
            for i in range(1, count + 1):
                while queue_push(self.queue.queue, <void*> <uintptr_t> ((producer << 32) | i)) != PUSHED:
                    full += 1
                    sched_yield()
                if not self.with_epoll:
                    wakeup_notify(&self.wakeups.one)
                elif loop_wakeup_notify(&self.wakeups.loop):
                    # relaxed: a statistic
                    self.writes.fetch_add(1, memory_order_relaxed)
        return full

    def consume(self, uint64_t total, int64_t timeout_ns) -> tuple[int, int]:
        """Pop until `total` items came or nothing came for `timeout_ns`; returns (items, items out of order)."""
        cdef uint64_t last[64]
        cdef void* items[256]
        cdef uint64_t taken = 0, value
        cdef int64_t bad = 0
        cdef size_t n, i
        cdef epoll_event event
        cdef int epoll = -1
        memset(last, 0, sizeof(last))
        if self.with_epoll:
            epoll = epoll_create1(EPOLL_CLOEXEC)
            event.events = EPOLLIN
            event.data.u64 = 0
            if epoll < 0 or epoll_ctl(epoll, EPOLL_CTL_ADD, self.wakeups.loop.descriptor, &event) != 0:
                raise OSError("no epoll")
        with nogil:
            while taken < total:
                n = queue_pop_batch(self.queue.queue, items, 256)
                if n == 0:
                    if self.with_epoll:
                        loop_wakeup_arm(&self.wakeups.loop)
                        n = queue_pop_batch(self.queue.queue, items, 256)
                        if n == 0 and epoll_wait(epoll, &event, 1, <int> (timeout_ns // 1_000_000)) == 0:
                            break
                        loop_wakeup_disarm(&self.wakeups.loop)
                        loop_wakeup_drain(&self.wakeups.loop)
                    elif not wakeup_wait(&self.wakeups.one, clock_monotonic_ns() + timeout_ns):
                        break
                for i in range(n):
                    value = <uint64_t> <uintptr_t> items[i]
                    if <uint32_t> value != last[(value >> 32) & 63] + 1:
                        bad += 1
                    last[(value >> 32) & 63] = <uint32_t> value
                taken += n
        if epoll >= 0:
            close(epoll)
        return taken, bad


def publish_range(AppliedIndex applied not None, int64_t first, int64_t last) -> None:
    """Publish every index from `first` to `last`, one by one."""
    cdef int64_t i
    with nogil:
        for i in range(first, last + 1):
            applied_publish(applied.applied, i)


def watch_index(AppliedIndex applied not None, int64_t last) -> int:
    """Spin until `last` is published; returns how often the index went back."""
    cdef int64_t seen, before = 0, bad = 0
    with nogil:
        while before < last:
            seen = applied_load(applied.applied)
            if seen < before:
                bad += 1
            before = seen
            cpu_pause()
    return bad


def native_thread_facts(bytes name not None, size_t stack_bytes) -> dict[str, object]:
    """Start a native thread, join it, and tell what it found: unblocked signals, its name, its stack."""
    cdef ThreadFacts facts
    cdef pthread_t thread
    cdef const char* c_name = name
    memset(&facts, 0, sizeof(facts))
    cdef int result = thread_start(&thread, c_name, stack_bytes, thread_look_around, &facts)
    if result != 0:
        raise OSError(result, "the thread did not start")
    with nogil:
        pthread_join(thread, NULL)
    return {"unblocked": facts.unblocked, "name": <bytes> facts.name, "stack_bytes": facts.stack_bytes}


def fence_loop_ns(Fence checked not None, int64_t count) -> tuple[int, int]:
    """Nanoseconds for `count` compiled fences, and how many of them held."""
    cdef int64_t _i, held = 0, begin_ns, end_ns
    with nogil:
        begin_ns = clock_monotonic_ns()
        for _i in range(count):
            held += fence(checked.lease, checked.applied) >= 0
        end_ns = clock_monotonic_ns()
    return end_ns - begin_ns, held


def clock_loop_ns(int64_t count) -> tuple[int, int]:
    """Nanoseconds for `count` readings of the lease clock, and how many of them succeeded."""
    cdef int64_t _i, held = 0, begin_ns, end_ns
    with nogil:
        begin_ns = clock_monotonic_ns()
        for _i in range(count):
            held += clock_now_ns() > 0
        end_ns = clock_monotonic_ns()
    return end_ns - begin_ns, held
