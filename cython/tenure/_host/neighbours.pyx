"""Neighbours: whom this host is connected to.

    peers of the transport = everybody, this host excepted, whom the roster has an address of
                             + who was removed, as long as a configuration here names it, and LEAVE_NS more

Who was removed is heard and answered a little longer: it learns of its removal from the append that commits it. Who is in the
roster but in no configuration here yet is connected all the same: it may lead, and have to tell a member that has just
joined, or whose log is far behind, everything. A peer is told the roster as soon as it is reached, when something has changed,
and every TELL_EVERY_NS: whoever was away while everybody it knew was replaced learns from it whom it hears. Nothing here
decides about membership: a peer that no configuration names is not asked for anything.
"""

from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset, strcmp

from tenure._core.vec cimport Vec
from tenure._host.member cimport Member
from tenure._host.roster cimport (
    DATA_ROSTER, ROSTER_ADDRESS_BYTES, RosterEntry, roster_encode, roster_find, roster_merge, roster_release, roster_split,
)
from tenure._net.transport cimport (
    Transport, transport_add_peer, transport_remove_peer, transport_send_data, transport_set_peer_address,
)
from tenure._raft.types cimport Configuration

cdef enum:
    TELL_EVERY_NS = 2000000000
    LEAVE_NS = 3000000000


cdef bint wants(const uint64_t* ids, int32_t count, uint64_t id) noexcept nogil:
    cdef int32_t i
    for i in range(count):
        if ids[i] == id:
            return True
    return False


cdef bint is_wanted(const Neighbours* n, Vec[Member*]* members, uint64_t id) noexcept nogil:
    cdef const RosterEntry* entry = roster_find(&n.roster, id)
    cdef const Configuration* c
    cdef size_t i
    if entry != NULL and entry.address[0] != 0:
        return True
    for i in range(members.size):
        c = &members.data[i].raft.configuration
        if (
            wants(c.voters, c.voters_count, id) or wants(c.outgoing, c.outgoing_count, id)
            or wants(c.learners, c.learners_count, id) or wants(c.learners_next, c.learners_next_count, id)
        ):
            return True
    return False


cdef size_t leaving_at(const Neighbours* n, uint64_t id) noexcept nogil:
    cdef size_t i
    for i in range(n.leaving.size):
        if n.leaving.data[i].id == id:
            return i
    return n.leaving.size


cdef RosterEntry* dialled_of(Neighbours* n, uint64_t id) noexcept nogil:
    cdef size_t i
    for i in range(n.dialled.size):
        if n.dialled.data[i].id == id:
            return &n.dialled.data[i]
    return NULL


cdef void connect(Neighbours* n, Transport* t, const RosterEntry* entry) noexcept nogil:
    """What cannot be done now (no memory, an address that is none here) is tried again with the next change."""
    cdef char host[ROSTER_ADDRESS_BYTES]
    cdef RosterEntry* known = dialled_of(n, entry.id)
    cdef uint16_t port = 0
    if entry.address[0] == 0 or (known != NULL and strcmp(known.address, entry.address) == 0):
        return
    roster_split(entry, host, &port)
    if known != NULL:
        if transport_set_peer_address(t, entry.id, host, port) == 0:
            known[0] = entry[0]
    elif n.dialled.reserve(n.dialled.size + 1) and transport_add_peer(t, entry.id, host, port) == 0:
        n.dialled.push(entry[0])


cdef void let_go(Neighbours* n, Vec[Member*]* members, Transport* t, int64_t monotonic_ns) noexcept nogil:
    cdef Leaving gone
    cdef size_t i = n.dialled.size, at
    while i > 0:
        i -= 1
        at = leaving_at(n, n.dialled.data[i].id)
        if is_wanted(n, members, n.dialled.data[i].id):
            if at < n.leaving.size:
                n.leaving.remove(at)
        elif at == n.leaving.size:
            gone.id = n.dialled.data[i].id
            gone.until_ns = monotonic_ns + LEAVE_NS
            n.leaving.push(gone)
        elif n.leaving.data[at].until_ns <= monotonic_ns:
            transport_remove_peer(t, n.dialled.data[i].id)
            n.leaving.remove(at)
            n.dialled.remove(i)


cdef bint neighbours_follow(Neighbours* n, Vec[Member*]* members, Transport* t, int64_t monotonic_ns) noexcept nogil:
    cdef bint changed = n.roster.revision != n.seen_revision
    cdef bint due = False
    cdef Member* m
    cdef size_t i
    for i in range(members.size):
        m = members.data[i]
        if m.connected_index != m.raft.configuration_index:
            m.connected_index = m.raft.configuration_index
            changed = True
    for i in range(n.leaving.size):
        due = due or n.leaving.data[i].until_ns <= monotonic_ns
    if not changed and not due:
        return False
    n.seen_revision = n.roster.revision
    for i in range(n.roster.entries.size):
        if n.roster.entries.data[i].id != n.self_id:
            connect(n, t, &n.roster.entries.data[i])
    let_go(n, members, t, monotonic_ns)
    if changed:
        n.tell_at_ns = 0
    return changed


cdef void neighbours_tick(Neighbours* n, Transport* t, int64_t monotonic_ns) noexcept nogil:
    cdef Vec[char] bytes
    cdef size_t i
    if monotonic_ns < n.tell_at_ns:
        return
    n.tell_at_ns = monotonic_ns + TELL_EVERY_NS
    memset(&bytes, 0, sizeof(bytes))
    if roster_encode(&n.roster, &bytes):
        for i in range(n.dialled.size):
            transport_send_data(t, n.dialled.data[i].id, DATA_ROSTER, bytes.data, <uint32_t>bytes.size, NULL, 0)
    bytes.release()


cdef void neighbours_greet(const Neighbours* n, Transport* t, uint64_t peer) noexcept nogil:
    cdef Vec[char] bytes
    memset(&bytes, 0, sizeof(bytes))
    if roster_encode(&n.roster, &bytes):
        transport_send_data(t, peer, DATA_ROSTER, bytes.data, <uint32_t>bytes.size, NULL, 0)
    bytes.release()


cdef int64_t neighbours_due_ns(const Neighbours* n) noexcept nogil:
    cdef int64_t due_ns = INT64_MAX if n.dialled.size == 0 else n.tell_at_ns
    cdef size_t i
    for i in range(n.leaving.size):
        due_ns = min(due_ns, n.leaving.data[i].until_ns)
    return due_ns


cdef void neighbours_data(Neighbours* n, const char* bytes, uint32_t size) noexcept nogil:
    # What is malformed changes nothing. Whoever sent it knows the cluster's identity: it is not worth more than that.
    roster_merge(&n.roster, bytes, size)


cdef void neighbours_release(Neighbours* n) noexcept nogil:
    roster_release(&n.roster)
    n.dialled.release()
    n.leaving.release()
