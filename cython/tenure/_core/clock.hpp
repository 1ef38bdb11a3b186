// The lease clock: monotonic, counting while the machine is suspended (CLOCK_BOOTTIME on Linux), in nanoseconds.
// Any thread. A clock that cannot be read gives 0, and 0 never holds a lease. Wall-clock time is a function of its own,
// so that the two cannot be mixed up.
#pragma once
#include <time.h>

#include <atomic>
#include <cstdint>

namespace tenure {

#if defined(__linux__)
constexpr int LEASE_CLOCK = CLOCK_BOOTTIME;
#elif defined(__APPLE__)
constexpr int LEASE_CLOCK = CLOCK_MONOTONIC;  // Darwin's CLOCK_MONOTONIC goes on through sleep
#else
#error "no suspend-aware monotonic clock is known for this system"
#endif

// The test seam: the clock this extension module reads. An id the kernel does not know makes every reading fail for
// real. Hidden visibility gives each extension module a seam of its own.
inline std::atomic<int> clock_source{LEASE_CLOCK};

inline int64_t clock_read_ns(int source) noexcept {
    timespec t;
    if (__builtin_expect(clock_gettime(static_cast<clockid_t>(source), &t) != 0, 0)) return 0;
    return static_cast<int64_t>(t.tv_sec) * 1000000000 + t.tv_nsec;
}

// Nanoseconds of the lease clock; 0 when it cannot be read.
inline int64_t clock_now_ns() noexcept {
    // relaxed: the seam orders nothing; in production the value never changes
    return clock_read_ns(clock_source.load(std::memory_order_relaxed));
}

// Nanoseconds of the clock that timeouts are measured by; futex and condition waits use the same one.
inline int64_t clock_monotonic_ns() noexcept { return clock_read_ns(CLOCK_MONOTONIC); }

// The same clock as it stood at the kernel's last tick, some milliseconds ago at most, for a fifth of the price.
inline int64_t clock_monotonic_coarse_ns() noexcept {
#if defined(__linux__)
    return clock_read_ns(CLOCK_MONOTONIC_COARSE);
#else
    return clock_monotonic_ns();
#endif
}

// Milliseconds since 1970, for hybrid timestamps and people; never for a lease. 0 when it cannot be read.
inline int64_t clock_wall_ms() noexcept {
    timespec t;
    if (clock_gettime(CLOCK_REALTIME, &t) != 0) return 0;
    return static_cast<int64_t>(t.tv_sec) * 1000 + t.tv_nsec / 1000000;
}

// The step of the lease clock; 0 when it is unknown.
inline int64_t clock_granularity_ns() noexcept {
    timespec t;
    // relaxed: as in clock_now_ns
    if (clock_getres(static_cast<clockid_t>(clock_source.load(std::memory_order_relaxed)), &t) != 0) return 0;
    return static_cast<int64_t>(t.tv_sec) * 1000000000 + t.tv_nsec;
}

}  // namespace tenure
