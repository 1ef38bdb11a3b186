"""Snapshot files: one group's state at one index, in the host's directory beside the log. One thread at a time.

`snap-<group>-<index>-<term>` (hexadecimal) is whole and durable, or damaged; `snapnew-...` is unfinished and means nothing, but
for `snapnew-in-<group>-<index>-<term>-<size>-<checksum>`: the beginning of another member's file, worth going on with.
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

cdef struct SnapshotBytes:
    # Which bytes: two members' snapshots of one index may differ.
    uint64_t size               # of the whole file
    uint32_t checksum           # the last of its chain, which stands in its footer; 0 = not known
    uint32_t unused

cdef struct ReceivedName:
    SnapshotName name
    SnapshotBytes bytes

cdef struct SnapshotSink:
    # A file being written. `error.code` 0 = alive; after a failure every call answers the same.
    StorageError error
    char folder[512]
    char temporary[512]
    char final[512]
    int fd                      # -1 once finished or abandoned
    bint sync
    bint resumable              # what is there is worth keeping
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
    uint32_t previous           # behind the footer: the checksum of the whole file
    Snapshot snapshot

# What is there of a group, oldest first; by name alone. A StorageCode.
cdef int snapshot_list(
    const Directory* directory, uint32_t group, Vec[SnapshotName]* names, StorageError* error) noexcept nogil
# Removes what a crash left unfinished, of all groups, but for what was received and may be gone on with.
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
cdef void snapshot_sink_keep(SnapshotSink* sink) noexcept nogil         # the same, but what is resumable stays

# A file that comes from elsewhere, as the bytes that it is: receive, append, check, publish, close. `offset` 0 begins it anew;
# above that the file is there, and what stands behind `offset` is cut off.
cdef SnapshotSink* snapshot_receive(
    const Directory* directory, uint32_t group, const ReceivedName* received, uint64_t offset, StorageError* error
) noexcept nogil
# What is there of such files of a group, lowest index first; by name alone. A StorageCode.
cdef int snapshot_list_received(
    const Directory* directory, uint32_t group, Vec[ReceivedName]* names, StorageError* error) noexcept nogil
# To read how far one is sound: `offset` behind each piece that `snapshot_read` gave.
cdef SnapshotSource* snapshot_open_received(
    const Directory* directory, uint32_t group, const ReceivedName* received, StorageError* error) noexcept nogil
cdef int snapshot_drop_received(const Directory* directory, uint32_t group, StorageError* error) noexcept nogil
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
# Reads the footer alone. A StorageCode.
cdef int snapshot_bytes(SnapshotSource* source, SnapshotBytes* bytes) noexcept nogil
cdef void snapshot_source_close(SnapshotSource* source) noexcept nogil
