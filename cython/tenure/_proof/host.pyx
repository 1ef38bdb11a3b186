"""The host of a member, as the core's contract asks for it, in a world where every step can be late or lost.

An input brings the reading of the member's own clock, taken when the input is handled. Then the Ready is taken (at once, or
at the end of a pass that takes a while): messages leave, writes queue for the disk and are acknowledged by number when
their sync is done, committed entries queue for the state machine, which has its own pace. A crash destroys what no sync
covered (a random prefix of it may survive) and everything in memory; a restart replays the durable log from nothing. A pause
lets everything wait: it is handled in order of arrival at the resume, each input with a reading of its own.

Guards of the host and of its readers that the proof build can switch off: H02 (a read compares the deadline), H08 (fresh
readings), H11 (a check serves one call), H20 (a late extension needs the generation it was computed under).
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from tenure._core.blob cimport Blob, blob_new, blob_release
from tenure._core.lease cimport (
    lease_expiry_ns,
    lease_extend,
    lease_generation,
    lease_new,
    lease_release,
    lease_valid,
)
from tenure._proof.monitor cimport monitor_apply, monitor_lease_read, monitor_leases, monitor_member, monitor_restart, violate
from tenure._proof.network cimport network_send
from tenure._proof.operations cimport operation_answer
from tenure._proof.raft.guards cimport (
    GUARD_CHECK_EVERY_READ,
    GUARD_DEADLINE,
    GUARD_FRESH_CLOCK,
    GUARD_GENERATION,
    guard_on,
)
from tenure._proof.raft.raft cimport (
    raft_applied,
    raft_appended,
    raft_default_config,
    raft_forget_leader,
    raft_free,
    raft_has_ready,
    raft_new,
    raft_propose,
    raft_read_index,
    raft_ready,
    raft_step,
    raft_step_down,
    raft_tick,
    raft_transfer,
)
from tenure._proof.raft.state cimport RaftConfig
from tenure._proof.raft.types cimport (
    LEADER,
    OK,
    Entry,
    ReadState,
    Ready,
    entries_release,
    messages_release,
    ready_release,
)
from tenure._proof.world cimport (
    COUNT_CRASHES,
    COUNT_FALLBACKS,
    COUNT_FORGETS,
    COUNT_LATE_EXTENSIONS,
    COUNT_LATE_EXTENSIONS_REFUSED,
    COUNT_LATE_LEASE_READS,
    COUNT_LEASE_READS,
    COUNT_LOST_WRITES,
    COUNT_PAUSES,
    COUNT_READ_INDEX_FOLLOWER,
    COUNT_READ_INDEX_LEADER,
    COUNT_RESTARTS,
    COUNT_RESTARTS_IN_PROMISE,
    COUNT_STALLED_READS,
    COUNT_STEP_DOWNS,
    COUNT_TRANSFERS,
    EV_APPLY,
    EV_DELIVER,
    EV_FINISH_READ,
    EV_LATE_EXTEND,
    EV_PUMP,
    EV_REQUEST,
    EV_SYNCED,
    EV_TICK,
    OP_CAS,
    OP_GET,
    OP_INCR,
    OP_SET,
    STATUS_FAIL,
    STATUS_OK,
    STATUS_UNKNOWN,
    TRACE_APPLIED,
    TRACE_CRASH,
    TRACE_LEASE_READ,
    TRACE_PAUSE,
    VIA_LEASE,
    VIA_READ_INDEX,
    VIOLATION_LOG_ORDER,
    Command,
    DiskWrite,
    Event,
    Member,
    Proposal,
    Register,
    Row,
    WaitingRead,
    World,
    absent,
    clock_now,
    clock_span_to_true,
    count,
    message_free,
    random_below,
    random_between,
    random_hit,
    random_next,
    world_schedule,
    world_trace,
    world_trace_message,
)

cdef enum:
    LATE_IN_LEASE_NS = 5000000


# ---- life

cdef bint host_start(World* w, Member* m) noexcept nogil:
    cdef RaftConfig config
    raft_default_config(&config)
    config.id = m.id
    config.election_ticks = <int32_t>w.profile.election_ticks
    config.heartbeat_ticks = <int32_t>w.profile.heartbeat_ticks
    config.check_quorum = w.profile.check_quorum != 0
    config.pre_vote = w.profile.pre_vote != 0
    config.async_storage = True
    config.max_inflight_messages = <int32_t>w.profile.max_inflight_messages
    config.promise_ns = w.profile.promise_ns
    config.rate_numerator = w.profile.rate_numerator
    config.rate_denominator = w.profile.rate_denominator
    config.granularity_ns = w.profile.granularity_ns
    config.seed = random_next(w)
    config.guards_off = w.guards_off
    monitor_restart(w, m)
    m.incarnation += 1
    m.applied = 0
    m.registers.clear()
    m.checked_until_ns = 0
    m.lease = lease_new()
    if m.lease == NULL:
        w.no_memory = True
        return False
    m.raft = raft_new(&config, &m.hard, &w.configuration, NULL, &m.durable, 0, m.lease, clock_now(w, m))
    if m.raft == NULL:
        lease_release(m.lease)
        m.lease = NULL
        violate(w, VIOLATION_LOG_ORDER, m, 0, m.hard.term, m.durable.size)
        return False
    m.alive = True
    m.paused = False
    if m.incarnation > 1:
        count(w, COUNT_RESTARTS)
        if w.now_ns < m.promise_true_until_ns:
            count(w, COUNT_RESTARTS_IN_PROMISE)
    host_restart_ticks(w, m)
    after_input(w, m)
    return True


cdef void host_stop(World* w, Member* m) noexcept nogil:
    cdef size_t i
    if not m.alive:
        return
    m.alive = False
    m.paused = False
    raft_free(m.raft)
    m.raft = NULL
    lease_release(m.lease)
    m.lease = NULL
    for i in range(m.writes.size):
        entries_release(&m.writes.data[i].entries)
        messages_release(&m.writes.data[i].after_append)
    m.writes.clear()
    entries_release(&m.apply_queue)
    for i in range(m.deferred.size):
        message_free(m.deferred.data[i].message)
    m.deferred.clear()
    m.proposals.clear()
    m.reads.clear()
    m.syncing = False
    m.apply_scheduled = False
    m.pump_scheduled = False


cdef void host_crash(World* w, Member* m) noexcept nogil:
    cdef size_t i, survive = 0
    cdef int64_t now = clock_now(w, m)
    if not m.alive:
        return
    count(w, COUNT_CRASHES)
    world_trace(w, TRACE_CRASH, m, <int64_t>m.writes.size, 0)
    if now > 0 and m.raft.promise_until_ns > now:
        m.promise_true_until_ns = max(
            m.promise_true_until_ns, w.now_ns + clock_span_to_true(&m.clock, m.raft.promise_until_ns - now))
    if random_below(w, 2):
        survive = <size_t>random_below(w, <int64_t>m.writes.size + 1)
    w.counters[<int>COUNT_LOST_WRITES] += <int64_t>(m.writes.size - survive)
    for i in range(survive):
        make_durable(w, m, &m.writes.data[i])
    # The clients' connections break: what was submitted may still happen.
    for i in range(m.proposals.size):
        operation_answer(w, m, m.proposals.data[i].operation, STATUS_UNKNOWN, 0)
    for i in range(m.reads.size):
        operation_answer(w, m, m.reads.data[i].operation, STATUS_FAIL, 0)
    host_stop(w, m)


cdef void host_restart_ticks(World* w, Member* m) noexcept nogil:
    """Ticks follow the member's own clock from now on; those that were missed are gone."""
    m.tick_epoch += 1
    if m.alive and not m.paused and not m.clock.frozen:
        schedule_tick(w, m, 1 + random_below(w, w.profile.tick_ns))


