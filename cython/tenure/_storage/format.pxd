"""What stands on disk, and its checksums. See `format.hpp`; pure."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "tenure/_storage/format.hpp" namespace "tenure" nogil:
    const uint32_t FORMAT_VERSION
    const uint64_t MAX_SEGMENT_BYTES
    const uint32_t BATCH_MAGIC
    const uint32_t IDENTITY_HAS_LOG
    const uint32_t BATCH_CLOSES
    const uint16_t RECORD_HARD_STATE
    const uint16_t RECORD_ENTRY
    const uint16_t RECORD_SNAPSHOT
    const uint16_t RECORD_LAST_INDEX
    const uint16_t RECORD_OLDEST_NEEDED
    const uint8_t RECORD_IS_BASE
    const uint8_t SNAPSHOT_VOIDS
    const uint32_t SNAPSHOT_VERSION

    cdef struct IdentityFile:
        char[8] magic
        uint32_t version
        uint32_t checksum
        uint8_t[16] cluster_id
        uint64_t host_id
        uint64_t start_counter
        uint32_t flags

    cdef struct SegmentHeader:
        char[8] magic
        uint32_t version
        uint32_t checksum
        uint8_t[16] cluster_id
        uint64_t host_id
        uint64_t sequence
        uint64_t salt
        uint64_t capacity
        uint64_t oldest_needed

    cdef struct BatchHeader:
        uint32_t magic
        uint32_t checksum
        uint64_t salt
        uint64_t offset
        uint64_t synced
        uint64_t body_bytes
        uint64_t number
        uint32_t previous
        uint32_t body_checksum
        uint32_t record_count
        uint32_t flags

    cdef struct RecordHeader:
        uint32_t length
        uint16_t kind
        uint8_t flags
        uint8_t entry_kind
        uint32_t group
        uint32_t unused

    cdef struct EntryPayload:
        uint64_t term
        uint64_t index

    cdef struct HardStatePayload:
        uint64_t term
        uint64_t vote
        uint64_t commit
        int64_t promise_bound_ns

    cdef struct SnapshotPayload:
        uint64_t index
        uint64_t term
        uint16_t[4] counts
        uint64_t auto_leave

    cdef struct SnapshotHeader:
        char[8] magic
        uint32_t version
        uint32_t checksum
        uint8_t[16] cluster_id
        uint32_t group
        uint32_t auto_leave
        uint64_t index
        uint64_t term
        uint16_t[4] counts
        uint64_t[4][32] members

    cdef struct ChunkHeader:
        uint32_t size
        uint32_t checksum

    cdef struct SnapshotFooter:
        ChunkHeader end
        uint64_t payload_bytes
        uint64_t chunks

    uint32_t file_header_checksum(const void* header, size_t size) noexcept
    uint32_t batch_header_checksum(const BatchHeader* header) noexcept
    bint batch_header_stands(const BatchHeader* header, uint64_t salt, uint64_t offset) noexcept
    size_t padded(size_t size) noexcept
