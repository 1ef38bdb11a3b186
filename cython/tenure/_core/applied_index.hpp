// The layout of a published applied index, its life, and the one load that a fence makes. Publishing and waiting are in
// `applied_index.pyx`. The memory is counted and outlives its readers.
#pragma once
#include <atomic>
#include <cstdint>
#include <new>

namespace tenure {

constexpr int64_t NOBODY_WAITS = INT64_MAX;

struct AppliedWord {
    alignas(64) std::atomic<int64_t> index;           // a cache line of its own: every fence reads it
    alignas(64) std::atomic<int64_t> lowest_wanted;   // the smallest index somebody may be asleep for
    std::atomic<uint32_t> round;                      // the futex word; moves on with every wake-up
    std::atomic<int32_t> failure;                     // 0 while the member lives
    std::atomic<int64_t> references;
};

inline AppliedWord* applied_new() noexcept {
    void* memory = ::operator new(sizeof(AppliedWord), std::align_val_t{alignof(AppliedWord)}, std::nothrow);
    if (memory == nullptr) return nullptr;
    return new (memory) AppliedWord{{0}, {NOBODY_WAITS}, {0}, {0}, {1}};
}

inline AppliedWord* applied_retain(AppliedWord* applied) noexcept {
    // relaxed: the caller already holds a reference, so nothing has to be ordered by taking another
    if (applied != nullptr) applied->references.fetch_add(1, std::memory_order_relaxed);
    return applied;
}

inline void applied_release(AppliedWord* applied) noexcept {
    // acq_rel: every use before any release happens before the memory is freed
    if (applied == nullptr || applied->references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    applied->~AppliedWord();
    ::operator delete(static_cast<void*>(applied), std::align_val_t{alignof(AppliedWord)});
}

inline int64_t applied_load(const AppliedWord* applied) noexcept {
    // acquire: the effects of every entry up to the value are visible after the load
    return applied->index.load(std::memory_order_acquire);
}

}  // namespace tenure
