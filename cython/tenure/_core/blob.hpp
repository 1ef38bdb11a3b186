// Immutable bytes with a reference count: the payload of a log entry, shared without copying by the log, the messages
// in flight, the log writer and the state machine. Any thread may retain or release.
#pragma once
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace tenure {

struct Blob {
    std::atomic<int32_t> references;
    uint32_t size;
    char* bytes() noexcept { return reinterpret_cast<char*>(this + 1); }
};

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

inline void blob_release(Blob* blob) noexcept {
    // acq_rel: every use before any release happens before the memory is freed
    if (blob != nullptr && blob->references.fetch_sub(1, std::memory_order_acq_rel) == 1) std::free(blob);
}

}  // namespace tenure
