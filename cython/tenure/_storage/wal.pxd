"""The write-ahead log of one host, shared by its groups. One thread at a time (the log writer; the opener before it starts)."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from tenure._core.vec cimport Vec
from tenure._raft.types cimport Configuration, Entry, HardState, Snapshot

from tenure._storage.directory cimport Directory
from tenure._storage.error cimport StorageError
from tenure._storage.groups cimport GroupLog

cdef struct RecoveredGroup:
    uint32_t group
    HardState hard
    bint has_snapshot
    Snapshot snapshot           # entries start behind it
    Vec[Entry] entries

cdef struct SegmentUse:
    uint32_t group
    uint64_t highest_index      # that this segment holds of the group

cdef struct ClosedSegment:
    uint64_t sequence
    Vec[SegmentUse] uses

cdef struct Wal:
    # Private to wal.pyx and recovery.pyx. Offsets of the current segment: synced <= tail <= capacity.
    Directory* directory
    uint64_t segment_bytes
    bint sync
    StorageError error          # code 0 = alive
    int fd                      # the current segment
    char path[512]
    uint64_t sequence
    uint64_t salt
    uint64_t capacity
    uint64_t tail               # where the next batch goes
    uint64_t synced             # everything below is durable
    uint64_t zeroed             # blocks below were written before, as zeros or as batches; tail <= zeroed, or unknown
    uint64_t number             # of the next batch
    uint32_t previous           # checksum that the next batch follows
    Vec[GroupLog] groups
    Vec[ClosedSegment] closed   # older segments that are still there, oldest first
    uint64_t oldest_needed      # the first segment that recovery needs
    Vec[char] batch             # room for a BatchHeader, then records
    uint32_t record_count
    bint has_entries            # not for the reserve
    bint has_snapshots
    Vec[RecoveredGroup] recovered
    uint64_t torn_offset
    uint64_t syncs
    uint64_t bytes

# Recovers what the directory holds, or starts a new log. Null with `error` filled in.
cdef Wal* wal_open(
    const Directory* directory, uint64_t segment_bytes, bint sync, StorageError* error) noexcept nogil
cdef size_t wal_recovered_count(Wal* wal) noexcept nogil
cdef RecoveredGroup* wal_recovered(Wal* wal, size_t i) noexcept nogil     # until wal_forget_recovered
cdef void wal_forget_recovered(Wal* wal) noexcept nogil
cdef uint64_t wal_torn_offset(Wal* wal) noexcept nogil                    # where a torn tail was cut; 0 = none

# Adds to the batch in memory: entries replace whatever stood at or above entries[0].index in that group.
cdef int wal_add(Wal* wal, uint32_t group, const HardState* hard, const Entry* entries, size_t count) noexcept nogil
# From now on the group's log starts behind this snapshot (which is durable in its own file).
cdef int wal_add_snapshot(Wal* wal, uint32_t group, const Snapshot* snapshot) noexcept nogil
# One write and one fdatasync: all that was added is durable when it returns STORAGE_OK. After any other answer the log is
# dead: every later call answers the same.
cdef int wal_flush(Wal* wal) noexcept nogil
# Deletes the segments that no group needs any more; every flush that carried a snapshot does so by itself.
cdef int wal_compact(Wal* wal) noexcept nogil
# How many segments are there, and the group whose missing snapshot keeps the oldest (valid where there is more than one).
cdef size_t wal_segments(Wal* wal, uint32_t* pinned_by) noexcept nogil
cdef const StorageError* wal_error(Wal* wal) noexcept nogil
cdef uint64_t wal_syncs(Wal* wal) noexcept nogil
cdef uint64_t wal_bytes(Wal* wal) noexcept nogil
cdef void wal_close(Wal* wal) noexcept nogil
