"""`Endpoint`: a transport and the small loop that drives it, as a Python object, for tests, tools and benchmarks.

Production hosts drive the transport from their own loop (`tenure._host`) and never come here. One thread at a time may use an
Endpoint. It owns its epoll descriptor, its transport and what was received and not fetched yet.
"""

cimport cython
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from tenure._core.blob cimport blob_new, blob_release
from tenure._core.clock cimport clock_monotonic_ns, clock_now_ns
from tenure._core.posix cimport EINTR, EPOLL_CLOEXEC, close, epoll_create1, epoll_event, epoll_wait, errno
from tenure._net import handshake, transport
from tenure._net.message_codec cimport CODEC_NO_MEMORY, CODEC_OK, CodecResult, message_bytes, message_decode, message_encode
from tenure._net.transport cimport (
    PeerStatistics, Transport, TransportCallbacks, TransportConfig, TransportStatistics, transport_add_peer, transport_close,
    transport_flush, transport_on_event, transport_open, transport_port, transport_remove_peer, transport_send,
    transport_send_data, transport_set_handshake_timeout, transport_set_peer_address, transport_statistics, transport_tick,
    transport_totals,
)
from tenure._raft.node cimport Message
from tenure._raft.types cimport Message as CMessage
from tenure._raft.types cimport Snapshot, entries_push, message_release

import os

cdef enum:
    EVENTS_PER_PASS = 64
    GREETING = 9                # a kind of data that no host uses


cdef bint share_message(const CMessage* source, CMessage* into) noexcept nogil:
    """A copy that shares the payloads. False without memory."""
    cdef size_t i
    into[0] = source[0]
    memset(&into.entries, 0, sizeof(into.entries))
    into.snapshot = NULL
    for i in range(source.entries.size):
        if not entries_push(&into.entries, &source.entries.data[i]):
            message_release(into)
            return False
    if source.snapshot != NULL:
        into.snapshot = <Snapshot*>malloc(sizeof(Snapshot))
        if into.snapshot == NULL:
            message_release(into)
            return False
        into.snapshot[0] = source.snapshot[0]
    return True


cdef void on_deliver(void* context, uint32_t group, CMessage* message, int64_t now_ns) noexcept nogil:
    cdef Inbox* inbox = <Inbox*>context
    cdef Received received
    cdef int64_t until_ns
    received.group = group
    received.now_ns = now_ns
    if not share_message(message, &received.message):
        inbox.failed = True
        return
    if not inbox.received.push(received):
        message_release(&received.message)
        inbox.failed = True
    if inbox.deliver_pause_ns:
        until_ns = clock_now_ns() + inbox.deliver_pause_ns
        while clock_now_ns() < until_ns:
            pass
    if inbox.close_on_deliver:
        transport_close(inbox.transport)
        inbox.transport = NULL


cdef void on_unreachable(void* context, uint64_t peer) noexcept nogil:
    cdef Inbox* inbox = <Inbox*>context
    if not inbox.unreachable.push(peer):
        inbox.failed = True


cdef void on_connected(void* context, uint64_t peer) noexcept nogil:
    cdef Inbox* inbox = <Inbox*>context
    transport_send_data(inbox.transport, peer, GREETING, inbox.greeting.bytes(), inbox.greeting.size, NULL, 0)


cdef void on_introduced(void* context, uint64_t host, uint32_t kind, const char* bytes, uint32_t size) noexcept nogil:
    cdef Inbox* inbox = <Inbox*>context
    cdef Introduction one
    one.host = host
    one.kind = kind
    one.bytes = blob_new(bytes, size)
    if one.bytes == NULL or not inbox.introductions.push(one):
        blob_release(one.bytes)
        inbox.failed = True


cdef void pump_once(Inbox* inbox, int epoll_fd, int timeout_ms, int* result) noexcept nogil:
    """One pass: events, then the timer, then what is to be sent. `result`: events seen, or a negative errno."""
    cdef epoll_event events[EVENTS_PER_PASS]
    cdef int i
    cdef int count = epoll_wait(epoll_fd, events, EVENTS_PER_PASS, timeout_ms)
    if count < 0:
        result[0] = 0 if errno == EINTR else -errno
        return
    for i in range(count):
        if inbox.transport != NULL:
            transport_on_event(inbox.transport, events[i].data.u64, events[i].events)
    if inbox.transport != NULL:
        transport_tick(inbox.transport, clock_monotonic_ns())
    if inbox.transport != NULL:
        transport_flush(inbox.transport)
    result[0] = count


