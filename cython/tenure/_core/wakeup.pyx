"""The two wakeups: a binary semaphore on a futex word, and an eventfd that is written only when its loop sleeps.

A hand-over to a sleeping thread is the dearest thing on the request path, so a thread that is awake is never woken: both
protocols let the sleeper say that it is going to sleep, and the notifier look at that with a read-modify-write. The two
read-modify-writes on one word have an order. If the notifier's came first, the sleeper's acquires it, and the look at the
queues that follows finds the work; if the sleeper's came first, the notifier sees that it must wake. No third case exists,
and no fence is needed.
"""

from libc.stdint cimport uint64_t
from libcpp.atomic cimport memory_order_acq_rel, memory_order_acquire, memory_order_relaxed, memory_order_release

from tenure._core.posix cimport (
    EFD_CLOEXEC, EFD_NONBLOCK, EINTR, ETIMEDOUT, close, errno, eventfd, futex_wait, futex_wake, read, write
)

cdef enum:
    QUIET = 0
    TOLD = 1
    ASLEEP = 2


cdef void wakeup_notify(Wakeup* wakeup) noexcept nogil:
    # release: the notifier's work is visible to the sleeper; the value read decides only whether to call the kernel
    if wakeup.state.exchange(TOLD, memory_order_release) == ASLEEP:
        futex_wake(&wakeup.state, 1)


cdef bint wakeup_wait(Wakeup* wakeup, int64_t deadline_ns) noexcept nogil:
    cdef uint32_t seen = QUIET
    cdef bint timed_out = False
    # acquire: pairs with the notifier's release, on success (asleep) and on failure (told)
    if not wakeup.state.compare_exchange_strong(seen, ASLEEP, memory_order_acquire):
        # acquire: the notification is taken, with everything that came before it
        return wakeup.state.exchange(QUIET, memory_order_acquire) == TOLD
    while not timed_out:
        timed_out = futex_wait(&wakeup.state, ASLEEP, deadline_ns) == ETIMEDOUT
        # acquire: pairs with the notifier's release
        if wakeup.state.load(memory_order_acquire) == TOLD:
            break
    # acquire: takes the notification, also one that came together with the deadline
    return wakeup.state.exchange(QUIET, memory_order_acquire) == TOLD


cdef int loop_wakeup_open(LoopWakeup* wakeup) noexcept nogil:
    # relaxed: not shared yet
    wakeup.armed.store(0, memory_order_relaxed)
    wakeup.descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    return 0 if wakeup.descriptor >= 0 else errno


cdef void loop_wakeup_close(LoopWakeup* wakeup) noexcept nogil:
    if wakeup.descriptor >= 0:
        close(wakeup.descriptor)
        wakeup.descriptor = -1


cdef void loop_wakeup_arm(LoopWakeup* wakeup) noexcept nogil:
    # acq_rel: after it, the work of every notifier that found the loop unarmed is visible
    wakeup.armed.exchange(1, memory_order_acq_rel)


cdef void loop_wakeup_disarm(LoopWakeup* wakeup) noexcept nogil:
    # acq_rel, and an exchange: a plain store would cut the chain of read-modify-writes through which the next arming
    # acquires the work of those who notified before this point and found the loop unarmed
    wakeup.armed.exchange(0, memory_order_acq_rel)


cdef void loop_wakeup_drain(LoopWakeup* wakeup) noexcept nogil:
    cdef uint64_t count
    # one read empties an eventfd; EAGAIN means that it was empty
    while read(wakeup.descriptor, &count, sizeof(count)) < 0 and errno == EINTR:
        pass


cdef bint loop_wakeup_notify(LoopWakeup* wakeup) noexcept nogil:
    cdef uint64_t one = 1
    # acq_rel: orders the notifier's work before the loop's next look; of several notifiers only the first writes
    if wakeup.armed.exchange(0, memory_order_acq_rel) == 0:
        return False
    # a full counter (EAGAIN) is readable, and that is all that is wanted
    while write(wakeup.descriptor, &one, sizeof(one)) < 0 and errno == EINTR:
        pass
    return True
