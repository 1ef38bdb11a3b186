"""What an operator does to the membership: adds spare processes as learners or voters, promotes, demotes, removes, alone or
several at once by a joint configuration, left automatically or by another order. Voters are never fewer than the profile says.

A process that was removed goes on, as a removed member's may; it may be added again, with the log that it has.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t, uint8_t
from libc.string cimport memset

from tenure._proof.host cimport host_after_input, host_reading
from tenure._proof.raft.changer cimport ids_contain
from tenure._proof.raft.raft cimport raft_propose_conf_change
from tenure._proof.raft.types cimport (
    CHANGE_ADD_LEARNER,
    CHANGE_ADD_VOTER,
    CHANGE_REMOVE,
    OK,
    TRANSITION_AUTO,
    TRANSITION_EXPLICIT,
    TRANSITION_IMPLICIT,
    ConfChange,
    Configuration,
)
from tenure._proof.world cimport INPUT_CHANGE, Fault, Member, World, random_below, world_input


cdef int64_t packed(int kind, uint64_t id) noexcept nogil:
    return <int64_t>(((kind + 1) << 4) | <int>id)


cdef int64_t one_change(World* w, const Configuration* c, uint64_t id, int32_t* voters) noexcept nogil:
    """Something that can be done to this process; 0 = nothing. `voters` counts who would be left."""
    cdef uint64_t* chance = &w.faults_chance
    cdef bint votes = ids_contain(c.voters, c.voters_count, id)
    cdef bint learns = ids_contain(c.learners, c.learners_count, id)
    cdef int64_t draw = random_below(chance, 4)
    if votes:
        if voters[0] <= w.profile.least_voters:
            return 0
        voters[0] -= 1
        return packed(CHANGE_ADD_LEARNER if draw == 0 else CHANGE_REMOVE, id)
    if learns and draw == 0:
        return packed(CHANGE_REMOVE, id)
    if learns or draw < 2:
        voters[0] += 1
        return packed(CHANGE_ADD_VOTER, id)
    return packed(CHANGE_ADD_LEARNER, id)


cdef bint changes_decide(World* w, Fault* fault, const Configuration* c) noexcept nogil:
    cdef uint64_t* chance = &w.faults_chance
    cdef int32_t voters = c.voters_count, wanted = 1, i, taken = 0
    cdef int64_t change
    cdef uint64_t id, first = <uint64_t>random_below(chance, w.count)
    fault.direction = TRANSITION_AUTO
    if c.outgoing_count:
        return True     # out of the joint configuration; refused where that happens by itself
    if random_below(chance, 100) < w.profile.joint_percent:
        wanted = 1 + <int32_t>random_below(chance, 3)
        fault.direction = TRANSITION_IMPLICIT if random_below(chance, 2) else TRANSITION_EXPLICIT
    for i in range(w.count):
        id = (first + <uint64_t>i) % <uint64_t>w.count + 1
        change = one_change(w, c, id, &voters)
        if change != 0:
            fault.value |= change << (8 * taken)
            taken += 1
            if taken == wanted:
                break
    return taken > 0


cdef void changes_propose(World* w, Member* m, const Fault* fault) noexcept nogil:
    cdef ConfChange change
    cdef int64_t left = fault.value
    cdef uint64_t index = 0
    cdef int32_t refused = OK
    if not m.alive or m.paused:
        return
    memset(&change, 0, sizeof(change))
    change.transition = <uint8_t>fault.direction
    while left != 0:
        change.changes[change.count].id = <uint64_t>(left & 15)
        change.changes[change.count].kind = <uint8_t>(((left >> 4) & 15) - 1)
        change.count += 1
        left >>= 8
    world_input(w, INPUT_CHANGE, m, fault.value, fault.direction)
    raft_propose_conf_change(m.raft, &change, host_reading(w, m), &index, &refused)
    host_after_input(w, m)
