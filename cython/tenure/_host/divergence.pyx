"""A member whose state differs from the leader's at the same index finds out, and stops.

Every member keeps the hash of its state at the last KEPT places where its apply paused. About once a second the leader sends
its last SENT of them; a follower compares what it has of the same index:

    own index = leader's index  =>  own hash = leader's hash

A follower applies up to commit indexes that the leader sent, which with leases are places where the leader's apply paused, so
under load most of what it keeps is comparable; a group at rest compares its last index. What cannot be compared proves
nothing and is passed over: places that differ, frames of somebody who does not lead, of another term or version, state
machines without a hash (those written in Python).

Equal hashes prove nothing either, but they are 64 bits. A difference is final: the machine is not deterministic, or memory,
disk or program have a defect, and every further answer of this member may be wrong. Who of the two is wrong cannot be told
from here; the leader's word counts. The loop's thread.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy
from libcpp.atomic cimport memory_order_relaxed

from tenure._host.member cimport HASHES_KEPT, Member, StateHash
from tenure._net.transport cimport transport_send_data
from tenure._raft.types cimport LEADER, OK

cdef enum:
    VERSION = 1                 # grows with the frame's form and with any machine's way of hashing
    SENT = 64
    INTERVAL_NS = 1000000000

cdef struct HashesHead:
    uint32_t version
    uint32_t group
    uint64_t term
    uint64_t count              # of StateHash behind this, by index


cdef inline StateHash* kept_at(Member* m, uint64_t number) noexcept nogil:
    return &m.hashes.kept[number % HASHES_KEPT]


cdef void divergence_note(Member* m) noexcept nogil:
    cdef StateHash* place
    if m.machine.self == NULL:
        return
    if m.hashes.count == 0 or kept_at(m, m.hashes.count - 1).index < m.raft.log.applied:
        place = kept_at(m, m.hashes.count)
        place.index = m.raft.log.applied
        place.hash = m.machine.hash(m.machine.self)
        m.hashes.count += 1


cdef void divergence_tick(Member* m, int64_t monotonic_ns) noexcept nogil:
    cdef StateHash recent[SENT]
    cdef HashesHead head
    cdef uint64_t first
    cdef size_t i
    if m.raft.role != LEADER or m.raft.failed != OK or monotonic_ns < m.hashes.due_ns or m.hashes.count == 0:
        return
    m.hashes.due_ns = monotonic_ns + INTERVAL_NS
    head.version = VERSION
    head.group = m.group
    head.term = m.raft.term
    head.count = min(m.hashes.count, <uint64_t>SENT)
    first = m.hashes.count - head.count
    for i in range(head.count):
        recent[i] = kept_at(m, first + i)[0]
    for i in range(m.raft.progress.size):
        if m.raft.progress.data[i].id != m.id:
            # lost with the connection, or for want of room: the next frame says as much
            transport_send_data(
                m.transport, m.raft.progress.data[i].id, DATA_HASHES, <const char*>&head, sizeof(head),
                <const char*>recent, <uint32_t>(head.count * sizeof(StateHash)))


cdef uint32_t divergence_group(const char* bytes, uint32_t size) noexcept nogil:
    cdef HashesHead head
    if size < sizeof(head):
        return 0xFFFFFFFF
    memcpy(&head, bytes, sizeof(head))
    return head.group


cdef bint divergence_agrees(Member* m, uint64_t peer, const char* bytes, uint32_t size) noexcept nogil:
    cdef HashesHead head
    cdef StateHash told
    cdef const StateHash* own
    cdef uint64_t number = m.hashes.count, oldest, i
    memcpy(&head, bytes, sizeof(head))
    if (
            head.version != VERSION or head.count > SENT or size != sizeof(head) + head.count * sizeof(StateHash)
            or m.raft.failed != OK or m.raft.role == LEADER or peer != m.raft.lead or head.term != m.raft.term):
        return True
    oldest = number - min(number, <uint64_t>HASHES_KEPT)
    i = head.count
    while i > 0 and number > oldest:   # both stand in the order of their indexes: from the last backwards
        memcpy(&told, bytes + sizeof(head) + (i - 1) * sizeof(told), sizeof(told))
        own = kept_at(m, number - 1)
        if own.index > told.index:
            number -= 1
            continue
        i -= 1
        if own.index < told.index:
            continue
        # relaxed throughout: numbers for people
        m.gauges.hashes_compared.fetch_add(1, memory_order_relaxed)
        if own.hash != told.hash:
            m.gauges.diverged_index.store(own.index, memory_order_relaxed)
            m.gauges.diverged_hash.store(own.hash, memory_order_relaxed)
            m.gauges.leader_hash.store(told.hash, memory_order_relaxed)
            return False
    return True
