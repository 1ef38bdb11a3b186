"""Peers over TCP: see `transport.pxd` for what it is, who may call it and what it owns.

Connections live in slots; an epoll token is a tag, a generation and a slot, so that an event for a connection that was closed
earlier in the same batch finds nothing. Callbacks may close anything: every public function counts itself in and out
(`enter`, `leave`), a closed connection keeps its memory until the outermost one leaves, and whoever called back looks at
`fd` before going on.

A message's clock reading is taken once after every recv() and belongs to the messages which that recv() completed: not
earlier (a promise must start after the last byte was read: LEASE.md rule 2, H08), and not once per pass of the loop, which
may have spent long on others in between.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from tenure._core.clock cimport clock_monotonic_ns, clock_now_ns
from tenure._core.posix cimport (
    EAGAIN, EINTR, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, close,
    epoll_ctl, epoll_event, errno,
)
from tenure._net.buffer cimport (
    Buffer, buffer_commit, buffer_consume, buffer_front, buffer_release, buffer_reserve, buffer_room, buffer_size,
)
from tenure._net.frame cimport (
    FRAME_DATA, FRAME_HEADER_BYTES, FRAME_HELLO, FRAME_INCOMPLETE, FRAME_MESSAGE, FRAME_REFUSED, FRAME_WELCOME,
    FRAME_WHOLE, Frame, FrameResult, frame_parse, frame_seal,
)
from tenure._net.handshake cimport (
    HELLO_BYTES, PROTOCOL_VERSION_MAX, PROTOCOL_VERSION_MIN, REFUSAL_MEMBER, REFUSAL_NONE, REFUSED_BYTES, Hello, Refusal,
    hello_decode, hello_encode, hello_judge, incarnation_judge, refused_decode, refused_encode,
)
from tenure._net.message_codec cimport (
    CODEC_NO_MEMORY, CODEC_OK, CodecResult, message_bytes, message_decode, message_encode,
)
from tenure._net.socket cimport (
    ECONNABORTED, EEXIST, EINPROGRESS, EINVAL, ENOENT, ENOMEM, MSG_NOSIGNAL, SHUT_RDWR, SHUT_WR, SO_ERROR, SO_REUSEADDR,
    SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET, SOMAXCONN,
    accept4, bind, connect, getsockname, getsockopt, listen, ntohs, recv, send, setsockopt, shutdown, sockaddr, sockaddr_in,
    sockaddr_storage, socket, socklen_t,
)
from tenure._net.tcp cimport tcp_resolve, tcp_set_options
from tenure._raft.types cimport Message, message_release

cdef enum:
    LISTENER_SLOT = 0xFFFFFF
    SLOT_BITS = 24                          # below them 24 bits of slot, above them 32 of generation, then the tag
    MAX_UNAUTHENTICATED = 64
    ACCEPTS_PER_EVENT = 16
    HANDSHAKE_FRAME_BYTES = 256             # all that a connection may send at once before it shook hands
    INTRODUCTION_BYTES = 64 * 1024          # the one frame that a host which nobody knows yet may send
    READ_BYTES_PER_EVENT = 256 * 1024       # fairness: the rest waits for the next pass
    READ_CHUNK_BYTES = 64 * 1024
    KEPT_BYTES = 1024 * 1024                # an empty buffer that is larger is given back
    BACKOFF_START_NS = 20 * 1000 * 1000
    BACKOFF_CAP_NS = 1000 * 1000 * 1000
    STEADY_NS = 1000 * 1000 * 1000          # a connection that lived that long makes the backoff start anew
    HANDSHAKE_TIMEOUT_NS = 2000 * 1000 * 1000

CLOSE_REASON_NAMES = {
    CLOSE_BAD_MAGIC: "bad_magic",
    CLOSE_BAD_VERSION: "bad_version",
    CLOSE_BAD_TYPE: "bad_type",
    CLOSE_BAD_FLAGS: "bad_flags",
    CLOSE_BAD_LENGTH: "bad_length",
    CLOSE_BAD_CHECKSUM: "bad_checksum",
    CLOSE_END: "end",
    CLOSE_ERROR: "error",
    CLOSE_UNEXPECTED: "unexpected",
    CLOSE_BAD_MESSAGE: "bad_message",
    CLOSE_WRONG_SENDER: "wrong_sender",
    CLOSE_TIMEOUT: "timeout",
    CLOSE_REFUSED: "refused",
    CLOSE_SUPERSEDED: "superseded",
    CLOSE_CROWDED: "crowded",
    CLOSE_MEMORY: "memory",
    CLOSE_LOCAL: "local",
    CLOSE_INTRODUCED: "introduced",
}


# ---- who is on the stack

cdef inline void enter(Transport* t) noexcept nogil:
    t.depth += 1


cdef void leave(Transport* t) noexcept nogil:
    cdef Connection* c
    cdef size_t i
    t.depth -= 1
    if t.depth:
        return
    while t.dead != NULL:
        c = t.dead
        t.dead = c.next_dead
        buffer_release(&c.input)
        buffer_release(&c.output)
        free(c)
    if t.closing:
        for i in range(t.peers.size):
            free(t.peers.data[i])
        t.peers.release()
        t.slots.release()
        free(t)


# ---- small things

cdef bint watch(Transport* t, int operation, int fd, uint64_t token, uint32_t events) noexcept nogil:
    cdef epoll_event event
    event.events = events
    event.data.u64 = token
    return epoll_ctl(t.epoll_fd, operation, fd, &event) == 0


cdef inline uint64_t token_of(uint32_t generation, uint32_t slot) noexcept nogil:
    return (<uint64_t>TRANSPORT_TOKEN_TAG << 56) | (<uint64_t>generation << SLOT_BITS) | slot


cdef uint64_t next_random(Transport* t) noexcept nogil:
    """xorshift64: jitter asks for no more."""
    t.random ^= t.random << 13
    t.random ^= t.random >> 7
    t.random ^= t.random << 17
    return t.random


cdef Peer* find_peer(Transport* t, uint64_t id) noexcept nogil:
    cdef size_t i
    for i in range(t.peers.size):
        if t.peers.data[i].id == id:
            return t.peers.data[i]
    return NULL


cdef void note_trouble(Transport* t, Peer* peer) noexcept nogil:
    """To be reported once, until the peer is connected with an empty queue again."""
    if not peer.reported:
        peer.reported = True
        peer.report_due = True
        t.reports_due = True


cdef void report_trouble(Transport* t) noexcept nogil:
    cdef size_t i = 0
    if not t.reports_due:
        return
    t.reports_due = False
    while not t.closing and i < t.peers.size:
        if t.peers.data[i].report_due:
            t.peers.data[i].report_due = False
            t.callbacks.unreachable(t.callbacks.context, t.peers.data[i].id)
        i += 1


# ---- connections

cdef Connection* connection_new(Transport* t, int fd, Peer* peer, bint dialled) noexcept nogil:
    """Owns `fd` from here, also when it fails."""
    cdef Connection* c = <Connection*>calloc(1, sizeof(Connection))
    cdef uint32_t slot = 0
    if c != NULL:
        while slot < t.slots.size and t.slots.data[slot] != NULL:
            slot += 1
        t.generation += 1
        c.fd = fd
        c.slot = slot
        c.token = token_of(t.generation, slot)
        c.peer = peer
        c.dialled = dialled
        c.state = CONNECTING if dialled else SHAKING
        c.since_ns = clock_monotonic_ns()
        if slot < t.slots.size or t.slots.push(NULL):
            if watch(t, EPOLL_CTL_ADD, fd, c.token, EPOLLOUT if dialled else EPOLLIN | EPOLLRDHUP):
                t.slots.data[slot] = c
                return c
    t.statistics.closed[<int>CLOSE_MEMORY] += 1
    close(fd)
    free(c)
    return NULL


cdef void redial_later(Transport* t, Peer* peer) noexcept nogil:
    peer.dial_at_ns = clock_monotonic_ns() + peer.backoff_ns // 2 + <int64_t>(
        next_random(t) % <uint64_t>(peer.backoff_ns // 2 + 1))
    peer.backoff_ns = min(peer.backoff_ns * 2, <int64_t>BACKOFF_CAP_NS)


cdef void redial_soon(Peer* peer) noexcept nogil:
    peer.backoff_ns = BACKOFF_START_NS
    peer.dial_at_ns = 0


cdef void connection_close(Transport* t, Connection* c, int reason) noexcept nogil:
    cdef Peer* peer = c.peer
    if c.fd < 0:
        return
    t.statistics.closed[reason] += 1
    if not c.dialled and c.state != OPEN:
        t.statistics.unauthenticated -= 1
    # neither is left to close(): a forked child may share the socket
    watch(t, EPOLL_CTL_DEL, c.fd, 0, 0)
    shutdown(c.fd, SHUT_RDWR)
    close(c.fd)
    c.fd = -1
    t.slots.data[c.slot] = NULL
    if t.stranger == c:
        t.stranger = NULL
    c.next_dead = t.dead
    t.dead = c
    if peer == NULL:
        return
    if peer.inbound == c:
        peer.inbound = NULL
    if peer.outbound == c:
        peer.outbound = NULL
        if c.state == OPEN:
            note_trouble(t, peer)
            if clock_monotonic_ns() - c.since_ns >= STEADY_NS:
                peer.backoff_ns = BACKOFF_START_NS
        redial_later(t, peer)


cdef void send_handshake(Transport* t, Connection* c, uint8_t type, const Hello* hello, Refusal refusal) noexcept nogil:
    """A small frame on a connection that has sent nothing yet: the kernel takes it whole, or the connection is no good."""
    cdef char frame[FRAME_HEADER_BYTES + HELLO_BYTES]
    cdef uint32_t payload_bytes = REFUSED_BYTES if type == FRAME_REFUSED else HELLO_BYTES
    cdef ssize_t sent
    if type == FRAME_REFUSED:
        refused_encode(refusal, frame + FRAME_HEADER_BYTES)
    else:
        hello_encode(hello, frame + FRAME_HEADER_BYTES)
    frame_seal(frame, type, 0, payload_bytes)
    sent = send(c.fd, frame, FRAME_HEADER_BYTES + payload_bytes, MSG_NOSIGNAL)
    while sent < 0 and errno == EINTR:
        sent = send(c.fd, frame, FRAME_HEADER_BYTES + payload_bytes, MSG_NOSIGNAL)
    if sent != <ssize_t>(FRAME_HEADER_BYTES + payload_bytes):
        connection_close(t, c, CLOSE_ERROR)


cdef void dial(Transport* t, Peer* peer) noexcept nogil:
    cdef int fd = socket(peer.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    cdef Connection* c
    if fd < 0:
        redial_later(t, peer)
        return
    tcp_set_options(fd)
    # EINPROGRESS is the usual answer; another error is found again by the event that epoll gives for it
    if connect(fd, <sockaddr*>&peer.address, peer.address_bytes) != 0 and errno != EINPROGRESS and errno != EINTR:
        close(fd)
        t.statistics.closed[<int>CLOSE_ERROR] += 1
        redial_later(t, peer)
        return
    c = connection_new(t, fd, peer, True)
    if c == NULL:
        redial_later(t, peer)
        return
    peer.outbound = c


cdef void finish_connecting(Transport* t, Connection* c) noexcept nogil:
    cdef int error = 0
    cdef socklen_t bytes = sizeof(error)
    cdef Hello hello = t.identity
    if getsockopt(c.fd, SOL_SOCKET, SO_ERROR, &error, &bytes) != 0 or error != 0:
        connection_close(t, c, CLOSE_ERROR)
        return
    c.state = SHAKING
    if not watch(t, EPOLL_CTL_MOD, c.fd, c.token, EPOLLIN | EPOLLRDHUP):
        connection_close(t, c, CLOSE_ERROR)
        return
    hello.to = c.peer.id
    send_handshake(t, c, FRAME_HELLO, &hello, REFUSAL_NONE)


cdef void accept_some(Transport* t) noexcept nogil:
    cdef int _i, fd
    for _i in range(ACCEPTS_PER_EVENT):
        fd = accept4(t.listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd < 0:
            if errno == EINTR or errno == ECONNABORTED:
                continue
            if errno != EAGAIN:
                # out of descriptors or memory: the listener stays readable, so look away until the next tick
                t.accepting = not watch(t, EPOLL_CTL_MOD, t.listen_fd, token_of(0, LISTENER_SLOT), 0)
            return
        t.statistics.accepted += 1
        if t.statistics.unauthenticated >= MAX_UNAUTHENTICATED:
            t.statistics.closed[<int>CLOSE_CROWDED] += 1
            close(fd)
            continue
        tcp_set_options(fd)
        if connection_new(t, fd, NULL, False) != NULL:
            t.statistics.unauthenticated += 1


# ---- handshake

cdef void refuse(Transport* t, Connection* c, Peer* peer, Refusal refusal) noexcept nogil:
    t.statistics.refused[<int>refusal] += 1
    if peer != NULL:
        peer.statistics.refused_handshakes += 1
    if not c.dialled:
        send_handshake(t, c, FRAME_REFUSED, NULL, refusal)
        if c.fd >= 0:
            shutdown(c.fd, SHUT_WR)
    connection_close(t, c, CLOSE_REFUSED)


cdef Refusal judge(Transport* t, const Hello* theirs, Peer* peer) noexcept nogil:
    cdef Refusal refusal = hello_judge(&t.identity, theirs)
    if refusal == REFUSAL_NONE and (peer == NULL or peer.id != theirs.from_):
        return REFUSAL_MEMBER
    if refusal == REFUSAL_NONE:
        refusal = incarnation_judge(&peer.incarnation, theirs.start_counter, theirs.nonce)
    return refusal


cdef void adopt(Transport* t, Peer* peer, const Hello* theirs) noexcept nogil:
    """This is the living start of the peer: whatever an earlier one left open is closed."""
    if peer.incarnation.known and theirs.start_counter > peer.incarnation.start_counter:
        if peer.inbound != NULL:
            connection_close(t, peer.inbound, CLOSE_SUPERSEDED)
        if peer.outbound != NULL and peer.outbound.state == OPEN:
            connection_close(t, peer.outbound, CLOSE_SUPERSEDED)
    peer.incarnation.known = True
    peer.incarnation.start_counter = theirs.start_counter
    peer.incarnation.nonce = theirs.nonce


cdef bint may_meet(const Transport* t, const Hello* theirs) noexcept nogil:
    """One stranger at a time, and nobody who claims to be this host."""
    return (
        t.callbacks.introduced != NULL and t.stranger == NULL and theirs.from_ != 0 and theirs.from_ != t.identity.from_
    )


cdef void on_hello(Transport* t, Connection* c, const Frame* frame) noexcept nogil:
    cdef Hello theirs
    cdef Hello mine = t.identity
    cdef Peer* peer
    cdef Refusal refusal
    cdef bint stranger
    if not hello_decode(frame.payload, frame.payload_bytes, &theirs):
        connection_close(t, c, CLOSE_BAD_MESSAGE)
        return
    peer = find_peer(t, theirs.from_)
    refusal = judge(t, &theirs, peer)
    stranger = refusal == REFUSAL_MEMBER and may_meet(t, &theirs)
    if refusal != REFUSAL_NONE and not stranger:
        refuse(t, c, peer, refusal)
        return
    mine.version_min = mine.version_max = min(mine.version_max, theirs.version_max)
    mine.to = theirs.from_
    send_handshake(t, c, FRAME_WELCOME, &mine, REFUSAL_NONE)
    if c.fd < 0:
        return
    if stranger:
        c.state = INTRODUCING
        c.since_ns = clock_monotonic_ns()
        c.stranger_id = theirs.from_
        t.stranger = c
        return
    adopt(t, peer, &theirs)
    if peer.inbound != NULL:
        connection_close(t, peer.inbound, CLOSE_SUPERSEDED)
    t.statistics.unauthenticated -= 1
    c.state = OPEN
    c.since_ns = clock_monotonic_ns()
    c.peer = peer
    peer.inbound = c
    redial_soon(peer)       # it is there: no use in waiting any longer


cdef void on_welcome(Transport* t, Connection* c, const Frame* frame) noexcept nogil:
    cdef Hello theirs
    cdef Peer* peer = c.peer
    cdef Refusal refusal
    if not hello_decode(frame.payload, frame.payload_bytes, &theirs):
        connection_close(t, c, CLOSE_BAD_MESSAGE)
        return
    refusal = judge(t, &theirs, peer)
    if refusal != REFUSAL_NONE:
        refuse(t, c, peer, refusal)
        return
    adopt(t, peer, &theirs)
    c.state = OPEN
    c.since_ns = clock_monotonic_ns()
    peer.reported = False
    if peer.was_connected:
        peer.statistics.reconnects += 1
    peer.was_connected = True
    if t.callbacks.connected != NULL:
        t.callbacks.connected(t.callbacks.context, peer.id)


cdef void on_refused(Transport* t, Connection* c, const Frame* frame) noexcept nogil:
    cdef Refusal refusal = refused_decode(frame.payload, frame.payload_bytes)
    if refusal == REFUSAL_NONE:
        connection_close(t, c, CLOSE_BAD_MESSAGE)
        return
    t.statistics.was_refused[<int>refusal] += 1
    c.peer.statistics.refused_handshakes += 1
    connection_close(t, c, CLOSE_REFUSED)


# ---- reading

cdef void on_message(Transport* t, Connection* c, const Frame* frame, int64_t now_ns) noexcept nogil:
    cdef Message message
    cdef CodecResult result = message_decode(frame.payload, frame.payload_bytes, &message)
    if result != CODEC_OK:
        connection_close(t, c, CLOSE_MEMORY if result == CODEC_NO_MEMORY else CLOSE_BAD_MESSAGE)
        return
    if message.from_ != c.peer.id or message.to != t.identity.from_:
        connection_close(t, c, CLOSE_WRONG_SENDER)
    else:
        c.peer.statistics.received_messages += 1
        c.peer.statistics.last_received_ns = now_ns
        t.callbacks.deliver(t.callbacks.context, frame.group, &message, now_ns)
    message_release(&message)


cdef void on_introduction(Transport* t, Connection* c, const Frame* frame) noexcept nogil:
    """Where who is in the cluster may be news; whether the stranger is among them shows when it dials again."""
    t.callbacks.introduced(t.callbacks.context, c.stranger_id, frame.group, frame.payload, frame.payload_bytes)
    connection_close(t, c, CLOSE_INTRODUCED)


cdef void on_frame(Transport* t, Connection* c, const Frame* frame, int64_t now_ns) noexcept nogil:
    if c.state == OPEN:
        if frame.type == FRAME_MESSAGE and not c.dialled:
            on_message(t, c, frame, now_ns)
            return
        if frame.type == FRAME_DATA and not c.dialled and t.callbacks.deliver_data != NULL:
            c.peer.statistics.received_messages += 1
            c.peer.statistics.last_received_ns = now_ns
            t.callbacks.deliver_data(t.callbacks.context, c.peer.id, frame.group, frame.payload, frame.payload_bytes)
            return
    elif c.dialled:
        if frame.type == FRAME_WELCOME:
            on_welcome(t, c, frame)
            return
        if frame.type == FRAME_REFUSED:
            on_refused(t, c, frame)
            return
    elif c.state == INTRODUCING:
        if frame.type == FRAME_DATA:
            on_introduction(t, c, frame)
            return
    elif frame.type == FRAME_HELLO:
        on_hello(t, c, frame)
        return
    connection_close(t, c, CLOSE_UNEXPECTED)


cdef uint64_t allowed_bytes(const Transport* t, const Connection* c) noexcept nogil:
    """How long a frame may be here."""
    if c.state == INTRODUCING:
        return INTRODUCTION_BYTES
    return t.max_frame_bytes if c.state == OPEN and not c.dialled else <uint64_t>HANDSHAKE_FRAME_BYTES


cdef void parse_input(Transport* t, Connection* c, int64_t now_ns) noexcept nogil:
    cdef Frame frame
    cdef FrameResult result
    cdef uint64_t allowed
    while c.fd >= 0 and buffer_size(&c.input):
        allowed = allowed_bytes(t, c)
        result = frame_parse(buffer_front(&c.input), buffer_size(&c.input), allowed, &frame)
        if result == FRAME_INCOMPLETE:
            c.missing_bytes = frame.bytes - buffer_size(&c.input) if frame.bytes else 0
            return
        if result != FRAME_WHOLE:
            connection_close(t, c, result)
            return
        on_frame(t, c, &frame, now_ns)
        if c.fd >= 0:
            buffer_consume(&c.input, frame.bytes)
    c.missing_bytes = 0


cdef void read_input(Transport* t, Connection* c) noexcept nogil:
    cdef size_t budget = READ_BYTES_PER_EVENT, room
    cdef size_t wanted
    cdef char* into
    cdef ssize_t count
    while budget and c.fd >= 0:
        wanted = READ_CHUNK_BYTES if c.state == OPEN and not c.dialled else <size_t>HANDSHAKE_FRAME_BYTES
        wanted = max(wanted, <size_t>c.missing_bytes)
        into = buffer_reserve(&c.input, wanted, t.max_frame_bytes + READ_CHUNK_BYTES)
        if into == NULL:
            connection_close(t, c, CLOSE_MEMORY)
            return
        room = min(buffer_room(&c.input), budget)
        count = recv(c.fd, into, room, 0)
        if count <= 0:
            if count == 0:
                connection_close(t, c, CLOSE_END)
            elif errno == EINTR:
                continue
            elif errno != EAGAIN:
                connection_close(t, c, CLOSE_ERROR)
            return
        buffer_commit(&c.input, count)
        budget -= count
        parse_input(t, c, clock_now_ns())   # after this recv, for what this recv completed
        if <size_t>count < room:
            return


# ---- writing

cdef void want_writable(Transport* t, Connection* c, bint wanted) noexcept nogil:
    if c.blocked == wanted:
        return
    if watch(t, EPOLL_CTL_MOD, c.fd, c.token, EPOLLIN | EPOLLRDHUP | (EPOLLOUT if wanted else 0)):
        c.blocked = wanted
    else:
        connection_close(t, c, CLOSE_ERROR)


cdef void write_output(Transport* t, Connection* c) noexcept nogil:
    cdef ssize_t count
    while buffer_size(&c.output):
        count = send(c.fd, buffer_front(&c.output), buffer_size(&c.output), MSG_NOSIGNAL)
        if count < 0:
            if errno == EINTR:
                continue
            if errno == EAGAIN:
                want_writable(t, c, True)
            else:
                connection_close(t, c, CLOSE_ERROR)
            return
        buffer_consume(&c.output, count)
    c.peer.reported = c.peer.report_due     # what is not told yet still has to be; else the trouble is over
    want_writable(t, c, False)


# ---- public

cdef int listen_on(Transport* t, const TransportConfig* config) noexcept nogil:
    cdef sockaddr_storage address
    cdef socklen_t bytes = 0
    cdef int reuse = 1
    if not tcp_resolve(config.listen_address, config.listen_port, &address, &bytes):
        return EINVAL
    t.listen_fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    if t.listen_fd < 0:
        return errno
    setsockopt(t.listen_fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse))
    if bind(t.listen_fd, <sockaddr*>&address, bytes) != 0 or listen(t.listen_fd, SOMAXCONN) != 0:
        return errno
    bytes = sizeof(address)
    if getsockname(t.listen_fd, <sockaddr*>&address, &bytes) != 0:
        return errno
    # the port stands at the same place in both families
    t.port = ntohs((<sockaddr_in*>&address).sin_port)
    return 0 if watch(t, EPOLL_CTL_ADD, t.listen_fd, token_of(0, LISTENER_SLOT), EPOLLIN) else errno


cdef Transport* transport_open(const TransportConfig* config, const TransportCallbacks* callbacks, int* error) noexcept nogil:
    cdef Transport* t = <Transport*>calloc(1, sizeof(Transport))
    if t == NULL:
        error[0] = ENOMEM
        return NULL
    t.callbacks = callbacks[0]
    t.identity.version_min = PROTOCOL_VERSION_MIN
    t.identity.version_max = PROTOCOL_VERSION_MAX
    memcpy(t.identity.cluster_id, config.cluster_id, 16)
    t.identity.from_ = config.host_id
    t.identity.start_counter = config.start_counter
    t.identity.nonce = config.nonce
    t.max_frame_bytes = min(config.max_frame_bytes, <uint64_t>0xFFFFFFFF)     # the length on the wire has 32 bits
    t.max_queued_bytes = config.max_queued_bytes
    t.handshake_timeout_ns = HANDSHAKE_TIMEOUT_NS
    t.epoll_fd = config.epoll_fd
    t.listen_fd = -1
    t.accepting = True
    t.random = (config.nonce ^ (config.host_id << 32)) | 1
    error[0] = listen_on(t, config)
    if error[0] != 0:
        transport_close(t)
        return NULL
    return t


cdef int transport_add_peer(Transport* t, uint64_t id, const char* address, uint16_t port) noexcept nogil:
    cdef Peer* peer
    if id == 0 or id == t.identity.from_:
        return EINVAL
    if find_peer(t, id) != NULL:
        return EEXIST
    peer = <Peer*>calloc(1, sizeof(Peer))
    if peer == NULL:
        return ENOMEM
    peer.id = id
    peer.backoff_ns = BACKOFF_START_NS
    if not tcp_resolve(address, port, &peer.address, &peer.address_bytes):
        free(peer)
        return EINVAL
    if not t.peers.push(peer):
        free(peer)
        return ENOMEM
    return 0


cdef int transport_set_peer_address(Transport* t, uint64_t id, const char* address, uint16_t port) noexcept nogil:
    cdef Peer* peer = find_peer(t, id)
    cdef sockaddr_storage resolved
    cdef socklen_t bytes = 0
    if peer == NULL:
        return ENOENT
    if not tcp_resolve(address, port, &resolved, &bytes):
        return EINVAL
    enter(t)
    peer.address = resolved
    peer.address_bytes = bytes
    if peer.outbound != NULL:
        connection_close(t, peer.outbound, CLOSE_LOCAL)
    redial_soon(peer)
    leave(t)
    return 0


cdef int transport_remove_peer(Transport* t, uint64_t id) noexcept nogil:
    cdef Peer* peer
    cdef size_t i
    for i in range(t.peers.size):
        peer = t.peers.data[i]
        if peer.id == id:
            enter(t)
            if peer.inbound != NULL:
                connection_close(t, peer.inbound, CLOSE_LOCAL)
            if peer.outbound != NULL:
                connection_close(t, peer.outbound, CLOSE_LOCAL)
            t.peers.remove(i)
            free(peer)
            leave(t)
            return 0
    return ENOENT


cdef uint16_t transport_port(Transport* t) noexcept nogil:
    return t.port


cdef char* frame_begin(Transport* t, Peer* peer, uint64_t bytes) noexcept nogil:
    """Room for a frame at the end of the peer's output, or null: dropped, counted and reported."""
    cdef Connection* c
    cdef char* into = NULL
    if t.closing or peer == NULL:
        return NULL
    c = peer.outbound
    if c != NULL and c.state == OPEN and bytes <= t.max_frame_bytes:
        into = buffer_reserve(&c.output, bytes, t.max_queued_bytes)
    if into == NULL:
        peer.statistics.dropped_messages += 1
        note_trouble(t, peer)
    return into


