"""A member: it drives the pure state machine, hands its output on, applies what is committed, and answers its callers.

Every Ready goes the same way. Messages leave at once. What must be durable becomes a job of the log writer; the
acknowledgements of that Ready, and of every Ready after it, wait in `outgoing` until the jobs before them are done:

    outgoing is ordered by Ready number; its front is released while it is not waiting for a job of its own

A committed entry is applied, then the applied index is published with release order, then its caller is answered: whoever
sees an answer reads at or behind it. A proposal's outcome is decided by what stands at its index when that index is applied:
its own term, it took effect; another, it never will. Whatever is still open when the member stops is unknown, and says so.
"""

from libc.stdint cimport INT64_MAX, UINT64_MAX, int32_t, int64_t, uint8_t, uint16_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from libcpp.atomic cimport memory_order_relaxed, memory_order_release

from tenure._core.applied_index cimport applied_fail, applied_publish
from tenure._core.blob cimport Blob, blob_new, blob_release
from tenure._core.clock cimport clock_monotonic_coarse_ns, clock_monotonic_ns
from tenure._core.lease cimport lease_close, lease_expiry_ns, lease_release, lease_valid
from tenure._core.applied_index cimport applied_release
from tenure._core.queue cimport PUSHED, queue_capacity, queue_push, queue_size
from tenure._core.state_machine cimport PREFETCH_FAR, PREFETCH_NEAR
from tenure._core.wakeup cimport wakeup_notify
from tenure._host.divergence cimport divergence_note
from tenure._host.roster cimport roster_encode, roster_learn
from tenure._host.transfer cimport transfer_adopt, transfer_release, transfer_rest
from tenure._host.waiter cimport Caller, caller_answer
from tenure._host.writer cimport WriteJob, write_job_free, writer_has_room, writer_push
from tenure._net.transport cimport transport_send
from tenure._raft.conf_change cimport conf_change_decode
from tenure._raft.lease_rule cimport lease_close_dependents
from tenure._raft.raft cimport (
    raft_appended,
    raft_applied,
    raft_apply_conf_change,
    raft_fail,
    raft_free,
    raft_has_ready,
    raft_last_index,
    raft_propose,
    raft_propose_conf_change,
    raft_read_index,
    raft_ready,
    raft_rest_ticks,
    raft_step,
    raft_step_down,
    raft_tick,
)
from tenure._raft.types cimport (
    ENTRY_CONF_CHANGE,
    ENTRY_CONF_CHANGE_V2,
    ENTRY_NORMAL,
    ERR_INVARIANT,
    ERR_MEMORY,
    ERR_OVERLOADED,
    ERR_STEPPED_DOWN,
    ERR_TOO_LARGE,
    LEADER,
    MAX_MEMBERS,
    OK,
    ConfChange,
    Configuration,
    Entry,
    Message,
    Ready,
    Snapshot,
    entries_push,
    entries_release,
    entry_bytes,
    messages_release,
    ready_release,
)

cdef enum:
    MAX_WRITES_IN_FLIGHT = 1024     # Readys handed to the log writer and not yet durable
    MAX_PENDING_READS = 131072      # of all callers of this member
    ENTRY_COSTS_BYTES = 256         # what an entry costs a leader that keeps it, beside its command


# ------------------------------------------------------------------------------------------------------------ events

cdef void emit(Member* m, int kind, int32_t code) noexcept nogil:
    """Best effort: who reads events too slowly misses some, the gauges still say where the member stands."""
    cdef Event* event = <Event*>calloc(1, sizeof(Event))
    if event == NULL:
        return
    event.kind = kind
    event.group = m.group
    event.role = m.raft.role
    event.term = m.raft.term
    event.leader = m.raft.lead
    event.code = code
    if queue_push(m.events, event) == PUSHED:
        wakeup_notify(m.events_wakeup)
    else:
        free(event)


