"""Snapshot files: one group's state at one index, in the host's directory beside the log. One thread at a time.

`snap-<group>-<index>-<term>` (hexadecimal) is whole and durable, or damaged; `snapnew-...` is unfinished and means nothing.
"""

from libc.stdint cimport uint32_t, uint64_t

from tenure._core.vec cimport Vec
from tenure._raft.types cimport Snapshot
from tenure._storage.directory cimport Directory
from tenure._storage.error cimport StorageError

cdef enum:
    SNAPSHOT_CHUNK_BYTES = 1 << 20      # no chunk is larger

cdef struct SnapshotName:
    uint64_t index
    uint64_t term

cdef struct SnapshotSink:
    # A file being written. `error.code` 0 = alive; after a failure every call answers the same.
    StorageError error
    char folder[512]
    char temporary[512]
    char final[512]
    int fd                      # -1 once finished or abandoned
    bint sync
    uint64_t offset
    uint64_t unsynced
    uint64_t payload_bytes
    uint64_t chunks
    uint32_t previous           # checksum that the next chunk continues

cdef struct SnapshotSource:
    # A whole file being read.
    StorageError error
    char path[512]
    int fd
    uint64_t size
    uint64_t offset
    uint64_t payload_bytes
    uint64_t chunks
    uint32_t previous
    Snapshot snapshot

# What is there of a group, oldest first; by name alone. A StorageCode.
cdef int snapshot_list(
    const Directory* directory, uint32_t group, Vec[SnapshotName]* names, StorageError* error) noexcept nogil
# Removes what a crash left unfinished, of all groups.
cdef int snapshot_sweep(const Directory* directory, StorageError* error) noexcept nogil
# Removes the group's files below `index`.
cdef int snapshot_remove_below(
    const Directory* directory, uint32_t group, uint64_t index, StorageError* error) noexcept nogil

# Null with `error` filled in.
cdef SnapshotSink* snapshot_create(
    const Directory* directory, uint32_t group, const Snapshot* snapshot, StorageError* error) noexcept nogil
cdef int snapshot_append(SnapshotSink* sink, const char* bytes, size_t size) noexcept nogil
# Durable under its name when it returns STORAGE_OK.
cdef int snapshot_finish(SnapshotSink* sink) noexcept nogil
cdef void snapshot_sink_close(SnapshotSink* sink) noexcept nogil        # what is unfinished is removed; null is fine

# A file that comes from elsewhere, as the bytes that it is: create, append, check, publish, close.
cdef SnapshotSink* snapshot_receive(
    const Directory* directory, uint32_t group, const SnapshotName* name, StorageError* error) noexcept nogil
cdef int snapshot_append_raw(SnapshotSink* sink, const char* bytes, size_t size) noexcept nogil
# To read what came, before it is published: whoever reads it to its end knows that it is whole.
cdef SnapshotSource* snapshot_check(
    const SnapshotSink* sink, const Directory* directory, uint32_t group, const SnapshotName* name, StorageError* error
) noexcept nogil
cdef int snapshot_publish(SnapshotSink* sink) noexcept nogil            # durable under its name; not checked here

# Null with `error` filled in: STORAGE_CORRUPT and the offset for damage.
cdef SnapshotSource* snapshot_open(
    const Directory* directory, uint32_t group, const SnapshotName* name, StorageError* error) noexcept nogil
# Replaces `chunk` by the next piece; empty at the end, which is told only when everything came and was whole. A StorageCode.
cdef int snapshot_read(SnapshotSource* source, Vec[char]* chunk) noexcept nogil
# Appends up to `size` bytes of the file as it stands, from `offset` on; nothing is checked but the header. A StorageCode.
cdef int snapshot_read_raw(SnapshotSource* source, uint64_t offset, size_t size, Vec[char]* out) noexcept nogil
cdef void snapshot_source_close(SnapshotSource* source) noexcept nogil
