// Memory of the snapshot thread; the logic is in snapshotter.pyx.
#pragma once
#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <new>

#include "tenure/_core/queue.hpp"
#include "tenure/_core/wakeup.hpp"

namespace tenure {

struct Snapshotter {
    Queue todo;
    Queue done;
    Wakeup wakeup;
    LoopWakeup* loop;
    const void* directory;
    pthread_t thread;
    size_t in_flight;
    std::atomic<uint32_t> stopping;
};

inline Snapshotter* snapshotter_new() noexcept { return new (std::nothrow) Snapshotter{}; }
inline void snapshotter_free(Snapshotter* snapshotter) noexcept { delete snapshotter; }

}  // namespace tenure