cdef void publish_gauges(Member* m) noexcept nogil:
    # relaxed but for one: numbers for people, nothing is decided by them
    m.gauges.term.store(m.raft.term, memory_order_relaxed)
    m.gauges.leader.store(m.raft.lead, memory_order_relaxed)
    # release: whoever sees that a hand-over is over sees the term that it brought
    m.gauges.transferee.store(m.raft.transferee, memory_order_release)
    m.gauges.role.store(m.raft.role, memory_order_relaxed)
    m.gauges.commit.store(m.raft.log.committed, memory_order_relaxed)
    m.gauges.applied.store(m.raft.log.applied, memory_order_relaxed)
    m.gauges.last_index.store(raft_last_index(m.raft), memory_order_relaxed)
    m.gauges.first_index.store(m.raft.log.offset + 1, memory_order_relaxed)
    m.gauges.rate_alarms.store(m.raft.rate_alarms, memory_order_relaxed)
    if m.machine.self != NULL:
        m.gauges.state_hash.store(m.machine.hash(m.machine.self), memory_order_relaxed)
        m.gauges.state_hash_index.store(m.raft.log.applied, memory_order_relaxed)


# ------------------------------------------------------------------------------------------------------------ inputs

cdef void note_proposals(Member* m, const Caller* callers, size_t count, uint64_t first) noexcept nogil:
    """Remember who waits for the entries from `first` on; there is room. `proposals` stays in the order of the indexes.

    A leader that lost its place and got it back may still wait at these indexes, and above, for entries of its former term.
    They are no longer in its log, but may be in others', so what comes of them is not known before another entry is
    committed in their place.
    """
    cdef PendingProposal pending
    cdef size_t left = m.proposals.size, to = m.proposals.size + count
    m.proposals.size = to
    pending.term = m.raft.term
    while count:
        to -= 1
        if left > m.proposals_head and m.proposals.data[left - 1].index >= first + count:
            left -= 1
            m.proposals.data[to] = m.proposals.data[left]
        else:
            count -= 1
            pending.index = first + count
            pending.caller = callers[count]
            m.proposals.data[to] = pending


cdef size_t refuse_too_large(Member* m, Blob** payloads, Caller* callers, size_t count) noexcept nogil:
    """The appended run is all or nothing, so what can never be appended leaves it first. Returns how many are left."""
    cdef size_t i, kept = 0
    for i in range(count):
        if payloads[i].size > m.raft.config.max_message_bytes:
            blob_release(payloads[i])
            caller_answer(&callers[i], ERR_TOO_LARGE, 0, m.raft.term, m.raft.lead, NULL)
        else:
            payloads[kept] = payloads[i]
            callers[kept] = callers[i]
            kept += 1
    return kept


cdef void member_propose(Member* m, Blob** payloads, Caller* callers, size_t count, int64_t now_ns) noexcept nogil:
    """Propose a run of commands as one append; each waiter is answered by its own entry. Takes over the payloads."""
    cdef uint64_t first = 0
    cdef size_t i
    cdef int code
    count = refuse_too_large(m, payloads, callers, count)
    if count == 0:
        return
    if m.unapplied_bytes > m.max_unapplied_bytes:
        code = ERR_OVERLOADED
    elif not m.proposals.reserve(m.proposals.size + count):
        code = ERR_OVERLOADED
    else:
        code = raft_propose(m.raft, payloads, count, now_ns, &first)
    for i in range(count):
        blob_release(payloads[i])
        if code != OK:
            caller_answer(&callers[i], code, 0, m.raft.term, m.raft.lead, NULL)
    if code == OK:
        note_proposals(m, callers, count, first)
        m.gauges.proposals.fetch_add(count, memory_order_relaxed)  # relaxed: statistics