cdef void schedule_tick(World* w, Member* m, int64_t own_ns) noexcept nogil:
    cdef Event* event = world_schedule(w, w.now_ns + clock_span_to_true(&m.clock, own_ns), EV_TICK, m.at)
    event.incarnation = m.incarnation
    event.a = <int64_t>m.tick_epoch


cdef void host_pause(World* w, Member* m) noexcept nogil:
    if m.alive and not m.paused:
        count(w, COUNT_PAUSES)
        world_trace(w, TRACE_PAUSE, m, 1, 0)
        m.paused = True


cdef void host_resume(World* w, Member* m) noexcept nogil:
    cdef size_t i, stale
    cdef Event event
    if not m.alive or not m.paused:
        return
    world_trace(w, TRACE_PAUSE, m, 0, 0)
    m.paused = False
    host_restart_ticks(w, m)
    # H08 off: the pass that the pause interrupted goes on with its old reading for a while.
    stale = 0 if guard_on(w.guards_off, GUARD_FRESH_CLOCK) else <size_t>random_below(w, <int64_t>m.deferred.size + 1)
    for i in range(m.deferred.size):
        m.stale_reading = i < stale
        event = m.deferred.data[i]
        m.deferred.data[i].message = NULL
        handle(w, m, &event)
        message_free(event.message)
        monitor_leases(w)
    m.deferred.clear()
    m.stale_reading = False


