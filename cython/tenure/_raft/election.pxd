"""Elections: roles, campaigns, votes, hand-over."""

from libc.stdint cimport uint64_t

from tenure._raft.state cimport Raft
from tenure._raft.types cimport Message

cdef void become_follower(Raft* r, uint64_t term, uint64_t lead) noexcept nogil
cdef void hup(Raft* r, uint64_t release_term) noexcept nogil
cdef bint promotable(Raft* r) noexcept nogil
cdef void re_elect_self(Raft* r) noexcept nogil
cdef void step_down(Raft* r) noexcept nogil
cdef void on_vote_request(Raft* r, const Message* m) noexcept nogil
cdef bint vote_is_forbidden(Raft* r, const Message* m) noexcept nogil
cdef void learn_commit(Raft* r, const Message* m) noexcept nogil       # out of a refused vote
cdef void on_timeout_now(Raft* r, uint64_t release_term) noexcept nogil
cdef void on_vote_reply(Raft* r, const Message* m) noexcept nogil
cdef bint quorum_is_active(Raft* r) noexcept nogil
cdef uint64_t next_random(Raft* r) noexcept nogil
