"""What both log targets ask of a recovery. One at a time, in an entered folder."""

from libc.stdint cimport uint32_t, uint64_t

from tenure._fuzz.memory_files cimport MemoryFolder
from tenure._raft.types cimport Configuration, Entry, HardState, Snapshot
from tenure._storage.directory cimport Directory
from tenure._storage.error cimport StorageError
from tenure._storage.wal cimport Wal

cdef enum:
    SEGMENT_BYTES = 16384       # the smallest there is

# A directory in memory, of the host and cluster that `tests/fuzz` writes its logs for.
cdef void directory_in_memory(Directory* directory, bint has_log) noexcept nogil
# Of everything recovered; equal for equal groups. A group without anything counts as none.
cdef uint64_t digest_recovered(Wal* wal) noexcept nogil
cdef uint64_t digest_group(
    uint64_t digest, uint32_t group, const HardState* hard, const Snapshot* snapshot, const Entry* entries, size_t count
) noexcept nogil
cdef uint64_t digest_configuration(uint64_t digest, const Configuration* c) noexcept nogil
# What must hold of a recovery that was refused: nothing was changed, and the error says what and where.
cdef const char* judge_refusal(MemoryFolder* folder, uint64_t changes_before, const StorageError* error) noexcept nogil
# What must hold after one that was not: a second one finds the same, and the log goes on from there.
cdef const char* judge_going_on(MemoryFolder* folder, Directory* directory, uint64_t digest) noexcept nogil
