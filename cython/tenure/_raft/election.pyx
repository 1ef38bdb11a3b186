"""Elections (Raft, section 5.2; pre-vote: Ongaro's dissertation, section 9.6; check-quorum and stickiness: section 6.2).

Every change of role goes through `reset`, whose first act on a leader is to withdraw its lease: word, then role, then any vote
or reply (LEASE.md rule 8). A promise outranks everything here: until it has passed this member grants no vote and no pre-vote
and starts no campaign, whatever asked for it, and the refusal changes neither term nor timer.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t

from tenure._raft.guards cimport GUARD_ONE_CHANGE, GUARD_WITHDRAW_FIRST, guard_on
from tenure._raft.lease_rule cimport fail, lease_open, lease_withdraw
from tenure._raft.log cimport log_last_index, log_last_term, log_matches, log_term, log_up_to_date
from tenure._raft.outbox cimport outbox
from tenure._raft.progress cimport become_replicate, progress_of, progress_reset
from tenure._raft.promise cimport promise_remaining
from tenure._raft.quorum cimport quorum_joint_vote, quorum_vote
from tenure._raft.reads cimport reads_fail
from tenure._raft.replication cimport append_entries, broadcast_append, is_voter
from tenure._raft.state cimport Progress, Raft, Vote
from tenure._raft.types cimport (
    CANDIDATE,
    ENTRY_NORMAL,
    ERR_MEMORY,
    FOLLOWER,
    LEADER,
    MAX_PROMISE_NS,
    MSG_PRE_VOTE,
    MSG_PRE_VOTE_RESP,
    MSG_TIMEOUT_NOW,
    MSG_VOTE,
    MSG_VOTE_RESP,
    NO_MEMBER,
    OK,
    PRE_CANDIDATE,
    VOTE_LOST,
    VOTE_WON,
    Message,
    VoteResult,
)
from tenure._core.blob cimport Blob


cdef uint64_t next_random(Raft* r) noexcept nogil:
    """SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere."""
    cdef uint64_t z
    r.random += 0x9E3779B97F4A7C15ULL
    z = r.random
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL
    return z ^ (z >> 31)


cdef void reset(Raft* r, uint64_t term) noexcept nogil:
    cdef size_t i
    cdef uint64_t last = log_last_index(&r.log)
    if r.role == LEADER:
        if guard_on(r.config.guards_off, GUARD_WITHDRAW_FIRST):
            lease_withdraw(r)
        else:
            r.lease_late_clear = True
    reads_fail(r)
    if r.term != term:
        r.term = term
        r.vote = NO_MEMBER
    r.lead = NO_MEMBER
    r.election_elapsed = 0
    r.heartbeat_elapsed = 0
    r.election_timeout = r.config.election_ticks + <int32_t>(next_random(r) % <uint64_t>r.config.election_ticks)
    r.campaign_at_ns = 0
    r.transferee = NO_MEMBER
    r.transfer_sent = False
    r.release_term = 0
    r.votes.clear()
    r.uncommitted_bytes = 0
    r.told_commit = 0
    r.own_term_index = 0
    r.pending_change_index = 0
    r.leaving_index = r.leaving_round = 0
    r.delayed_release = 0
    r.departed.clear()
    for i in range(r.progress.size):
        progress_reset(&r.progress.data[i], last, r.progress.data[i].id == r.config.id)


cdef void become_follower(Raft* r, uint64_t term, uint64_t lead) noexcept nogil:
    reset(r, term)
    r.lead = lead
    r.role = FOLLOWER


cdef void become_pre_candidate(Raft* r) noexcept nogil:
    # Neither term nor vote changes: nothing of it has to be durable.
    r.votes.clear()
    r.lead = NO_MEMBER
    r.role = PRE_CANDIDATE
    r.campaign_at_ns = 0


cdef void become_candidate(Raft* r) noexcept nogil:
    reset(r, r.term + 1)
    r.vote = r.config.id
    r.role = CANDIDATE


cdef void become_leader(Raft* r) noexcept nogil:
    cdef Progress* me
    cdef Blob* empty = NULL
    reset(r, r.term)
    r.lead = r.config.id
    r.role = LEADER
    me = progress_of(r, r.config.id)
    if me != NULL:
        become_replicate(me)
        me.recent_active = True
    lease_open(r)
    # Whatever a predecessor left in the log may be a change: none may follow before all of it is applied here.
    r.pending_change_index = log_last_index(&r.log)
    if append_entries(r, &empty, 1, ENTRY_NORMAL) == OK:
        r.own_term_index = log_last_index(&r.log)


cdef bint promotable(Raft* r) noexcept nogil:
    cdef Progress* me = progress_of(r, r.config.id)
    return me != NULL and not me.is_learner and r.log.pending_snapshot == NULL and r.log.installing == 0


cdef bint has_unapplied_change(const Raft* r) noexcept nogil:
    """A member with a committed, unapplied change of membership does not know whose votes count."""
    cdef uint64_t index = max(r.log.applied, r.log.offset) + 1
    if not guard_on(r.config.guards_off, GUARD_ONE_CHANGE):
        return False
    while index <= r.log.committed:
        if r.log.entries.data[index - r.log.offset - 1].kind != ENTRY_NORMAL:
            return True
        index += 1
    return False


cdef void request_votes(Raft* r, uint64_t id, bint pre) noexcept nogil:
    cdef Message* m
    if id == r.config.id:
        m = outbox(r, MSG_PRE_VOTE_RESP if pre else MSG_VOTE_RESP, id)  # counted once the vote is durable
        if m != NULL:
            m.term = r.term + pre
        return
    m = outbox(r, MSG_PRE_VOTE if pre else MSG_VOTE, id)
    if m != NULL:
        m.term = r.term + pre
        m.index = log_last_index(&r.log)
        m.log_term = log_last_term(&r.log)
        m.release_term = r.release_term


cdef void campaign(Raft* r, bint pre, uint64_t release_term) noexcept nogil:
    cdef size_t i
    if pre:
        become_pre_candidate(r)
    else:
        become_candidate(r)
        r.release_term = release_term
    for i in range(r.progress.size):
        if is_voter(r, r.progress.data[i].id):
            request_votes(r, r.progress.data[i].id, pre)


cdef void hup(Raft* r, uint64_t release_term) noexcept nogil:
    """Campaign, unless something forbids it. `release_term` != 0: asked to by the leader of that term."""
    if r.role == LEADER or not promotable(r) or has_unapplied_change(r):
        return
    if promise_remaining(r, r.config.id, r.term + 1, release_term) != 0:
        return
    campaign(r, r.config.pre_vote and release_term == 0, release_term)


cdef void step_down(Raft* r) noexcept nogil:
    """Clear the word for the term, release the promises to the best voter that is heard, follow."""
    cdef Progress* best = NULL
    cdef Progress* p
    cdef Message* m
    cdef size_t i
    lease_withdraw(r)
    for i in range(r.progress.size):
        p = &r.progress.data[i]
        if p.id == r.config.id or p.is_learner or p.silent_ticks > 2 * r.config.heartbeat_ticks:
            continue
        if is_voter(r, p.id) and (best == NULL or p.match > best.match):
            best = p
    if best != NULL:
        m = outbox(r, MSG_TIMEOUT_NOW, best.id)
        if m != NULL:
            m.release_term = r.term
    become_follower(r, r.term, NO_MEMBER)


cdef void re_elect_self(Raft* r) noexcept nogil:
    """The transferee did not take over in time: open the next term under this term's own release (H03).

    The lease of this term is gone for good, and a TimeoutNow still on its way will be of a lower term.
    """
    cdef uint64_t term = r.term
    if not promotable(r) or has_unapplied_change(r):
        become_follower(r, r.term, NO_MEMBER)
        return
    campaign(r, False, term)


cdef void refuse(const Raft* r, Message* reply) noexcept nogil:
    """Say no, and what is committed: the candidate may act on a configuration that it does not know to be gone.

    Without this a member that was removed, but has the longer log, could refuse for ever those who need its vote only because
    nobody told them. What is applied here has been applied by whoever holds a lease (LEASE.md rule 6).
    """
    cdef uint64_t index = min(r.log.committed, r.log.applied)
    reply.reject = True
    if r.config.commit_in_votes and log_term(&r.log, index, &reply.log_term):
        reply.commit = index


cdef void learn_commit(Raft* r, const Message* m) noexcept nogil:
    """An entry that somebody knows to be committed is committed here too, if it is the same entry."""
    if not m.reject or m.commit <= r.log.committed or not log_matches(&r.log, m.commit, m.log_term):
        return
    r.log.committed = m.commit
    if r.role != FOLLOWER and has_unapplied_change(r):
        become_follower(r, r.term, NO_MEMBER)   # this election is about a configuration of the past


cdef void on_timeout_now(Raft* r, uint64_t release_term) noexcept nogil:
    if r.role != FOLLOWER or release_term != r.term:
        return
    if has_unapplied_change(r):
        r.delayed_release = release_term
    else:
        hup(r, release_term)


cdef bint vote_is_forbidden(Raft* r, const Message* m) noexcept nogil:
    """Refuse what a promise forbids, before term or timer could change; tell a pre-candidate when to ask again."""
    cdef int64_t remaining = promise_remaining(r, m.from_, m.term, m.release_term)
    cdef Message* refusal
    if remaining == 0:
        return False
    if m.type == MSG_PRE_VOTE:
        refusal = outbox(r, MSG_PRE_VOTE_RESP, m.from_)
        if refusal != NULL:
            refuse(r, refusal)
            refusal.remaining_ns = remaining
    return True


cdef void on_vote_request(Raft* r, const Message* m) noexcept nogil:
    """A (pre-)vote at this member's term, or a pre-vote for a later one."""
    cdef bint pre = m.type == MSG_PRE_VOTE
    cdef bint may_vote = (
        r.vote == m.from_
        or (r.vote == NO_MEMBER and r.lead == NO_MEMBER)
        or (pre and m.term > r.term)
    )
    cdef Message* reply = outbox(r, MSG_PRE_VOTE_RESP if pre else MSG_VOTE_RESP, m.from_)
    if reply == NULL:
        return
    if may_vote and log_up_to_date(&r.log, m.index, m.log_term):
        reply.term = m.term  # a granted pre-vote answers at the term that was asked about
        if not pre:
            r.election_elapsed = 0
            r.vote = m.from_
    else:
        refuse(r, reply)


