"""The lease clock for Python: CLOCK_BOOTTIME on Linux, which goes on counting while the machine is suspended.

Any thread may call anything here. Nothing raises: a clock that cannot be read is 0, and 0 never holds a lease.
"""

from libcpp.atomic cimport memory_order_relaxed

CLOCK_ID = LEASE_CLOCK


def now_ns() -> int:
    """The lease clock in nanoseconds; 0 when it cannot be read."""
    return clock_now_ns()


def granularity_ns() -> int:
    """The smallest step of the lease clock in nanoseconds; 0 when it is unknown."""
    return clock_granularity_ns()


def wall_ms() -> int:
    """Milliseconds since 1970 by the wall clock, which may jump: for timestamps and people, never for a lease."""
    return clock_wall_ms()


def _set_source(int clock_id) -> None:
    """Test seam: make this module read another clock. An id the kernel does not know makes every reading fail."""
    # relaxed: the seam orders nothing
    clock_source.store(clock_id, memory_order_relaxed)
