"""What befalls members, once it is decided: nothing here leaves anything to chance but a machine's first boot.

A fault's end is always scheduled with its beginning, so that no run is left without a working cluster for good.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t

from tenure._proof.changes cimport changes_propose
from tenure._proof.disk cimport disk_wipe
from tenure._proof.host cimport (
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
from tenure._proof.requests cimport requests_capture_extension
from tenure._proof.world cimport (
    COUNT_APPLY_STALLS,
    COUNT_CLOCK_FAULTS,
    COUNT_CLOCK_JUMPS,
    COUNT_DISK_STALLS,
    COUNT_PARTITIONS,
    EV_RESTART,
    EV_RESUME,
    EV_THAW,
    FAULT_APPLY_STALL,
    FAULT_CHANGE,
    FAULT_CLOCK_FAILURE,
    FAULT_CLOCK_FREEZE,
    FAULT_CLOCK_JUMP,
    FAULT_CLOCK_RATE,
    FAULT_CRASH,
    FAULT_DISK_FAILURE,
    FAULT_DISK_STALL,
    FAULT_FORGET,
    FAULT_LATE_EXTENSION,
    FAULT_PARTITION,
    FAULT_PAUSE,
    FAULT_SLOW_DISK,
    FAULT_STEP_DOWN,
    FAULT_TRANSFER,
    FAULT_WIPE,
    STREAM_CLOCK,
    TRACE_FAULT,
    Event,
    Fault,
    Member,
    World,
    clock_change,
    count,
    random_below,
    random_between,
    stream_of,
    world_schedule,
    world_trace,
)


cdef void set_clock(World* w, Member* m, int64_t reading_ns, int64_t rate_ppm) noexcept nogil:
    """A machine's boot: its clock starts somewhere, at its own rate."""
    m.clock.base_true_ns = w.now_ns
    m.clock.base_local_ns = reading_ns
    m.clock.rate_ppm = rate_ppm
    m.clock.frozen = False
    m.clock.unreadable_until_ns = 0


cdef void harm_begin(World* w) noexcept nogil:
    cdef int64_t bound = w.profile.clock_rate_max_ppm, draw, rate
    cdef int32_t i
    cdef uint64_t chance
    for i in range(w.count):
        chance = stream_of(w, STREAM_CLOCK, <uint64_t>i)
        draw = random_below(&chance, 6)
        rate = bound if draw == 0 else -bound if draw == 1 else random_between(&chance, -bound, bound)
        set_clock(w, &w.members[i], 1 + random_below(&chance, w.profile.clock_offset_max_ns), rate)
        host_start(w, &w.members[i])


cdef void cut(World* w, const Fault* fault) noexcept nogil:
    cdef int32_t i
    for i in range(w.count):
        if fault.other >= 0 and fault.other != i:
            continue
        if fault.direction != 2:
            network_block(w, fault.member, i, fault.from_ns, fault.until_ns)
        if fault.direction != 1:
            network_block(w, i, fault.member, fault.from_ns, fault.until_ns)


cdef void pause(World* w, Member* m, const Fault* fault) noexcept nogil:
    cdef Fault isolation = fault[0]
    if not m.alive or m.paused:
        return
    host_pause(w, m)
    world_schedule(w, w.now_ns + fault.value, EV_RESUME, m.at).incarnation = m.incarnation
    if fault.until_ns:
        # what was on its way waits in the socket; what comes later is lost, until a while after the resume
        isolation.other = -1
        isolation.direction = 0
        cut(w, &isolation)


cdef void freeze(World* w, Member* m, const Fault* fault) noexcept nogil:
    if m.clock.frozen:
        return
    count(w, COUNT_CLOCK_FAULTS)
    clock_change(w, m, m.clock.rate_ppm, True)
    m.tick_epoch += 1
    if w.profile.freeze_isolates:
        cut(w, fault)
    world_schedule(w, fault.until_ns, EV_THAW, m.at)


cdef void jump(World* w, Member* m, int64_t by_ns) noexcept nogil:
    if m.clock.frozen:
        return
    count(w, COUNT_CLOCK_JUMPS)
    m.clock.base_local_ns += by_ns
    m.jumped_ns = w.now_ns
    host_restart_ticks(w, m)


cdef void harm_do(World* w, const Fault* fault) noexcept nogil:
    cdef Member* m = &w.members[fault.member]
    cdef Event* event
    w.harmed_ns = w.now_ns
    world_trace(w, TRACE_FAULT, m, fault.kind, 0)
    if fault.kind == FAULT_PARTITION:
        count(w, COUNT_PARTITIONS)
        cut(w, fault)
    elif fault.kind == FAULT_PAUSE:
        pause(w, m, fault)
    elif fault.kind == FAULT_CRASH:
        if m.alive:
            host_crash(w, m, <uint64_t>fault.value)
            event = world_schedule(w, fault.until_ns, EV_RESTART, m.at)
            event.a = fault.reading_ns
            event.b = fault.rate_ppm
    elif fault.kind == FAULT_WIPE:
        host_crash(w, m, 0)
        disk_wipe(m)
        m.wiped = True
        world_schedule(w, fault.until_ns, EV_RESTART, m.at)
    elif fault.kind == FAULT_DISK_STALL:
        count(w, COUNT_DISK_STALLS)
        m.disk_stalled_until_ns = fault.until_ns
    elif fault.kind == FAULT_SLOW_DISK:
        m.disk_slow_until_ns = fault.until_ns
    elif fault.kind == FAULT_DISK_FAILURE:
        m.disk_fails = m.alive
        m.restart_at_ns = fault.until_ns
    elif fault.kind == FAULT_APPLY_STALL:
        count(w, COUNT_APPLY_STALLS)
        m.apply_stalled_until_ns = fault.until_ns
    elif fault.kind == FAULT_CLOCK_FAILURE:
        count(w, COUNT_CLOCK_FAULTS)
        m.clock.unreadable_until_ns = fault.until_ns
    elif fault.kind == FAULT_CLOCK_FREEZE:
        freeze(w, m, fault)
    elif fault.kind == FAULT_CLOCK_RATE:
        if not m.clock.frozen:
            clock_change(w, m, fault.rate_ppm, False)
            host_restart_ticks(w, m)
    elif fault.kind == FAULT_CLOCK_JUMP:
        jump(w, m, fault.value)
    elif fault.kind == FAULT_TRANSFER:
        host_transfer(w, m, <uint64_t>fault.other + 1)
        if fault.until_ns:
            cut(w, fault)
    elif fault.kind == FAULT_CHANGE:
        changes_propose(w, m, fault)
    elif fault.kind == FAULT_STEP_DOWN:
        host_step_down(w, m)
    elif fault.kind == FAULT_FORGET:
        host_forget_leader(w, m)
    elif fault.kind == FAULT_LATE_EXTENSION:
        requests_capture_extension(w, m, fault.value)


cdef void harm_end(World* w, Event* event) noexcept nogil:
    cdef Member* m = &w.members[event.member]
    if event.kind == EV_RESUME:
        if event.incarnation == m.incarnation:
            host_resume(w, m)
    elif event.kind == EV_RESTART:
        if not m.alive:
            if event.a:
                set_clock(w, m, event.a, event.b)   # the machine was rebooted: another clock
            host_start(w, m)
    elif event.kind == EV_THAW:
        if m.clock.frozen:
            clock_change(w, m, m.clock.rate_ppm, False)
            host_restart_ticks(w, m)
