"""Deciding what goes wrong next. Faults choose the leader of the highest term more often than chance would, because that is
where leases are at stake. A decision is a `Fault` with nothing left open; in a replay the recorded ones come at their times.

A clock that jumps forward breaks the bound on rates that leases rest on, unless it is a leader's, or the jump stays within
what the rates leave of the bound: `clock_jump_max_ns`, once in a promise's time.

Faults can follow so close upon each other that no election ever ends. After `calm_after_ns` without an operation that ended
well they pause, and messages are left alone too, until one does: what a cluster must achieve is judged in that calm.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset

from tenure._proof.changes cimport changes_decide
from tenure._proof.harm cimport harm_do
from tenure._proof.raft.types cimport LEADER
from tenure._proof.world cimport (
    EV_FAULT,
    FAULT_CHANGE,
    FAULT_CLOCK_FAILURE,
    FAULT_CLOCK_JUMP,
    FAULT_CLOCK_RATE,
    FAULT_CRASH,
    FAULT_DISK_FAILURE,
    FAULT_FORGET,
    FAULT_KINDS,
    FAULT_LATE_EXTENSION,
    FAULT_PARTITION,
    FAULT_PAUSE,
    FAULT_STEP_DOWN,
    FAULT_TRANSFER,
    FAULT_WIPE,
    Event,
    Fault,
    Member,
    World,
    random_below,
    random_between,
    random_next,
    world_schedule,
)


cdef void faults_begin(World* w) noexcept nogil:
    cdef int32_t i
    if w.scripted:
        for i in range(<int32_t>w.faults.size):
            world_schedule(w, w.faults.data[i].at_ns, EV_FAULT, 0).a = i
        return
    for i in range(FAULT_KINDS):
        next_fault(w, i)


cdef void next_fault(World* w, int32_t kind) noexcept nogil:
    cdef int64_t every = w.profile.every_ns[kind]
    if every > 0:
        world_schedule(w, w.now_ns + every // 2 + random_below(&w.faults_chance, every), EV_FAULT, 0).a = kind


cdef void fault_event(World* w, Event* event) noexcept nogil:
    cdef Fault fault
    if w.scripted:
        harm_do(w, &w.faults.data[event.a])
        return
    memset(&fault, 0, sizeof(fault))
    fault.at_ns = fault.from_ns = w.now_ns
    fault.kind = <int32_t>event.a
    if not w.calm and decide(w, &fault):
        if w.recording and not w.faults.push(fault):
            w.no_memory = True
        harm_do(w, &fault)
    next_fault(w, fault.kind)


cdef Member* current_leader(World* w) noexcept nogil:
    cdef Member* best = NULL
    cdef int32_t i
    for i in range(w.count):
        if w.members[i].alive and w.members[i].raft.role == LEADER:
            if best == NULL or w.members[i].raft.term > best.raft.term:
                best = &w.members[i]
    return best


cdef Member* victim(World* w, Member* leader) noexcept nogil:
    cdef uint64_t* chance = &w.faults_chance
    cdef Member* m
    if leader != NULL and random_below(chance, 100) < w.profile.leader_bias_percent:
        return leader
    m = &w.members[random_below(chance, w.count)]
    if m == leader and random_below(chance, 100) < -w.profile.leader_bias_percent:
        return &w.members[anybody_else(w, m)]
    return m


cdef int32_t anybody_else(World* w, const Member* m) noexcept nogil:
    if w.count < 2:
        return m.at
    return (m.at + 1 + <int32_t>random_below(&w.faults_chance, w.count - 1)) % w.count


cdef int64_t duration(World* w) noexcept nogil:
    """Short ones as often as long ones."""
    cdef int64_t most = w.profile.fault_max_ns
    if random_below(&w.faults_chance, 2):
        most = w.profile.fault_min_ns + (most - w.profile.fault_min_ns) // 8
    return random_between(&w.faults_chance, w.profile.fault_min_ns, most)


cdef int64_t drawn_rate(World* w) noexcept nogil:
    """Every rate between the bounds; the bounds themselves one time in three."""
    cdef int64_t bound = w.profile.clock_rate_max_ppm
    cdef int64_t draw = random_below(&w.faults_chance, 6)
    if draw == 0:
        return bound
    if draw == 1:
        return -bound
    return random_between(&w.faults_chance, -bound, bound)


cdef void decide_partition(World* w, Fault* fault, const Member* m) noexcept nogil:
    if random_below(&w.faults_chance, 100) < w.profile.one_way_percent:
        fault.direction = 1 + <int32_t>random_below(&w.faults_chance, 2)
    fault.other = anybody_else(w, m)    # one link only
    if random_below(&w.faults_chance, 100) < w.profile.isolate_percent:
        fault.other = -1


cdef void decide_pause(World* w, Fault* fault) noexcept nogil:
    fault.value = random_between(&w.faults_chance, w.profile.pause_min_ns, w.profile.pause_max_ns)
    fault.until_ns = 0
    if random_below(&w.faults_chance, 100) < w.profile.pause_isolates_percent:
        fault.from_ns = w.now_ns + random_below(&w.faults_chance, 200000000)
        fault.until_ns = w.now_ns + fault.value + random_below(&w.faults_chance, 500000000)


cdef void decide_crash(World* w, Fault* fault) noexcept nogil:
    fault.until_ns = w.now_ns + random_between(&w.faults_chance, w.profile.down_min_ns, w.profile.down_max_ns)
    fault.value = <int64_t>(random_next(&w.faults_chance) >> 1)
    if random_below(&w.faults_chance, 2):
        fault.reading_ns = 1 + random_below(&w.faults_chance, w.profile.clock_offset_max_ns)
        fault.rate_ppm = drawn_rate(w)


cdef bint decide_transfer(World* w, Fault* fault, const Member* leader) noexcept nogil:
    if leader == NULL or w.count < 2:
        return False
    fault.member = leader.at
    fault.other = anybody_else(w, leader)
    fault.until_ns = 0
    if random_below(&w.faults_chance, 100) < w.profile.transfer_cut_percent:
        # The target becomes unreachable while it is being asked, or right after.
        fault.direction = <int32_t>random_below(&w.faults_chance, 3)
        fault.from_ns = w.now_ns + random_below(&w.faults_chance, 2 * w.profile.delay_max_ns)
        fault.until_ns = w.now_ns + duration(w)
    return True


cdef bint decide_jump(World* w, Fault* fault, const Member* m) noexcept nogil:
    fault.value = random_below(&w.faults_chance, w.profile.clock_jump_max_ns)
    if m.alive and m.raft.role == LEADER and w.profile.clock_jump_leader_max_ns:
        fault.value = random_below(&w.faults_chance, w.profile.clock_jump_leader_max_ns)
    elif m.jumped_ns != 0 and w.now_ns - m.jumped_ns < 2 * w.profile.promise_ns:
        return False
    return fault.value > 0


cdef bint decide_change(World* w, Fault* fault, const Member* leader) noexcept nogil:
    if leader == NULL:
        return False
    fault.member = leader.at
    fault.until_ns = 0
    return changes_decide(w, fault, &leader.raft.configuration)


cdef bint decide(World* w, Fault* fault) noexcept nogil:
    """Fill in the rest of a fault of this kind. False: not now."""
    cdef Member* leader = current_leader(w)
    cdef Member* m = victim(w, leader)
    fault.member = m.at
    fault.other = -1
    fault.until_ns = w.now_ns + duration(w)
    if fault.kind == FAULT_PARTITION:
        decide_partition(w, fault, m)
    elif fault.kind == FAULT_PAUSE:
        decide_pause(w, fault)
    elif fault.kind == FAULT_CRASH:
        decide_crash(w, fault)
    elif fault.kind == FAULT_DISK_FAILURE:
        fault.until_ns = w.now_ns + random_between(&w.faults_chance, w.profile.down_min_ns, w.profile.down_max_ns)
    elif fault.kind == FAULT_CLOCK_FAILURE:
        fault.until_ns = w.now_ns + random_between(&w.faults_chance, w.profile.pause_min_ns, w.profile.pause_max_ns)
    elif fault.kind == FAULT_CLOCK_RATE:
        fault.rate_ppm = drawn_rate(w)
    elif fault.kind == FAULT_CLOCK_JUMP:
        return decide_jump(w, fault, m)
    elif fault.kind == FAULT_TRANSFER:
        return decide_transfer(w, fault, leader)
    elif fault.kind == FAULT_STEP_DOWN or fault.kind == FAULT_LATE_EXTENSION:
        if leader == NULL:
            return False
        fault.member = leader.at
        fault.value = random_below(&w.faults_chance, w.profile.late_extension_max_ns)
    elif fault.kind == FAULT_FORGET:
        fault.member = <int32_t>random_below(&w.faults_chance, w.count)
    elif fault.kind == FAULT_CHANGE:
        return decide_change(w, fault, leader)
    elif fault.kind == FAULT_WIPE:
        return False
    return True
