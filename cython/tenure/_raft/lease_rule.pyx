"""The leader's lease, derived from the promises of a majority.

Each reply of this term says which of the leader's own clock readings (`stamp`) it answers and for how long, from a later
instant, its sender promised to vote for nobody else (`promised`). With r the bound on any clock's rate error and g the
granularity of a stamp, that promise holds, on the leader's clock, at least until

    until_p = stamp + promised (1 - r) / (1 + r) - g

The lease ends at the greatest instant that a majority of the configuration reaches (of both halves when joint), the leader
counting itself as now + D where it is a voter. The word is extended to it only while this member leads, has applied an entry
of its own term, and has not withdrawn in this term. Withdrawing comes before the role change, vote or reply it announces.

A host may let other words depend on this leadership: each withdrawal withdraws them too, in the same step. They say what
their owners proved; a switch of configuration, which merely ends what was reckoned for other voters, leaves them alone.

The only state outside `Raft` are the lease words, which reader threads load at any time.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcmp

from tenure._core.lease cimport (
    LeaseWord,
    lease_close,
    lease_extend,
    lease_generation,
    lease_invalidate,
    lease_release,
    lease_retain,
)
from tenure._raft.changer cimport ids_contain
from tenure._raft.guards cimport (
    GUARD_JOINT,
    GUARD_OWN_TERM,
    GUARD_PROMISED,
    GUARD_RATE,
    GUARD_REMOVED_LEADER,
    GUARD_SEND_STAMP,
    GUARD_SOLE_VOTER,
    guard_on,
)
from tenure._raft.progress cimport progress_of
from tenure._raft.quorum cimport quorum_selection
from tenure._raft.state cimport Progress, Raft
from tenure._raft.types cimport LEADER, MAX_MEMBERS, MAX_PROMISE_NS, OK, Configuration, Message

cdef enum:
    LAST_GENERATION = 0xFFFFFF          # of the lease word; 1 follows it
    RATE_WINDOW_NS = 5000000000
    MAX_ELAPSED_NS = 0x10000000000000


cdef bint is_sole_voter(const Raft* r) noexcept nogil:
    """Self is a voter, there is no other voter and no outgoing half."""
    if r.configuration.voters_count != 1:
        return False
    if not guard_on(r.config.guards_off, GUARD_SOLE_VOTER):
        return True
    return r.configuration.outgoing_count == 0 and r.configuration.voters[0] == r.config.id


cdef void lease_open(Raft* r) noexcept nogil:
    r.lease_cleared = False
    # Sampled before any reply of this term can arrive: whoever invalidates the word from now on ends the term's lease.
    r.lease_generation = 0 if r.lease == NULL else lease_generation(r.lease)


cdef void lease_withdraw(Raft* r) noexcept nogil:
    cdef size_t i
    r.lease_cleared = True
    if r.lease != NULL:
        lease_invalidate(r.lease)
    for i in range(r.dependents.size):
        lease_invalidate(r.dependents.data[i])


cdef bint lease_add_dependent(Raft* r, LeaseWord* word) noexcept nogil:
    if not r.dependents.push(word):
        return False
    lease_retain(word)
    if r.role != LEADER or r.lease_cleared:
        lease_invalidate(word)
    return True


cdef void lease_drop_dependent(Raft* r, LeaseWord* word) noexcept nogil:
    cdef size_t i
    for i in range(r.dependents.size):
        if r.dependents.data[i] == word:
            r.dependents.data[i] = r.dependents.data[r.dependents.size - 1]
            r.dependents.size -= 1
            lease_release(word)
            return


cdef void lease_close_dependents(Raft* r) noexcept nogil:
    cdef size_t i
    for i in range(r.dependents.size):
        lease_close(r.dependents.data[i])
        lease_release(r.dependents.data[i])
    r.dependents.release()


cdef void fail(Raft* r, int code) noexcept nogil:
    if r.failed == OK:
        lease_withdraw(r)
        r.failed = code


cdef void judge_rate(Raft* r, Progress* p, const Message* m) noexcept nogil:
    """Compare the peer's clock with ours over windows of 5 s (H10).

    The peer read its clock between our sending of the stamp and our receipt of the reply, so its elapsed time lies between
    two bounds of ours; outside of them, widened by the bound on rates, one of the two clocks breaks the assumption.
    """
    cdef int64_t peer_elapsed, at_least, at_most
    cdef int64_t slow = r.config.rate_denominator - r.config.rate_numerator
    cdef int64_t fast = r.config.rate_denominator + r.config.rate_numerator
    cdef bint refused
    if m.peer_clock_ns <= 0 or r.now_ns <= 0:
        return
    # A clock that went back was started anew with its machine: its rate is judged from here on.
    if p.rate_stamp_ns != 0 and m.peer_clock_ns >= p.rate_peer_ns:
        at_least = m.stamp_ns - p.rate_received_ns
        if at_least < RATE_WINDOW_NS:
            return
        at_most = r.now_ns - p.rate_stamp_ns
        peer_elapsed = m.peer_clock_ns - p.rate_peer_ns
        refused = (
            peer_elapsed > MAX_ELAPSED_NS
            or at_most > MAX_ELAPSED_NS
            or peer_elapsed * slow > at_most * fast
            or peer_elapsed * fast < at_least * slow
        )
        r.rate_alarms += refused and not p.rate_refused
        p.rate_refused = refused
    p.rate_stamp_ns = m.stamp_ns
    p.rate_peer_ns = m.peer_clock_ns
    p.rate_received_ns = r.now_ns


cdef void lease_on_reply(Raft* r, Progress* p, const Message* m) noexcept nogil:
    """Note what a reply of this term promises. Any such reply counts, rejections included (H27)."""
    cdef int64_t stamp = m.stamp_ns, promised = m.promised_ns, until
    if r.config.promise_ns == 0 or stamp <= 0 or stamp > r.now_ns:
        return
    judge_rate(r, p, m)
    if p.rate_refused and guard_on(r.config.guards_off, GUARD_RATE):
        p.lease_until_ns = 0
        return
    if not guard_on(r.config.guards_off, GUARD_SEND_STAMP):
        stamp = r.now_ns
    if not guard_on(r.config.guards_off, GUARD_PROMISED):
        promised = r.config.promise_ns
    if promised <= 0 or promised > MAX_PROMISE_NS:
        return
    until = (
        stamp
        + promised * (r.config.rate_denominator - r.config.rate_numerator)
        // (r.config.rate_denominator + r.config.rate_numerator)
        - r.config.granularity_ns
    )
    p.lease_until_ns = max(p.lease_until_ns, until)
    lease_update(r)


cdef void lease_on_vote(Raft* r, Progress* p) noexcept nogil:
    """The proof build alone: takes a vote for a promise (H27 off)."""
    if r.config.promise_ns == 0 or r.now_ns <= 0:
        return
    p.lease_until_ns = max(
        p.lease_until_ns,
        r.now_ns
        + r.config.promise_ns * (r.config.rate_denominator - r.config.rate_numerator)
        // (r.config.rate_denominator + r.config.rate_numerator)
        - r.config.granularity_ns,
    )
    lease_update(r)


cdef int64_t reached(Raft* r, const uint64_t* voters, int32_t count) noexcept nogil:
    cdef int64_t until[MAX_MEMBERS + 1]
    cdef Progress* p
    cdef int32_t i
    if not guard_on(r.config.guards_off, GUARD_REMOVED_LEADER) and not ids_contain(voters, count, r.config.id):
        # proof build, H15 switched off: this member takes itself for one voter more
        for i in range(count):
            p = progress_of(r, voters[i])
            until[i] = 0 if p == NULL else p.lease_until_ns
        until[count] = r.now_ns + r.config.promise_ns
        quorum_selection(until, count + 1)  # sorts them
        return until[count + 1 - (count // 2 + 1)]
    for i in range(count):
        if voters[i] == r.config.id:
            until[i] = r.now_ns + r.config.promise_ns
        else:
            p = progress_of(r, voters[i])
            until[i] = 0 if p == NULL else p.lease_until_ns
    return quorum_selection(until, count)


cdef void lease_update(Raft* r) noexcept nogil:
    """Extend the word to what the promises known so far allow."""
    cdef int64_t until
    if r.lease == NULL or r.role != LEADER or r.lease_cleared or r.config.promise_ns == 0 or r.now_ns <= 0:
        return
    if r.log.applied < r.own_term_index and guard_on(r.config.guards_off, GUARD_OWN_TERM):
        return
    if r.configuration.voters_count == 0:
        return
    until = reached(r, r.configuration.voters, r.configuration.voters_count)
    if r.configuration.outgoing_count and guard_on(r.config.guards_off, GUARD_JOINT):
        until = min(until, reached(r, r.configuration.outgoing, r.configuration.outgoing_count))
    if until > r.now_ns:
        lease_extend(r.lease, until, <uint32_t>r.lease_generation)


cdef bint same_voters(const Configuration* a, const Configuration* b) noexcept nogil:
    return (
        a.voters_count == b.voters_count
        and a.outgoing_count == b.outgoing_count
        and memcmp(a.voters, b.voters, <size_t>a.voters_count * sizeof(uint64_t)) == 0
        and memcmp(a.outgoing, b.outgoing, <size_t>a.outgoing_count * sizeof(uint64_t)) == 0
    )


cdef bint contains_self(const Raft* r, const Configuration* c) noexcept nogil:
    return (
        ids_contain(c.voters, c.voters_count, r.config.id) or ids_contain(c.outgoing, c.outgoing_count, r.config.id)
    )


cdef void lease_before_switch(Raft* r, const Configuration* to) noexcept nogil:
    """An end that was reckoned for one set of voters says nothing about another: next generation, no lease (H16).

    The term goes on under the new generation only if nobody else has invalidated the word meanwhile. A leader that will be
    no voter has had its last lease of this term (H15).
    """
    cdef uint32_t before, after
    if r.role != LEADER:
        return
    if not contains_self(r, to) and guard_on(r.config.guards_off, GUARD_REMOVED_LEADER):
        lease_withdraw(r)
        return
    if r.lease == NULL or r.lease_cleared or same_voters(&r.configuration, to):
        return
    if not guard_on(r.config.guards_off, GUARD_JOINT):
        return
    before = <uint32_t>r.lease_generation
    if before == 0 or lease_generation(r.lease) != before:
        return
    lease_invalidate(r.lease)
    after = lease_generation(r.lease)
    if after == (1 if before == LAST_GENERATION else before + 1):
        r.lease_generation = after
