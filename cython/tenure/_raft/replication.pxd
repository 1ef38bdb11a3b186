"""Log replication: the leader's appends and commits, the follower's answers."""

from libc.stdint cimport uint8_t, uint64_t

from tenure._core.blob cimport Blob
from tenure._raft.state cimport Progress, Raft
from tenure._raft.types cimport Configuration, Message

cdef bint is_voter(const Raft* r, uint64_t id) noexcept nogil
cdef int append_entries(Raft* r, Blob** payloads, size_t count, uint8_t kind) noexcept nogil
cdef bint maybe_send_append(Raft* r, Progress* p, bint even_if_empty) noexcept nogil
cdef void broadcast_append(Raft* r) noexcept nogil
cdef void tell_commit(Raft* r) noexcept nogil
cdef bint hand_over_if_caught_up(Raft* r) noexcept nogil
cdef void on_append(Raft* r, const Message* m) noexcept nogil
cdef void on_append_reply(Raft* r, Progress* p, const Message* m) noexcept nogil
cdef void on_heartbeat(Raft* r, const Message* m) noexcept nogil
cdef void on_heartbeat_reply(Raft* r, Progress* p, const Message* m) noexcept nogil
cdef void on_snapshot(Raft* r, const Message* m) noexcept nogil
cdef bint maybe_commit(Raft* r) noexcept nogil
cdef uint64_t quorum_stored(Raft* r) noexcept nogil     # the greatest index that a quorum has stored
cdef bint adopt(Raft* r, const Configuration* c, uint64_t index) noexcept nogil
