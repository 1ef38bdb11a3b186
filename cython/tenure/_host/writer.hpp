// Memory of the log writer; the logic is in writer.pyx.
#pragma once
#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <new>

#include "tenure/_core/queue.hpp"
#include "tenure/_core/wakeup.hpp"

namespace tenure {

struct Writer {
    Queue todo;
    Queue done;
    Wakeup wakeup;
    LoopWakeup* loop;
    void* wal;
    pthread_t thread;
    size_t in_flight;
    std::atomic<uint32_t> stopping;
    std::atomic<uint64_t> batches;
    std::atomic<uint64_t> jobs;
    std::atomic<int64_t> busy_since_ns;
};

inline Writer* writer_new() noexcept { return new (std::nothrow) Writer{}; }
inline void writer_free(Writer* writer) noexcept { delete writer; }

}  // namespace tenure
