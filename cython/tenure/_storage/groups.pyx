"""The log's table of groups: where each one's entries begin and end, and in which terms.

Terms never fall as indexes rise, so a group's terms are a handful of runs, however many entries there are. That is enough to
tell whether a snapshot continues the log or replaces it. The log's thread only; owns the runs and the snapshots.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from tenure._core.vec cimport Vec
from tenure._raft.types cimport Entry, Snapshot


cdef GroupLog* groups_find(Vec[GroupLog]* groups, uint32_t group, bint create) noexcept nogil:
    cdef size_t low = 0, high = groups.size, middle
    cdef GroupLog added
    while low < high:
        middle = (low + high) // 2
        if groups.data[middle].group < group:
            low = middle + 1
        else:
            high = middle
    if low < groups.size and groups.data[low].group == group:
        return &groups.data[low]
    if not create:
        return NULL
    memset(&added, 0, sizeof(added))
    added.group = group
    return &groups.data[low] if groups.insert(low, added) else NULL


cdef void groups_release(Vec[GroupLog]* groups) noexcept nogil:
    cdef size_t i
    for i in range(groups.size):
        groups.data[i].terms.release()
        free(groups.data[i].snapshot)
    groups.release()


cdef bint group_fits(const GroupLog* log, const Entry* entry) noexcept nogil:
    return group_base(log) < entry.index <= log.last_index + 1


cdef bint group_append(GroupLog* log, const Entry* entry) noexcept nogil:
    cdef TermRun run
    while log.terms.size and log.terms.data[log.terms.size - 1].first_index >= entry.index:
        log.terms.size -= 1
    log.last_index = entry.index
    if log.terms.size and log.terms.data[log.terms.size - 1].term == entry.term:
        return True
    run.first_index = entry.index
    run.term = entry.term
    return log.terms.push(run)


cdef uint64_t term_at(const GroupLog* log, uint64_t index) noexcept nogil:
    """The term of an entry; 0 where the log does not know it."""
    cdef size_t i = log.terms.size
    if index > log.last_index:
        return 0
    while i > 0:
        i -= 1
        if log.terms.data[i].first_index <= index:
            return log.terms.data[i].term
    return 0


cdef bint group_snapshot(GroupLog* log, const Snapshot* snapshot, bint* voids) noexcept nogil:
    cdef size_t covered = 0
    voids[0] = snapshot.index > group_base(log) and term_at(log, snapshot.index) != snapshot.term
    if log.snapshot == NULL:
        log.snapshot = <Snapshot*> malloc(sizeof(Snapshot))
        if log.snapshot == NULL:
            return False
    memcpy(log.snapshot, snapshot, sizeof(Snapshot))
    if voids[0]:
        log.terms.clear()
        log.last_index = snapshot.index
        return True
    while covered + 1 < log.terms.size and log.terms.data[covered + 1].first_index <= snapshot.index + 1:
        covered += 1
    log.terms.remove(0, covered)
    if log.last_index <= snapshot.index:
        log.terms.clear()
        log.last_index = snapshot.index
    elif log.terms.size and log.terms.data[0].first_index <= snapshot.index:
        log.terms.data[0].first_index = snapshot.index + 1
    return True