cdef void member_change(Member* m, Blob* payload, bint is_v1, const Caller* caller, int64_t now_ns) noexcept nogil:
    cdef ConfChange change
    cdef Entry entry
    cdef uint64_t index = 0
    cdef int32_t refused = OK
    cdef int code = ERR_OVERLOADED
    memset(&entry, 0, sizeof(entry))
    entry.data = payload
    entry.kind = ENTRY_CONF_CHANGE if is_v1 else ENTRY_CONF_CHANGE_V2
    if m.proposals.reserve(m.proposals.size + 1):
        code = conf_change_decode(&entry, &change)
    if code == OK:
        code = raft_propose_conf_change(m.raft, &change, now_ns, &index, &refused)
    blob_release(payload)
    if code != OK or refused != OK:
        # of a refused change an empty entry remains, which nobody waits for
        caller_answer(caller, code if code != OK else refused, 0, m.raft.term, m.raft.lead, NULL)
        return
    note_proposals(m, caller, 1, index)


cdef void put_ids(Vec[char]* out, const uint64_t* ids, int32_t count) noexcept nogil:
    cdef uint16_t number = <uint16_t>count
    memcpy(out.data + out.size, &number, 2)
    memcpy(out.data + out.size + 2, ids, 8 * <size_t>count)
    out.size += 2 + 8 * <size_t>count


cdef bint encode_members(const Member* m, Vec[char]* out) noexcept nogil:
    """index u64, last index u64, auto_leave u8, four lists of ids (count u16, ids u64), what the leader knows of the others
    (count u16; id u64, match u64, active u8), the roster. Little-endian, as this machine is."""
    cdef const Configuration* c = &m.raft.configuration
    cdef uint64_t last_index = raft_last_index(m.raft)
    cdef uint8_t flag = c.auto_leave
    cdef uint16_t count = <uint16_t>m.raft.progress.size if m.raft.role == LEADER else 0
    cdef size_t i
    if not out.reserve(64 + 8 * 4 * MAX_MEMBERS + 17 * <size_t>count):
        return False
    memcpy(out.data, &m.raft.configuration_index, 8)
    memcpy(out.data + 8, &last_index, 8)
    memcpy(out.data + 16, &flag, 1)
    out.size = 17
    put_ids(out, c.voters, c.voters_count)
    put_ids(out, c.outgoing, c.outgoing_count)
    put_ids(out, c.learners, c.learners_count)
    put_ids(out, c.learners_next, c.learners_next_count)
    memcpy(out.data + out.size, &count, 2)
    out.size += 2
    for i in range(count):
        flag = m.raft.progress.data[i].recent_active or m.raft.progress.data[i].id == m.id
        memcpy(out.data + out.size, &m.raft.progress.data[i].id, 8)
        memcpy(out.data + out.size + 8, &m.raft.progress.data[i].match, 8)
        memcpy(out.data + out.size + 16, &flag, 1)
        out.size += 17
    return roster_encode(m.roster, out)


cdef Blob* member_members(const Member* m) noexcept nogil:
    cdef Vec[char] out
    cdef Blob* found = NULL
    memset(&out, 0, sizeof(out))
    if encode_members(m, &out):
        found = blob_new(out.data, <uint32_t>out.size)
    out.release()
    return found


cdef void member_members_changed(Member* m) noexcept nogil:
    emit(m, EVENT_MEMBERS, 0)


cdef void member_read(Member* m, const Caller* caller, int64_t now_ns) noexcept nogil:
    cdef PendingRead read
    cdef int code
    read.read_id = m.next_read_id
    m.next_read_id += 1
    read.index = 0
    read.code = OK
    read.confirmed = False
    read.tick = m.ticks
    read.caller = caller[0]
    if m.reads.size >= MAX_PENDING_READS or not m.reads.push(read):
        caller_answer(caller, ERR_OVERLOADED, 0, m.raft.term, m.raft.lead, NULL)
        return
    code = raft_read_index(m.raft, read.read_id, now_ns)
    if code != OK:
        m.reads.size -= 1
        caller_answer(caller, code, 0, m.raft.term, m.raft.lead, NULL)
        return
    m.gauges.reads.fetch_add(1, memory_order_relaxed)  # relaxed: statistics


cdef void member_receive(Member* m, Message* message, int64_t now_ns) noexcept nogil:
    if message.to == m.id:
        raft_step(m.raft, message, now_ns)


