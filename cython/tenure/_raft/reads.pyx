"""ReadIndex (Ongaro's dissertation, section 6.4), with rounds minted by the leader.

A read notes the commit index at its receipt and the round that will confirm it. A round is a broadcast of heartbeats that
carry its number; an acknowledgement of round n proves that its sender had not followed a later leader when it answered, which
was after the heartbeats of n, and of every round before, had been handed out. So

    confirmed = the greatest round that a quorum acknowledged;  a read of round <= confirmed may be answered

and a read may join an open round only until its heartbeats leave (H23). Rounds grow monotonically within a term and a read's
id is never used twice, so a late acknowledgement cannot confirm a retry (H22). A leader that has not committed an entry of its
own term does not know what its predecessor acknowledged: reads wait for that, bounded in number (H13). With leases on, a
remote read is answered only when this leader has applied its index, so that nobody reads what the lease holder cannot (H12).
"""

from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint64_t

from tenure._raft.guards cimport GUARD_NOBODY_AHEAD, GUARD_OPEN_ROUND, GUARD_OWN_ROUND, guard_on
from tenure._raft.lease_rule cimport fail, is_sole_voter
from tenure._raft.outbox cimport broadcast_heartbeat, outbox
from tenure._raft.progress cimport progress_of
from tenure._raft.quorum cimport quorum_selection
from tenure._raft.state cimport PendingRead, Progress, Raft
from tenure._raft.types cimport (
    ERR_MEMORY,
    ERR_OVERLOADED,
    ERR_STEPPED_DOWN,
    MAX_MEMBERS,
    MSG_READ_INDEX_RESP,
    OK,
    Message,
    ReadState,
)


cdef bint own_term_committed(const Raft* r) noexcept nogil:
    return r.own_term_index != 0 and r.log.committed >= r.own_term_index


cdef void read_answer_here(Raft* r, uint64_t read_id, uint64_t index, int code) noexcept nogil:
    cdef ReadState state
    state.read_id = read_id
    state.index = index
    state.code = code
    if not r.read_states.push(state):
        fail(r, ERR_MEMORY)


cdef void answer(Raft* r, const PendingRead* read, int code) noexcept nogil:
    cdef Message* message
    if read.from_ == r.config.id:
        read_answer_here(r, read.read_id, read.index, code)
        return
    message = outbox(r, MSG_READ_INDEX_RESP, read.from_)
    if message != NULL:
        message.read_id = read.read_id
        message.index = read.index
        message.reject = code != OK


cdef void reads_new_round(Raft* r) noexcept nogil:
    r.round += 1
    r.round_open = True
    broadcast_heartbeat(r, r.round)


cdef bint another_read_waits(const Raft* r) noexcept nogil:
    """For the proof build: the last round is on its way, and not confirmed yet."""
    return r.reads.size > 0 and r.reads.data[r.reads.size - 1].round == r.round and not r.reads.data[r.reads.size - 1].confirmed


cdef void open_round(Raft* r) noexcept nogil:
    if not r.round_open and (guard_on(r.config.guards_off, GUARD_OPEN_ROUND) or not another_read_waits(r)):
        reads_new_round(r)


cdef bint may_answer(const Raft* r, const PendingRead* read) noexcept nogil:
    return (
        read.from_ == r.config.id
        or r.config.promise_ns == 0
        or read.index <= r.log.applied
        or not guard_on(r.config.guards_off, GUARD_NOBODY_AHEAD)
    )


cdef void answer_confirmed(Raft* r) noexcept nogil:
    """Answer what is confirmed and may be shown; keep the rest in order."""
    cdef size_t i, kept = 0
    for i in range(r.reads.size):
        if r.reads.data[i].confirmed and may_answer(r, &r.reads.data[i]):
            answer(r, &r.reads.data[i], OK)
        else:
            r.reads.data[kept] = r.reads.data[i]
            kept += 1
    r.reads.size = kept


cdef int reads_add(Raft* r, uint64_t read_id, uint64_t from_) noexcept nogil:
    cdef PendingRead read
    if r.reads.size >= <size_t>r.config.max_pending_reads:
        return ERR_OVERLOADED
    read.read_id = read_id
    read.from_ = from_
    read.index = 0
    read.round = 0
    read.confirmed = False
    if own_term_committed(r):
        read.index = r.log.committed
        if is_sole_voter(r):
            read.confirmed = True
        else:
            open_round(r)
            read.round = r.round
    if not r.reads.push(read):
        fail(r, ERR_MEMORY)
        return ERR_MEMORY
    if read.confirmed:
        answer_confirmed(r)
    return OK


cdef void reads_on_own_term_commit(Raft* r) noexcept nogil:
    """The first entry of this term is committed: reads that waited for it get their index and their round."""
    cdef bint asked = False, sole = is_sole_voter(r)
    cdef size_t i
    for i in range(r.reads.size):
        if r.reads.data[i].round == 0 and not r.reads.data[i].confirmed:
            r.reads.data[i].index = r.log.committed
            if sole:
                r.reads.data[i].confirmed = True
            else:
                open_round(r)
                r.reads.data[i].round = r.round
            asked = True
    if asked and sole:
        answer_confirmed(r)


cdef int64_t confirmed_by(Raft* r, const uint64_t* voters, int32_t count) noexcept nogil:
    cdef int64_t rounds[MAX_MEMBERS]
    cdef Progress* p
    cdef int32_t i
    for i in range(count):
        if voters[i] == r.config.id:
            rounds[i] = INT64_MAX
        else:
            p = progress_of(r, voters[i])
            rounds[i] = 0 if p == NULL else <int64_t>p.acked_round
    return quorum_selection(rounds, count)


cdef uint64_t reads_confirmed_round(Raft* r) noexcept nogil:
    """The greatest round that a quorum acknowledged."""
    return <uint64_t>min(
        confirmed_by(r, r.configuration.voters, r.configuration.voters_count),
        confirmed_by(r, r.configuration.outgoing, r.configuration.outgoing_count),
    )


cdef void confirm(Raft* r) noexcept nogil:
    cdef uint64_t confirmed = reads_confirmed_round(r)
    cdef size_t i
    for i in range(r.reads.size):
        if r.reads.data[i].round != 0 and r.reads.data[i].round <= confirmed:
            r.reads.data[i].confirmed = True
    answer_confirmed(r)


cdef void reads_on_ack(Raft* r, Progress* p, uint64_t round) noexcept nogil:
    if round != 0 and not guard_on(r.config.guards_off, GUARD_OWN_ROUND):
        round = r.round
    if p.acked_round < round <= r.round:
        p.acked_round = round
        confirm(r)


cdef void reads_on_switch(Raft* r) noexcept nogil:
    if r.reads.size:
        confirm(r)


cdef void reads_on_applied(Raft* r) noexcept nogil:
    if r.reads.size:
        answer_confirmed(r)


cdef void reads_fail(Raft* r) noexcept nogil:
    """Leadership is over: every pending read is told so, none is left to wait for a later term."""
    cdef size_t i
    for i in range(r.reads.size):
        answer(r, &r.reads.data[i], ERR_STEPPED_DOWN)
    r.reads.clear()
    r.round = 0
    r.round_open = False