# ---- inputs

cdef int64_t reading(World* w, Member* m) noexcept nogil:
    """The member's clock, for this input. H08 off: what queued up is handled with the reading of the pass before."""
    if m.stale_reading:
        return m.pass_now_ns
    m.pass_now_ns = clock_now(w, m)
    return m.pass_now_ns


cdef void host_event(World* w, Member* m, Event* event) noexcept nogil:
    """The caller frees event.message if it is still there afterwards."""
    if not m.alive or (event.incarnation != 0 and event.incarnation != m.incarnation):
        if event.kind == EV_REQUEST:
            operation_answer(w, m, event.a, STATUS_FAIL, 0)     # connection refused: nothing was submitted
        return
    if m.paused and event.kind != EV_TICK:
        if not m.deferred.push(event[0]):
            w.no_memory = True
            return
        event.message = NULL
        return
    handle(w, m, event)


cdef void handle(World* w, Member* m, Event* event) noexcept nogil:
    cdef int64_t now
    if event.kind == EV_DELIVER:
        now = reading(w, m)
        world_trace_message(w, EV_DELIVER, m, event.message)
        raft_step(m.raft, event.message, now)
        after_input(w, m)
    elif event.kind == EV_TICK:
        if not m.paused and event.a == <int64_t>m.tick_epoch:
            raft_tick(m.raft, reading(w, m))
            schedule_tick(w, m, w.profile.tick_ns)
            after_input(w, m)
    elif event.kind == EV_SYNCED:
        synced(w, m, <uint64_t>event.a)
    elif event.kind == EV_APPLY:
        apply(w, m)
    elif event.kind == EV_PUMP:
        m.pump_scheduled = False
        pump(w, m)
    elif event.kind == EV_REQUEST:
        request(w, m, event.a)
    elif event.kind == EV_FINISH_READ:
        answer_read(w, m, event.a)
    elif event.kind == EV_LATE_EXTEND:
        extend_late(w, m, event.a, <uint32_t>event.b)


cdef void after_input(World* w, Member* m) noexcept nogil:
    cdef Event* event
    cdef size_t i
    monitor_member(w, m)
    if m.proposals.size and (m.raft.role != LEADER or m.raft.term != m.proposals.data[0].term):
        for i in range(m.proposals.size):
            operation_answer(w, m, m.proposals.data[i].operation, STATUS_UNKNOWN, 0)
        m.proposals.clear()
    if m.raft.failed != OK or m.pump_scheduled:
        return
    if w.profile.pass_max_ns > 0:
        m.pump_scheduled = True
        event = world_schedule(w, w.now_ns + random_below(w, w.profile.pass_max_ns), EV_PUMP, m.at)
        event.incarnation = m.incarnation
    else:
        pump(w, m)