cdef void member_watch_lease(Member* m, int64_t now_ns) noexcept nogil:
    """Count the leases that ended, by cause."""
    cdef bint valid = lease_valid(m.lease, now_ns)
    if m.lease_was_valid and not valid:
        if lease_expiry_ns(m.lease) != 0:
            m.gauges.lapses_deadline.fetch_add(1, memory_order_relaxed)  # relaxed: statistics
        else:
            m.gauges.lapses_withdrawn.fetch_add(1, memory_order_relaxed)  # relaxed: statistics
    m.lease_was_valid = valid


cdef void member_tick(Member* m, int64_t now_ns, int64_t monotonic_ns, int64_t stall_limit_ns) noexcept nogil:
    cdef uint64_t limit = 2 * m.raft.config.election_ticks
    m.ticks += 1
    if m.reads.size and m.ticks > limit:
        drop_unconfirmed_reads(m, m.ticks - limit)
    raft_tick(m.raft, now_ns)
    if m.oldest_write_ns != 0 and monotonic_ns - m.oldest_write_ns > stall_limit_ns:
        # The disk is dead or as good as dead, but heartbeats would go on: somebody else must lead (H26).
        if m.raft.role == LEADER:
            raft_step_down(m.raft, now_ns)
        if not m.stalled:
            emit(m, EVENT_STALLED, 0)
        m.stalled = True
    else:
        m.stalled = False


cdef int32_t member_rest_ticks(const Member* m) noexcept nogil:
    return raft_rest_ticks(m.raft) if transfer_rest(m) else 1


cdef int64_t member_due_ns(const Member* m, int64_t stall_limit_ns) noexcept nogil:
    return INT64_MAX if m.oldest_write_ns == 0 else m.oldest_write_ns + stall_limit_ns + 1


# ------------------------------------------------------------------------------------------------------------- Ready

cdef void release_outgoing(Member* m, int64_t now_ns) noexcept nogil:
    """Acknowledge, in order, every Ready that no longer waits for the disk."""
    cdef size_t done = 0, i, k
    cdef uint64_t number = 0
    while done < m.outgoing.size and not m.outgoing.data[done].writing:
        number = m.outgoing.data[done].number
        done += 1
    if done == 0:
        return
    raft_appended(m.raft, number, now_ns)
    if m.transfer.installing != 0 and m.raft.log.applied >= m.transfer.installing:
        applied_publish(m.applied, m.raft.log.applied)
        divergence_note(m)
        m.transfer.installing = 0
    for i in range(done):
        for k in range(m.outgoing.data[i].after_append.size):
            transport_send(m.transport, m.group, &m.outgoing.data[i].after_append.data[k])
        messages_release(&m.outgoing.data[i].after_append)
    m.outgoing.remove(0, done)


cdef void member_written(Member* m, WriteJob* job, int64_t now_ns) noexcept nogil:
    cdef size_t i
    if job.code != 0:
        member_fail(m, job.code, OUTCOME_UNKNOWN)
    for i in range(m.outgoing.size):
        if m.outgoing.data[i].number == job.number:
            m.outgoing.data[i].writing = False
            break
    m.writes_in_flight -= 1
    m.oldest_write_ns = 0 if m.writes_in_flight == 0 else job.queued_ns
    write_job_free(job)
    if m.raft.failed == OK:
        release_outgoing(m, now_ns)


cdef bint write_out(Member* m, Ready* ready) noexcept nogil:
    """Hand what must be durable to the log writer. False without memory or room."""
    cdef WriteJob* job = <WriteJob*>calloc(1, sizeof(WriteJob))
    if job == NULL:
        return False
    job.group = m.group
    job.number = ready.number
    job.has_hard = ready.hard_changed
    job.hard = ready.hard
    job.entries = ready.entries
    memset(&ready.entries, 0, sizeof(ready.entries))
    job.snapshot = ready.snapshot
    ready.snapshot = NULL
    job.queued_ns = clock_monotonic_ns()
    if not writer_push(m.writer, job):
        write_job_free(job)
        return False
    m.writes_in_flight += 1
    if m.oldest_write_ns == 0:
        m.oldest_write_ns = job.queued_ns
    return True


