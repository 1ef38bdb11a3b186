// The fence of a lease read: after it says yes, data read by the same thread is at or past a legal point of the group's
// history. Any thread, no lock, no call into Python. One check serves one call: never keep its answer for a later call.
//
// A `FenceHandle` ties the two words of one member together, counted, for those who keep a fence across threads.
#pragma once
#include <atomic>
#include <cstdint>
#include <new>

#include "tenure/_core/applied_index.hpp"
#include "tenure/_core/clock.hpp"
#include "tenure/_core/lease.hpp"

namespace tenure {

// The applied index under a valid lease, or -1: the caller then confirms with a quorum. The order is the rule: the word,
// the clock, the comparison, and only then `applied`, so that index and lease are of one leadership.
inline int64_t fence(LeaseWord* lease, AppliedWord* applied) noexcept {
    const uint64_t word = lease_load(lease);         // acquire (inside): the loads below stay below
    const int64_t now_ns = clock_now_ns();
    if (__builtin_expect(!lease_covers(word, now_ns), 0)) return -1;
    return applied_load(applied);                    // acquire (inside): the reader sees what was applied
}

struct FenceHandle {
    LeaseWord* lease;
    AppliedWord* applied;
    std::atomic<int64_t> references;
};

// Takes references of its own to both words; null without memory.
inline FenceHandle* fence_new(LeaseWord* lease, AppliedWord* applied) noexcept {
    auto* handle = new (std::nothrow) FenceHandle{lease, applied, {1}};
    if (handle == nullptr) return nullptr;
    lease_retain(lease);
    applied_retain(applied);
    return handle;
}

inline FenceHandle* fence_retain(FenceHandle* handle) noexcept {
    // relaxed: the caller already holds a reference, so nothing has to be ordered by taking another
    if (handle != nullptr) handle->references.fetch_add(1, std::memory_order_relaxed);
    return handle;
}

inline void fence_release(FenceHandle* handle) noexcept {
    // acq_rel: every use before any release happens before the memory is freed
    if (handle == nullptr || handle->references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    lease_release(handle->lease);
    applied_release(handle->applied);
    delete handle;
}

}  // namespace tenure
