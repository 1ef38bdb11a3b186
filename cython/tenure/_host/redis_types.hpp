// What the Redis front end shares between threads, and its memory; the structs are in redis_types.pxd.
#pragma once
#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <new>

#include "tenure/_core/queue.hpp"
#include "tenure/_core/wakeup.hpp"

namespace tenure {

// Of one client side: written by its thread (`clients` and `accepted` also by the loop), read by anybody.
struct alignas(64) FrontGauges {
    std::atomic<uint64_t> clients, accepted, refused, commands, lease_hits, lease_misses, read_index_reads, marks, writes,
        forwarded, unknown_outcomes, protocol_errors, keys_found, keys_absent;
    std::atomic<uint64_t> passes;
    std::atomic<int64_t> busy_ns;
};

// The same as plain numbers: of one side, or added up.
struct FrontCounts {
    uint64_t clients, accepted, refused, commands, lease_hits, lease_misses, read_index_reads, marks, writes, forwarded,
        unknown_outcomes, protocol_errors, keys_found, keys_absent, passes;
    int64_t busy_ns;
};

inline FrontGauges* front_gauges_new() noexcept { return new (std::nothrow) FrontGauges{}; }
inline void front_gauges_free(FrontGauges* gauges) noexcept { delete gauges; }

inline void front_counts_add(FrontCounts* to, const FrontGauges* of) noexcept {
    // relaxed throughout: numbers for people
    constexpr auto relaxed = std::memory_order_relaxed;
    to->clients += of->clients.load(relaxed);
    to->accepted += of->accepted.load(relaxed);
    to->refused += of->refused.load(relaxed);
    to->commands += of->commands.load(relaxed);
    to->lease_hits += of->lease_hits.load(relaxed);
    to->lease_misses += of->lease_misses.load(relaxed);
    to->read_index_reads += of->read_index_reads.load(relaxed);
    to->marks += of->marks.load(relaxed);
    to->writes += of->writes.load(relaxed);
    to->forwarded += of->forwarded.load(relaxed);
    to->unknown_outcomes += of->unknown_outcomes.load(relaxed);
    to->protocol_errors += of->protocol_errors.load(relaxed);
    to->keys_found += of->keys_found.load(relaxed);
    to->keys_absent += of->keys_absent.load(relaxed);
    to->passes += of->passes.load(relaxed);
    to->busy_ns += of->busy_ns.load(relaxed);
}

// What the loop and one thread that serves clients say to each other.
struct SideThread {
    Queue arrivals;                     // Client*: the loop pushes, the thread pops
    Queue answers;                      // Op*, each the first of a chain: the loop pushes, the thread pops
    LoopWakeup wakeup;                  // the thread sleeps
    pthread_t thread;
    bool started;                       // of whoever starts and joins it
    std::atomic<uint32_t> stopping;     // the loop: nothing new is begun from here on
    std::atomic<uint32_t> quiet;        // the thread, once it saw that: nothing more comes into the front end's inbox
};

inline SideThread* side_thread_new() noexcept { return new (std::nothrow) SideThread{}; }
inline void side_thread_free(SideThread* thread) noexcept { delete thread; }

// What the threads hand to the loop: Op*, each the first of a chain.
struct FrontInbox {
    Queue queue;
};

inline FrontInbox* front_inbox_new() noexcept { return new (std::nothrow) FrontInbox{}; }
inline void front_inbox_free(FrontInbox* inbox) noexcept { delete inbox; }

// Two hold an op: the loop, which waits for a completion, and the client side, which has its answer already. The word is set
// before the op is handed over; the plain word of a plain struct is made atomic here.
inline bool op_last_holder(uint32_t* holders) noexcept {
    // acq_rel: every use by the first to let go happens before the last one frees the memory
    return __atomic_sub_fetch(holders, 1, __ATOMIC_ACQ_REL) == 0;
}

}  // namespace tenure
