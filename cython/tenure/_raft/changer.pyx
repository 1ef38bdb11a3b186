"""How one configuration becomes the next (Ongaro's dissertation, section 4; etcd/raft's confchange).

A simple change moves at most one voter, so that every majority of the old configuration meets every majority of the new one.
Anything else goes through a joint configuration, in which a decision needs both halves:

    (A)  --enter joint-->  (B, A)  --leave joint-->  (B)

Who is demoted while the outgoing half still counts it as a voter waits in `learners_next` until that half is left. A change
is a list that is worked through in order and takes effect as a whole or not at all. Pure functions on plain structs, any
thread; members are few, so sets are small sorted arrays.

    learners & (voters | outgoing) = 0      learners_next <= outgoing - voters      not joint => no learners_next, no auto_leave
"""

from libc.stdint cimport int32_t, uint64_t
from libc.string cimport memmove, memset

from tenure._raft.types cimport (
    CHANGE_ADD_LEARNER,
    CHANGE_ADD_VOTER,
    CHANGE_REMOVE,
    CHANGE_UPDATE,
    ERR_ALREADY_JOINT,
    ERR_BAD_CHANGE,
    ERR_JOINT_WITHOUT_VOTERS,
    ERR_NEEDS_JOINT,
    ERR_NO_VOTERS,
    ERR_NOT_JOINT,
    ERR_SIMPLE_IN_JOINT,
    ERR_TOO_MANY_MEMBERS,
    MAX_CHANGES,
    MAX_MEMBERS,
    NO_MEMBER,
    OK,
    TRANSITION_AUTO,
    TRANSITION_EXPLICIT,
    ConfChange,
    Configuration,
    MemberChange,
)


# ------------------------------------------------------------------------------------------------------- sets of members

cdef int32_t position(const uint64_t* ids, int32_t count, uint64_t id) noexcept nogil:
    """Where `id` is or belongs."""
    cdef int32_t at = 0
    while at < count and ids[at] < id:
        at += 1
    return at


cdef bint ids_contain(const uint64_t* ids, int32_t count, uint64_t id) noexcept nogil:
    cdef int32_t at = position(ids, count, id)
    return at < count and ids[at] == id


cdef bint put(uint64_t* ids, int32_t* count, uint64_t id) noexcept nogil:
    """False when there is no room for one more."""
    cdef int32_t at = position(ids, count[0], id)
    if at < count[0] and ids[at] == id:
        return True
    if count[0] == MAX_MEMBERS:
        return False
    memmove(&ids[at + 1], &ids[at], <size_t>(count[0] - at) * sizeof(uint64_t))
    ids[at] = id
    count[0] += 1
    return True


cdef void take(uint64_t* ids, int32_t* count, uint64_t id) noexcept nogil:
    cdef int32_t at = position(ids, count[0], id)
    if at < count[0] and ids[at] == id:
        memmove(&ids[at], &ids[at + 1], <size_t>(count[0] - at - 1) * sizeof(uint64_t))
        count[0] -= 1
        ids[count[0]] = 0


cdef bint sorted_ids(const uint64_t* ids, int32_t count) noexcept nogil:
    cdef int32_t i
    if count < 0 or count > MAX_MEMBERS:
        return False
    for i in range(count):
        if ids[i] == NO_MEMBER or (i > 0 and ids[i] <= ids[i - 1]):
            return False
    return True


# -------------------------------------------------------------------------------------------------------- configurations

cdef bint is_joint(const Configuration* c) noexcept nogil:
    return c.outgoing_count > 0


cdef bint is_tracked(const Configuration* c, uint64_t id) noexcept nogil:
    return (
        ids_contain(c.voters, c.voters_count, id)
        or ids_contain(c.outgoing, c.outgoing_count, id)
        or ids_contain(c.learners, c.learners_count, id)
    )


cdef bint configuration_is_sane(const Configuration* c) noexcept nogil:
    cdef int32_t i
    if not (
        sorted_ids(c.voters, c.voters_count)
        and sorted_ids(c.outgoing, c.outgoing_count)
        and sorted_ids(c.learners, c.learners_count)
        and sorted_ids(c.learners_next, c.learners_next_count)
    ):
        return False
    for i in range(c.learners_count):
        if ids_contain(c.voters, c.voters_count, c.learners[i]):
            return False
        if ids_contain(c.outgoing, c.outgoing_count, c.learners[i]):
            return False
    if c.learners_count + c.learners_next_count > MAX_MEMBERS:
        return False
    for i in range(c.learners_next_count):
        if not ids_contain(c.outgoing, c.outgoing_count, c.learners_next[i]):
            return False
        if ids_contain(c.voters, c.voters_count, c.learners_next[i]):
            return False
    return is_joint(c) or not c.auto_leave


cdef int32_t voters_moved(const Configuration* a, const Configuration* b) noexcept nogil:
    """Voters (of the incoming halves) that are in one of the two and not in the other."""
    cdef int32_t i, moved = 0
    for i in range(a.voters_count):
        moved += not ids_contain(b.voters, b.voters_count, a.voters[i])
    for i in range(b.voters_count):
        moved += not ids_contain(a.voters, a.voters_count, b.voters[i])
    return moved


