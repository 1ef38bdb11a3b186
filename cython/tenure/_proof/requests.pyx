"""Clients' operations at a member: proposals, lease reads with their fallback, ReadIndex reads; and coordinators.

Guards of the readers that the proof build can switch off: H02 (a read compares the deadline), H06 (with the clock, not with
counted ticks), H11 (a check serves one call), H20 (a late extension needs the generation it was computed under).
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from tenure._core.blob cimport Blob, blob_release
from tenure._core.lease cimport lease_expiry_ns, lease_extend, lease_generation, lease_valid
from tenure._proof.answers cimport answer_read
from tenure._proof.host cimport host_after_input, host_reading
from tenure._proof.machine cimport machine_payload
from tenure._proof.monitor cimport monitor_lease_read
from tenure._proof.operations cimport operation_answer
from tenure._proof.raft.guards cimport (
    GUARD_CHECK_EVERY_READ,
    GUARD_CLOCK_NOT_TICKS,
    GUARD_DEADLINE,
    GUARD_GENERATION,
    guard_on,
)
from tenure._proof.raft.raft cimport raft_propose, raft_read_index
from tenure._proof.raft.types cimport LEADER, OK
from tenure._proof.world cimport (
    COUNT_FALLBACKS,
    COUNT_LATE_EXTENSIONS,
    COUNT_LATE_EXTENSIONS_REFUSED,
    COUNT_LATE_LEASE_READS,
    COUNT_LEASE_READS,
    COUNT_READ_INDEX_FOLLOWER,
    COUNT_READ_INDEX_LEADER,
    COUNT_STALLED_READS,
    EV_FINISH_READ,
    EV_LATE_EXTEND,
    EV_REQUEST,
    INPUT_PROPOSE,
    INPUT_READ,
    OP_GET,
    STATUS_FAIL,
    TRACE_LEASE_READ,
    VIA_LEASE,
    VIA_READ_INDEX,
    Command,
    Event,
    Member,
    Proposal,
    Row,
    WaitingRead,
    World,
    clock_now,
    count,
    random_below,
    random_hit,
    world_input,
    world_schedule,
    world_trace,
)

cdef enum:
    LATE_IN_LEASE_NS = 5000000


cdef void requests_serve(World* w, Member* m, Event* event) noexcept nogil:
    cdef const Row* row
    if event.kind == EV_REQUEST:
        row = &w.history.data[event.a - 1]
        if row.kind != OP_GET:
            propose(w, m, event.a, row)
        elif row.via == VIA_LEASE:
            lease_read(w, m, event.a)
        else:
            read_index(w, m, event.a)
    elif event.kind == EV_FINISH_READ:
        answer_read(w, m, event.a)
    elif event.kind == EV_LATE_EXTEND:
        extend_late(w, m, event.a, <uint32_t>event.b)


cdef void propose(World* w, Member* m, int64_t operation, const Row* row) noexcept nogil:
    cdef Command command
    cdef Proposal proposal
    cdef Blob* payload
    cdef uint64_t index = 0
    cdef int code
    command.operation = operation
    command.session = row.client + 1 if w.profile.sessions and w.profile.retry_percent else 0
    command.kind = row.kind
    command.key = row.key
    command.value = row.value
    command.expected = row.expected
    payload = machine_payload(w, &command)
    if payload == NULL:
        w.stopped = True
        return
    world_input(w, INPUT_PROPOSE, m, operation, 0)
    code = raft_propose(m.raft, &payload, 1, host_reading(w, m), &index)
    blob_release(payload)
    if code != OK:
        operation_answer(w, m, operation, STATUS_FAIL, 0)
    else:
        proposal.index = index
        proposal.term = m.raft.term
        proposal.operation = operation
        if not m.proposals.push(proposal):
            w.no_memory = True
    host_after_input(w, m)


cdef bint holds_lease(World* w, Member* m) noexcept nogil:
    cdef int64_t now = clock_now(w, m)
    cdef int64_t until = lease_expiry_ns(m.lease)
    cdef bint valid
    if not guard_on(w.guards_off, GUARD_CHECK_EVERY_READ) and now > 0 and now < m.checked_until_ns:
        return True
    if not guard_on(w.guards_off, GUARD_CLOCK_NOT_TICKS):
        valid = lease_valid(m.lease, m.ticked_ns)
    elif guard_on(w.guards_off, GUARD_DEADLINE):
        valid = lease_valid(m.lease, now)
    else:
        valid = until != 0 and m.raft.role == LEADER and m.raft.lead == m.id
    if valid:
        m.checked_until_ns = now + w.profile.check_cache_ns
        if 0 < until - now < LATE_IN_LEASE_NS:
            count(w, COUNT_LATE_LEASE_READS)
    return valid


cdef void lease_read(World* w, Member* m, int64_t operation) noexcept nogil:
    cdef Event* event
    cdef uint64_t* chance = &w.history.data[operation - 1].chance
    if not holds_lease(w, m):
        count(w, COUNT_FALLBACKS)
        w.history.data[operation - 1].via = VIA_READ_INDEX
        read_index(w, m, operation)
        return
    count(w, COUNT_LEASE_READS)
    monitor_lease_read(w, m)
    world_trace(w, TRACE_LEASE_READ, m, operation, <int64_t>m.applied)
    if random_hit(chance, w.profile.read_stall_ppm):
        # The reader is descheduled between its check and its read: harmless, the data read later is at or past a legal point.
        count(w, COUNT_STALLED_READS)
        event = world_schedule(w, w.now_ns + random_below(chance, w.profile.read_stall_max_ns), EV_FINISH_READ, m.at)
        event.incarnation = m.incarnation
        event.a = operation
        return
    answer_read(w, m, operation)


cdef void read_index(World* w, Member* m, int64_t operation) noexcept nogil:
    cdef WaitingRead read
    w.next_read_id += 1
    count(w, COUNT_READ_INDEX_LEADER if m.raft.role == LEADER else COUNT_READ_INDEX_FOLLOWER)
    memset(&read, 0, sizeof(read))
    read.read_id = w.next_read_id
    read.operation = operation
    read.least = w.max_applied
    world_input(w, INPUT_READ, m, <int64_t>read.read_id, 0)
    if raft_read_index(m.raft, read.read_id, host_reading(w, m)) != OK:
        operation_answer(w, m, operation, STATUS_FAIL, 0)
    elif not m.reads.push(read):
        w.no_memory = True
    host_after_input(w, m)


cdef void requests_capture_extension(World* w, Member* m, int64_t wait_ns) noexcept nogil:
    """A coordinator proves a lease, samples the generation, and is descheduled before it publishes."""
    cdef Event* event
    if not m.alive or m.paused or not lease_valid(m.lease, clock_now(w, m)):
        return
    count(w, COUNT_LATE_EXTENSIONS)
    event = world_schedule(w, w.now_ns + wait_ns, EV_LATE_EXTEND, m.at)
    event.incarnation = m.incarnation
    event.a = lease_expiry_ns(m.lease)
    event.b = <int64_t>lease_generation(m.lease)


cdef void extend_late(World* w, Member* m, int64_t until_ns, uint32_t generation) noexcept nogil:
    if not guard_on(w.guards_off, GUARD_GENERATION):
        generation = lease_generation(m.lease)
    elif generation != lease_generation(m.lease):
        count(w, COUNT_LATE_EXTENSIONS_REFUSED)
    lease_extend(m.lease, until_ns, generation)
