"""Peers over TCP, driven by the host's loop. Only the loop thread calls anything here."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from tenure._raft.types cimport Message

cdef struct TransportCallbacks:
    void* context
    # A whole message of a peer that shook hands. `now_ns`: a reading of the lease clock taken after its last byte was read.
    # The callee keeps references of its own; the caller releases the message.
    void (*deliver)(void* context, uint32_t group, Message* message, int64_t now_ns) noexcept nogil
    # The connection to a peer broke, or its queue overflowed: what was sent may be lost.
    void (*unreachable)(void* context, uint64_t peer) noexcept nogil

cdef struct TransportConfig:
    uint8_t cluster_id[16]
    uint64_t host_id
    uint64_t start_counter      # synced, grows with every start of this directory
    uint64_t nonce              # random per process
    const char* listen_address  # numeric IPv4/IPv6
    uint16_t listen_port        # 0: any; see transport_port
    uint64_t max_frame_bytes
    uint64_t max_queued_bytes   # per peer; a message that does not fit is dropped and reported
    int epoll_fd

cdef struct PeerStatistics:
    bint connected
    uint64_t sent_messages, dropped_messages, received_messages, queued_bytes, reconnects, refused_handshakes
    int64_t last_received_ns

cdef struct Transport:
    int private_

cdef Transport* transport_open(const TransportConfig* config, const TransportCallbacks* callbacks, int* error) noexcept nogil
cdef int transport_add_peer(Transport* t, uint64_t id, const char* address, uint16_t port) noexcept nogil
cdef uint16_t transport_port(Transport* t) noexcept nogil
# Encodes into the peer's output buffer; bytes leave at transport_flush. False when dropped (unknown, not connected, full).
cdef bint transport_send(Transport* t, uint32_t group, const Message* message) noexcept nogil
cdef void transport_flush(Transport* t) noexcept nogil
# epoll reported `events` for `data.u64`; True when the token belongs to the transport (tokens carry a tag in the high byte).
cdef bint transport_on_event(Transport* t, uint64_t token, uint32_t events) noexcept nogil
# Reconnects, handshake time-outs; called about every 10 ms.
cdef void transport_tick(Transport* t, int64_t monotonic_ns) noexcept nogil
cdef bint transport_statistics(Transport* t, uint64_t peer, PeerStatistics* into) noexcept nogil
cdef void transport_close(Transport* t) noexcept nogil
