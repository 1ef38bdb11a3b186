"""Settings and numbers of the Redis front end as Python has them."""

from libc.stdint cimport uint32_t
from libc.string cimport memset

from tenure._host.redis_types cimport MAX_IO_THREADS, FrontCounts, front_counts_add
from tenure._kv.codec cimport VALUE_LIMIT_BYTES


cdef int set_front_options(FrontConfig* front, dict options) except -1:
    """The settings whose names begin with `redis_`, but for the address and the password."""
    cdef dict left = {name: value for name, value in options.items() if name.startswith("redis_")}
    left.pop("redis_listen", None)
    left.pop("redis_password", None)
    front.limits.arguments = left.pop("redis_max_arguments", 1 << 20)
    front.limits.argument_bytes = left.pop("redis_max_argument_bytes", VALUE_LIMIT_BYTES)
    front.limits.request_bytes = left.pop("redis_max_request_bytes", 2 * VALUE_LIMIT_BYTES)
    front.max_clients = left.pop("redis_max_clients", 10000)
    front.io_threads = left.pop("redis_io_threads", 0)
    front.max_ops = left.pop("redis_max_pending", 1024)
    front.max_ops_bytes = left.pop("redis_max_pending_bytes", 8 << 20)
    front.max_output_bytes = left.pop("redis_max_output_bytes", 1 << 20)
    front.time_limit_ns = left.pop("redis_time_limit_ns", 5000000000)
    if left:
        raise TypeError(f"unknown options: {', '.join(sorted(left))}")
    if front.io_threads > MAX_IO_THREADS:
        raise ValueError(f"more than {MAX_IO_THREADS} threads for Redis clients")
    if not (front.max_clients and front.max_ops and front.max_ops_bytes and front.max_output_bytes) or front.time_limit_ns <= 0:
        raise ValueError("limits of Redis clients are above 0")
    return 0


cdef dict front_totals(const Front* f):
    cdef FrontCounts counts
    cdef dict found
    cdef uint32_t i
    memset(&counts, 0, sizeof(counts))
    for i in range(f.sides_count):
        front_counts_add(&counts, f.sides[i].gauges)
    found = counts
    del found["passes"], found["busy_ns"]                 # of threads alone
    return found


cdef list front_loads(const Front* f):
    cdef FrontCounts counts
    cdef uint32_t i
    cdef list found = []
    for i in range(1, f.sides_count):
        memset(&counts, 0, sizeof(counts))
        front_counts_add(&counts, f.sides[i].gauges)
        found.append({
            "clients": counts.clients, "commands": counts.commands, "lease_hits": counts.lease_hits,
            "passes": counts.passes, "busy_ns": counts.busy_ns,
        })
    return found
