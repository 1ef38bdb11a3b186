"""The network between members: delay, loss, duplication, holding back, partitions. It owns what is in flight."""

from libc.stdint cimport int32_t, int64_t

from tenure._proof.raft.types cimport Message
from tenure._proof.world cimport Member, World

cdef void network_send(World* w, Member* m, Message* message) noexcept nogil    # takes over what the message owns
cdef void network_block(World* w, int32_t from_, int32_t to, int64_t from_ns, int64_t until_ns) noexcept nogil
# After the recorded fates were put in place, in order.
cdef void network_take_fates(World* w) noexcept nogil
