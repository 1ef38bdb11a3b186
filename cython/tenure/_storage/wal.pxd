"""The write-ahead log of one host, shared by its groups. One thread at a time (the log writer; the opener before it starts)."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from tenure._core.vec cimport Vec
from tenure._raft.types cimport Configuration, Entry, HardState, Snapshot

from tenure._storage.directory cimport Directory
from tenure._storage.error cimport StorageError

cdef struct RecoveredGroup:
    uint32_t group
    HardState hard
    bint has_snapshot
    Snapshot snapshot           # entries start behind it
    Vec[Entry] entries

cdef struct Wal:
    int private_

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
cdef const StorageError* wal_error(Wal* wal) noexcept nogil
cdef uint64_t wal_syncs(Wal* wal) noexcept nogil
cdef uint64_t wal_bytes(Wal* wal) noexcept nogil
cdef void wal_close(Wal* wal) noexcept nogil
