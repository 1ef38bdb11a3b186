"""What the log knows of each group while it runs: positions and terms, never payloads. The log's thread only."""

from libc.stdint cimport uint32_t, uint64_t

from tenure._core.vec cimport Vec
from tenure._raft.types cimport Entry, HardState, Snapshot

cdef struct TermRun:
    uint64_t first_index        # entries from here on, up to the next run, have this term
    uint64_t term

cdef struct GroupLog:
    uint32_t group
    bint has_hard
    bint hard_changed           # in the batch under construction
    HardState hard
    uint64_t durable_commit     # of the last hard state that was written with all the entries before it
    Snapshot* snapshot          # null = none
    uint64_t last_index         # of the entries; the snapshot's where there are none
    Vec[TermRun] terms          # of the entries above the snapshot

cdef inline uint64_t group_base(const GroupLog* log) noexcept nogil:
    """The index that the log starts behind."""
    return log.snapshot.index if log.snapshot != NULL else 0

# Sorted by group. Null: not there, or no memory to create it.
cdef GroupLog* groups_find(Vec[GroupLog]* groups, uint32_t group, bint create) noexcept nogil
cdef void groups_release(Vec[GroupLog]* groups) noexcept nogil

# Whether `entry` may come next: it replaces one that is there, or stands right behind the last.
cdef bint group_fits(const GroupLog* log, const Entry* entry) noexcept nogil
cdef bint group_append(GroupLog* log, const Entry* entry) noexcept nogil                # False without memory
# `voids`: the entries above the snapshot are of another history, so the log is empty behind it. False without memory.
cdef bint group_snapshot(GroupLog* log, const Snapshot* snapshot, bint* voids) noexcept nogil
