"""What must hold at every step, whatever happens.

Leases (the contract's three, at every true instant):
    1. never two members with a valid lease;
    2. never an entry of a higher term known to be committed by anybody while a lower term's lease is valid;
    3. a valid lease's holder has applied whatever any state machine has applied (hence: acknowledged or shown).
What a reader does with them: a read is served from a lease only where 3 holds.
Raft: one leader a term; every member commits and applies the same entries in the same order; a new leader has every entry
known to be committed; a leader commits only what a majority has on disk; a member's promise never shrinks.
A ReadIndex read is answered with an index that covers what anybody had applied when it was asked for.
Rule 6: while leases are asked for, no message carries a commit index above its sender's applied index.

The monitor sees all members at once, their disks and true time, which no member can. It never steers the run: with the
monitor switched off the same seed gives the same history, so that a history alone can be shown to expose a fault.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcpy, memset

from tenure._core.lease cimport lease_expiry_ns, lease_valid
from tenure._proof.raft.raft cimport raft_last_index
from tenure._proof.raft.state cimport Raft
from tenure._proof.raft.types cimport ENTRY_NORMAL, LEADER, MSG_TIMEOUT_NOW, OK, Configuration, Entry, Message, Snapshot
from tenure._proof.world cimport (
    COUNT_CHANGES,
    COUNT_COMMITTED,
    COUNT_ELECTIONS,
    COUNT_LATE_TIMEOUT_NOW,
    COUNT_LEASE_SPANS,
    COUNT_RATE_ALARMS,
    COUNT_TRANSFERS,
    COUNT_TRANSFERS_ABORTED,
    COUNT_TRANSFERS_DONE,
    TRACE_COMMIT,
    TRACE_LEASE_START,
    TRACE_ROLE,
    TRACE_VIOLATION,
    VIOLATION_AHEAD_OF_HOLDER,
    VIOLATION_COMMIT_NOT_STABLE,
    VIOLATION_COMMIT_UNDER_LEASE,
    VIOLATION_CORE_FAILED,
    VIOLATION_ELECTION_SAFETY,
    VIOLATION_HOLDER_BEHIND,
    VIOLATION_LEADER_COMPLETENESS,
    VIOLATION_LOG_ORDER,
    VIOLATION_PROMISE,
    VIOLATION_STATE_MACHINE,
    VIOLATION_STALE_READ,
    VIOLATION_TWO_LEASES,
    Command,
    Committed,
    Member,
    Violation,
    World,
    clock_now,
    count,
    world_trace,
)


cdef void violate(World* w, int kind, const Member* m, uint64_t other, uint64_t a, uint64_t b) noexcept nogil:
    cdef Violation violation
    if not w.monitoring:
        return
    memset(&violation, 0, sizeof(violation))
    violation.at_ns = w.now_ns
    violation.event = w.order
    violation.kind = kind
    violation.member = 0 if m == NULL else m.id
    violation.other = other
    violation.a = a
    violation.b = b
    world_trace(w, TRACE_VIOLATION, m, kind, <int64_t>other)
    if not w.violations.push(violation):
        w.no_memory = True
    w.stopped = True


cdef uint64_t command_operation(const Entry* entry) noexcept nogil:
    cdef Command command
    if entry.kind != 0 or entry.data == NULL or entry.data.size < sizeof(Command):
        return 0
    memcpy(&command, entry.data.bytes(), sizeof(Command))
    return <uint64_t>command.operation


cdef const Entry* entry_at(const Raft* r, uint64_t index) noexcept nogil:
    if index <= r.log.offset or index > r.log.offset + r.log.entries.size:
        return NULL
    return &r.log.entries.data[index - r.log.offset - 1]


cdef uint64_t chained(uint64_t before, uint64_t term, uint64_t operation) noexcept nogil:
    cdef uint64_t z = (before ^ (term * <uint64_t>0x9E3779B97F4A7C15)) + operation * <uint64_t>0xC2B2AE3D27D4EB4F
    z = (z ^ (z >> 29)) * <uint64_t>0xBF58476D1CE4E5B9
    return z ^ (z >> 32)


cdef void monitor_commit(World* w, Member* m) noexcept nogil:
    """Compare newly committed entries with what anybody committed at those indexes."""
    cdef Raft* r = m.raft
    cdef const Entry* entry
    cdef Committed record
    cdef uint64_t index, operation
    # What lies at or below the offset came with a snapshot, which monitor_install compared.
    for index in range(max(m.seen_committed, r.log.offset) + 1, r.log.committed + 1):
        entry = entry_at(r, index)
        if entry == NULL:
            violate(w, VIOLATION_LOG_ORDER, m, 0, index, r.log.committed)
            return
        operation = command_operation(entry)
        if index <= w.committed.size:
            if w.committed.data[index - 1].term != entry.term or w.committed.data[index - 1].operation != <int64_t>operation:
                violate(w, VIOLATION_STATE_MACHINE, m, 0, index, entry.term)
            continue
        if index != w.committed.size + 1:
            violate(w, VIOLATION_LOG_ORDER, m, 0, index, w.committed.size)
            return
        record.term = entry.term
        record.leader_term = r.term     # a leader is the first to know
        record.operation = <int64_t>operation
        record.checksum = chained(
            0 if w.committed.size == 0 else w.committed.data[w.committed.size - 1].checksum, entry.term, operation)
        if not w.committed.push(record):
            w.no_memory = True
            return
        count(w, COUNT_COMMITTED)
        if entry.term > w.max_committed_term:
            w.max_committed_term = entry.term
    world_trace(w, TRACE_COMMIT, m, <int64_t>r.log.committed, <int64_t>m.seen_committed)


cdef bint majority_holds(
        const World* w, const uint64_t* voters, int32_t voters_count, uint64_t index, uint64_t term) noexcept nogil:
    """Whether the disks of a majority of them hold the entry; none hold it where there are no voters."""
    cdef const Member* one
    cdef int32_t i, holders = 0
    for i in range(voters_count):
        one = &w.members[voters[i] - 1]
        if index <= one.durable_offset:
            holders += 1
        elif index - one.durable_offset <= one.durable.size:
            holders += one.durable.data[index - one.durable_offset - 1].term == term
    return voters_count == 0 or 2 * holders > voters_count


cdef void monitor_stability(World* w, Member* m) noexcept nogil:
    """A leader moved its commit index: a majority of disks must hold the entry, of both halves when joint."""
    cdef const Configuration* c = &m.raft.configuration
    cdef uint64_t index = m.raft.log.committed
    cdef const Entry* entry = entry_at(m.raft, index)
    if entry == NULL:
        return
    if not (majority_holds(w, c.voters, c.voters_count, index, entry.term)
            and majority_holds(w, c.outgoing, c.outgoing_count, index, entry.term)):
        violate(w, VIOLATION_COMMIT_NOT_STABLE, m, 0, index, entry.term)


cdef void monitor_new_leader(World* w, Member* m) noexcept nogil:
    cdef Raft* r = m.raft
    cdef const Entry* entry
    cdef uint64_t last = w.committed.size
    count(w, COUNT_ELECTIONS)
    world_trace(w, TRACE_ROLE, m, r.role, <int64_t>r.term)
    while w.leaders.size <= r.term:
        if not w.leaders.push(0):
            w.no_memory = True
            return
    if w.leaders.data[r.term] != 0 and w.leaders.data[r.term] != m.id:
        violate(w, VIOLATION_ELECTION_SAFETY, m, w.leaders.data[r.term], r.term, 0)
    w.leaders.data[r.term] = m.id
    end_transfers(w, m)
    # A leader of a stale term may come late: it owes only what was committed in terms below its own.
    while last > 0 and w.committed.data[last - 1].leader_term >= r.term:
        last -= 1
    if last > r.log.offset:
        entry = entry_at(r, last)
        if entry == NULL or entry.term != w.committed.data[last - 1].term:
            violate(w, VIOLATION_LEADER_COMPLETENESS, m, 0, last, w.committed.data[last - 1].term)


cdef void monitor_step(World* w, const Member* m, const Message* message) noexcept nogil:
    if message.type == MSG_TIMEOUT_NOW and message.term < m.raft.term:
        count(w, COUNT_LATE_TIMEOUT_NOW)


cdef void end_transfer(World* w, Member* m, bint done) noexcept nogil:
    if m.transferring:
        m.transferring = False
        count(w, COUNT_TRANSFERS_DONE if done else COUNT_TRANSFERS_ABORTED)


cdef void monitor_transfer(World* w, Member* m, uint64_t target) noexcept nogil:
    count(w, COUNT_TRANSFERS)
    end_transfer(w, m, False)
    m.transferring = True
    m.transfer_term = m.raft.term
    m.transfer_target = target


cdef void end_transfers(World* w, const Member* leader) noexcept nogil:
    """A transfer ends with the next leader: its target, or somebody else, the one who began it included."""
    cdef int32_t i
    for i in range(w.count):
        if w.members[i].transferring and leader.raft.term > w.members[i].transfer_term:
            end_transfer(w, &w.members[i], w.members[i].transfer_target == leader.id)


cdef void monitor_member(World* w, Member* m) noexcept nogil:
    cdef Raft* r = m.raft
    if r.failed != OK:
        violate(w, VIOLATION_CORE_FAILED, m, <uint64_t>r.failed, r.term, r.log.committed)
        return
    if r.role == LEADER and (m.seen_role != LEADER or r.term != m.seen_term):
        monitor_new_leader(w, m)
    elif r.role != m.seen_role:
        world_trace(w, TRACE_ROLE, m, r.role, <int64_t>r.term)
    if r.role == LEADER:
        m.seen_leader_term = r.term
    if r.term < m.seen_term or r.log.committed < m.seen_committed:
        violate(w, VIOLATION_LOG_ORDER, m, 0, r.term, r.log.committed)
    if r.log.committed > m.seen_committed:
        monitor_commit(w, m)
        if r.role == LEADER:
            monitor_stability(w, m)
        m.seen_committed = r.log.committed
    if not (r.log.applied <= r.log.applying <= r.log.committed <= raft_last_index(r) and r.log.offset <= r.log.committed):
        violate(w, VIOLATION_LOG_ORDER, m, 0, r.log.applied, r.log.committed)
    if r.log.applied < r.log.offset and r.log.pending_snapshot == NULL and r.log.installing == 0:
        violate(w, VIOLATION_LOG_ORDER, m, 0, r.log.applied, r.log.committed)
    if r.promise_until_ns < m.seen_promise_ns:
        violate(w, VIOLATION_PROMISE, m, 0, <uint64_t>m.seen_promise_ns, <uint64_t>r.promise_until_ns)
    if m.transferring and r.role == LEADER and r.transferee == 0:
        end_transfer(w, m, False)
    w.counters[<int>COUNT_RATE_ALARMS] += <int64_t>(r.rate_alarms - m.seen_rate_alarms)
    m.seen_rate_alarms = r.rate_alarms
    m.seen_promise_ns = r.promise_until_ns
    m.seen_role = r.role
    m.seen_term = r.term


cdef void monitor_restart(World* w, Member* m) noexcept nogil:
    m.seen_committed = 0 if m.snapshot == NULL else m.snapshot.index
    m.seen_role = 0
    m.seen_term = 0
    m.seen_leader_term = 0
    m.seen_promise_ns = 0
    m.seen_rate_alarms = 0
    m.seen_valid = False
    end_transfer(w, m, False)


cdef void monitor_apply(World* w, Member* m, const Entry* entry) noexcept nogil:
    cdef uint64_t index = entry.index
    if index != m.applied + 1 or index > w.committed.size:
        violate(w, VIOLATION_LOG_ORDER, m, 0, index, m.applied)
        return
    if (w.committed.data[index - 1].term != entry.term
            or w.committed.data[index - 1].operation != <int64_t>command_operation(entry)):
        violate(w, VIOLATION_STATE_MACHINE, m, 0, index, entry.term)
    if index > w.max_applied:
        w.max_applied = index
    if entry.kind != ENTRY_NORMAL and index > w.max_changed:
        w.max_changed = index
        count(w, COUNT_CHANGES)


cdef void monitor_install(World* w, Member* m, const Snapshot* snapshot) noexcept nogil:
    cdef uint64_t index = snapshot.index
    if index == 0 or index > w.committed.size or w.committed.data[index - 1].term != snapshot.term:
        violate(w, VIOLATION_STATE_MACHINE, m, 0, index, snapshot.term)
    if index > w.max_applied:
        w.max_applied = index


cdef void monitor_lease_read(World* w, Member* m) noexcept nogil:
    if m.applied < w.max_applied:
        violate(w, VIOLATION_STALE_READ, m, 0, m.applied, w.max_applied)


cdef void monitor_send(World* w, Member* m, const Message* message) noexcept nogil:
    if w.profile.promise_ns > 0 and message.commit > m.raft.log.applied:
        violate(w, VIOLATION_AHEAD_OF_HOLDER, m, message.to, message.commit, m.raft.log.applied)


cdef void monitor_leases(World* w) noexcept nogil:
    cdef Member* m
    cdef Member* holder = NULL
    cdef int32_t i
    cdef bint valid
    for i in range(w.count):
        m = &w.members[i]
        if not m.alive or (not m.seen_valid and lease_expiry_ns(m.lease) == 0):
            continue
        valid = lease_valid(m.lease, clock_now(w, m))
        if valid != m.seen_valid:
            m.seen_valid = valid
            if valid:
                count(w, COUNT_LEASE_SPANS)
                world_trace(w, TRACE_LEASE_START, m, lease_expiry_ns(m.lease), 0)
        if not valid:
            continue
        if holder != NULL:
            violate(w, VIOLATION_TWO_LEASES, m, holder.id, m.seen_leader_term, holder.seen_leader_term)
        holder = m
        if m.seen_leader_term < w.max_committed_term:
            violate(w, VIOLATION_COMMIT_UNDER_LEASE, m, 0, m.seen_leader_term, w.max_committed_term)
        if m.applied < w.max_applied:
            violate(w, VIOLATION_HOLDER_BEHIND, m, 0, m.applied, w.max_applied)
