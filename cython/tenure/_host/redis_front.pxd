"""The Redis front end of one member, on the host's loop. Only the loop thread, but for opening and closing."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from tenure._core.wakeup cimport LoopWakeup
from tenure._host.member cimport Member
from tenure._host.redis_types cimport Front, FrontConfig
from tenure._host.timekeeper cimport Timekeeper
from tenure._kv.store cimport Store
from tenure._net.transport cimport Transport

# Listens; before the loop starts. Copies what the configuration points to and takes a reference to the store. Null with an
# errno in `failure`.
cdef Front* front_open(
    const FrontConfig* config, int epoll_fd, LoopWakeup* wakeup, Member* member, Transport* transport, Timekeeper* keeper,
    Store* store, uint64_t incarnation, int* failure) noexcept nogil
# Before the loop starts: its threads, if it has any. 0 or an errno.
cdef int front_start(Front* f) noexcept nogil
# The loop's last call: the member has stopped and answered its callers; everybody else is answered here.
cdef void front_end(Front* f) noexcept nogil
# After the loop has ended, before transport and member go: closes every socket and gives up what is under way. Its gauges
# can be read until it is freed.
cdef void front_close(Front* f) noexcept nogil
cdef void front_free(Front* f) noexcept nogil           # closed before; null is fine

# epoll reported `events` for a token with REDIS_TOKEN_TAG in its high byte.
cdef void front_on_event(Front* f, uint64_t token, uint32_t events) noexcept nogil
# Threads have handed something over: look again once the wakeup is armed.
cdef bint front_has_mail(const Front* f) noexcept nogil
# Parses and executes for about a millisecond; hands what goes through the log to the member. `monotonic_ns`: of this pass.
cdef void front_serve(Front* f, int64_t monotonic_ns) noexcept nogil
# After apply: replies leave. True: something is left to do at once.
cdef bint front_flush(Front* f) noexcept nogil
cdef void front_tick(Front* f, int64_t monotonic_ns) noexcept nogil
# The instant of CLOCK_MONOTONIC at which a tick is wanted next; 0: at once, INT64_MAX: none as things stand.
cdef int64_t front_due_ns(const Front* f) noexcept nogil
# No new clients; what is under way goes on.
cdef void front_stop(Front* f) noexcept nogil
cdef void front_data(Front* f, uint64_t peer, uint32_t kind, const char* bytes, uint32_t size) noexcept nogil
cdef void front_unreachable(Front* f, uint64_t peer) noexcept nogil
