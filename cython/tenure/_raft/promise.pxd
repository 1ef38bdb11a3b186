"""This member's promise to a leader (LEASE.md rules 2 to 4)."""

from libc.stdint cimport int64_t, uint64_t

from tenure._raft.state cimport Raft
from tenure._raft.types cimport Message

cdef int64_t promise_make(Raft* r, const Message* m) noexcept nogil     # what was promised, 0 = nothing
# How long a promise still forbids to vote for, or to be, `candidate` at `term`; 0 = free.
cdef int64_t promise_remaining(
    const Raft* r, uint64_t candidate, uint64_t term, uint64_t release_term) noexcept nogil
cdef void promise_on_start(Raft* r) noexcept nogil
cdef void promise_on_clock(Raft* r) noexcept nogil
