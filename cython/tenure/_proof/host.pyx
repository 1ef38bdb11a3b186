"""The host of a member, as the core's contract asks for it, in a world where every step can be late or lost.

An input brings the reading of the member's own clock, taken when the input is handled. Then the Ready is taken (at once, or
at the end of a pass that takes a while): messages leave, writes queue for the disk and are acknowledged by number when
their sync is done, committed entries queue for the state machine, which has its own pace. A crash destroys what no sync
covered (a prefix of it may survive) and everything in memory; a restart begins with the newest durable snapshot and replays the
durable log. A pause lets everything wait: it is handled in order of arrival at the resume, each input with a reading of its
own. A leader whose disk does not answer for `stall_limit_ns` steps down (H26); a disk that fails costs the member.

Guards of the host that the proof build can switch off: H08 (fresh readings), H26 (step down on a stalled disk).
"""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset

from tenure._core.blob cimport blob_release
from tenure._core.lease cimport lease_new, lease_release
from tenure._proof.answers cimport (
    answer_lost_proposals,
    answer_nobody,
    answer_proposals,
    answer_read_state,
    answer_reads,
)
from tenure._proof.disk cimport disk_crash, disk_forget_writes, disk_schedule, disk_synced, disk_write
from tenure._proof.machine cimport machine_apply, machine_batch, machine_load, machine_reset
from tenure._proof.monitor cimport (
    monitor_apply,
    monitor_leases,
    monitor_member,
    monitor_restart,
    monitor_step,
    monitor_transfer,
    violate,
)
from tenure._proof.network cimport network_send
from tenure._proof.operations cimport operation_answer
from tenure._proof.raft.guards cimport GUARD_FRESH_CLOCK, GUARD_STALL, guard_on
from tenure._proof.raft.raft cimport (
    raft_applied,
    raft_appended,
    raft_apply_conf_change,
    raft_default_config,
    raft_fail,
    raft_forget_leader,
    raft_free,
    raft_has_ready,
    raft_new,
    raft_ready,
    raft_step,
    raft_step_down,
    raft_tick,
    raft_transfer,
)
from tenure._proof.raft.state cimport RaftConfig
from tenure._proof.raft.types cimport (
    ENTRY_NORMAL,
    ERR_INVARIANT,
    LEADER,
    MSG_SNAP,
    OK,
    Configuration,
    Entry,
    Ready,
    Snapshot,
    entries_release,
    ready_release,
)
from tenure._proof.snapshots cimport (
    snapshots_adopt,
    snapshots_after_apply,
    snapshots_came,
    snapshots_given_up,
    snapshots_keep_back,
    snapshots_sent,
    snapshots_written,
)
from tenure._proof.world cimport (
    COUNT_CRASHES,
    COUNT_DISK_FAILURES,
    COUNT_DISK_STEP_DOWNS,
    COUNT_FORGETS,
    COUNT_PAUSES,
    COUNT_RESTARTS,
    COUNT_RESTARTS_IN_PROMISE,
    COUNT_STEP_DOWNS,
    EV_APPLY,
    EV_DELIVER,
    EV_PUMP,
    EV_REQUEST,
    EV_RESTART,
    EV_SNAPSHOT_CAME,
    EV_SNAPSHOT_GIVEN_UP,
    EV_SNAPSHOT_WRITTEN,
    EV_SYNCED,
    EV_TICK,
    INPUT_APPENDED,
    INPUT_APPLIED,
    INPUT_FORGET,
    INPUT_READY,
    INPUT_START,
    INPUT_STEP,
    INPUT_STEP_DOWN,
    INPUT_STOP,
    INPUT_TICK,
    INPUT_TRANSFER,
    PLANTED_LOST_WAKEUP,
    STATUS_FAIL,
    TRACE_APPLIED,
    TRACE_CRASH,
    TRACE_PAUSE,
    VIOLATION_LOG_ORDER,
    DiskWrite,
    Event,
    Member,
    World,
    clock_now,
    clock_span_to_true,
    count,
    message_free,
    random_below,
    random_between,
    random_next,
    world_input,
    world_schedule,
    world_trace,
    world_trace_message,
)


# ---- life

