"""The Redis front end as the loop sees it: the listener, and the order of a pass.

    clients (`redis_clients`, by the loop or by threads, `redis_threads`) -> op side (`redis_ops`) -> member, peers

A pass serves clients, hands their writes and unconfirmed reads to the member as one append and one ReadIndex, and, after
apply, sends what replies there are.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint16_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, strlen
from libcpp.atomic cimport memory_order_relaxed

from tenure._core.clock cimport clock_monotonic_ns
from tenure._core.posix cimport EAGAIN, EINTR, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLIN, close, errno
from tenure._host.redis_clients cimport (
    client_new, set_option, side_admit, side_close, side_flush, side_free, side_new, side_on_event, side_serve, side_tick,
    token_of, watch,
)
from tenure._host.redis_ops cimport (
    ops_applied, ops_data, ops_end, ops_release, ops_submit, ops_tick, ops_unreachable, ops_waiting,
)
from tenure._host.redis_threads cimport (
    threads_admit, threads_answer, threads_close, threads_end, threads_free, threads_have_mail, threads_least_loaded,
    threads_open, threads_start, threads_take,
)
from tenure._host.redis_types cimport LISTENER_SLOT, SLOT_BITS, Client, ClientSide
from tenure._host.timekeeper cimport keeper_now
from tenure._kv.store cimport store_release, store_retain
from tenure._net.socket cimport (
    ECONNABORTED, EINVAL, ENOMEM, MSG_NOSIGNAL, SHUT_RDWR, SO_REUSEADDR, SOCK_CLOEXEC, SOCK_NONBLOCK, SOL_SOCKET, SOMAXCONN,
    SOCK_STREAM, accept4, bind, getsockname, listen, ntohs, send, shutdown, sockaddr, sockaddr_in, sockaddr_storage, socket,
    socklen_t,
)
from tenure._net.tcp cimport tcp_resolve

cdef enum:
    ACCEPTS_PER_EVENT = 64


# ---- listening

cdef uint64_t connected(const Front* f) noexcept nogil:
    cdef uint64_t clients = 0
    cdef uint32_t i
    for i in range(f.sides_count):
        clients += f.sides[i].gauges.clients.load(memory_order_relaxed)  # relaxed: the loop alone counts up
    return clients


cdef void look_away(Front* f) noexcept nogil:
    """The listener stays readable, so until the next tick."""
    f.accepting = not watch(f.epoll_fd, EPOLL_CTL_MOD, f.listen_fd, token_of(0, LISTENER_SLOT), 0)


cdef void accept_some(Front* f) noexcept nogil:
    cdef sockaddr_storage address
    cdef socklen_t bytes
    cdef const char* refusal = b"-ERR max number of clients reached\r\n"
    cdef ClientSide* side = f.sides[0]
    cdef Client* c
    cdef int _, fd
    for _ in range(ACCEPTS_PER_EVENT):
        if f.sides_count > 1:
            side = threads_least_loaded(f)
            if side == NULL:
                look_away(f)
                return
        bytes = sizeof(address)
        fd = accept4(f.listen_fd, <sockaddr*>&address, &bytes, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd < 0:
            if errno == EINTR or errno == ECONNABORTED:
                continue
            if errno != EAGAIN:
                look_away(f)                              # out of descriptors or memory
            return
        if connected(f) >= f.config.max_clients:
            f.gauges.refused.fetch_add(1, memory_order_relaxed)  # relaxed: statistics
            send(fd, refusal, strlen(refusal), MSG_NOSIGNAL)
            close(fd)
            continue
        f.next_client_id += 1
        c = client_new(f.next_client_id, fd, <sockaddr*>&address, bytes)
        if c == NULL:
            close(fd)
            continue
        # relaxed, both: nothing but numbers depends on them
        side.gauges.accepted.fetch_add(1, memory_order_relaxed)
        side.gauges.clients.fetch_add(1, memory_order_relaxed)
        if side.thread != NULL:
            threads_admit(side, c)
        else:
            side_admit(side, c)


cdef int listen_on(Front* f) noexcept nogil:
    cdef sockaddr_storage address
    cdef socklen_t bytes = 0
    if f.config.port > 65535 or not tcp_resolve(f.config.address, <uint16_t>f.config.port, &address, &bytes):
        return EINVAL
    f.listen_fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    if f.listen_fd < 0:
        return errno
    set_option(f.listen_fd, SOL_SOCKET, SO_REUSEADDR, 1)
    if bind(f.listen_fd, <sockaddr*>&address, bytes) != 0 or listen(f.listen_fd, SOMAXCONN) != 0:
        return errno
    bytes = sizeof(address)
    if getsockname(f.listen_fd, <sockaddr*>&address, &bytes) != 0:
        return errno
    # the port stands at the same place in both families
    f.port = ntohs((<sockaddr_in*>&address).sin_port)
    return 0 if watch(f.epoll_fd, EPOLL_CTL_ADD, f.listen_fd, token_of(0, LISTENER_SLOT), EPOLLIN) else errno


# ---- life

cdef char* copy_of(const char* text, size_t size) noexcept nogil:
    """With a zero behind it."""
    cdef char* copy = <char*>malloc(size + 1)
    if copy != NULL:
        memcpy(copy, text, size)
        copy[size] = 0
    return copy


cdef int make_sides(Front* f) noexcept nogil:
    f.sides = <ClientSide**>calloc(1 + f.config.io_threads, sizeof(ClientSide*))
    if f.sides == NULL:
        return ENOMEM
    f.sides[0] = side_new(f, 0, f.epoll_fd)
    if f.sides[0] == NULL:
        return ENOMEM
    f.sides_count = 1
    f.gauges = f.sides[0].gauges
    return threads_open(f)


cdef Front* front_open(
        const FrontConfig* config, int epoll_fd, LoopWakeup* wakeup, Member* member, Transport* transport, Timekeeper* keeper,
        Store* store, uint64_t incarnation, int* failure) noexcept nogil:
    cdef Front* f = <Front*>calloc(1, sizeof(Front))
    failure[0] = ENOMEM
    if f == NULL:
        return NULL
    f.config = config[0]
    f.listen_fd = -1
    f.epoll_fd = epoll_fd
    f.wakeup = wakeup
    f.member = member
    f.transport = transport
    f.keeper = keeper
    f.store = store_retain(store)
    f.incarnation = incarnation
    f.accepting = True
    f.started_ns = f.pass_ns = clock_monotonic_ns()
    f.config.address = copy_of(config.address, strlen(config.address))
    if config.password != NULL:
        f.password = copy_of(config.password, config.password_size)
    f.config.password = f.password
    if f.config.address != NULL and (config.password == NULL or f.password != NULL):
        failure[0] = make_sides(f)
        if failure[0] == 0:
            failure[0] = listen_on(f)
    if failure[0] != 0:
        front_close(f)
        front_free(f)
        return NULL
    return f


cdef int front_start(Front* f) noexcept nogil:
    cdef int code = threads_start(f)
    if code != 0:
        threads_close(f)
    return code


cdef void front_close(Front* f) noexcept nogil:
    front_stop(f)
    threads_close(f)
    if f.sides_count:
        side_close(f.sides[0])
    ops_release(f)


cdef void front_free(Front* f) noexcept nogil:
    if f == NULL:
        return
    threads_free(f)
    if f.sides_count:
        side_free(f.sides[0])
    free(f.sides)
    store_release(f.store)
    free(<void*>f.config.address)
    free(f.password)
    free(f)


cdef void front_stop(Front* f) noexcept nogil:
    f.stopping = True
    if f.listen_fd >= 0:
        watch(f.epoll_fd, EPOLL_CTL_DEL, f.listen_fd, 0, 0)
        shutdown(f.listen_fd, SHUT_RDWR)
        close(f.listen_fd)
        f.listen_fd = -1


# ---- hooks of the loop

cdef void front_on_event(Front* f, uint64_t token, uint32_t events) noexcept nogil:
    if (token & ((1 << SLOT_BITS) - 1)) == LISTENER_SLOT:
        accept_some(f)
    else:
        side_on_event(f.sides[0], token, events)


cdef bint front_has_mail(const Front* f) noexcept nogil:
    return threads_have_mail(f)


cdef void front_serve(Front* f, int64_t monotonic_ns) noexcept nogil:
    f.pass_ns = f.sides[0].pass_ns = monotonic_ns
    f.sides[0].now_ms = keeper_now(f.keeper)
    threads_take(f)
    side_serve(f.sides[0])
    ops_submit(f)


cdef bint front_flush(Front* f) noexcept nogil:
    cdef bint more
    if f.marks_to_apply.size:
        ops_applied(f)
    f.sides[0].now_ms = f.keeper.now_ms
    more = side_flush(f.sides[0])
    more = threads_answer(f) or more
    return more or ops_waiting(f)


cdef void front_tick(Front* f, int64_t monotonic_ns) noexcept nogil:
    f.pass_ns = f.sides[0].pass_ns = monotonic_ns
    if not f.accepting and f.listen_fd >= 0:
        f.accepting = watch(f.epoll_fd, EPOLL_CTL_MOD, f.listen_fd, token_of(0, LISTENER_SLOT), EPOLLIN)
    side_tick(f.sides[0])
    ops_tick(f, monotonic_ns)


cdef int64_t front_due_ns(const Front* f) noexcept nogil:
    if (not f.accepting and f.listen_fd >= 0) or f.sides[0].lingering_count or f.forwards_count:
        return 0
    return INT64_MAX if f.oldest == NULL else f.oldest.deadline_ns


cdef void front_end(Front* f) noexcept nogil:
    f.sides[0].ending = True
    ops_end(f)
    if f.inbox != NULL:
        threads_end(f)
    side_flush(f.sides[0])                                # a client that is slow now does not get it


cdef void front_data(Front* f, uint64_t peer, uint32_t kind, const char* bytes, uint32_t size) noexcept nogil:
    ops_data(f, peer, kind, bytes, size)


cdef void front_unreachable(Front* f, uint64_t peer) noexcept nogil:
    ops_unreachable(f, peer)