cdef void pump(World* w, Member* m) noexcept nogil:
    """Take what the core has ready and set it on its way."""
    cdef Ready ready
    cdef DiskWrite write
    cdef size_t i
    while m.raft.failed == OK and raft_has_ready(m.raft):
        memset(&ready, 0, sizeof(ready))
        if raft_ready(m.raft, &ready) != OK:
            ready_release(&ready)
            return
        for i in range(ready.messages.size):
            network_send(w, m, &ready.messages.data[i])
        ready.messages.clear()
        for i in range(ready.committed.size):
            if not m.apply_queue.push(ready.committed.data[i]):
                w.no_memory = True
                blob_release(ready.committed.data[i].data)
        ready.committed.clear()
        for i in range(ready.reads.size):
            read_state(w, m, &ready.reads.data[i])
        memset(&write, 0, sizeof(write))
        write.number = ready.number
        write.hard_changed = ready.hard_changed
        write.hard = ready.hard
        write.entries = ready.entries
        write.after_append = ready.after_append
        memset(&ready.entries, 0, sizeof(ready.entries))
        memset(&ready.after_append, 0, sizeof(ready.after_append))
        ready_release(&ready)
        if m.writes.size == 0 and not write.hard_changed and write.entries.size == 0:
            finish_write(w, m, &write)      # nothing to wait for
        elif not m.writes.push(write):
            w.no_memory = True
            entries_release(&write.entries)
            messages_release(&write.after_append)
    schedule_sync(w, m)
    schedule_apply(w, m)


# ---- disk

cdef void schedule_sync(World* w, Member* m) noexcept nogil:
    cdef Event* event
    cdef int64_t at
    if m.syncing or m.writes.size == 0:
        return
    m.syncing = True
    at = max(w.now_ns, m.disk_stalled_until_ns) + random_between(w, w.profile.sync_min_ns, w.profile.sync_max_ns)
    event = world_schedule(w, at, EV_SYNCED, m.at)
    event.incarnation = m.incarnation
    event.a = <int64_t>m.writes.data[m.writes.size - 1].number


cdef void make_durable(World* w, Member* m, DiskWrite* write) noexcept nogil:
    cdef size_t i, kept
    if write.hard_changed:
        m.hard = write.hard
    if write.entries.size == 0:
        return
    kept = <size_t>write.entries.data[0].index - 1
    if kept > m.durable.size:
        violate(w, VIOLATION_LOG_ORDER, m, 0, kept + 1, m.durable.size)
        return
    while m.durable.size > kept:
        m.durable.size -= 1
        blob_release(m.durable.data[m.durable.size].data)
    for i in range(write.entries.size):
        if m.durable.push(write.entries.data[i]):
            write.entries.data[i].data = NULL   # moved
        else:
            w.no_memory = True
    entries_release(&write.entries)


cdef void finish_write(World* w, Member* m, DiskWrite* write) noexcept nogil:
    """The write is durable: tell the core, then let its messages leave."""
    cdef size_t i
    raft_appended(m.raft, write.number, reading(w, m))
    for i in range(write.after_append.size):
        network_send(w, m, &write.after_append.data[i])
    write.after_append.release()


cdef void synced(World* w, Member* m, uint64_t number) noexcept nogil:
    cdef size_t i, done = 0
    m.syncing = False
    while done < m.writes.size and m.writes.data[done].number <= number:
        make_durable(w, m, &m.writes.data[done])
        done += 1
    for i in range(done):
        finish_write(w, m, &m.writes.data[i])
    m.writes.remove(0, done)
    after_input(w, m)
    schedule_sync(w, m)


# ---- state machine

cdef void schedule_apply(World* w, Member* m) noexcept nogil:
    cdef Event* event
    if m.apply_scheduled or m.apply_queue.size == 0:
        return
    m.apply_scheduled = True
    event = world_schedule(
        w, max(w.now_ns, m.apply_stalled_until_ns) + random_between(w, w.profile.apply_min_ns, w.profile.apply_max_ns),
        EV_APPLY, m.at)
    event.incarnation = m.incarnation


cdef Register* register_of(World* w, Member* m, int64_t key) noexcept nogil:
    cdef Register none
    memset(&none, 0, sizeof(none))
    while m.registers.size <= <size_t>key:
        if not m.registers.push(none):
            w.no_memory = True
            return NULL
    return &m.registers.data[key]