cdef void frame_end(Peer* peer, char* frame, uint8_t type, uint32_t group, uint64_t bytes) noexcept nogil:
    frame_seal(frame, type, group, <uint32_t>(bytes - FRAME_HEADER_BYTES))
    buffer_commit(&peer.outbound.output, bytes)
    peer.statistics.sent_messages += 1


cdef bint transport_send(Transport* t, uint32_t group, const Message* message) noexcept nogil:
    cdef Peer* peer = find_peer(t, message.to)
    cdef uint64_t bytes = FRAME_HEADER_BYTES + message_bytes(message)
    cdef char* into = frame_begin(t, peer, bytes)
    if into == NULL:
        return False
    message_encode(message, into + FRAME_HEADER_BYTES)
    frame_end(peer, into, FRAME_MESSAGE, group, bytes)
    return True


cdef bint transport_send_data(
        Transport* t, uint64_t peer, uint32_t kind, const char* head, uint32_t head_size, const char* body, uint32_t body_size
) noexcept nogil:
    cdef Peer* to = find_peer(t, peer)
    cdef uint64_t bytes = FRAME_HEADER_BYTES + <uint64_t>head_size + body_size
    cdef char* into = frame_begin(t, to, bytes)
    if into == NULL:
        return False
    if head_size:
        memcpy(into + FRAME_HEADER_BYTES, head, head_size)
    if body_size:
        memcpy(into + FRAME_HEADER_BYTES + head_size, body, body_size)
    frame_end(to, into, FRAME_DATA, kind, bytes)
    return True


