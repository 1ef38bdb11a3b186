// Memory of what the skeleton's threads share; the logic is in skeleton.pyx.
#pragma once
#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <new>

#include "tenure/_core/queue.hpp"
#include "tenure/_core/wakeup.hpp"

namespace tenure {

struct SkeletonCall {
    std::atomic<uint32_t> done;   // futex word
    int32_t kind;
};

struct SkeletonThreads {
    Queue submissions;            // of SkeletonCall*
    LoopWakeup wakeup;
    Queue todo;                   // of jobs: the loop pushes, the log writer pops
    Queue done;
    Wakeup writer_wakeup;
    pthread_t loop, writer;
    std::atomic<uint32_t> stopping, failed;
};

inline SkeletonThreads* skeleton_threads_new() noexcept { return new (std::nothrow) SkeletonThreads{}; }
inline void skeleton_threads_free(SkeletonThreads* threads) noexcept { delete threads; }
inline SkeletonCall* skeleton_call_new() noexcept { return new (std::nothrow) SkeletonCall{}; }
inline void skeleton_call_free(SkeletonCall* call) noexcept { delete call; }

}  // namespace tenure
