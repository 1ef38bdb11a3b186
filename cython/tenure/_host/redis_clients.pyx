"""The clients of one thread: sockets, fairness, and what a command goes through.

A pass marks clients whose sockets are ready, serves each for at most 64 commands or 64 KiB and all of them for about a
millisecond, and sends what replies there are. A read under the lease is answered where it was parsed, fenced by a check of
its own: the word, the clock, then the state. Whatever has to wait is handed to the op side (`redis_replies.pyx`). Nothing
that a client asked for runs before what it asked for earlier, except that writes follow each other into the log without
waiting.

A client with too many commands under way, or too many bytes in them, or too many bytes of replies that it does not take, is
not read until that has passed. A client that breaks the protocol is told so, and closed once it had the time to read it.
Idle clients cost no time.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memmove, memset, strlen
from libcpp.atomic cimport memory_order_relaxed

from tenure._core.blob cimport Blob, blob_release
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
    redis_command_find, translate_write, unknown_command, value_returned_bytes, wrong_arity,
)
from tenure._host.redis_replies cimport (
    op_new, op_read, op_refuse, op_write, ops_drain, ops_drainable, ops_forget,
)
from tenure._host.redis_session cimport session_execute
from tenure._host.redis_types cimport (
    OP_IS_READ, OP_IS_WRITE, REDIS_TOKEN_TAG, SLOT_BITS, Front, Op, OpKind, front_gauges_free, front_gauges_new,
)
from tenure._kv.codec cimport Slice
from tenure._kv.read cimport READ_LED, Instant, store_instant
from tenure._kv.store cimport Store
from tenure._net.resp cimport (
    RESP_ERROR, RESP_MORE, RESP_REQUEST, RespState, reply_error, resp_is, resp_next, resp_parse, resp_release,
    resp_wanted,
)
from tenure._net.socket cimport (
    IPPROTO_TCP, MSG_NOSIGNAL, SHUT_RDWR, SHUT_WR, SO_KEEPALIVE, SOL_SOCKET, TCP_NODELAY, recv, send, setsockopt, shutdown,
)

cdef extern from "<netdb.h>" nogil:
    const int NI_NUMERICHOST
    const int NI_NUMERICSERV
    int getnameinfo(
        const sockaddr* address, socklen_t length, char* host, socklen_t host_length, char* service,
        socklen_t service_length, int flags) noexcept

cdef enum:
    COMMANDS_PER_PASS = 64          # of one client
    BYTES_PER_PASS = 65536          # of one client
    SERVE_NS = 1000000              # all clients of a pass
    READ_BYTES = 16384
    READ_BYTES_MOST = 1048576       # at once, of a large argument
    KEPT_BYTES = 262144             # an empty buffer that is larger is given back
    LINGER_NS = 1000000000          # how long a client may take to read why it was closed


# ---- the side

cdef ClientSide* side_new(Front* f, uint32_t number, int epoll_fd) noexcept nogil:
    cdef ClientSide* s = <ClientSide*>calloc(1, sizeof(ClientSide))
    if s == NULL:
        return NULL
    s.front = f
    s.number = number
    s.epoll_fd = epoll_fd
    s.gauges = front_gauges_new()
    s.pass_ns = clock_monotonic_ns()
    if s.gauges == NULL:
        free(s)
        return NULL
    return s


cdef void side_close(ClientSide* s) noexcept nogil:
    cdef size_t i
    for i in range(s.clients.size):
        if s.clients.data[i] != NULL:
            client_close(s, s.clients.data[i])
    for i in range(s.ready.size):
        s.ready.data[i].ready = False
    for i in range(s.dirty.size):
        s.dirty.data[i].dirty = False
    s.ready.clear()
    s.dirty.clear()
    free_dead(s)


cdef void side_free(ClientSide* s) noexcept nogil:
    cdef Op* op
    while s.free_ops != NULL:
        op = s.free_ops
        s.free_ops = op.next
        free(op)
    s.clients.release()
    s.free_slots.release()
    s.ready.release()
    s.dirty.release()
    s.arguments.release()
    s.refusal.release()
    front_gauges_free(s.gauges)
    free(s)


# ---- clients

cdef uint64_t token_of(uint32_t generation, uint32_t slot) noexcept nogil:
    return (<uint64_t>REDIS_TOKEN_TAG << 56) | (<uint64_t>generation << SLOT_BITS) | slot


cdef bint watch(int epoll_fd, int operation, int fd, uint64_t token, uint32_t events) noexcept nogil:
    cdef epoll_event event
    event.events = events
    event.data.u64 = token
    return epoll_ctl(epoll_fd, operation, fd, &event) == 0


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


cdef Client* client_new(uint64_t id, int fd, const sockaddr* address, socklen_t bytes) noexcept nogil:
    cdef Client* c = <Client*>calloc(1, sizeof(Client))
    if c == NULL:
        return NULL
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1)
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1)
    c.fd = fd
    c.id = id
    c.protocol = 2
    write_address(c, address, bytes)
    return c


cdef void client_drop(ClientSide* s, Client* c) noexcept nogil:
    """One that was counted, and that no side has taken up."""
    close(c.fd)
    free(c)
    s.gauges.clients.fetch_sub(1, memory_order_relaxed)  # relaxed: statistics, and a limit that may be passed by as many


cdef void side_admit(ClientSide* s, Client* c) noexcept nogil:
    cdef size_t count = s.clients.size + 1
    # Room in the lists, so that neither marking a client nor giving its slot back ever needs memory.
    if not s.ready.reserve(count) or not s.dirty.reserve(count) or not s.free_slots.reserve(count):
        client_drop(s, c)
        return
    if s.free_slots.size:
        s.free_slots.size -= 1
        c.slot = s.free_slots.data[s.free_slots.size]
    elif s.clients.push(NULL):
        c.slot = <uint32_t>(s.clients.size - 1)
    else:
        client_drop(s, c)
        return
    s.generation += 1
    c.token = token_of(s.generation, c.slot)
    c.authenticated = s.front.password == NULL
    c.watched = EPOLLIN
    c.since_ns = c.last_command_ns = s.pass_ns
    resp_next(&c.parser)
    if not watch(s.epoll_fd, EPOLL_CTL_ADD, c.fd, c.token, EPOLLIN):
        s.free_slots.push(c.slot)
        client_drop(s, c)
        return
    s.clients.data[c.slot] = c


cdef void client_close(ClientSide* s, Client* c) noexcept nogil:
    """Its memory stays until the lists of this pass are done with it."""
    if c.fd < 0:
        return
    # neither is left to close(): a forked child may share the socket
    watch(s.epoll_fd, EPOLL_CTL_DEL, c.fd, 0, 0)
    shutdown(c.fd, SHUT_RDWR)
    close(c.fd)
    c.fd = -1
    ops_forget(c)
    s.clients.data[c.slot] = NULL
    s.free_slots.push(c.slot)
    if c.lingering:
        s.lingering_count -= 1
    s.gauges.clients.fetch_sub(1, memory_order_relaxed)  # relaxed: as in client_drop
    c.next_dead = s.dead
    s.dead = c


cdef void free_dead(ClientSide* s) noexcept nogil:
    cdef Client* c
    cdef Client** kept = &s.dead
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


cdef void mark_ready(ClientSide* s, Client* c) noexcept nogil:
    if not c.ready and c.fd >= 0:
        c.ready = s.ready.push(c)


cdef void mark_dirty(ClientSide* s, Client* c) noexcept nogil:
    if not c.dirty and c.fd >= 0:
        c.dirty = s.dirty.push(c)


cdef void want(ClientSide* s, Client* c, uint32_t events) noexcept nogil:
    if c.watched == events:
        return
    if watch(s.epoll_fd, EPOLL_CTL_MOD, c.fd, c.token, events):
        c.watched = events
    else:
        client_close(s, c)


cdef size_t unsent(const Client* c) noexcept nogil:
    return c.output.size - c.output_head


cdef bint too_much(const ClientSide* s, const Client* c) noexcept nogil:
    """Of it is under way, or was not taken."""
    return (
        c.ops >= s.front.config.max_ops or c.held_bytes >= s.front.config.max_ops_bytes
        or unsent(c) >= s.front.config.max_output_bytes
    )


cdef bint may_read(const ClientSide* s, const Client* c) noexcept nogil:
    return not c.closing and not c.at_end and not c.request_waits and not too_much(s, c)


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


cdef size_t receive(ClientSide* s, Client* c) noexcept nogil:
    """One recv. How many bytes came; a client at its end, or without memory, is marked or closed."""
    cdef size_t pending = c.input.size - c.input_head, wanted = resp_wanted(&c.parser, pending), room
    cdef char* into
    cdef ssize_t count
    # A large argument gets room as it comes, never at once for what was merely announced.
    wanted = max(<size_t>READ_BYTES, min(wanted, <size_t>READ_BYTES_MOST))
    into = input_room(c, wanted)
    if into == NULL:
        client_close(s, c)
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
        client_close(s, c)
    return 0


# ---- commands

cdef bint refuse_memory(ClientSide* s, Client* c) noexcept nogil:
    client_close(s, c)
    return True


cdef bint begin_read(
        ClientSide* s, Client* c, const RedisCommand* command, const Slice* arguments, uint32_t count, bint mark
) noexcept nogil:
    cdef Op* op = op_new(s, c, OP_IS_READ, command)
    if op == NULL:
        return refuse_memory(s, c)
    op_read(op, mark, arguments, count)
    return True


cdef bint begin_write(
        ClientSide* s, Client* c, const RedisCommand* command, const Slice* arguments, uint32_t count) noexcept nogil:
    cdef Op* op
    cdef Blob* encoded = NULL
    cdef Translation translation
    cdef Vec[char]* out = &c.output
    cdef size_t size_before = c.output.size
    s.refusal.clear()
    if c.ops:
        out = &s.refusal
    translation = translate_write(command, arguments, count, s.now_ms, out, &encoded)
    if translation == TRANSLATION_REPLIED and c.ops == 0:
        return True
    op = op_new(s, c, OP_IS_WRITE, command)
    if op == NULL or (translation != TRANSLATED and translation != TRANSLATION_REPLIED):
        blob_release(encoded)
        c.output.size = size_before
        return refuse_memory(s, c)
    if translation == TRANSLATED:
        op_write(op, encoded, value_returned_bytes(command, arguments, count, s.front.store))
        return True
    op.reply = s.refusal                                  # it was refused while others are under way: its turn comes
    memset(&s.refusal, 0, sizeof(s.refusal))
    op_refuse(op)
    return True


cdef bint execute_under_way(
        ClientSide* s, Client* c, const RedisCommand* command, const Slice* arguments, uint32_t count) noexcept nogil:
    """A write, or a read that finds no lease. False: it has to wait for what this client has under way."""
    if command.kind == KIND_READ:
        return (c.ops == 0 or c.ops_kind == OP_IS_READ) and begin_read(s, c, command, arguments, count, False)
    return (c.ops == 0 or c.ops_kind == OP_IS_WRITE) and begin_write(s, c, command, arguments, count)


cdef bint execute_read_here(
        ClientSide* s, Client* c, const RedisCommand* command, const Slice* arguments, uint32_t count) noexcept nogil:
    """Under the lease, if there is one. False: it has to be confirmed otherwise."""
    cdef Instant instant
    cdef Judgement judgement
    cdef Store* store = s.front.store
    if fence(s.front.member.lease, s.front.member.applied) < 0:
        s.gauges.lease_misses.fetch_add(1, memory_order_relaxed)  # relaxed: statistics
        return False
    instant = store_instant(store, READ_LED, s.now_ms)
    judgement = execute_read(
        command, arguments, count, store, s.thread == NULL, &instant, c.protocol, &c.output, &s.counts)
    if judgement == READ_DONE:
        s.gauges.lease_hits.fetch_add(1, memory_order_relaxed)  # relaxed: statistics
        return True
    if judgement == READ_UNDECIDED:
        return begin_read(s, c, command, arguments, count, True)
    if judgement == READ_FAILED and error(&c.output, b"CLUSTERDOWN this member has failed: the command was not executed"):
        return True
    return refuse_memory(s, c)


cdef bint execute(ClientSide* s, Client* c, const Slice* arguments, uint32_t count) noexcept nogil:
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
            return unknown_command(&c.output, arguments, count) or refuse_memory(s, c)
        if not arity_fits(command, count):
            return wrong_arity(&c.output, command.name, NULL, 0) or refuse_memory(s, c)
        return error(&c.output, b"NOAUTH Authentication required.") or refuse_memory(s, c)
    c.last_command = command
    if command.kind == KIND_SESSION:
        return session_execute(s, c, command, arguments, count) or refuse_memory(s, c)
    if command.kind == KIND_READ and c.ops == 0 and execute_read_here(s, c, command, arguments, count):
        return True
    return execute_under_way(s, c, command, arguments, count)


cdef bint execute_parsed(ClientSide* s, Client* c) noexcept nogil:
    """The request in the parser. False: it has to wait."""
    cdef size_t i
    cdef Slice slice
    cdef size_t size = c.parser.arguments.size
    if size:
        if not s.arguments.reserve(size):
            return refuse_memory(s, c)
        s.arguments.clear()
        for i in range(size):
            slice.data = c.input.data + c.input_head + c.parser.arguments.data[i].offset
            slice.size = c.parser.arguments.data[i].size
            s.arguments.push(slice)
        if not execute(s, c, s.arguments.data, <uint32_t>size):
            c.request_waits = True
            return False
        s.gauges.commands.fetch_add(1, memory_order_relaxed)  # relaxed: statistics
    c.request_waits = False
    if c.fd >= 0:
        c.input_head += c.parser.at
        resp_next(&c.parser)
        c.last_command_ns = s.pass_ns
    return True


cdef void break_off(ClientSide* s, Client* c) noexcept nogil:
    """The protocol is broken: everything that came before is still answered, then the reason, then the end."""
    cdef char text[128]
    cdef size_t size = strlen(c.parser.error)
    cdef Op* op
    s.gauges.protocol_errors.fetch_add(1, memory_order_relaxed)  # relaxed: statistics
    c.closing = True
    memcpy(text, b"ERR ", 4)
    memcpy(text + 4, c.parser.error, size)
    if c.ops == 0:
        reply_error(&c.output, text, size + 4)
        return
    op = op_new(s, c, <OpKind>c.ops_kind, NULL)
    if op != NULL:
        reply_error(&op.reply, text, size + 4)
        op_refuse(op)


cdef bint serve_client(ClientSide* s, Client* c) noexcept nogil:
    """True: there is more to do for it in the next pass."""
    cdef RespState state
    cdef uint32_t commands = 0
    cdef size_t bytes = 0
    while c.fd >= 0 and not c.closing:
        if commands >= COMMANDS_PER_PASS or bytes >= BYTES_PER_PASS:
            return True
        if too_much(s, c):
            c.stalled = True                              # flushing brings it back
            return False
        if c.request_waits:
            state = RESP_REQUEST
        else:
            state = resp_parse(
                &c.parser, c.input.data + c.input_head, c.input.size - c.input_head, &s.front.config.limits, c.authenticated)
        if state == RESP_REQUEST:
            bytes += c.parser.at
            commands += 1
            if not execute_parsed(s, c):
                return False
        elif state == RESP_MORE:
            if not c.readable or receive(s, c) == 0:
                return False
        elif state == RESP_ERROR:
            break_off(s, c)
        else:
            client_close(s, c)
    return False


# ---- output

cdef void linger(ClientSide* s, Client* c) noexcept nogil:
    """Closing a socket with unread input would take the last reply back; so the client gets time to read it."""
    if c.at_end:
        client_close(s, c)
        return
    if not c.lingering:
        c.lingering = True
        s.lingering_count += 1
        c.linger_until_ns = s.pass_ns + LINGER_NS
        shutdown(c.fd, SHUT_WR)
    want(s, c, EPOLLIN)


cdef void throw_away(ClientSide* s, Client* c) noexcept nogil:
    cdef char rubbish[16384]
    cdef ssize_t count = recv(c.fd, rubbish, sizeof(rubbish), 0)
    if count == 0 or (count < 0 and errno != EAGAIN and errno != EINTR):
        client_close(s, c)


cdef void send_output(ClientSide* s, Client* c) noexcept nogil:
    cdef ssize_t count
    while c.output_head < c.output.size:
        count = send(c.fd, c.output.data + c.output_head, c.output.size - c.output_head, MSG_NOSIGNAL)
        if count < 0:
            if errno == EINTR:
                continue
            if errno != EAGAIN:
                client_close(s, c)
            return
        c.output_head += count
    c.output_head = 0
    c.output.clear()
    if c.output.capacity > KEPT_BYTES:
        c.output.release()
    if c.input_head == c.input.size and c.input.capacity > KEPT_BYTES:
        c.input_head = 0
        c.input.release()


cdef void flush_client(ClientSide* s, Client* c) noexcept nogil:
    cdef uint32_t events = 0
    if not ops_drain(s, c):
        client_close(s, c)
        return
    send_output(s, c)
    if c.fd < 0:
        return
    if c.closing and c.ops == 0 and unsent(c) == 0:
        linger(s, c)
        return
    if c.at_end and c.ops == 0 and unsent(c) == 0 and not c.request_waits and not c.ready:
        client_close(s, c)
        return
    if (c.request_waits and c.ops == 0) or ops_drainable(s, c):
        mark_ready(s, c)
    if c.stalled and may_read(s, c):
        c.stalled = False
        mark_ready(s, c)
    # Reading stops lazily, when something comes that may not be taken (side_on_event); it starts again here.
    events = c.watched & EPOLLIN
    if may_read(s, c):
        events = EPOLLIN
    if unsent(c):
        events |= EPOLLOUT
    want(s, c, events)


# ---- a pass

cdef void side_on_event(ClientSide* s, uint64_t token, uint32_t events) noexcept nogil:
    cdef uint32_t slot = token & ((1 << SLOT_BITS) - 1)
    cdef Client* c
    if slot >= s.clients.size or s.clients.data[slot] == NULL or s.clients.data[slot].token != token:
        return
    c = s.clients.data[slot]
    if c.lingering:
        throw_away(s, c)
        return
    if events & (EPOLLERR | EPOLLHUP) and not events & EPOLLIN:
        client_close(s, c)
        return
    if events & EPOLLOUT:
        mark_dirty(s, c)
    if events & EPOLLIN:
        c.readable = True
        if may_read(s, c):
            mark_ready(s, c)
        else:
            c.stalled = True
            want(s, c, c.watched & ~EPOLLIN)


cdef void side_serve(ClientSide* s) noexcept nogil:
    cdef size_t i = 0, count = s.ready.size, kept = 0
    cdef Client* c
    cdef int64_t until_ns
    if count == 0 or s.ending:
        return
    until_ns = clock_monotonic_ns() + SERVE_NS
    while i < count:
        c = s.ready.data[i]
        i += 1
        c.ready = False
        if c.fd >= 0 and serve_client(s, c):
            c.ready = True
        mark_dirty(s, c)
        if c.ready:
            s.ready.data[kept] = c
            kept += 1
        if clock_monotonic_ns() > until_ns:
            break
    # Those whose turn did not come stand before those that had theirs.
    rotate(s, kept, i)


cdef void rotate(ClientSide* s, size_t kept, size_t served) noexcept nogil:
    """ready[0 .. kept) had a turn and have more to do, ready[served ..) had none yet."""
    cdef size_t left = s.ready.size - served
    if left == 0:
        s.ready.size = kept
        return
    # A reversal of each part, then of the whole, exchanges them without memory.
    memmove(s.ready.data + kept, s.ready.data + served, left * sizeof(Client*))
    s.ready.size = kept + left
    reverse(s.ready.data, kept)
    reverse(s.ready.data + kept, left)
    reverse(s.ready.data, kept + left)


cdef void reverse(Client** items, size_t count) noexcept nogil:
    cdef size_t i
    cdef Client* c
    for i in range(count // 2):
        c = items[i]
        items[i] = items[count - 1 - i]
        items[count - 1 - i] = c


cdef bint side_flush(ClientSide* s) noexcept nogil:
    cdef size_t i = 0
    cdef Client* c
    while i < s.dirty.size:
        c = s.dirty.data[i]
        c.dirty = False
        if c.fd >= 0:
            flush_client(s, c)
        i += 1
    s.dirty.clear()
    if s.dead != NULL:
        for i in range(s.ready.size):
            if s.ready.data[i].fd < 0:
                s.ready.data[i].ready = False
        drop_closed(s)
        free_dead(s)
    if s.counts.found != s.counted_found or s.counts.absent != s.counted_absent:
        # relaxed: statistics
        s.gauges.keys_found.store(s.counts.found, memory_order_relaxed)
        s.gauges.keys_absent.store(s.counts.absent, memory_order_relaxed)
        s.counted_found = s.counts.found
        s.counted_absent = s.counts.absent
    return s.ready.size != 0


cdef void drop_closed(ClientSide* s) noexcept nogil:
    cdef size_t i, kept = 0
    for i in range(s.ready.size):
        if s.ready.data[i].fd >= 0:
            s.ready.data[kept] = s.ready.data[i]
            kept += 1
    s.ready.size = kept


cdef void side_tick(ClientSide* s) noexcept nogil:
    cdef size_t i
    if s.lingering_count:
        for i in range(s.clients.size):
            if s.clients.data[i] != NULL and s.clients.data[i].lingering and (
                    s.clients.data[i].linger_until_ns <= s.pass_ns):
                client_close(s, s.clients.data[i])