cdef bint host_start(World* w, Member* m) noexcept nogil:
    cdef RaftConfig config
    cdef Snapshot snapshot
    cdef Snapshot* recovered = NULL
    cdef const Configuration* configuration = &w.configuration
    cdef Configuration nobody
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
    config.seed = random_next(&m.chance)
    config.guards_off = w.guards_off
    monitor_restart(w, m)
    m.incarnation += 1
    m.applied = 0
    m.checked_until_ns = 0
    m.ticked_ns = clock_now(w, m)
    m.dumping = m.incoming = NULL
    m.lease = lease_new()
    if m.lease == NULL or not machine_reset(w, m):
        w.no_memory = True
        return False
    if m.wiped:
        memset(&nobody, 0, sizeof(nobody))
        configuration = &nobody
    if m.snapshot != NULL:
        memset(&snapshot, 0, sizeof(snapshot))
        snapshot.index = m.applied = m.snapshot.index
        snapshot.term = m.snapshot.term
        snapshot.configuration = m.snapshot.configuration
        recovered = &snapshot
        configuration = &m.snapshot.configuration
        if not machine_load(w, m, m.snapshot.data):
            w.no_memory = True
            return False
    m.raft = raft_new(
        &config, &m.hard, configuration, recovered, &m.durable, m.applied, m.lease, clock_now(w, m))
    if m.raft == NULL:
        lease_release(m.lease)
        m.lease = NULL
        violate(w, VIOLATION_LOG_ORDER, m, 0, m.hard.term, m.durable.size)
        return False
    m.alive = True
    m.paused = False
    world_input(w, INPUT_START, m, <int64_t>config.seed, 0)
    if m.incarnation > 1:
        count(w, COUNT_RESTARTS)
        if w.now_ns < m.promise_true_until_ns:
            count(w, COUNT_RESTARTS_IN_PROMISE)
    host_restart_ticks(w, m)
    host_after_input(w, m)
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
    disk_forget_writes(m)
    entries_release(&m.apply_queue)
    for i in range(m.deferred.size):
        message_free(m.deferred.data[i].message)
    m.deferred.clear()
    m.proposals.clear()
    m.reads.clear()
    m.apply_scheduled = False
    m.pump_scheduled = False


cdef void host_crash(World* w, Member* m, uint64_t luck) noexcept nogil:
    cdef int64_t now = clock_now(w, m)
    cdef size_t survived
    if not m.alive:
        return
    count(w, COUNT_CRASHES)
    world_trace(w, TRACE_CRASH, m, <int64_t>m.writes.size, 0)
    if now > 0 and m.raft.promise_until_ns > now:
        m.promise_true_until_ns = max(
            m.promise_true_until_ns, w.now_ns + clock_span_to_true(&m.clock, m.raft.promise_until_ns - now))
    survived = disk_crash(w, m, luck)
    world_input(w, INPUT_STOP, m, <int64_t>survived, 0)
    answer_nobody(w, m)
    host_stop(w, m)


cdef void fail_disk(World* w, Member* m) noexcept nogil:
    """What a sync that failed means: the member answers its callers, withdraws its lease and stops for good."""
    m.disk_fails = False
    count(w, COUNT_DISK_FAILURES)
    raft_fail(m.raft, ERR_INVARIANT)
    host_crash(w, m, random_next(&m.chance))
    world_schedule(w, max(m.restart_at_ns, w.now_ns + w.profile.down_min_ns), EV_RESTART, m.at)


cdef void host_restart_ticks(World* w, Member* m) noexcept nogil:
    """Ticks follow the member's own clock from now on; those that were missed are gone."""
    m.tick_epoch += 1
    if m.alive and not m.paused and not m.clock.frozen:
        schedule_tick(w, m, 1 + random_below(&m.chance, w.profile.tick_ns))


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
    cdef size_t i = 0, stale
    cdef Event event
    if not m.alive or not m.paused:
        return
    world_trace(w, TRACE_PAUSE, m, 0, 0)
    m.paused = False
    host_restart_ticks(w, m)
    # H08 off: the pass that the pause interrupted goes on with its old reading for a while.
    stale = 0
    if not guard_on(w.guards_off, GUARD_FRESH_CLOCK):
        stale = <size_t>random_below(&m.chance, <int64_t>m.deferred.size + 1)
    while i < m.deferred.size:      # what is handled may end the process
        m.stale_reading = i < stale
        event = m.deferred.data[i]
        m.deferred.data[i].message = NULL
        i += 1
        handle(w, m, &event)
        message_free(event.message)
        monitor_leases(w)
    m.deferred.clear()
    m.stale_reading = False

# ---- inputs

