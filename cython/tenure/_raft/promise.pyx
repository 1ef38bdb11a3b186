"""This member's promise: until `promise_until_ns` of its own clock it grants no vote and starts no campaign.

The promise is kept by every member in every mode, learners included. Its fields are its own: no change of role, term,
leader or configuration touches them. Exceptions are two: the holder itself may be voted for, and the holder may release, which
is worth one term: a leader of `release_term` cleared its lease word before it told anybody, and that it was elected proves
that no lease of a lower term was left; so promises made up to that term do not bind at release_term + 1.

A member that restarts has forgotten what it promised, so it waits out the longest promise it ever made. That bound is hard
state: a promise is never longer than the bound that is already durable; a leader that asks for more gets less until then.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint64_t

from tenure._raft.guards cimport GUARD_OWN_FIELD, GUARD_RESTART, guard_on
from tenure._raft.state cimport Raft
from tenure._raft.types cimport MAX_PROMISE_NS, NO_MEMBER, Message


cdef void grow_or_shrink_bound(Raft* r, int64_t asked) noexcept nogil:
    """The bound follows what is asked: up at once, down only when every longer promise has passed."""
    if asked >= r.promise_bound_ns:
        r.promise_bound_ns = asked
        r.bound_shrink_at_ns = 0
    elif r.bound_shrink_at_ns == 0:
        r.bound_shrink_at_ns = r.now_ns + r.promise_bound_ns
        r.bound_shrink_to_ns = asked
    else:
        r.bound_shrink_to_ns = max(r.bound_shrink_to_ns, asked)
        # What was promised since then lasts no longer than `bound_shrink_to_ns`.
        if r.now_ns >= r.bound_shrink_at_ns:
            r.promise_bound_ns = r.bound_shrink_to_ns
            r.bound_shrink_at_ns = 0


cdef int64_t promise_make(Raft* r, const Message* m) noexcept nogil:
    """Promise to the sender of an accepted leader message, from this input's clock reading on."""
    cdef int64_t promised
    cdef size_t i
    if m.promise_ns <= 0 or m.promise_ns > MAX_PROMISE_NS or r.now_ns <= 0:
        return 0
    grow_or_shrink_bound(r, m.promise_ns)
    promised = min(m.promise_ns, min(r.promise_bound_ns, r.promise_bound_durable_ns))
    for i in range(r.writes.size):  # a crash may find any of these bounds on the disk
        promised = min(promised, r.writes.data[i].promise_bound_ns)
    if promised > 0:
        r.promise_until_ns = max(r.promise_until_ns, r.now_ns + promised)
        r.promise_holder = m.from_
        r.promise_term = m.term
    return promised


cdef int64_t promise_remaining(
        const Raft* r, uint64_t candidate, uint64_t term, uint64_t release_term) noexcept nogil:
    if r.now_ns <= 0 or r.restart_wait_ns != 0:
        return INT64_MAX  # without a clock nobody can tell whether a promise has passed
    if r.now_ns >= r.promise_until_ns:
        return 0
    if candidate == r.promise_holder:
        return 0
    if release_term != 0 and term == release_term + 1 and r.promise_term <= release_term:
        return 0
    if r.lead == NO_MEMBER and not guard_on(r.config.guards_off, GUARD_OWN_FIELD):
        return 0
    return r.promise_until_ns - r.now_ns


cdef void promise_on_start(Raft* r) noexcept nogil:
    """Wait out the longest promise of the life before. It may have been made to anybody, in any term up to this one."""
    if r.promise_bound_ns <= 0 or not guard_on(r.config.guards_off, GUARD_RESTART):
        return
    r.promise_holder = NO_MEMBER
    r.promise_term = r.term
    r.restart_wait_ns = r.promise_bound_ns
    promise_on_clock(r)


cdef void promise_on_clock(Raft* r) noexcept nogil:
    """A wait that began without a clock starts to run at the first reading."""
    if r.restart_wait_ns != 0 and r.now_ns > 0:
        r.promise_until_ns = max(r.promise_until_ns, r.now_ns + r.restart_wait_ns)
        r.restart_wait_ns = 0
