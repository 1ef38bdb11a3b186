"""Waking a thread: `Wakeup` for one that sleeps on a futex, `LoopWakeup` for one that sleeps in epoll.

Both belong to one sleeping thread; any thread may notify. A notification that comes while nobody sleeps is kept (once), and
costs no system call. What the notifier did before it notified is visible to the sleeper afterwards.
"""

from libc.stdint cimport int64_t, uint32_t
from libcpp.atomic cimport atomic


cdef extern from "tenure/_core/wakeup.hpp" namespace "tenure" nogil:
    cdef cppclass Wakeup:
        atomic[uint32_t] state

    cdef cppclass LoopWakeup:
        atomic[uint32_t] armed
        int descriptor


# Any thread.
cdef void wakeup_notify(Wakeup* wakeup) noexcept nogil

# The owner. Returns True when it was notified (the notification is used up), False when the deadline, an instant of
# CLOCK_MONOTONIC (negative: none), passed first. Signals do not end the wait.
cdef bint wakeup_wait(Wakeup* wakeup, int64_t deadline_ns) noexcept nogil


# The owner. 0, or an errno. The descriptor goes into epoll for EPOLLIN.
cdef int loop_wakeup_open(LoopWakeup* wakeup) noexcept nogil
cdef void loop_wakeup_close(LoopWakeup* wakeup) noexcept nogil

# The owner, in this order: arm; look at the queues once more; sleep only if they are empty; disarm.
cdef void loop_wakeup_arm(LoopWakeup* wakeup) noexcept nogil
cdef void loop_wakeup_disarm(LoopWakeup* wakeup) noexcept nogil

# The owner, when epoll reports the descriptor: empties it.
cdef void loop_wakeup_drain(LoopWakeup* wakeup) noexcept nogil

# Any thread, after it put its work into a queue. Returns True when it had to write.
cdef bint loop_wakeup_notify(LoopWakeup* wakeup) noexcept nogil
