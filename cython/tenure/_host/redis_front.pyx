"""Clients of the Redis protocol: sockets, fairness, and what a command goes through.

A pass of the loop marks clients whose sockets are ready, serves each for at most 64 commands or 64 KiB and all of them
for about a millisecond, hands their writes and unconfirmed reads to the member as one append and one ReadIndex, and,
after apply, sends what replies there are. A read under the lease is answered where it was parsed, fenced by a check of
its own: the word, the clock, then the state. Nothing that a client asked for runs before what it asked for earlier,
except that writes follow each other into the log without waiting.

A client with too many commands under way, or too many bytes of replies that it does not take, is not read until that
has passed. A client that breaks the protocol is told so, and closed once it had the time to read it. Idle clients cost
no time.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memmove, memset, strlen
from libcpp.atomic cimport memory_order_relaxed

from tenure._core.blob cimport Blob
from tenure._core.clock cimport clock_monotonic_ns
from tenure._core.fence cimport fence
from tenure._core.posix cimport (
    EAGAIN, EINTR, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, close,
    epoll_ctl, epoll_event, errno,
)
from tenure._core.vec cimport Vec
from tenure._host.redis_commands cimport (
    CMD_AUTH, CMD_HELLO, CMD_QUIT, KIND_READ, KIND_SESSION, READ_DONE, READ_FAILED, READ_UNDECIDED, TRANSLATED,
    TRANSLATION_REPLIED, Judgement, RedisCommand, Translation, arity_fits, error, execute_read,
    redis_command_find, translate_write, unknown_command, wrong_arity,
)
from tenure._host.redis_ops cimport (
    OP_REFUSED, op_mark, op_new, op_propose, op_read, op_settle, ops_applied, ops_data, ops_drain,
    ops_drainable, ops_forget, ops_release, ops_submit, ops_tick, ops_unreachable, ops_waiting,
)
from tenure._host.redis_session cimport session_execute
from tenure._host.redis_types cimport (
    OP_IS_READ, OP_IS_WRITE, REDIS_TOKEN_TAG, Client, Op, OpKind, front_gauges_free, front_gauges_new,
)
from tenure._host.timekeeper cimport keeper_now
from tenure._kv.codec cimport Slice
from tenure._kv.read cimport READ_LED, Instant, store_instant
from tenure._kv.store cimport store_release, store_retain
from tenure._net.resp cimport (
    RESP_ERROR, RESP_MORE, RESP_REQUEST, RespState, reply_error, resp_is, resp_next, resp_parse, resp_release,
    resp_wanted,
)
from tenure._net.socket cimport (
    AF_INET, AF_INET6, AI_NUMERICHOST, ECONNABORTED, EINVAL, ENOMEM, IPPROTO_TCP, MSG_NOSIGNAL, SHUT_RDWR,
    SHUT_WR, SO_KEEPALIVE, SO_REUSEADDR, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET, SOMAXCONN, TCP_NODELAY,
    accept4, addrinfo, bind, freeaddrinfo, getaddrinfo, getsockname, htons, listen, ntohs, recv, send, setsockopt,
    shutdown, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage, socket, socklen_t,
)

cdef extern from "<netdb.h>" nogil:
    const int NI_NUMERICHOST
    const int NI_NUMERICSERV
    int getnameinfo(
        const sockaddr* address, socklen_t length, char* host, socklen_t host_length, char* service,
        socklen_t service_length, int flags) noexcept

cdef enum:
    LISTENER_SLOT = 0xFFFFFF
    SLOT_BITS = 24                  # below them the slot, above them 32 bits of generation, then the tag
    COMMANDS_PER_PASS = 64          # of one client
    BYTES_PER_PASS = 65536          # of one client
    SERVE_NS = 1000000              # all clients of a pass
    READ_BYTES = 16384
    READ_BYTES_MOST = 1048576       # at once, of a large argument
    KEPT_BYTES = 262144             # an empty buffer that is larger is given back
    ACCEPTS_PER_EVENT = 64
    LINGER_NS = 1000000000          # how long a client may take to read why it was closed


# ---- clients

cdef uint64_t token_of(uint32_t generation, uint32_t slot) noexcept nogil:
    return (<uint64_t>REDIS_TOKEN_TAG << 56) | (<uint64_t>generation << SLOT_BITS) | slot


cdef bint watch(Front* f, int operation, int fd, uint64_t token, uint32_t events) noexcept nogil:
    cdef epoll_event event
    event.events = events
    event.data.u64 = token
    return epoll_ctl(f.epoll_fd, operation, fd, &event) == 0


cdef void set_option(int fd, int level, int name, int value) noexcept nogil:
    # what cannot be set costs speed, not correctness
    setsockopt(fd, level, name, &value, sizeof(value))


cdef void write_address(Client* c, const sockaddr* address, socklen_t bytes) noexcept nogil:
    cdef char host[48]
    cdef char service[8]
    cdef size_t size
    if getnameinfo(address, bytes, host, 48, service, 8, NI_NUMERICHOST | NI_NUMERICSERV) != 0:
        memcpy(c.address, b"?", 2)
        return
    size = strlen(host)
    memcpy(c.address, host, size)
    c.address[size] = c":"
    memcpy(c.address + size + 1, service, strlen(service) + 1)


cdef Client* client_new(Front* f, int fd, const sockaddr* address, socklen_t bytes) noexcept nogil:
    """Owns `fd` from here, also when it fails."""
    cdef Client* c = <Client*>calloc(1, sizeof(Client))
    cdef size_t count = f.clients.size + 1
    # Room in the lists, so that neither marking a client nor giving its slot back ever needs memory.
    if c == NULL or not f.ready.reserve(count) or not f.dirty.reserve(count) or not f.free_slots.reserve(count):
        free(c)
        close(fd)
        return NULL
    if f.free_slots.size:
        f.free_slots.size -= 1
        c.slot = f.free_slots.data[f.free_slots.size]
    elif f.clients.push(NULL):
        c.slot = <uint32_t>(f.clients.size - 1)
    else:
        free(c)
        close(fd)
        return NULL
    f.generation += 1
    f.next_client_id += 1
    c.fd = fd
    c.id = f.next_client_id
    c.token = token_of(f.generation, c.slot)
    c.protocol = 2
    c.authenticated = f.password == NULL
    c.watched = EPOLLIN
    c.since_ns = c.last_command_ns = f.pass_ns
    resp_next(&c.parser)
    write_address(c, address, bytes)
    if not watch(f, EPOLL_CTL_ADD, fd, c.token, EPOLLIN):
        f.free_slots.push(c.slot)
        free(c)
        close(fd)
        return NULL
    f.clients.data[c.slot] = c
    f.clients_count += 1
    # relaxed: statistics
    f.gauges.clients.store(f.clients_count, memory_order_relaxed)
    f.gauges.accepted.fetch_add(1, memory_order_relaxed)
    return c


cdef void client_close(Front* f, Client* c) noexcept nogil:
    """Its memory stays until the lists of this pass are done with it."""
    if c.fd < 0:
        return
    # neither is left to close(): a forked child may share the socket
    watch(f, EPOLL_CTL_DEL, c.fd, 0, 0)
    shutdown(c.fd, SHUT_RDWR)
    close(c.fd)
    c.fd = -1
    ops_forget(f, c)
    f.clients.data[c.slot] = NULL
    f.free_slots.push(c.slot)
    f.clients_count -= 1
    if c.lingering:
        f.lingering_count -= 1
    # relaxed: statistics
    f.gauges.clients.store(f.clients_count, memory_order_relaxed)
    c.next_dead = f.dead
    f.dead = c


cdef void free_dead(Front* f) noexcept nogil:
    cdef Client* c
    cdef Client** kept = &f.dead
    while kept[0] != NULL:
        c = kept[0]
        if c.ready or c.dirty:
            kept = &c.next_dead
            continue
        kept[0] = c.next_dead
        c.input.release()
        c.output.release()
        resp_release(&c.parser)
        free(c)


cdef void mark_ready(Front* f, Client* c) noexcept nogil:
    if not c.ready and c.fd >= 0:
        c.ready = f.ready.push(c)


cdef void mark_dirty(Front* f, Client* c) noexcept nogil:
    if not c.dirty and c.fd >= 0:
        c.dirty = f.dirty.push(c)


cdef void want(Front* f, Client* c, uint32_t events) noexcept nogil:
    if c.watched == events:
        return
    if watch(f, EPOLL_CTL_MOD, c.fd, c.token, events):
        c.watched = events
    else:
        client_close(f, c)


cdef size_t unsent(const Client* c) noexcept nogil:
    return c.output.size - c.output_head


cdef bint may_read(const Front* f, const Client* c) noexcept nogil:
    return (
        not c.closing and not c.at_end and not c.request_waits and c.ops < f.config.max_ops
        and unsent(c) < f.config.max_output_bytes
    )


# ---- listening

cdef void accept_some(Front* f) noexcept nogil:
    cdef sockaddr_storage address
    cdef socklen_t bytes
    cdef const char* refusal = b"-ERR max number of clients reached\r\n"
    cdef int _, fd
    for _ in range(ACCEPTS_PER_EVENT):
        bytes = sizeof(address)
        fd = accept4(f.listen_fd, <sockaddr*>&address, &bytes, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd < 0:
            if errno == EINTR or errno == ECONNABORTED:
                continue
            if errno != EAGAIN:
                # out of descriptors or memory: the listener stays readable, so look away until the next tick
                f.accepting = not watch(f, EPOLL_CTL_MOD, f.listen_fd, token_of(0, LISTENER_SLOT), 0)
            return
        if f.clients_count >= f.config.max_clients:
            f.gauges.refused.fetch_add(1, memory_order_relaxed)  # relaxed: statistics
            send(fd, refusal, strlen(refusal), MSG_NOSIGNAL)
            close(fd)
            continue
        set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1)
        set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1)
        client_new(f, fd, <sockaddr*>&address, bytes)


cdef bint resolve(const char* address, uint32_t port, sockaddr_storage* into, socklen_t* bytes) noexcept nogil:
    """A numeric address; no name is ever looked up."""
    cdef addrinfo hints
    cdef addrinfo* found = NULL
    memset(&hints, 0, sizeof(hints))
    hints.ai_flags = AI_NUMERICHOST
    hints.ai_socktype = SOCK_STREAM
    if address == NULL or port > 65535 or getaddrinfo(address, NULL, &hints, &found) != 0:
        return False
    memset(into, 0, sizeof(sockaddr_storage))
    memcpy(into, found.ai_addr, found.ai_addrlen)
    bytes[0] = found.ai_addrlen
    freeaddrinfo(found)
    if into.ss_family == AF_INET:
        (<sockaddr_in*>into).sin_port = htons(<unsigned short>port)
    elif into.ss_family == AF_INET6:
        (<sockaddr_in6*>into).sin6_port = htons(<unsigned short>port)
    else:
        return False
    return True


cdef int listen_on(Front* f) noexcept nogil:
    cdef sockaddr_storage address
    cdef socklen_t bytes = 0
    if not resolve(f.config.address, f.config.port, &address, &bytes):
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
    return 0 if watch(f, EPOLL_CTL_ADD, f.listen_fd, token_of(0, LISTENER_SLOT), EPOLLIN) else errno


cdef char* copy_of(const char* text, size_t size) noexcept nogil:
    """With a zero behind it."""
    cdef char* copy = <char*>malloc(size + 1)
    if copy != NULL:
        memcpy(copy, text, size)
        copy[size] = 0
    return copy


cdef Front* front_open(
        const FrontConfig* config, int epoll_fd, Member* member, Transport* transport, Timekeeper* keeper, Store* store,
        uint64_t incarnation, int* failure) noexcept nogil:
    cdef Front* f = <Front*>calloc(1, sizeof(Front))
    failure[0] = ENOMEM
    if f == NULL:
        return NULL
    f.config = config[0]
    f.listen_fd = -1
    f.epoll_fd = epoll_fd
    f.member = member
    f.transport = transport
    f.keeper = keeper
    f.store = store_retain(store)
    f.incarnation = incarnation
    f.accepting = True
    f.started_ns = f.pass_ns = clock_monotonic_ns()
    f.gauges = front_gauges_new()
    f.config.address = copy_of(config.address, strlen(config.address))
    if config.password != NULL:
        f.password = copy_of(config.password, config.password_size)
    f.config.password = f.password
    if f.gauges != NULL and f.config.address != NULL and (config.password == NULL or f.password != NULL):
        failure[0] = listen_on(f)
    if failure[0] != 0:
        front_close(f)
        front_free(f)
        return NULL
    return f


cdef void front_close(Front* f) noexcept nogil:
    cdef size_t i
    front_stop(f)
    for i in range(f.clients.size):
        if f.clients.data[i] != NULL:
            client_close(f, f.clients.data[i])
    ops_release(f)
    for i in range(f.ready.size):
        f.ready.data[i].ready = False
    for i in range(f.dirty.size):
        f.dirty.data[i].dirty = False
    free_dead(f)
    f.clients.release()
    f.free_slots.release()
    f.ready.release()
    f.dirty.release()
    f.arguments.release()


cdef void front_free(Front* f) noexcept nogil:
    if f == NULL:
        return
    store_release(f.store)
    front_gauges_free(f.gauges)
    free(<void*>f.config.address)
    free(f.password)
    free(f)


cdef void front_stop(Front* f) noexcept nogil:
    f.stopping = True
    if f.listen_fd >= 0:
        watch(f, EPOLL_CTL_DEL, f.listen_fd, 0, 0)
        shutdown(f.listen_fd, SHUT_RDWR)
        close(f.listen_fd)
        f.listen_fd = -1


# ---- input

cdef char* input_room(Client* c, size_t wanted) noexcept nogil:
    """Room for `wanted` more bytes behind the input; consumed bytes make way when that saves growing."""
    if c.input_head == c.input.size:
        c.input_head = c.input.size = 0
    if c.input.size + wanted > c.input.capacity and c.input_head:
        memmove(c.input.data, c.input.data + c.input_head, c.input.size - c.input_head)
        c.input.size -= c.input_head
        c.input_head = 0
    if not c.input.reserve(c.input.size + wanted):
        return NULL
    return c.input.data + c.input.size


cdef size_t receive(Front* f, Client* c) noexcept nogil:
    """One recv. How many bytes came; a client at its end, or without memory, is marked or closed."""
    cdef size_t pending = c.input.size - c.input_head, wanted = resp_wanted(&c.parser, pending), room
    cdef char* into
    cdef ssize_t count
    # A large argument gets room as it comes, never at once for what was merely announced.
    wanted = max(<size_t>READ_BYTES, min(wanted, <size_t>READ_BYTES_MOST))
    into = input_room(c, wanted)
    if into == NULL:
        client_close(f, c)
        return 0
    room = c.input.capacity - c.input.size
    while True:
        count = recv(c.fd, into, room, 0)
        if count >= 0 or errno != EINTR:
            break
    if count > 0:
        c.input.size += count
        c.readable = <size_t>count == room
        return count
    c.readable = False
    if count == 0:
        c.at_end = True
    elif errno != EAGAIN:
        client_close(f, c)
    return 0


# ---- commands

cdef bint refuse_memory(Front* f, Client* c) noexcept nogil:
    client_close(f, c)
    return True


cdef bint execute_under_way(
        Front* f, Client* c, const RedisCommand* command, const Slice* arguments, uint32_t count) noexcept nogil:
    """A write, or a read that finds no lease. False: it has to wait for what this client has under way."""
    cdef Op* op
    cdef Blob* encoded = NULL
    cdef Translation translation
    cdef Vec[char]* out = &c.output
    cdef size_t size_before = c.output.size
    if command.kind == KIND_READ:
        if c.ops and c.ops_kind != OP_IS_READ:
            return False
        op = op_new(f, c, OP_IS_READ, command)
        return op_read(f, op, arguments, count) if op != NULL else refuse_memory(f, c)
    if c.ops and c.ops_kind != OP_IS_WRITE:
        return False
    f.refusal.clear()
    if c.ops:
        out = &f.refusal
    translation = translate_write(
        command, arguments, count, f.keeper.now_ms, out, &encoded)
    if translation == TRANSLATION_REPLIED and c.ops == 0:
        return True
    op = op_new(f, c, OP_IS_WRITE, command)
    if op == NULL or (translation != TRANSLATED and translation != TRANSLATION_REPLIED):
        c.output.size = size_before
        return refuse_memory(f, c)
    if translation == TRANSLATED:
        return op_propose(f, op, encoded)
    op.reply = f.refusal                                  # it was refused while others are under way: its turn comes
    memset(&f.refusal, 0, sizeof(f.refusal))
    op_settle(op, OP_REFUSED)
    return True


cdef bint execute_read_here(
        Front* f, Client* c, const RedisCommand* command, const Slice* arguments, uint32_t count) noexcept nogil:
    """Under the lease, if there is one. False: it has to be confirmed otherwise."""
    cdef Instant instant
    cdef Judgement judgement
    cdef Op* op
    if fence(f.member.lease, f.member.applied) < 0:
        f.gauges.lease_misses.fetch_add(1, memory_order_relaxed)  # relaxed: statistics
        return False
    instant = store_instant(f.store, READ_LED, f.keeper.now_ms)
    judgement = execute_read(command, arguments, count, f.store, &instant, c.protocol, &c.output, &f.counts)
    if judgement == READ_DONE:
        f.gauges.lease_hits.fetch_add(1, memory_order_relaxed)  # relaxed: statistics
        return True
    if judgement == READ_UNDECIDED:
        op = op_new(f, c, OP_IS_READ, command)
        return op_mark(f, op, arguments, count) if op != NULL else refuse_memory(f, c)
    if judgement == READ_FAILED and error(&c.output, b"CLUSTERDOWN this member has failed: the command was not executed"):
        return True
    return refuse_memory(f, c)


cdef bint execute(Front* f, Client* c, const Slice* arguments, uint32_t count) noexcept nogil:
    """False: the request has to wait for what this client has under way."""
    cdef const RedisCommand* command = redis_command_find(arguments[0].data, arguments[0].size)
    cdef bint refused = (
        command == NULL or (command.id != CMD_QUIT and not arity_fits(command, count))
        or not (c.authenticated or command.id == CMD_AUTH or command.id == CMD_HELLO or command.id == CMD_QUIT)
    )
    if (refused or command.kind == KIND_SESSION) and c.ops:
        return False
    if refused:
        if command == NULL:
            # Browsers can be made to send these to a port of their owner's machine.
            c.closing = resp_is(arguments[0].data, arguments[0].size, b"post") or resp_is(
                arguments[0].data, arguments[0].size, b"host:")
            return unknown_command(&c.output, arguments, count) or refuse_memory(f, c)
        if not arity_fits(command, count):
            return wrong_arity(&c.output, command.name, NULL, 0) or refuse_memory(f, c)
        return error(&c.output, b"NOAUTH Authentication required.") or refuse_memory(f, c)
    c.last_command = command
    if command.kind == KIND_SESSION:
        return session_execute(f, c, command, arguments, count) or refuse_memory(f, c)
    if command.kind == KIND_READ and c.ops == 0 and execute_read_here(f, c, command, arguments, count):
        return True
    return execute_under_way(f, c, command, arguments, count)


cdef bint execute_parsed(Front* f, Client* c) noexcept nogil:
    """The request in the parser. False: it has to wait."""
    cdef size_t i
    cdef Slice slice
    cdef size_t size = c.parser.arguments.size
    if size:
        if not f.arguments.reserve(size):
            return refuse_memory(f, c)
        f.arguments.clear()
        for i in range(size):
            slice.data = c.input.data + c.input_head + c.parser.arguments.data[i].offset
            slice.size = c.parser.arguments.data[i].size
            f.arguments.push(slice)
        if not execute(f, c, f.arguments.data, <uint32_t>size):
            c.request_waits = True
            return False
        f.gauges.commands.fetch_add(1, memory_order_relaxed)  # relaxed: statistics
    c.request_waits = False
    if c.fd >= 0:
        c.input_head += c.parser.at
        resp_next(&c.parser)
        c.last_command_ns = f.pass_ns
    return True


cdef void break_off(Front* f, Client* c) noexcept nogil:
    """The protocol is broken: everything that came before is still answered, then the reason, then the end."""
    cdef char text[128]
    cdef size_t size = strlen(c.parser.error)
    cdef Op* op
    f.gauges.protocol_errors.fetch_add(1, memory_order_relaxed)  # relaxed: statistics
    c.closing = True
    memcpy(text, b"ERR ", 4)
    memcpy(text + 4, c.parser.error, size)
    if c.ops == 0:
        reply_error(&c.output, text, size + 4)
        return
    op = op_new(f, c, <OpKind>c.ops_kind, NULL)
    if op != NULL:
        reply_error(&op.reply, text, size + 4)
        op_settle(op, OP_REFUSED)


cdef bint serve_client(Front* f, Client* c) noexcept nogil:
    """True: there is more to do for it in the next pass."""
    cdef RespState state
    cdef uint32_t commands = 0
    cdef size_t bytes = 0
    while c.fd >= 0 and not c.closing:
        if commands >= COMMANDS_PER_PASS or bytes >= BYTES_PER_PASS:
            return True
        if c.ops >= f.config.max_ops or unsent(c) >= f.config.max_output_bytes:
            return False                                  # flushing or draining brings it back
        if c.request_waits:
            state = RESP_REQUEST
        else:
            state = resp_parse(
                &c.parser, c.input.data + c.input_head, c.input.size - c.input_head, &f.config.limits, c.authenticated)
        if state == RESP_REQUEST:
            bytes += c.parser.at
            commands += 1
            if not execute_parsed(f, c):
                return False
        elif state == RESP_MORE:
            if not c.readable or receive(f, c) == 0:
                return False
        elif state == RESP_ERROR:
            break_off(f, c)
        else:
            client_close(f, c)
    return False


# ---- output

cdef void linger(Front* f, Client* c) noexcept nogil:
    """Closing a socket with unread input would take the last reply back; so the client gets time to read it."""
    if c.at_end:
        client_close(f, c)
        return
    if not c.lingering:
        c.lingering = True
        f.lingering_count += 1
        c.linger_until_ns = f.pass_ns + LINGER_NS
        shutdown(c.fd, SHUT_WR)
    want(f, c, EPOLLIN)


cdef void throw_away(Front* f, Client* c) noexcept nogil:
    cdef char rubbish[16384]
    cdef ssize_t count = recv(c.fd, rubbish, sizeof(rubbish), 0)
    if count == 0 or (count < 0 and errno != EAGAIN and errno != EINTR):
        client_close(f, c)


cdef void send_output(Front* f, Client* c) noexcept nogil:
    cdef ssize_t count
    while c.output_head < c.output.size:
        count = send(c.fd, c.output.data + c.output_head, c.output.size - c.output_head, MSG_NOSIGNAL)
        if count < 0:
            if errno == EINTR:
                continue
            if errno != EAGAIN:
                client_close(f, c)
            return
        c.output_head += count
    c.output_head = 0
    c.output.clear()
    if c.output.capacity > KEPT_BYTES:
        c.output.release()
    if c.input_head == c.input.size and c.input.capacity > KEPT_BYTES:
        c.input_head = 0
        c.input.release()


cdef void flush_client(Front* f, Client* c) noexcept nogil:
    cdef bint could_read = may_read(f, c)
    cdef uint32_t events = 0
    if not ops_drain(f, c):
        client_close(f, c)
        return
    send_output(f, c)
    if c.fd < 0:
        return
    if c.closing and c.ops == 0 and unsent(c) == 0:
        linger(f, c)
        return
    if c.at_end and c.ops == 0 and unsent(c) == 0 and not c.request_waits and not c.ready:
        client_close(f, c)
        return
    if (c.request_waits and c.ops == 0) or ops_drainable(f, c):
        mark_ready(f, c)
    if may_read(f, c) and not could_read and (c.readable or c.input_head < c.input.size):
        mark_ready(f, c)
    # Reading stops lazily, when something comes that may not be taken (front_on_event); it starts again here.
    events = c.watched & EPOLLIN
    if may_read(f, c):
        events = EPOLLIN
    if unsent(c):
        events |= EPOLLOUT
    want(f, c, events)


# ---- hooks of the loop

cdef void front_on_event(Front* f, uint64_t token, uint32_t events) noexcept nogil:
    cdef uint32_t slot = token & LISTENER_SLOT
    cdef Client* c
    if slot == LISTENER_SLOT:
        accept_some(f)
        return
    if slot >= f.clients.size or f.clients.data[slot] == NULL or f.clients.data[slot].token != token:
        return
    c = f.clients.data[slot]
    if c.lingering:
        throw_away(f, c)
        return
    if events & (EPOLLERR | EPOLLHUP) and not events & EPOLLIN:
        client_close(f, c)
        return
    if events & EPOLLOUT:
        mark_dirty(f, c)
    if events & EPOLLIN:
        c.readable = True
        if may_read(f, c):
            mark_ready(f, c)
        else:
            want(f, c, c.watched & ~EPOLLIN)


cdef void front_serve(Front* f, int64_t monotonic_ns) noexcept nogil:
    cdef size_t i = 0, count = f.ready.size, kept = 0
    cdef Client* c
    cdef int64_t until_ns
    f.pass_ns = monotonic_ns
    keeper_now(f.keeper)
    if count:
        until_ns = clock_monotonic_ns() + SERVE_NS
        while i < count:
            c = f.ready.data[i]
            i += 1
            c.ready = False
            if c.fd >= 0 and serve_client(f, c):
                c.ready = True
            mark_dirty(f, c)
            if c.ready:
                f.ready.data[kept] = c
                kept += 1
            if clock_monotonic_ns() > until_ns:
                break
        # Those whose turn did not come stand before those that had theirs.
        rotate(f, kept, i)
    ops_submit(f)


cdef void rotate(Front* f, size_t kept, size_t served) noexcept nogil:
    """ready[0 .. kept) had a turn and have more to do, ready[served ..) had none yet."""
    cdef size_t left = f.ready.size - served
    if left == 0:
        f.ready.size = kept
        return
    # A reversal of each part, then of the whole, exchanges them without memory.
    memmove(f.ready.data + kept, f.ready.data + served, left * sizeof(Client*))
    f.ready.size = kept + left
    reverse(f.ready.data, kept)
    reverse(f.ready.data + kept, left)
    reverse(f.ready.data, kept + left)


cdef void reverse(Client** items, size_t count) noexcept nogil:
    cdef size_t i
    cdef Client* c
    for i in range(count // 2):
        c = items[i]
        items[i] = items[count - 1 - i]
        items[count - 1 - i] = c


cdef bint front_flush(Front* f) noexcept nogil:
    cdef size_t i = 0
    cdef Client* c
    if f.marks_to_apply.size:
        ops_applied(f)
    while i < f.dirty.size:
        c = f.dirty.data[i]
        c.dirty = False
        if c.fd >= 0:
            flush_client(f, c)
        i += 1
    f.dirty.clear()
    if f.dead != NULL:
        for i in range(f.ready.size):
            if f.ready.data[i].fd < 0:
                f.ready.data[i].ready = False
        drop_closed(f)
        free_dead(f)
    if f.counts.found != f.counted_found or f.counts.absent != f.counted_absent:
        # relaxed: statistics
        f.gauges.keys_found.store(f.counts.found, memory_order_relaxed)
        f.gauges.keys_absent.store(f.counts.absent, memory_order_relaxed)
        f.counted_found = f.counts.found
        f.counted_absent = f.counts.absent
    return f.ready.size != 0 or ops_waiting(f)


cdef void drop_closed(Front* f) noexcept nogil:
    cdef size_t i, kept = 0
    for i in range(f.ready.size):
        if f.ready.data[i].fd >= 0:
            f.ready.data[kept] = f.ready.data[i]
            kept += 1
    f.ready.size = kept


cdef void front_tick(Front* f, int64_t monotonic_ns) noexcept nogil:
    cdef size_t i
    f.pass_ns = monotonic_ns
    if not f.accepting and f.listen_fd >= 0:
        f.accepting = watch(f, EPOLL_CTL_MOD, f.listen_fd, token_of(0, LISTENER_SLOT), EPOLLIN)
    if f.lingering_count:
        for i in range(f.clients.size):
            if f.clients.data[i] != NULL and f.clients.data[i].lingering and (
                    f.clients.data[i].linger_until_ns <= monotonic_ns):
                client_close(f, f.clients.data[i])
    ops_tick(f, monotonic_ns)


cdef int64_t front_due_ns(const Front* f) noexcept nogil:
    if (not f.accepting and f.listen_fd >= 0) or f.lingering_count or f.forwards_count:
        return 0
    return INT64_MAX if f.oldest == NULL else f.oldest.deadline_ns


cdef void front_data(Front* f, uint64_t peer, uint32_t kind, const char* bytes, uint32_t size) noexcept nogil:
    ops_data(f, peer, kind, bytes, size)


cdef void front_unreachable(Front* f, uint64_t peer) noexcept nogil:
    ops_unreachable(f, peer)