cdef void transport_flush(Transport* t) noexcept nogil:
    cdef Connection* c
    cdef size_t i
    enter(t)
    for i in range(t.peers.size):
        c = t.peers.data[i].outbound
        if c != NULL and c.state == OPEN and not c.blocked and buffer_size(&c.output):
            write_output(t, c)
    report_trouble(t)
    leave(t)


cdef bint transport_on_event(Transport* t, uint64_t token, uint32_t events) noexcept nogil:
    cdef uint32_t slot = token & LISTENER_SLOT
    cdef Connection* c
    if token >> 56 != TRANSPORT_TOKEN_TAG:
        return False
    enter(t)
    if slot == LISTENER_SLOT:
        accept_some(t)
    elif slot < t.slots.size and t.slots.data[slot] != NULL and t.slots.data[slot].token == token:
        c = t.slots.data[slot]
        if c.state == CONNECTING:
            finish_connecting(t, c)
        elif not c.dialled and c.state == SHAKING and events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR):
            # a dialler that gave up: its HELLO must not take the place of a later connection of the same peer
            connection_close(t, c, CLOSE_END)
        else:
            if events & EPOLLOUT:
                write_output(t, c)
            if c.fd >= 0 and events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR):
                read_input(t, c)
    report_trouble(t)
    leave(t)
    return True


