"""A member's state machine: registers with sessions, or the user's own."""

from libc.stdint cimport int64_t

from tenure._core.blob cimport Blob
from tenure._proof.raft.types cimport Entry
from tenure._proof.world cimport Command, Member, World

# The empty state of a process that has just started. False without memory.
cdef bint machine_reset(World* w, Member* m) noexcept nogil
# Null without memory.
cdef Blob* machine_payload(World* w, const Command* command) noexcept nogil
cdef bint machine_command(const Entry* entry, Command* command) noexcept nogil     # False for an entry that carries none
# Before the answers of a batch are asked for, one by one and in order, by machine_apply.
cdef bint machine_batch(World* w, Member* m, const Entry* entries, size_t size) noexcept nogil
cdef int64_t machine_apply(World* w, Member* m, const Entry* entry) noexcept nogil
cdef int64_t machine_read(World* w, Member* m, int64_t operation) noexcept nogil
cdef bint machine_can_dump(const World* w) noexcept nogil
cdef Blob* machine_dump(World* w, Member* m) noexcept nogil        # null without memory
cdef bint machine_load(World* w, Member* m, Blob* data) noexcept nogil
