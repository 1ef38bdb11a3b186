"""Faults choose the leader of the highest term more often than chance would, because that is where leases are at stake.
A fault's end is always scheduled with its beginning, so that no run is left without a working cluster for good."""

from libc.stdint cimport int32_t, int64_t, uint64_t

from tenure._proof.host cimport (
    host_capture_extension,
    host_crash,
    host_forget_leader,
    host_pause,
    host_restart_ticks,
    host_resume,
    host_start,
    host_step_down,
    host_transfer,
)
from tenure._proof.network cimport network_block
from tenure._proof.raft.types cimport LEADER
from tenure._proof.world cimport (
    COUNT_APPLY_STALLS,
    COUNT_CLOCK_FAULTS,
    COUNT_DISK_STALLS,
    COUNT_PARTITIONS,
    EV_FAULT,
    EV_RESTART,
    EV_RESUME,
    EV_THAW,
    FAULT_APPLY_STALL,
    FAULT_CLOCK_FAILURE,
    FAULT_CLOCK_FREEZE,
    FAULT_CLOCK_RATE,
    FAULT_CRASH,
    FAULT_DISK_STALL,
    FAULT_FORGET,
    FAULT_KINDS,
    FAULT_LATE_EXTENSION,
    FAULT_PARTITION,
    FAULT_PAUSE,
    FAULT_STEP_DOWN,
    FAULT_TRANSFER,
    TRACE_FAULT,
    Event,
    Member,
    World,
    clock_change,
    count,
    random_below,
    random_between,
    world_schedule,
    world_trace,
)


cdef int64_t drawn_rate(World* w) noexcept nogil:
    """Every rate between the bounds; the bounds themselves one time in three."""
    cdef int64_t bound = w.profile.clock_rate_max_ppm
    cdef int64_t draw = random_below(w, 6)
    if draw == 0:
        return bound
    if draw == 1:
        return -bound
    return random_between(w, -bound, bound)


cdef void set_clock(World* w, Member* m) noexcept nogil:
    """A machine's boot: its clock starts somewhere, at its own rate."""
    m.clock.base_true_ns = w.now_ns
    m.clock.base_local_ns = 1 + random_below(w, w.profile.clock_offset_max_ns)
    m.clock.rate_ppm = drawn_rate(w)
    m.clock.frozen = False
    m.clock.unreadable_until_ns = 0


cdef void faults_begin(World* w) noexcept nogil:
    cdef int32_t i
    for i in range(w.count):
        set_clock(w, &w.members[i])
        host_start(w, &w.members[i])
    for i in range(FAULT_KINDS):
        next_fault(w, i)


