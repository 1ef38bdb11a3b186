"""The replicated log of one member.

The log lives in memory from the last snapshot (`offset`) on; storage holds a copy for the next start and is never read by a
running member. Indexes move one way only, except that a follower's uncommitted tail may be truncated:

    offset <= applied <= applying <= committed <= last      stable <= persisting <= last

One thread at a time. A Code other than OK means that a peer broke the protocol or memory ran out: the member fails.
"""

from libc.stdint cimport uint64_t

from tenure._core.blob cimport blob_release
from tenure._core.vec cimport Vec
from tenure._raft.state cimport RaftLog
from tenure._raft.types cimport (
    ERR_COMPACTED,
    ERR_INVARIANT,
    ERR_MEMORY,
    ERR_UNAVAILABLE,
    OK,
    Entry,
    entries_push,
    entries_release,
    entry_bytes,
)
from libc.stdlib cimport free


cdef uint64_t log_last_index(const RaftLog* log) noexcept nogil:
    return log.offset + log.entries.size


cdef uint64_t log_last_term(const RaftLog* log) noexcept nogil:
    return log.entries.data[log.entries.size - 1].term if log.entries.size else log.offset_term


cdef bint log_term(const RaftLog* log, uint64_t index, uint64_t* term) noexcept nogil:
    if index < log.offset or index > log_last_index(log):
        return False
    term[0] = log.offset_term if index == log.offset else log.entries.data[index - log.offset - 1].term
    return True


cdef bint log_matches(const RaftLog* log, uint64_t index, uint64_t term) noexcept nogil:
    cdef uint64_t here
    return log_term(log, index, &here) and here == term


cdef bint log_up_to_date(const RaftLog* log, uint64_t index, uint64_t term) noexcept nogil:
    """Whether a candidate whose log ends at (index, term) may get this member's vote (Raft, section 5.4.1)."""
    cdef uint64_t last_term = log_last_term(log)
    return term > last_term or (term == last_term and index >= log_last_index(log))


cdef uint64_t log_conflict_by_term(const RaftLog* log, uint64_t index, uint64_t term, uint64_t* found_term) noexcept nogil:
    """The highest position at or below `index` whose term is at most `term`: where two logs can still agree.

    `found_term` is 0 where this log no longer knows the term.
    """
    cdef uint64_t here
    while index > 0:
        if not log_term(log, index, &here):
            found_term[0] = 0
            return index
        if here <= term:
            found_term[0] = here
            return index
        index -= 1
    found_term[0] = 0
    return 0


cdef int log_append(RaftLog* log, const Entry* entry) noexcept nogil:
    """Append one entry, whose index must be the next one; the payload is shared."""
    if entry.index != log_last_index(log) + 1:
        return ERR_INVARIANT
    return OK if entries_push(&log.entries, entry) else ERR_MEMORY


cdef int log_truncate(RaftLog* log, uint64_t last) noexcept nogil:
    """Drop every entry above `last`. Committed entries are never dropped."""
    cdef size_t keep
    if last < log.committed or last > log_last_index(log):
        return ERR_INVARIANT
    keep = last - log.offset
    while log.entries.size > keep:
        log.entries.size -= 1
        blob_release(log.entries.data[log.entries.size].data)
    log.stable = min(log.stable, last)
    log.persisting = min(log.persisting, last)
    return OK


cdef int log_commit_to(RaftLog* log, uint64_t index) noexcept nogil:
    if index > log_last_index(log):
        return ERR_INVARIANT  # a leader says that this member stored what it has not: its disk lost acknowledged entries
    log.committed = max(log.committed, index)
    return OK


cdef int log_copy(
        const RaftLog* log, uint64_t first, uint64_t last, uint64_t max_bytes, Vec[Entry]* into) noexcept nogil:
    cdef uint64_t index, taken = 0
    cdef const Entry* entry
    if first <= log.offset:
        return ERR_COMPACTED
    if last > log_last_index(log):
        return ERR_UNAVAILABLE
    for index in range(first, last + 1):
        entry = &log.entries.data[index - log.offset - 1]
        taken += entry_bytes(entry)
        if index > first and taken > max_bytes:
            break
        if not entries_push(into, entry):
            return ERR_MEMORY
    return OK


cdef int log_compact(RaftLog* log, uint64_t index) noexcept nogil:
    """Drop every entry up to and including `index`, which must be applied and durable."""
    cdef size_t count, i
    if index <= log.offset:
        return ERR_COMPACTED
    if index > min(log.applied, log.stable):
        return ERR_UNAVAILABLE
    count = index - log.offset
    log.offset_term = log.entries.data[count - 1].term
    for i in range(count):
        blob_release(log.entries.data[i].data)
    log.entries.remove(0, count)
    log.offset = index
    return OK


cdef void log_restore(RaftLog* log, uint64_t index, uint64_t term) noexcept nogil:
    """Replace everything by a snapshot at (index, term) that still has to be installed."""
    cdef size_t i
    for i in range(log.entries.size):
        blob_release(log.entries.data[i].data)
    log.entries.clear()
    log.offset = index
    log.offset_term = term
    log.committed = index
    log.persisting = index
    log.stable = index


cdef void log_release(RaftLog* log) noexcept nogil:
    entries_release(&log.entries)
    free(log.pending_snapshot)
    log.pending_snapshot = NULL
