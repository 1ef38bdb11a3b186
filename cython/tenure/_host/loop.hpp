// Memory of what the loop shares with other threads; the logic is in loop.pyx.
#pragma once
#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <new>

#include "tenure/_core/queue.hpp"
#include "tenure/_core/wakeup.hpp"

namespace tenure {

struct HostThreads {
    Queue submissions;
    LoopWakeup wakeup;
    Queue events;
    Wakeup events_wakeup;
    Queue applies;
    Wakeup applies_wakeup;
    pthread_t thread;
    std::atomic<uint32_t> stopping;
    std::atomic<uint64_t> passes, late_passes, missed_ticks;
    std::atomic<int64_t> longest_pass_ns;
};

inline HostThreads* host_threads_new() noexcept { return new (std::nothrow) HostThreads{}; }
inline void host_threads_free(HostThreads* threads) noexcept { delete threads; }

}  // namespace tenure