cdef void next_fault(World* w, int32_t kind) noexcept nogil:
    cdef int64_t every = w.profile.every_ns[kind]
    if every > 0:
        world_schedule(w, w.now_ns + every // 2 + random_below(w, every), EV_FAULT, kind)


cdef Member* current_leader(World* w) noexcept nogil:
    cdef Member* best = NULL
    cdef int32_t i
    for i in range(w.count):
        if w.members[i].alive and w.members[i].raft.role == LEADER:
            if best == NULL or w.members[i].raft.term > best.raft.term:
                best = &w.members[i]
    return best


cdef Member* victim(World* w) noexcept nogil:
    cdef Member* leader = current_leader(w)
    cdef Member* m
    if leader != NULL and random_below(w, 100) < w.profile.leader_bias_percent:
        return leader
    m = &w.members[random_below(w, w.count)]
    if m == leader and random_below(w, 100) < -w.profile.leader_bias_percent:
        return &w.members[(m.at + 1 + random_below(w, w.count - 1)) % w.count] if w.count > 1 else m
    return m


cdef int64_t duration(World* w) noexcept nogil:
    """Short ones as often as long ones."""
    cdef int64_t most = w.profile.fault_max_ns
    if random_below(w, 2):
        most = w.profile.fault_min_ns + (most - w.profile.fault_min_ns) // 8
    return random_between(w, w.profile.fault_min_ns, most)


cdef void isolate(World* w, const Member* m, int64_t from_ns, int64_t until_ns, int32_t direction) noexcept nogil:
    """direction: 0 both, 1 nothing leaves, 2 nothing arrives."""
    cdef int32_t i
    for i in range(w.count):
        if direction != 2:
            network_block(w, m.at, i, from_ns, until_ns)
        if direction != 1:
            network_block(w, i, m.at, from_ns, until_ns)


cdef void partition(World* w) noexcept nogil:
    cdef Member* m = victim(w)
    cdef int64_t until = w.now_ns + duration(w)
    cdef int32_t direction = 0, other
    count(w, COUNT_PARTITIONS)
    if random_below(w, 100) < w.profile.one_way_percent:
        direction = 1 + <int32_t>random_below(w, 2)
    if random_below(w, 100) < w.profile.isolate_percent:
        isolate(w, m, w.now_ns, until, direction)
        return
    other = (m.at + 1 + <int32_t>random_below(w, w.count - 1)) % w.count     # one link only
    if direction != 2:
        network_block(w, m.at, other, w.now_ns, until)
    if direction != 1:
        network_block(w, other, m.at, w.now_ns, until)


cdef void inject(World* w, int32_t kind) noexcept nogil:
    cdef Member* m = victim(w)
    cdef Member* leader
    cdef int64_t until
    world_trace(w, TRACE_FAULT, m, kind, 0)
    if kind == FAULT_PARTITION:
        partition(w)
    elif kind == FAULT_PAUSE:
        if m.alive and not m.paused:
            host_pause(w, m)
            until = w.now_ns + random_between(w, w.profile.pause_min_ns, w.profile.pause_max_ns)
            world_schedule(w, until, EV_RESUME, m.at).incarnation = m.incarnation
            if random_below(w, 100) < w.profile.pause_isolates_percent:
                # what was on its way waits in the socket; what comes later is lost, until a while after the resume
                isolate(w, m, w.now_ns + random_below(w, 200000000), until + random_below(w, 500000000), 0)
    elif kind == FAULT_CRASH:
        if m.alive:
            host_crash(w, m)
            world_schedule(
                w, w.now_ns + random_between(w, w.profile.down_min_ns, w.profile.down_max_ns), EV_RESTART, m.at)
    elif kind == FAULT_DISK_STALL:
        count(w, COUNT_DISK_STALLS)
        m.disk_stalled_until_ns = w.now_ns + duration(w)
    elif kind == FAULT_APPLY_STALL:
        count(w, COUNT_APPLY_STALLS)
        m.apply_stalled_until_ns = w.now_ns + duration(w)
    elif kind == FAULT_CLOCK_FAILURE:
        count(w, COUNT_CLOCK_FAULTS)
        m.clock.unreadable_until_ns = w.now_ns + random_between(w, w.profile.pause_min_ns, w.profile.pause_max_ns)
    elif kind == FAULT_CLOCK_FREEZE:
        if not m.clock.frozen:
            count(w, COUNT_CLOCK_FAULTS)
            until = w.now_ns + duration(w)
            clock_change(w, m, m.clock.rate_ppm, True)
            m.tick_epoch += 1
            if w.profile.freeze_isolates:
                isolate(w, m, w.now_ns, until, 0)
            world_schedule(w, until, EV_THAW, m.at)
    elif kind == FAULT_CLOCK_RATE:
        if not m.clock.frozen:
            clock_change(w, m, drawn_rate(w), False)
            host_restart_ticks(w, m)
    elif kind == FAULT_TRANSFER:
        leader = current_leader(w)
        if leader != NULL and w.count > 1:
            host_transfer(w, leader, <uint64_t>(leader.at + 1 + random_below(w, w.count - 1)) % <uint64_t>w.count + 1)
    elif kind == FAULT_STEP_DOWN:
        leader = current_leader(w)
        if leader != NULL:
            host_step_down(w, leader)
    elif kind == FAULT_FORGET:
        host_forget_leader(w, &w.members[random_below(w, w.count)])
    elif kind == FAULT_LATE_EXTENSION:
        leader = current_leader(w)
        if leader != NULL:
            host_capture_extension(w, leader)


cdef void restart(World* w, Member* m) noexcept nogil:
    if m.alive:
        return
    if random_below(w, 2):
        set_clock(w, m)     # the machine was rebooted: another clock
    host_start(w, m)


cdef void fault_event(World* w, Event* event) noexcept nogil:
    cdef Member* m
    if event.kind == EV_FAULT:
        inject(w, event.member)
        next_fault(w, event.member)
        return
    m = &w.members[event.member]
    if event.kind == EV_RESUME:
        if event.incarnation == m.incarnation:
            host_resume(w, m)
    elif event.kind == EV_RESTART:
        restart(w, m)
    elif event.kind == EV_THAW:
        if m.clock.frozen:
            clock_change(w, m, m.clock.rate_ppm, False)
            host_restart_ticks(w, m)