cdef PendingRead* read_of(Member* m, uint64_t read_id) noexcept nogil:
    """The pending read with this id: they stand in the order of their ids. Null: not there any more."""
    cdef size_t low = 0, high = m.reads.size, middle
    while low < high:
        middle = (low + high) // 2
        if m.reads.data[middle].read_id < read_id:
            low = middle + 1
        else:
            high = middle
    return &m.reads.data[low] if low < m.reads.size and m.reads.data[low].read_id == read_id else NULL


cdef void take_reads(Member* m, Ready* ready) noexcept nogil:
    cdef PendingRead* read
    cdef bint refused = False
    cdef size_t i
    for i in range(ready.reads.size):
        read = read_of(m, ready.reads.data[i].read_id)
        if read == NULL:
            continue
        if ready.reads.data[i].code == OK:
            read.confirmed = True
            read.index = ready.reads.data[i].index
        else:
            read.code = ready.reads.data[i].code
            refused = True
    if refused:
        refuse_reads(m)


cdef void refuse_reads(Member* m) noexcept nogil:
    """Answer those that will not be confirmed any more, all in one go: there may be very many."""
    cdef PendingRead read
    cdef size_t i = 0, kept = 0
    while i < m.reads.size:     # an answer may bring a new read at once, behind the others
        read = m.reads.data[i]
        i += 1
        if read.code == OK:
            m.reads.data[kept] = read
            kept += 1
        else:
            caller_answer(&read.caller, read.code, 0, m.raft.term, m.raft.lead, NULL)
    m.reads.size = kept


cdef void answer_reads(Member* m) noexcept nogil:
    cdef size_t i, kept = 0
    for i in range(m.reads.size):
        if m.reads.data[i].confirmed and m.reads.data[i].index <= m.raft.log.applied:
            caller_answer(&m.reads.data[i].caller, OUTCOME_OK, m.raft.log.applied, m.raft.term, m.raft.lead, NULL)
        else:
            m.reads.data[kept] = m.reads.data[i]
            kept += 1
    m.reads.size = kept


cdef bint install(Member* m, const Snapshot* snapshot) noexcept nogil:
    """The machine becomes what the snapshot holds; what was committed and is not applied yet is part of it."""
    cdef size_t i
    if not transfer_adopt(m, snapshot):
        return False
    for i in range(m.apply_head, m.to_apply.size):
        blob_release(m.to_apply.data[i].data)
    m.to_apply.clear()
    m.apply_head = m.handed = 0
    m.unapplied_bytes = 0
    while m.proposals_head < m.proposals.size and m.proposals.data[m.proposals_head].index <= snapshot.index:
        # it may be among what the snapshot holds
        caller_answer(
            &m.proposals.data[m.proposals_head].caller, OUTCOME_UNKNOWN, 0, m.raft.term, m.raft.lead, NULL)
        m.proposals_head += 1
    return True


cdef void drop_unconfirmed_reads(Member* m, uint64_t before_tick) noexcept nogil:
    """Their answers were lost, with the leader that they were sent to or on the way: callers ask again, under new ids."""
    cdef size_t i
    for i in range(m.reads.size):
        if not m.reads.data[i].confirmed and m.reads.data[i].tick < before_tick:
            m.reads.data[i].code = ERR_STEPPED_DOWN
    refuse_reads(m)


