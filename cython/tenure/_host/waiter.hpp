// Memory of waiters and inboxes; the logic is in waiter.pyx. An inbox refers to no waiter that was not pushed into it, and a
// waiter holds a reference to its inbox, so neither can outlive what it needs.
#pragma once
#include <atomic>
#include <cstdint>
#include <new>

#include "tenure/_core/blob.hpp"
#include "tenure/_core/queue.hpp"
#include "tenure/_core/wakeup.hpp"

namespace tenure {

struct Inbox {
    Queue queue;
    LoopWakeup wakeup;
    std::atomic<int32_t> references;
};

struct Waiter {
    std::atomic<uint32_t> done;
    std::atomic<int32_t> references;
    int32_t code;
    uint64_t index;
    uint64_t term;
    uint64_t leader;
    Blob* value;
    Inbox* inbox;
    void* tag;
};

inline Waiter* waiter_new() noexcept {
    auto* waiter = new (std::nothrow) Waiter{};
    // relaxed: nobody else knows it yet
    if (waiter != nullptr) waiter->references.store(2, std::memory_order_relaxed);
    return waiter;
}

inline void waiter_free(Waiter* waiter) noexcept { delete waiter; }

inline Inbox* inbox_new() noexcept {
    auto* inbox = new (std::nothrow) Inbox{};
    // relaxed: nobody else knows it yet
    if (inbox != nullptr) inbox->references.store(1, std::memory_order_relaxed);
    return inbox;
}

inline void inbox_free(Inbox* inbox) noexcept { delete inbox; }

inline Inbox* inbox_retain(Inbox* inbox) noexcept {
    // relaxed: the caller already holds a reference
    if (inbox != nullptr) inbox->references.fetch_add(1, std::memory_order_relaxed);
    return inbox;
}

}  // namespace tenure