cdef inline void trim(Buffer* buffer) noexcept nogil:
    if buffer.capacity > KEPT_BYTES and buffer_size(buffer) == 0:
        buffer_release(buffer)


cdef void transport_tick(Transport* t, int64_t monotonic_ns) noexcept nogil:
    cdef Connection* c
    cdef Peer* peer
    cdef size_t i
    enter(t)
    if not t.accepting:
        t.accepting = watch(t, EPOLL_CTL_MOD, t.listen_fd, token_of(0, LISTENER_SLOT), EPOLLIN)
    for i in range(t.slots.size):
        c = t.slots.data[i]
        if c == NULL:
            continue
        if c.state != OPEN and monotonic_ns - c.since_ns > t.handshake_timeout_ns:
            connection_close(t, c, CLOSE_TIMEOUT)
        else:
            trim(&c.input)
            trim(&c.output)
    for i in range(t.peers.size):
        peer = t.peers.data[i]
        if peer.outbound == NULL and peer.dial_at_ns <= monotonic_ns:
            dial(t, peer)
    report_trouble(t)
    leave(t)


cdef int64_t transport_due_ns(const Transport* t) noexcept nogil:
    cdef int64_t due_ns = INT64_MAX
    cdef const Connection* c
    cdef size_t i
    if not t.accepting:
        return 0
    for i in range(t.slots.size):
        c = t.slots.data[i]
        if c == NULL:
            continue
        if c.state != OPEN:
            due_ns = min(due_ns, c.since_ns + t.handshake_timeout_ns + 1)
        elif c.input.capacity > KEPT_BYTES or c.output.capacity > KEPT_BYTES:
            return 0
    for i in range(t.peers.size):
        if t.peers.data[i].outbound == NULL:
            due_ns = min(due_ns, t.peers.data[i].dial_at_ns)
    return due_ns


cdef bint transport_statistics(Transport* t, uint64_t peer, PeerStatistics* into) noexcept nogil:
    cdef Peer* found = find_peer(t, peer)
    if found == NULL:
        return False
    into[0] = found.statistics
    into.connected = found.outbound != NULL and found.outbound.state == OPEN
    into.queued_bytes = buffer_size(&found.outbound.output) if into.connected else 0
    return True


cdef void transport_totals(Transport* t, TransportStatistics* into) noexcept nogil:
    into[0] = t.statistics


cdef void transport_set_handshake_timeout(Transport* t, int64_t timeout_ns) noexcept nogil:
    t.handshake_timeout_ns = timeout_ns


cdef void transport_close(Transport* t) noexcept nogil:
    cdef size_t i
    if t == NULL or t.closing:
        return
    enter(t)
    t.closing = True
    for i in range(t.slots.size):
        if t.slots.data[i] != NULL:
            connection_close(t, t.slots.data[i], CLOSE_LOCAL)
    if t.listen_fd >= 0:
        watch(t, EPOLL_CTL_DEL, t.listen_fd, 0, 0)
        shutdown(t.listen_fd, SHUT_RDWR)
        close(t.listen_fd)
        t.listen_fd = -1
    leave(t)