cdef int64_t apply_command(Register* register, const Command* command) noexcept nogil:
    cdef bint was_present = register.present
    if command.kind == OP_SET:
        register.present = True
        register.value = command.value
        return 0
    if command.kind == OP_INCR:
        register.value = (register.value if was_present else 0) + command.value
        register.present = True
        return register.value
    if command.kind == OP_CAS:
        if (register.value if was_present else absent()) != command.expected:
            return 0
        register.present = True
        register.value = command.value
        return 1
    register.present = False        # OP_DEL
    register.value = 0
    return 1 if was_present else 0


cdef void apply(World* w, Member* m) noexcept nogil:
    cdef size_t i, batch
    cdef size_t answered = 0
    cdef Entry* entry
    cdef Command command
    cdef Register* register
    cdef Proposal* proposal
    cdef int64_t result
    m.apply_scheduled = False
    batch = m.apply_queue.size
    if batch == 0:
        return
    if w.profile.apply_max_ns > 0 and random_below(w, 2):
        batch = 1 + <size_t>random_below(w, <int64_t>batch)
    for i in range(batch):
        entry = &m.apply_queue.data[i]
        result = 0
        monitor_apply(w, m, entry)
        if entry.data != NULL and entry.data.size == sizeof(Command):
            memcpy(&command, entry.data.bytes(), sizeof(Command))
            register = register_of(w, m, command.key)
            if register == NULL:
                return
            result = apply_command(register, &command)
        m.applied = entry.index
        while answered < m.proposals.size and m.proposals.data[answered].index <= entry.index:
            proposal = &m.proposals.data[answered]
            answered += 1
            if proposal.index == entry.index and proposal.term == entry.term:
                operation_answer(w, m, proposal.operation, STATUS_OK, result)
            else:
                # Another entry was committed in its place, so it never will be.
                operation_answer(w, m, proposal.operation, STATUS_FAIL, 0)
        blob_release(entry.data)
    m.apply_queue.remove(0, batch)
    m.proposals.remove(0, answered)
    world_trace(w, TRACE_APPLIED, m, <int64_t>m.applied, 0)
    raft_applied(m.raft, m.applied, reading(w, m))
    answer_reads(w, m)
    after_input(w, m)
    schedule_apply(w, m)


# ---- clients' requests

cdef void request(World* w, Member* m, int64_t operation) noexcept nogil:
    cdef const Row* row = &w.history.data[operation - 1]
    if row.kind != OP_GET:
        propose(w, m, operation, row)
    elif row.via == VIA_LEASE:
        lease_read(w, m, operation)
    else:
        read_index(w, m, operation)


cdef void propose(World* w, Member* m, int64_t operation, const Row* row) noexcept nogil:
    cdef Command command
    cdef Proposal proposal
    cdef Blob* payload
    cdef uint64_t index = 0
    cdef int code
    command.operation = operation
    command.kind = row.kind
    command.key = row.key
    command.value = row.value
    command.expected = row.expected
    payload = blob_new(<const char*>&command, <uint32_t>sizeof(Command))
    if payload == NULL:
        w.no_memory = True
        return
    code = raft_propose(m.raft, &payload, 1, reading(w, m), &index)
    blob_release(payload)
    if code != OK:
        operation_answer(w, m, operation, STATUS_FAIL, 0)
    else:
        proposal.index = index
        proposal.term = m.raft.term
        proposal.operation = operation
        if not m.proposals.push(proposal):
            w.no_memory = True
    after_input(w, m)


cdef bint holds_lease(World* w, Member* m) noexcept nogil:
    cdef int64_t now = clock_now(w, m)
    cdef int64_t until = lease_expiry_ns(m.lease)
    cdef bint valid
    if not guard_on(w.guards_off, GUARD_CHECK_EVERY_READ) and now > 0 and now < m.checked_until_ns:
        return True
    if guard_on(w.guards_off, GUARD_DEADLINE):
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
    if not holds_lease(w, m):
        count(w, COUNT_FALLBACKS)
        w.history.data[operation - 1].via = VIA_READ_INDEX
        read_index(w, m, operation)
        return
    count(w, COUNT_LEASE_READS)
    monitor_lease_read(w, m)
    world_trace(w, TRACE_LEASE_READ, m, operation, <int64_t>m.applied)
    if random_hit(w, w.profile.read_stall_ppm):
        # The reader is descheduled between its check and its read: harmless, the data read later is at or past a legal point.
        count(w, COUNT_STALLED_READS)
        event = world_schedule(w, w.now_ns + random_below(w, w.profile.read_stall_max_ns), EV_FINISH_READ, m.at)
        event.incarnation = m.incarnation
        event.a = operation
        return
    answer_read(w, m, operation)


