"""The invariants, checked at every step of the simulation. It looks at everything and changes nothing but its own records."""

from libc.stdint cimport uint64_t

from tenure._proof.raft.types cimport Entry, Message, Snapshot
from tenure._proof.world cimport Member, World

# After a member handled an input, before its messages leave.
cdef void monitor_member(World* w, Member* m) noexcept nogil
# Before an entry reaches a member's state machine.
cdef void monitor_apply(World* w, Member* m, const Entry* entry) noexcept nogil
cdef void monitor_install(World* w, Member* m, const Snapshot* snapshot) noexcept nogil
# Before a message reaches the core.
cdef void monitor_step(World* w, const Member* m, const Message* message) noexcept nogil
cdef void monitor_send(World* w, Member* m, const Message* message) noexcept nogil
# After every event: who holds a valid lease, and whether that is safe.
cdef void monitor_leases(World* w) noexcept nogil
# A reader found the lease valid.
cdef void monitor_lease_read(World* w, Member* m) noexcept nogil
cdef void monitor_restart(World* w, Member* m) noexcept nogil
cdef void violate(World* w, int kind, const Member* m, uint64_t other, uint64_t a, uint64_t b) noexcept nogil
cdef uint64_t command_operation(const Entry* entry) noexcept nogil
cdef void monitor_transfer(World* w, Member* m, uint64_t target) noexcept nogil     # it has begun