cdef VoteResult tally(Raft* r) noexcept nogil:
    return quorum_joint_vote(
        quorum_vote(r.configuration.voters, r.configuration.voters_count, r.votes.data, r.votes.size),
        quorum_vote(r.configuration.outgoing, r.configuration.outgoing_count, r.votes.data, r.votes.size),
    )


cdef void record_vote(Raft* r, uint64_t id, bint granted) noexcept nogil:
    cdef Vote vote
    cdef size_t i
    for i in range(r.votes.size):
        if r.votes.data[i].id == id:
            return  # the first answer counts
    vote.id = id
    vote.granted = granted
    if not r.votes.push(vote):
        fail(r, ERR_MEMORY)


cdef void on_vote_reply(Raft* r, const Message* m) noexcept nogil:
    cdef VoteResult result
    cdef int64_t spread
    if m.type != (MSG_PRE_VOTE_RESP if r.role == PRE_CANDIDATE else MSG_VOTE_RESP):
        return
    if not is_voter(r, m.from_):
        return
    record_vote(r, m.from_, not m.reject)
    if m.reject and m.remaining_ns > 0 and m.remaining_ns <= MAX_PROMISE_NS and r.now_ns > 0:
        # Ask again when the promise has passed, not one whole timeout later; spread, so that two members told the same
        # do not split the vote.
        spread = <int64_t>(next_random(r) % <uint64_t>(m.remaining_ns // 8 + 20000000))
        r.campaign_at_ns = max(r.campaign_at_ns, r.now_ns + m.remaining_ns + spread)
    result = tally(r)
    if result == VOTE_WON:
        if r.role == PRE_CANDIDATE:
            campaign(r, False, 0)
        else:
            become_leader(r)
            broadcast_append(r)
    elif result == VOTE_LOST:
        spread = r.campaign_at_ns
        become_follower(r, r.term, NO_MEMBER)
        r.campaign_at_ns = spread


cdef bint quorum_is_active(Raft* r) noexcept nogil:
    """Whether a quorum replied since the last look; starts the next interval."""
    cdef VoteResult result
    cdef size_t i
    r.votes.clear()
    for i in range(r.progress.size):
        if not r.progress.data[i].is_learner:
            record_vote(r, r.progress.data[i].id, r.progress.data[i].recent_active)
        if r.progress.data[i].id != r.config.id:
            r.progress.data[i].recent_active = False
    result = tally(r)
    r.votes.clear()
    return result == VOTE_WON
