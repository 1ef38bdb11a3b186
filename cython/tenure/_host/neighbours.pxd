"""Keeps the transport in line with roster and configurations. The loop's thread; the opener before it."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from tenure._core.vec cimport Vec
from tenure._host.member cimport Member
from tenure._host.roster cimport Roster, RosterEntry
from tenure._net.transport cimport Transport

cdef struct Leaving:
    uint64_t id
    int64_t until_ns            # CLOCK_MONOTONIC

cdef struct Neighbours:
    uint64_t self_id
    Roster roster
    uint64_t seen_revision      # of the roster, when the transport was last brought in line
    Vec[RosterEntry] dialled    # the peers that the transport has, and where it looks for them
    Vec[Leaving] leaving        # those of them that are in no configuration any more
    int64_t tell_at_ns

# After apply: connects to who is new, forgets after a while who has left. True: something is different, tell whoever asks.
cdef bint neighbours_follow(Neighbours* n, Vec[Member*]* members, Transport* t, int64_t monotonic_ns) noexcept nogil
# Now and then: tells the peers who is where.
cdef void neighbours_tick(Neighbours* n, Transport* t, int64_t monotonic_ns) noexcept nogil
# A peer was reached: it learns first who is where; it may not know whom it hears from.
cdef void neighbours_greet(const Neighbours* n, Transport* t, uint64_t peer) noexcept nogil
cdef int64_t neighbours_due_ns(const Neighbours* n) noexcept nogil
# A peer's roster came, or a stranger's.
cdef void neighbours_data(Neighbours* n, const char* bytes, uint32_t size) noexcept nogil
cdef void neighbours_release(Neighbours* n) noexcept nogil
