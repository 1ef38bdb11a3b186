"""The handshake of two hosts: who dials, who answers, and which start of a host is the living one. Pure functions, any thread.

The dialler sends HELLO, the other side answers WELCOME with the same fields about itself, or REFUSED with a code, and closes.
Both judge the other's words by the same rules, so that a copied or stale identity is refused in either direction.

A host directory counts its starts (synced before the first packet), a process draws a nonce. Of two processes with one identity
the higher start counter is the living one; with equal counters the directory was copied and the second to come is refused
(LEASE.md H28). What is known of a peer's incarnations lasts as long as this process.

HELLO and WELCOME: lowest and highest protocol version 2 bytes each, four zeros, cluster id 16, from 8, to 8, start counter 8,
nonce 8. REFUSED: code 4. Numbers are little-endian. In a WELCOME both versions are the one that was chosen.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    PROTOCOL_VERSION_MIN = 1    # what this build speaks
    PROTOCOL_VERSION_MAX = 1
    HELLO_BYTES = 56
    REFUSED_BYTES = 4

cdef enum Refusal:
    REFUSAL_NONE = 0
    REFUSAL_VERSION = 1         # no protocol version in common
    REFUSAL_CLUSTER = 2         # another cluster
    REFUSAL_TARGET = 3          # meant for another host
    REFUSAL_MEMBER = 4          # not a peer that this host knows
    REFUSAL_STALE = 5           # a later start of that host was seen
    REFUSAL_DUPLICATE = 6       # another process has that identity
    REFUSAL_CODES = 7

cdef struct Hello:
    uint16_t version_min
    uint16_t version_max
    uint8_t cluster_id[16]
    uint64_t from_
    uint64_t to
    uint64_t start_counter
    uint64_t nonce

cdef struct Incarnation:
    bint known
    uint64_t start_counter
    uint64_t nonce


cdef void hello_encode(const Hello* hello, char* into) noexcept nogil
cdef bint hello_decode(const char* data, size_t size, Hello* into) noexcept nogil
cdef void refused_encode(Refusal refusal, char* into) noexcept nogil
cdef Refusal refused_decode(const char* data, size_t size) noexcept nogil         # REFUSAL_NONE when malformed
# Version, cluster and target of what the other side says, against what this host is (`mine.from_`). Who it is comes after.
cdef Refusal hello_judge(const Hello* mine, const Hello* theirs) noexcept nogil
# Whether this start of a host may speak beside what is `known` of it.
cdef Refusal incarnation_judge(const Incarnation* known, uint64_t start_counter, uint64_t nonce) noexcept nogil