@cython.final
cdef class Endpoint:
    """A host's network on its own. `pump` makes everything happen; nothing does in between."""

    def __cinit__(self, uint64_t id, *, bytes cluster_id not None, uint64_t start_counter=1, nonce=None,
                  str address="127.0.0.1", uint16_t port=0, uint64_t max_frame_bytes=16 << 20,
                  uint64_t max_queued_bytes=64 << 20, bint meets_strangers=False, bytes greeting=None):
        """With a greeting, every peer that is reached gets it first, as data of the kind GREETING."""
        cdef TransportConfig config
        cdef TransportCallbacks callbacks
        cdef int error = 0
        cdef bytes listen_address = address.encode()
        self.epoll_fd = -1
        if len(cluster_id) != 16:
            raise ValueError("a cluster id has 16 bytes")
        self.id = id
        self.epoll_fd = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll_fd < 0:
            raise OSError(errno, "epoll_create1")
        memset(&config, 0, sizeof(config))
        memcpy(config.cluster_id, <const char*>cluster_id, 16)
        config.host_id = id
        config.start_counter = start_counter
        config.nonce = int.from_bytes(os.urandom(8), "little") if nonce is None else nonce
        config.listen_address = listen_address
        config.listen_port = port
        config.max_frame_bytes = max_frame_bytes
        config.max_queued_bytes = max_queued_bytes
        config.epoll_fd = self.epoll_fd
        memset(&callbacks, 0, sizeof(callbacks))
        callbacks.context = &self.inbox
        callbacks.deliver = on_deliver
        callbacks.unreachable = on_unreachable
        if meets_strangers:
            callbacks.introduced = on_introduced
        if greeting is not None:
            callbacks.connected = on_connected
            self.inbox.greeting = blob_new(greeting, <uint32_t>len(greeting))
            if self.inbox.greeting == NULL:
                raise MemoryError("no memory for a greeting")
        self.inbox.transport = transport_open(&config, &callbacks, &error)
        if self.inbox.transport == NULL:
            raise OSError(error, os.strerror(error))

    def __dealloc__(self):
        cdef size_t i
        transport_close(self.inbox.transport)
        if self.epoll_fd >= 0:
            close(self.epoll_fd)
        for i in range(self.inbox.received.size):
            message_release(&self.inbox.received.data[i].message)
        self.inbox.received.release()
        self.inbox.unreachable.release()
        for i in range(self.inbox.introductions.size):
            blob_release(self.inbox.introductions.data[i].bytes)
        self.inbox.introductions.release()
        blob_release(self.inbox.greeting)

    cdef Transport* opened(self) except NULL:
        if self.inbox.transport == NULL:
            raise ValueError("the endpoint is closed")
        return self.inbox.transport

    def close(self) -> None:
        """Close every socket. What was received can still be fetched."""
        transport_close(self.inbox.transport)
        self.inbox.transport = NULL

    def add_peer(self, uint64_t id, str address not None, uint16_t port) -> None:
        """A member to dial, and to accept."""
        cdef int error = transport_add_peer(self.opened(), id, address.encode(), port)
        if error:
            raise OSError(error, os.strerror(error))

    def set_peer_address(self, uint64_t id, str address not None, uint16_t port) -> None:
        """The peer moved."""
        cdef int error = transport_set_peer_address(self.opened(), id, address.encode(), port)
        if error:
            raise OSError(error, os.strerror(error))

    def remove_peer(self, uint64_t id) -> None:
        """Close its connections and forget it."""
        cdef int error = transport_remove_peer(self.opened(), id)
        if error:
            raise OSError(error, os.strerror(error))

    def set_handshake_timeout(self, int64_t timeout_ns) -> None:
        """How long a handshake may take."""
        transport_set_handshake_timeout(self.opened(), timeout_ns)

    def send(self, Message message not None, uint32_t group=0) -> bool:
        """False when it was dropped. Bytes leave with the next `pump` or `flush`."""
        return bool(transport_send(self.opened(), group, &message.c))

    def flush(self) -> None:
        """Write what the kernel takes."""
        with nogil:
            transport_flush(self.inbox.transport)

    def pump(self, int timeout_ms=0) -> int:
        """One pass of the loop; returns the number of events seen."""
        cdef int result = 0
        self.opened()
        with nogil:
            pump_once(&self.inbox, self.epoll_fd, timeout_ms, &result)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        if self.inbox.failed:
            raise MemoryError
        return result

    def received(self) -> list:
        """[(group, message, now_ns), ...] since the last call."""
        cdef list fetched = []
        cdef size_t i
        try:
            for i in range(self.inbox.received.size):
                fetched.append((
                    self.inbox.received.data[i].group,
                    Message.copy_of(&self.inbox.received.data[i].message),
                    self.inbox.received.data[i].now_ns,
                ))
        finally:
            for i in range(self.inbox.received.size):
                message_release(&self.inbox.received.data[i].message)
            self.inbox.received.clear()
        return fetched

    def unreachable(self) -> list:
        """Ids of the peers reported as unreachable since the last call."""
        cdef size_t i
        reported = [self.inbox.unreachable.data[i] for i in range(self.inbox.unreachable.size)]
        self.inbox.unreachable.clear()
        return reported

    def introductions(self) -> list:
        """[(host, kind, bytes), ...] of strangers since the last call."""
        cdef list fetched = []
        cdef Introduction* one
        cdef size_t i
        for i in range(self.inbox.introductions.size):
            one = &self.inbox.introductions.data[i]
            fetched.append((one.host, one.kind, one.bytes.bytes()[:one.bytes.size]))
            blob_release(one.bytes)
        self.inbox.introductions.clear()
        return fetched

    def statistics(self, uint64_t peer) -> dict:
        """What was counted for one peer."""
        cdef PeerStatistics statistics
        if not transport_statistics(self.opened(), peer, &statistics):
            raise KeyError(peer)
        return statistics

    def totals(self) -> dict:
        """What was counted for all: `closed` and the two kinds of `refused` by name, zeros left out."""
        cdef TransportStatistics totals
        cdef dict closed = {}, refused = {}, was_refused = {}
        cdef int code
        transport_totals(self.opened(), &totals)
        for code, name in transport.CLOSE_REASON_NAMES.items():
            if totals.closed[code]:
                closed[name] = totals.closed[code]
        for code, name in handshake.REFUSAL_NAMES.items():
            if totals.refused[code]:
                refused[name] = totals.refused[code]
            if totals.was_refused[code]:
                was_refused[name] = totals.was_refused[code]
        return {
            "accepted": totals.accepted, "unauthenticated": totals.unauthenticated, "closed": closed, "refused": refused,
            "was_refused": was_refused,
        }

    def set_deliver_pause(self, int64_t pause_ns) -> None:
        """Make every delivery take that long, as a busy host's would."""
        self.inbox.deliver_pause_ns = pause_ns

    def close_on_deliver(self) -> None:
        """Close the transport from inside its next delivery."""
        self.inbox.close_on_deliver = True

    @property
    def port(self) -> int: return transport_port(self.opened())
    @property
    def closed(self) -> bool: return self.inbox.transport == NULL


