// What stands on disk: the structs of the identity file, of log segments and of snapshot files, in the byte order of every machine we
// build for, and their checksums. Changing anything here means a new FORMAT_VERSION. Pure functions; no state.
//
// A segment is a SegmentHeader and then batches, end to end; behind the last one there are zeros. A batch is a
// BatchHeader and records; a record is a RecordHeader and its payload, padded to 8 bytes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tenure/_core/crc32c.hpp"

namespace tenure {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the structs below are written as they stand in memory");

constexpr uint32_t FORMAT_VERSION = 1;
constexpr uint64_t MAX_SEGMENT_BYTES = uint64_t{1} << 40;  // no header says more
constexpr uint32_t BATCH_MAGIC = 0x48435442;  // "BTCH"

constexpr uint32_t IDENTITY_HAS_LOG = 1;  // a log was begun here: its absence is a loss
constexpr uint32_t BATCH_CLOSES = 1;      // the last batch of a segment; a later segment exists

constexpr uint16_t RECORD_HARD_STATE = 1;
constexpr uint16_t RECORD_ENTRY = 2;
constexpr uint16_t RECORD_SNAPSHOT = 3;
constexpr uint16_t RECORD_LAST_INDEX = 4;     // where a group's entries end, in the base of a segment
constexpr uint16_t RECORD_OLDEST_NEEDED = 5;  // segments before this one may be gone

constexpr uint8_t RECORD_IS_BASE = 1;  // repeats what older segments say: read only where those are gone
constexpr uint8_t SNAPSHOT_VOIDS = 2;  // entries above the snapshot are of another history

// The first 16 bytes and the length of these two headers, and of a snapshot's, never change, in no version: so an older
// program can tell damage from a newer format.
struct IdentityFile {
    char magic[8];  // "tenureID"
    uint32_t version;
    uint32_t checksum;  // of all bytes but these four
    uint8_t cluster_id[16];
    uint64_t host_id;
    uint64_t start_counter;
    uint32_t flags;
    uint8_t unused[12];
};

struct SegmentHeader {
    char magic[8];  // "tenureWL"
    uint32_t version;
    uint32_t checksum;  // of all bytes but these four
    uint8_t cluster_id[16];
    uint64_t host_id;
    uint64_t sequence;
    uint64_t salt;  // random: no batch of another segment, or of this file's former life, carries it
    uint64_t capacity;
    uint64_t oldest_needed;
    uint8_t unused[56];
};

struct BatchHeader {
    uint32_t magic;
    uint32_t checksum;  // of the rest of this header, and by `body_checksum` of the whole batch
    uint64_t salt;
    uint64_t offset;  // of this header in its file
    uint64_t synced;  // everything below was known to be durable when this was written; <= offset
    uint64_t body_bytes;
    uint64_t number;  // counts the batches of the whole log
    uint32_t previous;  // the checksum of the batch before, of the segment's header for the first
    uint32_t body_checksum;
    uint32_t record_count;
    uint32_t flags;
};

struct RecordHeader {
    uint32_t length;  // of the payload, without padding
    uint16_t kind;
    uint8_t flags;
    uint8_t entry_kind;
    uint32_t group;
    uint32_t unused;
};

struct EntryPayload {
    uint64_t term;
    uint64_t index;
};

struct HardStatePayload {
    uint64_t term;
    uint64_t vote;
    uint64_t commit;
    int64_t promise_bound_ns;
};

struct SnapshotPayload {  // member ids follow: voters, outgoing, learners, learners_next
    uint64_t index;
    uint64_t term;
    uint16_t counts[4];
    uint64_t auto_leave;
};

// A snapshot file is its header, then chunks (a ChunkHeader and its bytes), then a footer. Each checksum continues the one
// before, so that no chunk can be left out, doubled or moved.
constexpr uint32_t SNAPSHOT_VERSION = 1;

struct SnapshotHeader {
    char magic[8];  // "tenureSN"
    uint32_t version;
    uint32_t checksum;  // of all bytes but these four
    uint8_t cluster_id[16];
    uint32_t group;
    uint32_t auto_leave;
    uint64_t index;
    uint64_t term;
    uint16_t counts[4];      // voters, outgoing, learners, learners_next
    uint64_t members[4][32];
};

struct ChunkHeader {
    uint32_t size;  // of the bytes behind it; 0: this is the footer
    uint32_t checksum;
};

struct SnapshotFooter {
    ChunkHeader end;
    uint64_t payload_bytes;
    uint64_t chunks;
};

static_assert(sizeof(SnapshotHeader) == 1088 && sizeof(ChunkHeader) == 8 && sizeof(SnapshotFooter) == 24, "format");
static_assert(sizeof(IdentityFile) == 64 && sizeof(SegmentHeader) == 128 && sizeof(BatchHeader) == 64, "format");
static_assert(sizeof(RecordHeader) == 16 && sizeof(EntryPayload) == 16, "format");
static_assert(sizeof(HardStatePayload) == 32 && sizeof(SnapshotPayload) == 32, "format");

inline uint32_t file_header_checksum(const void* header, size_t size) noexcept {
    const char* bytes = static_cast<const char*>(header);
    return crc32c(crc32c(0, bytes, 12), bytes + 16, size - 16);
}

inline uint32_t batch_header_checksum(const BatchHeader* header) noexcept {
    return crc32c(0, reinterpret_cast<const char*>(header) + 8, sizeof(BatchHeader) - 8);
}

// Whether a header that says so of itself really stands here, whatever came before it. No writer knows of bytes behind its own
// that they are durable: synced <= offset. Believed, such a header would make damage of zeros that a repair appends.
inline bool batch_header_stands(const BatchHeader* header, uint64_t salt, uint64_t offset) noexcept {
    return header->magic == BATCH_MAGIC && header->salt == salt && header->offset == offset && header->synced <= offset &&
           header->checksum == batch_header_checksum(header);
}

inline size_t padded(size_t size) noexcept { return (size + 7) & ~static_cast<size_t>(7); }

}  // namespace tenure