cdef bint take_ready(Member* m, int64_t now_ns) noexcept nogil:
    cdef Ready ready
    cdef Outgoing outgoing
    cdef size_t i
    cdef int32_t role
    cdef bint enough = True
    memset(&ready, 0, sizeof(ready))
    memset(&outgoing, 0, sizeof(outgoing))
    if raft_ready(m.raft, &ready) != OK:
        ready_release(&ready)
        return False
    for i in range(ready.messages.size):
        transport_send(m.transport, m.group, &ready.messages.data[i])
    if ready.soft_changed:
        role = m.last_role
        m.last_role = ready.role
        if role == LEADER and ready.role != LEADER:
            emit(m, EVENT_LEADER_LOST, 0)
        if ready.role == LEADER:
            m.gauges.elections.fetch_add(1, memory_order_relaxed)  # relaxed: statistics
        emit(m, EVENT_ROLE, 0)
    take_reads(m, &ready)
    if ready.snapshot != NULL and not install(m, ready.snapshot):
        ready_release(&ready)
        member_fail(m, ERR_INVARIANT, OUTCOME_UNKNOWN)
        return False
    if ready.soft_changed and ready.lead != m.last_lead:
        m.last_lead = ready.lead
        drop_unconfirmed_reads(m, UINT64_MAX)
    enough = m.to_apply.reserve(m.to_apply.size + ready.committed.size)
    for i in range(ready.committed.size if enough else 0):      # all or none: each reference has one owner
        m.to_apply.push(ready.committed.data[i])
        m.unapplied_bytes += entry_bytes(&ready.committed.data[i])
    if enough:
        ready.committed.size = 0  # the references moved
    outgoing.number = ready.number
    outgoing.after_append = ready.after_append
    memset(&ready.after_append, 0, sizeof(ready.after_append))
    # A new commit index alone is not worth a write: nothing rests on a stored one (H24).
    outgoing.writing = ready.must_sync or ready.snapshot != NULL
    if not m.outgoing.push(outgoing):
        messages_release(&outgoing.after_append)
        enough = False
    if enough and outgoing.writing:
        enough = write_out(m, &ready)
    ready_release(&ready)
    if not enough:
        member_fail(m, ERR_MEMORY, OUTCOME_UNKNOWN)
        return False
    if not outgoing.writing:
        release_outgoing(m, now_ns)
    return True


# ------------------------------------------------------------------------------------------------------------- apply

cdef void settle(Member* m, const Entry* entry, Blob* value) noexcept nogil:
    """`entry` was applied: whoever proposed at its index learns the outcome once `applied` is published."""
    cdef PendingProposal* pending
    cdef Answer answer
    while m.proposals_head < m.proposals.size and m.proposals.data[m.proposals_head].index <= entry.index:
        pending = &m.proposals.data[m.proposals_head]
        m.proposals_head += 1
        if pending.index == entry.index and pending.term == entry.term:
            answer.caller = pending.caller
            answer.index = entry.index
            answer.term = entry.term
            answer.value = value
            value = NULL
            if not m.answers.push(answer):
                caller_answer(&answer.caller, OUTCOME_UNKNOWN, 0, entry.term, 0, answer.value)
        else:
            caller_answer(&pending.caller, OUTCOME_LOST, 0, entry.term, m.raft.lead, NULL)
    blob_release(value)
    if m.proposals_head == m.proposals.size:
        m.proposals.clear()
        m.proposals_head = 0
    elif m.proposals_head > 4096 and m.proposals_head * 2 > m.proposals.size:
        m.proposals.remove(0, m.proposals_head)
        m.proposals_head = 0


cdef void finish_apply(Member* m, uint64_t last, int64_t now_ns) noexcept nogil:
    """Publish, then answer."""
    cdef size_t i
    # before the lease can cover what was applied
    if m.machine.lead != NULL and m.raft.role == LEADER and m.raft.own_term_index != 0 and last >= m.raft.own_term_index:
        m.machine.lead(m.machine.self, m.raft.term)
    applied_publish(m.applied, last)
    raft_applied(m.raft, last, now_ns)
    divergence_note(m)
    publish_gauges(m)       # before anybody is woken: no status is behind an answer
    for i in range(m.answers.size):
        caller_answer(
            &m.answers.data[i].caller, OUTCOME_OK, m.answers.data[i].index, m.answers.data[i].term, m.raft.lead,
            m.answers.data[i].value)
    m.answers.clear()
    answer_reads(m)


