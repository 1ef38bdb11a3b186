// Memory of the front end's gauges; the structs are in redis_types.pxd.
#pragma once
#include <atomic>
#include <cstdint>
#include <new>

namespace tenure {

struct alignas(64) FrontGauges {
    std::atomic<uint64_t> clients, accepted, refused, commands, lease_hits, lease_misses, read_index_reads, marks, writes,
        forwarded, unknown_outcomes, protocol_errors, keys_found, keys_absent;
};

inline FrontGauges* front_gauges_new() noexcept { return new (std::nothrow) FrontGauges{}; }
inline void front_gauges_free(FrontGauges* gauges) noexcept { delete gauges; }

}  // namespace tenure
