"""Peers over TCP, driven by the host's loop. Only the loop thread calls anything here.

A host dials each of its peers and sends on the connection that it dialled; from a connection that it accepted it only reads. So
two connections stand between two hosts, and neither side has to agree with the other on which one to keep. A connection carries
frames (`frame.pxd`): a handshake (`handshake.pxd`), then messages (`message_codec.pxd`).

The transport owns its sockets, buffers and peers; the epoll descriptor is the caller's. It promises nothing about delivery: a
message whose peer is not connected, or that does not fit its peer's queue, is dropped, counted and reported once per spell of
trouble. It never blocks, starts no thread, and allocates nothing that a stranger's bytes ask for.

A host that is no peer yet, but knows the cluster's identity and this host's, may say one thing before it is turned away: who
belongs to the cluster (`introduced`). So a member finds its way back although everybody it knew was replaced meanwhile.

Callbacks come from `transport_on_event` (all), `transport_flush` and `transport_tick` (`unreachable`), never from inside
`transport_send`. A callback may call everything here, `transport_close` included.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from tenure._core.vec cimport Vec
from tenure._net.buffer cimport Buffer
from tenure._net.handshake cimport REFUSAL_CODES, Hello, Incarnation
from tenure._net.socket cimport sockaddr_storage, socklen_t
from tenure._raft.types cimport Message

cdef enum:
    TRANSPORT_TOKEN_TAG = 0x50  # the highest byte of every epoll token of a transport

cdef enum CloseReason:
    # 2 to 7 are those of frame.pxd's FrameResult
    CLOSE_BAD_MAGIC = 2
    CLOSE_BAD_VERSION = 3
    CLOSE_BAD_TYPE = 4
    CLOSE_BAD_FLAGS = 5
    CLOSE_BAD_LENGTH = 6
    CLOSE_BAD_CHECKSUM = 7
    CLOSE_END = 8               # the other side closed
    CLOSE_ERROR = 9             # a socket call failed
    CLOSE_UNEXPECTED = 10       # a frame that has no place at this point
    CLOSE_BAD_MESSAGE = 11      # a payload that decodes to nothing
    CLOSE_WRONG_SENDER = 12     # a message in another member's name, or for another host
    CLOSE_TIMEOUT = 13          # the handshake took too long
    CLOSE_REFUSED = 14          # the handshake was refused, by either side
    CLOSE_SUPERSEDED = 15       # a later connection, or a later start, of the same peer took its place
    CLOSE_CROWDED = 16          # too many connections that have not shaken hands
    CLOSE_MEMORY = 17
    CLOSE_LOCAL = 18            # this host wanted it: new address, peer removed, transport closed
    CLOSE_INTRODUCED = 19       # a stranger has said who belongs to the cluster
    CLOSE_REASONS = 20

cdef struct TransportCallbacks:
    void* context
    # A whole message of a peer that shook hands. `now_ns`: a reading of the lease clock taken after its last byte was read.
    # The callee keeps references of its own; the caller releases the message.
    void (*deliver)(void* context, uint32_t group, Message* message, int64_t now_ns) noexcept nogil
    # The connection to a peer broke, or its queue overflowed: what was sent may be lost.
    void (*unreachable)(void* context, uint64_t peer) noexcept nogil
    # Bytes that the peer's host sent with transport_send_data; they live until the callback returns. Null: a peer that sends
    # any is cut off.
    void (*deliver_data)(void* context, uint64_t peer, uint32_t kind, const char* bytes, uint32_t size) noexcept nogil

    # A peer that was dialled has answered: what is sent to it now is the first that it gets. Null: nobody wants to know.
    void (*connected)(void* context, uint64_t peer) noexcept nogil
    # The first data of a host of this cluster that is no peer here; its connection ends behind it. Null: strangers are refused.
    void (*introduced)(void* context, uint64_t host, uint32_t kind, const char* bytes, uint32_t size) noexcept nogil

cdef struct TransportConfig:
    uint8_t cluster_id[16]
    uint64_t host_id
    uint64_t start_counter      # synced, grows with every start of this directory
    uint64_t nonce              # random per process
    const char* listen_address  # numeric IPv4/IPv6
    uint16_t listen_port        # 0: any; see transport_port
    uint64_t max_frame_bytes    # header included; a longer message is dropped, a longer frame closes its connection
    uint64_t max_queued_bytes   # per peer; a message that does not fit is dropped and reported
    int epoll_fd

cdef struct PeerStatistics:
    bint connected
    uint64_t sent_messages, dropped_messages, received_messages, queued_bytes, reconnects, refused_handshakes
    int64_t last_received_ns

cdef struct TransportStatistics:
    uint64_t accepted                   # connections
    uint64_t unauthenticated            # connections now open that have not shaken hands
    uint64_t closed[CLOSE_REASONS]
    uint64_t refused[REFUSAL_CODES]     # handshakes that this host refused
    uint64_t was_refused[REFUSAL_CODES] # and those that were refused to it

# ---- private: read these only to understand

cdef enum ConnectionState:
    CONNECTING = 0              # ours: TCP is not there yet
    SHAKING = 1
    OPEN = 2
    INTRODUCING = 3             # a stranger's, accepted: one frame of data, and no more

cdef struct Peer:
    uint64_t id
    sockaddr_storage address
    socklen_t address_bytes
    Connection* outbound        # dialled; null between attempts
    Connection* inbound         # accepted, OPEN; the latest
    Incarnation incarnation
    int64_t dial_at_ns
    int64_t backoff_ns
    bint reported               # trouble was reported and is not over
    bint report_due
    bint was_connected
    PeerStatistics statistics

cdef struct Connection:
    int fd                      # -1: closed, memory waits for the outermost call to end
    uint8_t state               # ConnectionState
    bint dialled
    bint blocked                # the kernel takes no more; EPOLLOUT is asked for
    uint32_t slot
    uint64_t token
    uint64_t missing_bytes      # of the frame that has begun
    int64_t since_ns            # opened, or, once OPEN, shook hands
    Peer* peer                  # null until an accepted connection shook hands
    uint64_t stranger_id        # while INTRODUCING
    Buffer input
    Buffer output
    Connection* next_dead

cdef struct Transport:
    TransportCallbacks callbacks
    Hello identity              # `to` is filled in for each handshake
    uint64_t max_frame_bytes
    uint64_t max_queued_bytes
    int64_t handshake_timeout_ns
    int epoll_fd
    int listen_fd
    uint16_t port
    bint accepting              # false until the next tick when the process is out of descriptors
    bint closing
    bint reports_due
    uint32_t depth              # calls of the public functions on the stack
    uint32_t generation
    uint64_t random
    Vec[Peer*] peers
    Vec[Connection*] slots      # null: free
    Connection* dead
    Connection* stranger        # the one that is INTRODUCING; null when there is none
    TransportStatistics statistics

# ---- public

# Listens. Null with an errno in `error`.
cdef Transport* transport_open(const TransportConfig* config, const TransportCallbacks* callbacks, int* error) noexcept nogil
# Numeric address. 0, EEXIST, EINVAL or ENOMEM. It is dialled at the next tick.
cdef int transport_add_peer(Transport* t, uint64_t id, const char* address, uint16_t port) noexcept nogil
# The peer moved: what was dialled is closed and the new address dialled at the next tick. 0, ENOENT or EINVAL.
cdef int transport_set_peer_address(Transport* t, uint64_t id, const char* address, uint16_t port) noexcept nogil
# Closes both connections and forgets the peer, its incarnation included. 0 or ENOENT.
cdef int transport_remove_peer(Transport* t, uint64_t id) noexcept nogil
cdef uint16_t transport_port(Transport* t) noexcept nogil
# Encodes into the peer's output buffer; bytes leave at transport_flush. False when dropped (unknown, not connected, full).
cdef bint transport_send(Transport* t, uint32_t group, const Message* message) noexcept nogil
# The same for bytes of the host's own, given in two pieces.
cdef bint transport_send_data(
    Transport* t, uint64_t peer, uint32_t kind, const char* head, uint32_t head_size, const char* body, uint32_t body_size
) noexcept nogil
cdef void transport_flush(Transport* t) noexcept nogil
# epoll reported `events` for `data.u64`; True when the token belongs to the transport (tokens carry a tag in the high byte).
# A token of a connection that is gone is the transport's too, and does nothing.
cdef bint transport_on_event(Transport* t, uint64_t token, uint32_t events) noexcept nogil
# Reconnects, handshake time-outs; called about every 10 ms.
cdef void transport_tick(Transport* t, int64_t monotonic_ns) noexcept nogil
# The instant of CLOCK_MONOTONIC at which a tick is wanted next; 0: at once, INT64_MAX: none as things stand.
cdef int64_t transport_due_ns(const Transport* t) noexcept nogil
# False: no such peer.
cdef bint transport_statistics(Transport* t, uint64_t peer, PeerStatistics* into) noexcept nogil
cdef void transport_totals(Transport* t, TransportStatistics* into) noexcept nogil
# How long either side of a handshake may take (2 s unless set).
cdef void transport_set_handshake_timeout(Transport* t, int64_t timeout_ns) noexcept nogil
# Closes everything; null is fine. Inside a callback the memory lives until the outermost call returns. Nothing may be called
# on the transport afterwards, and it calls nobody any more.
cdef void transport_close(Transport* t) noexcept nogil
