"""The replicated log of one member, in memory from its snapshot on."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint64_t

from tenure._core.vec cimport Vec
from tenure._raft.state cimport RaftLog
from tenure._raft.types cimport Entry, Snapshot

cdef uint64_t log_last_index(const RaftLog* log) noexcept nogil
cdef uint64_t log_last_term(const RaftLog* log) noexcept nogil
# The term of the entry at `index`; False where the log does not know it (compacted, or not there yet).
cdef bint log_term(const RaftLog* log, uint64_t index, uint64_t* term) noexcept nogil
cdef bint log_matches(const RaftLog* log, uint64_t index, uint64_t term) noexcept nogil
cdef bint log_up_to_date(const RaftLog* log, uint64_t index, uint64_t term) noexcept nogil
cdef uint64_t log_conflict_by_term(const RaftLog* log, uint64_t index, uint64_t term, uint64_t* found_term) noexcept nogil
cdef int log_append(RaftLog* log, const Entry* entry) noexcept nogil
cdef int log_truncate(RaftLog* log, uint64_t last) noexcept nogil
cdef int log_commit_to(RaftLog* log, uint64_t index) noexcept nogil
# Copies (sharing payloads) entries first..last into `into`, at least one and at most `max_bytes` of payload.
cdef int log_copy(
    const RaftLog* log, uint64_t first, uint64_t last, uint64_t max_bytes, Vec[Entry]* into) noexcept nogil
cdef int log_compact(RaftLog* log, uint64_t index) noexcept nogil
cdef void log_restore(RaftLog* log, uint64_t index, uint64_t term) noexcept nogil
cdef void log_release(RaftLog* log) noexcept nogil