cdef void drop_applied(Member* m) noexcept nogil:
    if m.apply_head == m.to_apply.size:
        m.to_apply.clear()
        m.apply_head = m.handed = 0
    elif m.apply_head > 4096 and m.apply_head * 2 > m.to_apply.size:
        m.to_apply.remove(0, m.apply_head)
        m.handed -= min(m.handed, m.apply_head)
        m.apply_head = 0


cdef inline void fetch(Member* m, size_t at, int stage) noexcept nogil:
    cdef Entry* entry
    if at < m.to_apply.size:
        entry = &m.to_apply.data[at]
        if entry.data != NULL and entry.kind == ENTRY_NORMAL:
            m.machine.prefetch(m.machine.self, entry.data.bytes(), entry.data.size, stage)


cdef bint follow_change(Member* m, const Entry* entry, int64_t now_ns) noexcept nogil:
    """A change of membership was committed. False when the member has failed over it.

    A change that is impossible changes nothing, on any member; its proposer learns only that its entry was applied.
    """
    if raft_apply_conf_change(m.raft, entry, now_ns) == OK:
        roster_learn(m.roster, entry)   # what is no address there is one nobody can be reached at
    return m.raft.failed == OK


cdef bint apply_native(Member* m, int64_t now_ns, int64_t deadline_ns) noexcept nogil:
    """Apply until nothing is left or the pass has used its time. True when entries are left."""
    cdef Entry* entry
    cdef Blob* value
    cdef uint64_t last = 0
    cdef size_t count = 0
    cdef bint failed = False
    while m.apply_head < m.to_apply.size:
        if m.machine.prefetch != NULL:
            fetch(m, m.apply_head + PREFETCH_FAR, 0)
            fetch(m, m.apply_head + PREFETCH_NEAR, 1)
        entry = &m.to_apply.data[m.apply_head]
        m.apply_head += 1
        value = NULL
        if entry.kind != ENTRY_NORMAL:
            if not follow_change(m, entry, now_ns):
                m.apply_head -= 1
                failed = True
                break
        elif entry.data != NULL:
            if not m.machine.apply(
                m.machine.self, entry.index, entry.term, entry.data.bytes(), entry.data.size, &value
            ):
                blob_release(value)
                m.apply_head -= 1  # counts as not applied
                failed = True
                break
            m.snapshots.applied_bytes += entry.data.size
        m.unapplied_bytes -= entry_bytes(entry)
        m.snapshots.total_bytes += ENTRY_COSTS_BYTES + entry_bytes(entry)
        settle(m, entry, value)
        last = entry.index
        blob_release(entry.data)
        count += 1
        # now and then to the microsecond, and roughly each time: one command may take longer than thousands of others
        if clock_monotonic_coarse_ns() > deadline_ns or ((count & 63) == 0 and clock_monotonic_ns() > deadline_ns):
            break
    if count:
        m.gauges.applied_entries.fetch_add(count, memory_order_relaxed)  # relaxed: statistics
        drop_applied(m)
        finish_apply(m, last, now_ns)
    if failed:
        member_fail(m, m.raft.failed if m.raft.failed != OK else ERR_MEMORY, OUTCOME_UNKNOWN)
        return False
    return m.apply_head < m.to_apply.size


cdef void hand_to_python(Member* m) noexcept nogil:
    """Give what is newly committed to the thread that applies; the entries stay here until it says that they are applied.

    While that thread is far behind, what gathers meanwhile becomes one batch, handed over when the next answer comes.
    """
    cdef ApplyBatch* batch
    cdef bint enough
    if m.handed == m.to_apply.size or queue_size(m.apply_queue) >= queue_capacity(m.apply_queue):
        return
    batch = <ApplyBatch*>calloc(1, sizeof(ApplyBatch))
    enough = batch != NULL
    while enough and m.handed < m.to_apply.size:
        enough = entries_push(&batch.entries, &m.to_apply.data[m.handed])
        m.handed += 1
    if enough and queue_push(m.apply_queue, batch) == PUSHED:
        wakeup_notify(m.apply_wakeup)
        return
    apply_batch_free(batch)
    member_fail(m, ERR_MEMORY, OUTCOME_UNKNOWN)


