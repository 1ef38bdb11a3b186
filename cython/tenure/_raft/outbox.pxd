"""How messages leave the state machine."""

from libc.stdint cimport uint64_t

from tenure._raft.state cimport Raft
from tenure._raft.types cimport Message, MessageType

cdef Message* outbox(Raft* r, MessageType type, uint64_t to) noexcept nogil     # null: the member has failed
cdef Message* outbox_reply(Raft* r, MessageType type, const Message* request) noexcept nogil
cdef uint64_t commit_to_tell(const Raft* r) noexcept nogil
cdef void send_heartbeat(Raft* r, uint64_t to, uint64_t match, uint64_t round) noexcept nogil
cdef void broadcast_heartbeat(Raft* r, uint64_t round) noexcept nogil
