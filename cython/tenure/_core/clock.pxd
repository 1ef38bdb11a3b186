"""The lease clock (suspend-aware, monotonic), the clock of timeouts, and the wall clock. Any thread; see `clock.hpp`."""

from libc.stdint cimport int64_t
from libcpp.atomic cimport atomic


cdef extern from "tenure/_core/clock.hpp" namespace "tenure" nogil:
    const int LEASE_CLOCK
    atomic[int] clock_source                              # test seam, one per extension module

    int64_t clock_now_ns() noexcept                       # the lease clock; 0 = cannot be read = no lease
    int64_t clock_monotonic_ns() noexcept                 # the clock of timeouts and waits
    int64_t clock_monotonic_coarse_ns() noexcept          # the same as it stood some milliseconds ago at most; cheap
    int64_t clock_wall_ms() noexcept                      # milliseconds since 1970; 0 = cannot be read
    int64_t clock_granularity_ns() noexcept               # the step of the lease clock; 0 = unknown