cdef void apply_batch_free(ApplyBatch* batch) noexcept nogil:
    if batch != NULL:
        entries_release(&batch.entries)
        free(batch)


cdef void member_applied(Member* m, uint64_t index, Blob** results, size_t count, int64_t now_ns) noexcept nogil:
    """The Python thread applied everything handed to it up to `index`; one result an entry, in order. Takes them over."""
    cdef Entry* entry
    cdef size_t used = 0
    cdef uint64_t last = 0
    while m.apply_head < m.handed and m.to_apply.data[m.apply_head].index <= index:
        entry = &m.to_apply.data[m.apply_head]
        m.apply_head += 1
        m.unapplied_bytes -= entry_bytes(entry)
        if entry.kind != ENTRY_NORMAL:
            follow_change(m, entry, now_ns)
        settle(m, entry, results[used] if used < count else NULL)
        used += 1
        last = entry.index
        blob_release(entry.data)
    while used < count:
        blob_release(results[used])
        used += 1
    if last == 0:
        return
    m.gauges.applied_entries.fetch_add(count, memory_order_relaxed)  # relaxed: statistics
    drop_applied(m)
    finish_apply(m, last, now_ns)


cdef bint member_process(Member* m, int64_t now_ns, int64_t deadline_ns) noexcept nogil:
    cdef bint more = False
    # The disk may be behind: then what gathers meanwhile becomes one write when the next job is done.
    while m.raft.failed == OK and (
            m.writes_in_flight < MAX_WRITES_IN_FLIGHT and writer_has_room(m.writer) and raft_has_ready(m.raft)):
        if not take_ready(m, now_ns):
            break
        if m.machine.self != NULL and apply_native(m, now_ns, deadline_ns):
            more = True
            break
    if m.raft.failed != OK:
        member_fail(m, m.raft.failed, OUTCOME_UNKNOWN)
        return False
    if m.machine.self == NULL:
        hand_to_python(m)
    elif m.apply_head < m.to_apply.size and not more:
        more = apply_native(m, now_ns, deadline_ns)
    publish_gauges(m)
    answer_reads(m)
    return more


cdef void member_fail(Member* m, int32_t code, int32_t outcome) noexcept nogil:
    """The member stops for good: lease first, then everybody who waits is told."""
    cdef size_t i
    if m.stopped:
        return
    m.stopped = True
    lease_close(m.lease)
    raft_fail(m.raft, code)
    lease_close_dependents(m.raft)
    # relaxed: a number for people; callers learn from their waiters
    m.gauges.failed.store(code, memory_order_relaxed)
    applied_fail(m.applied, code)
    for i in range(m.proposals_head, m.proposals.size):
        caller_answer(&m.proposals.data[i].caller, outcome, 0, m.raft.term, 0, NULL)
    m.proposals.clear()
    m.proposals_head = 0
    for i in range(m.reads.size):
        caller_answer(
            &m.reads.data[i].caller, OUTCOME_CLOSED if code == OUTCOME_CLOSED else OUTCOME_FAILED, 0, m.raft.term, 0, NULL)
    m.reads.clear()
    emit(m, EVENT_FAILED, code)


cdef void member_release(Member* m) noexcept nogil:
    cdef size_t i
    for i in range(m.apply_head, m.to_apply.size):
        blob_release(m.to_apply.data[i].data)
    m.to_apply.release()
    for i in range(m.outgoing.size):
        messages_release(&m.outgoing.data[i].after_append)
    m.outgoing.release()
    m.proposals.release()
    m.reads.release()
    m.answers.release()
    raft_free(m.raft)
    transfer_release(m)
    if m.machine.self != NULL:
        m.machine.release(m.machine.self)
    lease_release(m.lease)
    applied_release(m.applied)
    gauges_free(m.gauges)
    free(m)
