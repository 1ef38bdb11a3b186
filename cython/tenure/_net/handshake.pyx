"""Who may speak: see `handshake.pxd`. The functions decide; the transport acts on it and counts."""

from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from tenure._net.wire cimport wire_get16, wire_get32, wire_get64, wire_put16, wire_put32, wire_put64

REFUSAL_NAMES = {
    REFUSAL_VERSION: "version",
    REFUSAL_CLUSTER: "cluster",
    REFUSAL_TARGET: "target",
    REFUSAL_MEMBER: "member",
    REFUSAL_STALE: "stale",
    REFUSAL_DUPLICATE: "duplicate",
}
PROTOCOL_VERSION = int(PROTOCOL_VERSION_MAX)


cdef void hello_encode(const Hello* hello, char* into) noexcept nogil:
    wire_put16(into, hello.version_min)
    wire_put16(into + 2, hello.version_max)
    wire_put32(into + 4, 0)
    memcpy(into + 8, hello.cluster_id, 16)
    wire_put64(into + 24, hello.from_)
    wire_put64(into + 32, hello.to)
    wire_put64(into + 40, hello.start_counter)
    wire_put64(into + 48, hello.nonce)


cdef bint hello_decode(const char* data, size_t size, Hello* into) noexcept nogil:
    if size != HELLO_BYTES or wire_get32(data + 4) != 0:
        return False
    into.version_min = wire_get16(data)
    into.version_max = wire_get16(data + 2)
    memcpy(into.cluster_id, data + 8, 16)
    into.from_ = wire_get64(data + 24)
    into.to = wire_get64(data + 32)
    into.start_counter = wire_get64(data + 40)
    into.nonce = wire_get64(data + 48)
    return into.version_min <= into.version_max


cdef void refused_encode(Refusal refusal, char* into) noexcept nogil:
    wire_put32(into, refusal)


cdef Refusal refused_decode(const char* data, size_t size) noexcept nogil:
    cdef uint32_t code
    if size != REFUSED_BYTES:
        return REFUSAL_NONE
    code = wire_get32(data)
    return <Refusal>code if code < REFUSAL_CODES else REFUSAL_NONE


cdef Refusal hello_judge(const Hello* mine, const Hello* theirs) noexcept nogil:
    if theirs.version_min > mine.version_max or theirs.version_max < mine.version_min:
        return REFUSAL_VERSION
    if memcmp(theirs.cluster_id, mine.cluster_id, 16) != 0:
        return REFUSAL_CLUSTER
    if theirs.to != mine.from_:
        return REFUSAL_TARGET
    return REFUSAL_NONE


cdef Refusal incarnation_judge(const Incarnation* known, uint64_t start_counter, uint64_t nonce) noexcept nogil:
    if not known.known or start_counter > known.start_counter:
        return REFUSAL_NONE
    if start_counter < known.start_counter:
        return REFUSAL_STALE
    return REFUSAL_NONE if nonce == known.nonce else REFUSAL_DUPLICATE


def build_hello(*, bytes cluster_id not None, uint64_t from_, uint64_t to, uint64_t start_counter, uint64_t nonce,
                uint16_t version_min=PROTOCOL_VERSION_MIN, uint16_t version_max=PROTOCOL_VERSION_MAX) -> bytes:
    """The payload of a HELLO or WELCOME."""
    cdef Hello hello
    cdef char encoded[HELLO_BYTES]
    if len(cluster_id) != 16:
        raise ValueError("a cluster id has 16 bytes")
    memset(&hello, 0, sizeof(hello))
    hello.version_min = version_min
    hello.version_max = version_max
    memcpy(hello.cluster_id, <const char*>cluster_id, 16)
    hello.from_ = from_
    hello.to = to
    hello.start_counter = start_counter
    hello.nonce = nonce
    hello_encode(&hello, encoded)
    return encoded[:HELLO_BYTES]


def parse_hello(bytes payload not None) -> dict | None:
    """The fields of a HELLO or WELCOME, or None when it is none."""
    cdef Hello hello
    if not hello_decode(payload, <size_t>len(payload), &hello):
        return None
    return {
        "version_min": hello.version_min, "version_max": hello.version_max, "cluster_id": (<char*>hello.cluster_id)[:16],
        "from_": hello.from_, "to": hello.to, "start_counter": hello.start_counter, "nonce": hello.nonce,
    }


def parse_refused(bytes payload not None) -> str | None:
    """The name of a refusal, or None when it is none."""
    return REFUSAL_NAMES.get(refused_decode(payload, <size_t>len(payload)))