cdef int64_t host_reading(World* w, Member* m) noexcept nogil:
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
    if event.kind == EV_DELIVER or event.kind == EV_SNAPSHOT_CAME:
        if event.message.type == MSG_SNAP:
            if event.kind == EV_DELIVER:
                snapshots_keep_back(w, m, event)
                return
            snapshots_came(w, m, event.message)
        now = host_reading(w, m)
        world_trace_message(w, EV_DELIVER, m, event.message)
        world_input(w, INPUT_STEP, m, <int64_t>event.message.from_ - 1, event.a)
        monitor_step(w, m, event.message)
        raft_step(m.raft, event.message, now)
        host_after_input(w, m)
    elif event.kind == EV_TICK:
        if not m.paused and event.a == <int64_t>m.tick_epoch:
            tick(w, m)
    elif event.kind == EV_SYNCED:
        synced(w, m, <uint64_t>event.a)
    elif event.kind == EV_APPLY:
        apply(w, m)
    elif event.kind == EV_PUMP:
        m.pump_scheduled = False
        pump(w, m)
    elif event.kind == EV_SNAPSHOT_WRITTEN:
        snapshots_written(w, m, <uint64_t>event.a)
        host_after_input(w, m)
    elif event.kind == EV_SNAPSHOT_GIVEN_UP:
        snapshots_given_up(w, m, <uint64_t>event.a, <uint64_t>event.b, host_reading(w, m))
        host_after_input(w, m)
    else:
        w.serve(w, m, event)


cdef void tick(World* w, Member* m) noexcept nogil:
    cdef int64_t now = host_reading(w, m)
    m.ticked_ns += w.profile.tick_ns
    world_input(w, INPUT_TICK, m, 0, 0)
    raft_tick(m.raft, now)
    if (m.writes.size and w.now_ns - m.writes.data[0].queued_ns > w.profile.stall_limit_ns and m.raft.role == LEADER
            and guard_on(w.guards_off, GUARD_STALL)):
        # The disk is dead or as good as dead, but heartbeats would go on: somebody else must lead.
        count(w, COUNT_DISK_STEP_DOWNS)
        world_input(w, INPUT_STEP_DOWN, m, 0, 0)
        raft_step_down(m.raft, now)
    schedule_tick(w, m, w.profile.tick_ns)
    host_after_input(w, m)


cdef void host_after_input(World* w, Member* m) noexcept nogil:
    cdef Event* event
    monitor_member(w, m)
    if m.proposals.size and (m.raft.role != LEADER or m.raft.term != m.proposals.data[0].term):
        answer_lost_proposals(w, m, m.proposals.data[m.proposals.size - 1].index)
    if m.raft.failed != OK or m.pump_scheduled:
        return
    if w.profile.pass_max_ns > 0:
        m.pump_scheduled = True
        event = world_schedule(w, w.now_ns + random_below(&m.chance, w.profile.pass_max_ns), EV_PUMP, m.at)
        event.incarnation = m.incarnation
    else:
        pump(w, m)


cdef bint take_ready(World* w, Member* m) noexcept nogil:
    cdef Ready ready
    cdef DiskWrite write
    cdef size_t i
    memset(&ready, 0, sizeof(ready))
    memset(&write, 0, sizeof(write))
    world_input(w, INPUT_READY, m, 0, 0)
    if raft_ready(m.raft, &ready) != OK:
        ready_release(&ready)
        return False
    for i in range(ready.messages.size):
        if ready.messages.data[i].type == MSG_SNAP:
            snapshots_sent(w, m, &ready.messages.data[i])
        network_send(w, m, &ready.messages.data[i])
    ready.messages.clear()
    for i in range(ready.reads.size):
        answer_read_state(w, m, &ready.reads.data[i])
    if ready.snapshot != NULL:
        write.snapshot = snapshots_adopt(w, m, ready.snapshot)
        if write.snapshot == NULL:
            ready_release(&ready)
            return False
    for i in range(ready.committed.size):
        if not m.apply_queue.push(ready.committed.data[i]):
            w.no_memory = True
            blob_release(ready.committed.data[i].data)
    ready.committed.clear()
    write.number = ready.number
    write.hard_changed = ready.hard_changed
    write.hard = ready.hard
    write.entries = ready.entries
    write.after_append = ready.after_append
    memset(&ready.entries, 0, sizeof(ready.entries))
    memset(&ready.after_append, 0, sizeof(ready.after_append))
    ready_release(&ready)
    if m.writes.size == 0 and not write.hard_changed and write.entries.size == 0 and write.snapshot == NULL:
        finish_write(w, m, &write)      # nothing to wait for
    else:
        disk_write(w, m, &write)
    return True