cdef void answer_read(World* w, Member* m, int64_t operation) noexcept nogil:
    cdef int64_t key = w.history.data[operation - 1].key
    cdef int64_t value = absent()
    if <size_t>key < m.registers.size and m.registers.data[key].present:
        value = m.registers.data[key].value
    operation_answer(w, m, operation, STATUS_OK, value)


cdef void read_index(World* w, Member* m, int64_t operation) noexcept nogil:
    cdef WaitingRead read
    w.next_read_id += 1
    count(w, COUNT_READ_INDEX_LEADER if m.raft.role == LEADER else COUNT_READ_INDEX_FOLLOWER)
    memset(&read, 0, sizeof(read))
    read.read_id = w.next_read_id
    read.operation = operation
    if raft_read_index(m.raft, read.read_id, reading(w, m)) != OK:
        operation_answer(w, m, operation, STATUS_FAIL, 0)
    elif not m.reads.push(read):
        w.no_memory = True
    after_input(w, m)


cdef void read_state(World* w, Member* m, const ReadState* state) noexcept nogil:
    cdef size_t i
    for i in range(m.reads.size):
        if m.reads.data[i].read_id == state.read_id:
            if state.code != OK:
                operation_answer(w, m, m.reads.data[i].operation, STATUS_FAIL, 0)
                m.reads.remove(i)
            else:
                m.reads.data[i].index = state.index
                m.reads.data[i].confirmed = True
                answer_reads(w, m)
            return


cdef void answer_reads(World* w, Member* m) noexcept nogil:
    """Serve confirmed reads whose index is applied here; forget those whose client has left."""
    cdef size_t i, kept = 0
    cdef WaitingRead* read
    for i in range(m.reads.size):
        read = &m.reads.data[i]
        if read.confirmed and read.index <= m.applied:
            answer_read(w, m, read.operation)
        elif w.clients.data[w.history.data[read.operation - 1].client].operation == read.operation:
            m.reads.data[kept] = read[0]
            kept += 1
    m.reads.size = kept


# ---- operators and coordinators

cdef void host_transfer(World* w, Member* m, uint64_t target) noexcept nogil:
    if m.alive and not m.paused and raft_transfer(m.raft, target, reading(w, m)) == OK:
        if m.raft.transferee != 0:
            count(w, COUNT_TRANSFERS)
            m.transferring = True
            m.transfer_term = m.raft.term
        after_input(w, m)


cdef void host_step_down(World* w, Member* m) noexcept nogil:
    if m.alive and not m.paused and raft_step_down(m.raft, reading(w, m)) == OK:
        count(w, COUNT_STEP_DOWNS)
        after_input(w, m)


cdef void host_forget_leader(World* w, Member* m) noexcept nogil:
    if m.alive and not m.paused:
        count(w, COUNT_FORGETS)
        raft_forget_leader(m.raft)
        after_input(w, m)


cdef void host_capture_extension(World* w, Member* m) noexcept nogil:
    """A coordinator proves a lease, samples the generation, and is descheduled before it publishes."""
    cdef Event* event
    if not m.alive or m.paused or not lease_valid(m.lease, clock_now(w, m)):
        return
    count(w, COUNT_LATE_EXTENSIONS)
    event = world_schedule(w, w.now_ns + random_below(w, w.profile.late_extension_max_ns), EV_LATE_EXTEND, m.at)
    event.incarnation = m.incarnation
    event.a = lease_expiry_ns(m.lease)
    event.b = <int64_t>lease_generation(m.lease)


cdef void extend_late(World* w, Member* m, int64_t until_ns, uint32_t generation) noexcept nogil:
    if not guard_on(w.guards_off, GUARD_GENERATION):
        generation = lease_generation(m.lease)
    elif generation != lease_generation(m.lease):
        count(w, COUNT_LATE_EXTENSIONS_REFUSED)
    lease_extend(m.lease, until_ns, generation)
