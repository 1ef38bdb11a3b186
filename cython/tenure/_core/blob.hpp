// Immutable bytes with a reference count: the payload of a log entry, shared without copying by the log, the messages
// in flight, the log writer and the state machine. Any thread may retain or release.
//
// Blobs that come and go together may stand in one block of memory: one allocation for all entries of a message. Each counts
// its own references; the block counts the blobs in it that live, and goes with the last one.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace tenure {

struct Blob {
    std::atomic<int32_t> references;  // BLOB_IN_BLOCK set: 8 bytes before this stands how far behind its block's start it is
    uint32_t size;
    char* bytes() noexcept { return reinterpret_cast<char*>(this + 1); }
};

struct BlobBlock {
    std::atomic<int32_t> references;  // of the blobs in it, and its maker's
    uint32_t unused;
    size_t used;  // bytes of it
};

constexpr int32_t BLOB_IN_BLOCK = 1 << 30;
// What a blob needs in a block beside its bytes, at most.
constexpr size_t BLOB_ROOM_BYTES = sizeof(uint64_t) + sizeof(Blob) + 7;

// A new blob of `size` bytes with one reference, or null without memory. `bytes` may be null: the caller fills it in.
inline Blob* blob_new(const char* bytes, uint32_t size) noexcept {
    void* memory = std::malloc(sizeof(Blob) + size);
    if (memory == nullptr) return nullptr;
    Blob* blob = new (memory) Blob{{1}, size};
    if (bytes != nullptr && size != 0) std::memcpy(blob->bytes(), bytes, size);
    return blob;
}

inline Blob* blob_retain(Blob* blob) noexcept {
    // relaxed: the caller already holds a reference, so nothing has to be ordered by taking another
    if (blob != nullptr) blob->references.fetch_add(1, std::memory_order_relaxed);
    return blob;
}

// A block for blobs of `room` bytes in all, BLOB_ROOM_BYTES for each included; or null without memory.
inline BlobBlock* blob_block_new(size_t room) noexcept {
    void* memory = std::malloc(sizeof(BlobBlock) + room);
    return memory == nullptr ? nullptr : new (memory) BlobBlock{{1}, 0, sizeof(BlobBlock)};
}

// The maker, before anybody else knows the block or a blob of it.
inline Blob* blob_block_add(BlobBlock* block, const char* bytes, uint32_t size) noexcept {
    char* at = reinterpret_cast<char*>(block) + block->used + sizeof(uint64_t);
    const uint64_t distance = block->used + sizeof(uint64_t);
    std::memcpy(at - sizeof(uint64_t), &distance, sizeof(distance));
    Blob* blob = new (at) Blob{{BLOB_IN_BLOCK | 1}, size};
    std::memcpy(blob->bytes(), bytes, size);
    block->used = (distance + sizeof(Blob) + size + 7) & ~static_cast<size_t>(7);
    // relaxed: not shared yet
    block->references.store(block->references.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    return blob;
}

// The maker is done with it.
inline void blob_block_release(BlobBlock* block) noexcept {
    // acq_rel: every use before any release happens before the memory is freed
    if (block != nullptr && block->references.fetch_sub(1, std::memory_order_acq_rel) == 1) std::free(block);
}

// Of a blob in a block, whose last reference is gone. Not inlined: a compiler that sees where another blob was allocated
// takes the bytes before it for a mistake.
__attribute__((noinline)) inline void blob_leave_block(Blob* blob) noexcept {
    uint64_t distance;
    std::memcpy(&distance, reinterpret_cast<char*>(blob) - sizeof(distance), sizeof(distance));
    blob_block_release(reinterpret_cast<BlobBlock*>(reinterpret_cast<char*>(blob) - distance));
}

inline void blob_release(Blob* blob) noexcept {
    if (blob == nullptr) return;
    // acq_rel: every use before any release happens before the memory is freed
    const int32_t before = blob->references.fetch_sub(1, std::memory_order_acq_rel);
    if (before == 1) {
        std::free(blob);
    } else if (before == (BLOB_IN_BLOCK | 1)) {
        blob_leave_block(blob);
    }
}

}  // namespace tenure