cdef void pump(World* w, Member* m) noexcept nogil:
    """Take what the core has ready and set it on its way."""
    while m.raft.failed == OK and raft_has_ready(m.raft):
        if not take_ready(w, m):
            return
    answer_reads(w, m)
    disk_schedule(w, m)
    schedule_apply(w, m)


# ---- disk and state machine

cdef void finish_write(World* w, Member* m, DiskWrite* write) noexcept nogil:
    """The write is durable: tell the core, then let its messages leave."""
    cdef size_t i
    world_input(w, INPUT_APPENDED, m, 1, 0)
    raft_appended(m.raft, write.number, host_reading(w, m))
    for i in range(write.after_append.size):
        network_send(w, m, &write.after_append.data[i])
    write.after_append.release()


cdef void synced(World* w, Member* m, uint64_t number) noexcept nogil:
    cdef size_t i, done
    if m.disk_fails:
        fail_disk(w, m)
        return
    if (not guard_on(w.guards_off, PLANTED_LOST_WAKEUP) and m.writes.size
            and w.now_ns - m.writes.data[0].queued_ns > w.profile.stall_limit_ns):
        return
    done = disk_synced(w, m, number)
    for i in range(done):
        finish_write(w, m, &m.writes.data[i])
    m.writes.remove(0, done)
    host_after_input(w, m)
    disk_schedule(w, m)


cdef void schedule_apply(World* w, Member* m) noexcept nogil:
    cdef Event* event
    if m.apply_scheduled or m.apply_queue.size == 0:
        return
    m.apply_scheduled = True
    event = world_schedule(
        w, max(w.now_ns, m.apply_stalled_until_ns) + random_between(&m.chance, w.profile.apply_min_ns, w.profile.apply_max_ns),
        EV_APPLY, m.at)
    event.incarnation = m.incarnation


cdef void apply(World* w, Member* m) noexcept nogil:
    cdef size_t i, batch
    cdef Entry* entry
    m.apply_scheduled = False
    batch = m.apply_queue.size
    if batch == 0:
        return
    if w.profile.apply_max_ns > 0 and random_below(&m.chance, 2):
        batch = 1 + <size_t>random_below(&m.chance, <int64_t>batch)
    if not machine_batch(w, m, m.apply_queue.data, batch):
        w.stopped = True
        return
    for i in range(batch):
        entry = &m.apply_queue.data[i]
        monitor_apply(w, m, entry)
        if entry.kind != ENTRY_NORMAL:
            raft_apply_conf_change(m.raft, entry, host_reading(w, m))
        m.applied = entry.index
        answer_proposals(w, m, entry, machine_apply(w, m, entry))
        blob_release(entry.data)
    m.apply_queue.remove(0, batch)
    world_trace(w, TRACE_APPLIED, m, <int64_t>m.applied, 0)
    world_input(w, INPUT_APPLIED, m, <int64_t>m.applied, 0)
    raft_applied(m.raft, m.applied, host_reading(w, m))
    answer_reads(w, m)
    snapshots_after_apply(w, m)
    host_after_input(w, m)
    schedule_apply(w, m)


# ---- operators

cdef void host_transfer(World* w, Member* m, uint64_t target) noexcept nogil:
    if not m.alive or m.paused:
        return
    world_input(w, INPUT_TRANSFER, m, <int64_t>target, 0)
    if raft_transfer(m.raft, target, host_reading(w, m)) == OK:
        if m.raft.transferee != 0:
            monitor_transfer(w, m, target)
        host_after_input(w, m)


cdef void host_step_down(World* w, Member* m) noexcept nogil:
    if not m.alive or m.paused:
        return
    world_input(w, INPUT_STEP_DOWN, m, 0, 0)
    if raft_step_down(m.raft, host_reading(w, m)) == OK:
        count(w, COUNT_STEP_DOWNS)
        host_after_input(w, m)


cdef void host_forget_leader(World* w, Member* m) noexcept nogil:
    if m.alive and not m.paused:
        count(w, COUNT_FORGETS)
        world_input(w, INPUT_FORGET, m, 0, 0)
        raft_forget_leader(m.raft)
        host_after_input(w, m)
