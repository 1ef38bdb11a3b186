"""ReadIndex: linearizable reads by a quorum round."""

from libc.stdint cimport uint64_t

from tenure._raft.state cimport Progress, Raft

cdef bint own_term_committed(const Raft* r) noexcept nogil
cdef int reads_add(Raft* r, uint64_t read_id, uint64_t from_) noexcept nogil
cdef void reads_new_round(Raft* r) noexcept nogil       # even while one is open
cdef uint64_t reads_confirmed_round(Raft* r) noexcept nogil
cdef void reads_on_own_term_commit(Raft* r) noexcept nogil
cdef void reads_on_ack(Raft* r, Progress* p, uint64_t round) noexcept nogil
cdef void reads_on_switch(Raft* r) noexcept nogil       # another quorum counts: what is confirmed by it?
cdef void reads_on_applied(Raft* r) noexcept nogil
cdef void reads_fail(Raft* r) noexcept nogil
cdef void read_answer_here(Raft* r, uint64_t read_id, uint64_t index, int code) noexcept nogil