# --------------------------------------------------------------------------------------------------------------- changes

cdef void begin(Changed* into, const Configuration* c) noexcept nogil:
    memset(into, 0, sizeof(Changed))
    into.configuration = c[0]


cdef void note_dropped(Changed* into, uint64_t id) noexcept nogil:
    cdef int32_t i
    for i in range(into.dropped_count):
        if into.dropped[i] == id:
            return
    into.dropped[into.dropped_count] = id     # each change drops one member at most, and there are MAX_CHANGES at most
    into.dropped_count += 1


cdef void remove(Changed* into, uint64_t id, bint for_good) noexcept nogil:
    cdef Configuration* c = &into.configuration
    if not is_tracked(c, id):
        return
    take(c.voters, &c.voters_count, id)
    take(c.learners, &c.learners_count, id)
    take(c.learners_next, &c.learners_next_count, id)
    if for_good and not is_tracked(c, id):
        note_dropped(into, id)


cdef bint make_voter(Configuration* c, uint64_t id) noexcept nogil:
    take(c.learners, &c.learners_count, id)
    take(c.learners_next, &c.learners_next_count, id)
    return put(c.voters, &c.voters_count, id)


cdef bint make_learner(Changed* into, uint64_t id) noexcept nogil:
    cdef Configuration* c = &into.configuration
    if ids_contain(c.learners, c.learners_count, id):
        return True
    remove(into, id, False)
    if ids_contain(c.outgoing, c.outgoing_count, id):
        return put(c.learners_next, &c.learners_next_count, id)
    return put(c.learners, &c.learners_count, id)


cdef int work_through(Changed* into, const MemberChange* changes, int32_t count) noexcept nogil:
    cdef bint enough = True
    cdef int32_t i
    if count < 0 or count > MAX_CHANGES:
        return ERR_BAD_CHANGE
    for i in range(count):
        if changes[i].id == NO_MEMBER:
            continue
        if changes[i].kind == CHANGE_ADD_VOTER:
            enough = make_voter(&into.configuration, changes[i].id)
        elif changes[i].kind == CHANGE_ADD_LEARNER:
            enough = make_learner(into, changes[i].id)
        elif changes[i].kind == CHANGE_REMOVE:
            remove(into, changes[i].id, True)
        elif changes[i].kind != CHANGE_UPDATE:
            return ERR_BAD_CHANGE
        if not enough:
            return ERR_TOO_MANY_MEMBERS
    # Whoever waits in `learners_next` must find room when the joint configuration is left.
    if into.configuration.learners_count + into.configuration.learners_next_count > MAX_MEMBERS:
        return ERR_TOO_MANY_MEMBERS
    return ERR_NO_VOTERS if into.configuration.voters_count == 0 else OK


cdef int change_simple(
        const Configuration* c, const MemberChange* changes, int32_t count, Changed* into) noexcept nogil:
    cdef int code
    if is_joint(c):
        return ERR_SIMPLE_IN_JOINT
    begin(into, c)
    code = work_through(into, changes, count)
    if code == OK and voters_moved(c, &into.configuration) > 1:
        code = ERR_NEEDS_JOINT
    return code


cdef int change_enter_joint(
        const Configuration* c, bint auto_leave, const MemberChange* changes, int32_t count, Changed* into) noexcept nogil:
    cdef Configuration* joint = &into.configuration
    cdef int32_t i
    if is_joint(c):
        return ERR_ALREADY_JOINT
    if c.voters_count == 0:
        return ERR_JOINT_WITHOUT_VOTERS
    begin(into, c)
    for i in range(c.voters_count):
        joint.outgoing[i] = c.voters[i]
    joint.outgoing_count = c.voters_count
    joint.auto_leave = auto_leave
    return work_through(into, changes, count)


cdef int change_leave_joint(const Configuration* c, Changed* into) noexcept nogil:
    cdef Configuration* final = &into.configuration
    cdef int32_t i
    if not is_joint(c):
        return ERR_NOT_JOINT
    begin(into, c)
    for i in range(c.learners_next_count):
        if not put(final.learners, &final.learners_count, c.learners_next[i]):
            return ERR_TOO_MANY_MEMBERS
    memset(final.outgoing, 0, sizeof(final.outgoing))
    memset(final.learners_next, 0, sizeof(final.learners_next))
    final.outgoing_count = final.learners_next_count = 0
    final.auto_leave = False
    return OK


cdef int change_apply(const Configuration* c, const ConfChange* change, Changed* into) noexcept nogil:
    if change.count == 0:
        return change_leave_joint(c, into) if change.transition == TRANSITION_AUTO else ERR_BAD_CHANGE
    if change.transition != TRANSITION_AUTO or change.count > 1:
        return change_enter_joint(
            c, change.transition != TRANSITION_EXPLICIT, change.changes, change.count, into)
    return change_simple(c, change.changes, change.count, into)