def encode_message(Message message not None) -> bytes:
    """A message as it stands in a frame."""
    cdef uint64_t count = message_bytes(&message.c)
    cdef bytes encoded = bytes(count) if count else b""     # a fresh object that nobody else sees yet
    cdef char* end = message_encode(&message.c, <char*>encoded)
    if <uint64_t>(end - <char*>encoded) != count:
        raise SystemError("message_bytes and message_encode disagree")
    return encoded


def decode_message(bytes data not None) -> Message | None:
    """The message, or None when the bytes are no message's encoding."""
    cdef CMessage c
    # a copy of exactly this size, so that a sanitizer sees a step beyond it
    cdef size_t size = <size_t>len(data)
    cdef char* copy = <char*>malloc(size if size else 1)
    cdef CodecResult result
    if copy == NULL:
        raise MemoryError
    memcpy(copy, <const char*>data, size)
    result = message_decode(copy, size, &c)
    free(copy)
    if result == CODEC_NO_MEMORY:
        raise MemoryError
    if result != CODEC_OK:
        return None
    try:
        return Message.copy_of(&c)
    finally:
        message_release(&c)


def measure_codec(Message message not None, int count) -> tuple:
    """Nanoseconds for `count` encodings, and for `count` decodings."""
    cdef uint64_t size = message_bytes(&message.c)
    cdef char* memory = <char*>malloc(size)
    cdef int64_t begin_ns, encoded_ns, decoded_ns
    cdef CMessage c
    cdef CodecResult result = CODEC_OK
    cdef int _i
    if memory == NULL:
        raise MemoryError
    with nogil:
        begin_ns = clock_monotonic_ns()
        for _i in range(count):
            message_encode(&message.c, memory)
        encoded_ns = clock_monotonic_ns()
        for _i in range(count):
            result = message_decode(memory, size, &c)
            if result != CODEC_OK:
                break
            message_release(&c)
        decoded_ns = clock_monotonic_ns()
    free(memory)
    if result != CODEC_OK:
        raise ValueError("the message does not decode")
    return encoded_ns - begin_ns, decoded_ns - encoded_ns
