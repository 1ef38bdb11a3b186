"""A member's snapshots: taken, sent, installed."""

from libc.stdint cimport int64_t, uint64_t

from tenure._proof.raft.types cimport Message, Snapshot
from tenure._proof.world cimport Event, Member, StoredSnapshot, World

cdef void snapshots_after_apply(World* w, Member* m) noexcept nogil        # begins one when it is due
cdef void snapshots_written(World* w, Member* m, uint64_t index) noexcept nogil
cdef void snapshots_sent(World* w, Member* m, const Message* message) noexcept nogil
cdef bint snapshots_keep_back(World* w, Member* m, Event* event) noexcept nogil    # takes the event's message
cdef void snapshots_came(World* w, Member* m, const Message* message) noexcept nogil       # before the core is told
cdef StoredSnapshot* snapshots_adopt(World* w, Member* m, const Snapshot* snapshot) noexcept nogil     # null: no such file
cdef void snapshots_given_up(World* w, Member* m, uint64_t peer, uint64_t index, int64_t now_ns) noexcept nogil
