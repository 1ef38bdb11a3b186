"""The pure Raft state machine: inputs, terms, Ready. The contract is in `raft.pxd`, the state in `state.pxd`.

Rules of terms stand in one place, `raft_step`; what a role does with a message of its own term stands in one body per role.
Deterministic: members are visited in the order of their ids, and chance comes from a seeded generator.
"""

from libc.stdint cimport UINT64_MAX, int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from tenure._core.blob cimport Blob
from tenure._core.lease cimport LeaseWord, lease_invalidate, lease_release, lease_retain
from tenure._core.vec cimport Vec
from tenure._raft.changer cimport configuration_is_sane
from tenure._raft.election cimport (
    become_follower,
    hup,
    learn_commit,
    on_timeout_now,
    on_vote_reply,
    on_vote_request,
    promotable,
    quorum_is_active,
    re_elect_self,
    step_down,
    vote_is_forbidden,
)
from tenure._raft.guards cimport GUARD_ACKNOWLEDGEMENT, GUARD_OWN_FIELD, GUARD_TRANSFER_CLEARS, guard_on
from tenure._raft.lease_rule cimport fail, lease_close_dependents, lease_on_vote, lease_update, lease_withdraw
from tenure._raft.log cimport (
    log_append,
    log_compact,
    log_copy,
    log_last_index,
    log_release,
    log_term,
)
from tenure._raft.membership cimport (
    apply_change,
    membership_on_applied,
    membership_on_reply,
    membership_on_start,
    propose_change,
)
from tenure._raft.outbox cimport broadcast_heartbeat, outbox
from tenure._raft.progress cimport become_probe, progress_of, progress_release
from tenure._raft.promise cimport promise_on_clock, promise_on_start
from tenure._raft.reads cimport read_answer_here, reads_add, reads_fail, reads_on_applied
from tenure._raft.replication cimport (
    adopt,
    append_entries,
    broadcast_append,
    hand_over_if_caught_up,
    is_voter,
    maybe_send_append,
    on_append,
    on_append_reply,
    on_heartbeat,
    on_heartbeat_reply,
    on_snapshot,
    tell_commit,
)
from tenure._raft.state cimport REMOVAL_HAND_OVER, REPLICATE, SNAPSHOT, Progress, Raft, RaftConfig, SelfMessage, Write
from tenure._raft.types cimport (
    ENTRY_NORMAL,
    ERR_BAD_TARGET,
    ERR_COMPACTED,
    ERR_INVARIANT,
    ERR_MEMORY,
    ERR_NO_LEADER,
    ERR_NOT_LEADER,
    ERR_REMOVED,
    ERR_STEPPED_DOWN,
    ERR_TRANSFER,
    ERR_UNAVAILABLE,
    ERR_UNKNOWN_PEER,
    FOLLOWER,
    LEADER,
    MAX_PROMISE_NS,
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_PRE_VOTE,
    MSG_PRE_VOTE_RESP,
    MSG_READ_INDEX,
    MSG_READ_INDEX_RESP,
    MSG_SNAP,
    MSG_TIMEOUT_NOW,
    MSG_VOTE,
    MSG_VOTE_RESP,
    NO_MEMBER,
    OK,
    ConfChange,
    Configuration,
    Entry,
    HardState,
    Message,
    Ready,
    Snapshot,
    entry_bytes,
    message_release,
    messages_release,
)


# ------------------------------------------------------------------------------------------------------------- life

cdef void raft_default_config(RaftConfig* config) noexcept nogil:
    memset(config, 0, sizeof(RaftConfig))
    config.election_ticks = 100
    config.heartbeat_ticks = 10
    config.check_quorum = True
    config.pre_vote = True
    config.async_storage = True
    config.on_removal = REMOVAL_HAND_OVER
    config.commit_in_votes = True
    config.max_message_bytes = 1 << 20
    config.max_committed_bytes = 4 << 20
    config.max_inflight_messages = 256
    config.max_inflight_bytes = 64 << 20
    config.max_uncommitted_bytes = 64 << 20
    config.max_pending_reads = 65536
    config.promise_ns = 990000000
    config.rate_numerator = 1
    config.rate_denominator = 8
    config.granularity_ns = 1
    config.seed = 1


cdef bint config_is_sane(const RaftConfig* c) noexcept nogil:
    return (
        c.id != NO_MEMBER
        and c.heartbeat_ticks >= 1
        and c.election_ticks > c.heartbeat_ticks
        and c.max_inflight_messages >= 1
        and c.max_pending_reads >= 0
        and 0 <= c.promise_ns <= MAX_PROMISE_NS
        and 0 <= c.rate_numerator < c.rate_denominator <= 1000
        and c.granularity_ns >= 0
        and c.on_removal <= REMOVAL_HAND_OVER
    )


cdef Raft* raft_new(
        const RaftConfig* config, const HardState* hard, const Configuration* configuration, const Snapshot* snapshot,
        const Vec[Entry]* entries, uint64_t applied, LeaseWord* lease, int64_t now_ns) noexcept nogil:
    cdef Raft* r
    cdef size_t i
    if not config_is_sane(config) or not configuration_is_sane(configuration):
        return NULL
    r = <Raft*>calloc(1, sizeof(Raft))
    if r == NULL:
        return NULL
    memcpy(&r.config, config, sizeof(RaftConfig))
    if config.disable_change_validation:
        r.config.promise_ns = 0     # leases rest on the validation of changes (H17)
    r.random = config.seed * 0x9E3779B97F4A7C15ULL + config.id
    r.now_ns = now_ns
    r.term = hard.term
    r.vote = hard.vote
    if snapshot != NULL:
        r.log.offset = snapshot.index
        r.log.offset_term = snapshot.term
        memcpy(&r.log.latest_snapshot, snapshot, sizeof(Snapshot))
    if entries != NULL:
        for i in range(entries.size):
            if entries.data[i].index <= r.log.offset:
                continue
            if log_append(&r.log, &entries.data[i]) != OK:
                raft_free(r)
                return NULL
    r.log.persisting = r.log.stable = log_last_index(&r.log)
    r.log.committed = max(hard.commit, r.log.offset)
    r.log.applied = r.log.applying = max(applied, r.log.offset)
    if r.log.committed > log_last_index(&r.log) or r.log.applied > r.log.committed:
        raft_free(r)
        return NULL
    if not adopt(r, configuration, r.log.applied):
        raft_free(r)
        return NULL
    membership_on_start(r)
    r.promise_bound_ns = r.promise_bound_durable_ns = hard.promise_bound_ns
    r.lease = lease_retain(lease) if lease != NULL else NULL
    become_follower(r, r.term, NO_MEMBER)
    promise_on_start(r)
    r.told_hard = hard_state(r)
    r.told_role = FOLLOWER
    return r


cdef void raft_free(Raft* r) noexcept nogil:
    cdef size_t i
    if r == NULL:
        return
    if r.lease != NULL:
        lease_invalidate(r.lease)
        lease_release(r.lease)
    lease_close_dependents(r)
    log_release(&r.log)
    progress_release(&r.progress)
    r.departed.release()
    r.votes.release()
    r.reads.release()
    messages_release(&r.messages)
    messages_release(&r.after_append)
    for i in range(r.self_messages.size):
        message_release(&r.self_messages.data[i].message)
    r.self_messages.release()
    r.read_states.release()
    r.writes.release()
    free(r)


cdef void raft_fail(Raft* r, int code) noexcept nogil:
    if r.failed != OK:
        return
    lease_withdraw(r)
    reads_fail(r)
    fail(r, code)


cdef uint64_t raft_last_index(const Raft* r) noexcept nogil:
    return log_last_index(&r.log)


# ----------------------------------------------------------------------------------------------------------- inputs

cdef inline void take_clock(Raft* r, int64_t now_ns) noexcept nogil:
    r.now_ns = now_ns
    if r.restart_wait_ns != 0:
        promise_on_clock(r)


cdef inline bint is_leader_message(uint8_t type) noexcept nogil:
    return type == MSG_APP or type == MSG_HEARTBEAT or type == MSG_SNAP


cdef inline bint is_reply(uint8_t type) noexcept nogil:
    # The answer to a read is not among them: it may come from a leader that this member's configuration does not know yet.
    return (
        type == MSG_APP_RESP or type == MSG_HEARTBEAT_RESP or type == MSG_VOTE_RESP or type == MSG_PRE_VOTE_RESP
    )


cdef void on_lower_term(Raft* r, const Message* m) noexcept nogil:
    """A message of the past. Its sender may need to hear that the term has moved on; no stamp is echoed."""
    cdef Message* reply
    if (r.config.check_quorum or r.config.pre_vote) and (m.type == MSG_HEARTBEAT or m.type == MSG_APP):
        # Without this a deposed leader, or a candidate whose term ran ahead in a partition, might never learn of each
        # other: the higher term makes the leader step down.
        outbox(r, MSG_APP_RESP, m.from_)
    elif m.type == MSG_PRE_VOTE:
        reply = outbox(r, MSG_PRE_VOTE_RESP, m.from_)
        if reply != NULL:
            reply.reject = True


cdef inline bint counts_are_possible(const Message* m) noexcept nogil:
    """No group lives to see a term or an index of 2^62; sums with such a one from a broken peer might wrap around."""
    cdef uint64_t all_bits = m.term | m.index | m.log_term | m.commit | m.reject_hint
    if m.snapshot != NULL:
        all_bits |= m.snapshot.index | m.snapshot.term
    return all_bits >> 62 == 0


cdef int raft_step(Raft* r, const Message* m, int64_t now_ns) noexcept nogil:
    cdef bint sticky, released
    if r.failed != OK:
        return r.failed
    take_clock(r, now_ns)
    if is_reply(m.type) and progress_of(r, m.from_) == NULL:
        return ERR_UNKNOWN_PEER  # removed meanwhile: neither its answers nor its term count
    if not counts_are_possible(m):
        return OK
    if m.term < r.term:
        on_lower_term(r, m)
        return r.failed
    if m.type == MSG_VOTE or m.type == MSG_PRE_VOTE:
        # A member that hears its leader does not help to depose it, except when that leader itself asked for the election.
        sticky = r.config.check_quorum and r.lead != NO_MEMBER and r.election_elapsed < r.config.election_ticks
        if vote_is_forbidden(r, m):
            return r.failed
        released = m.release_term != 0 and m.term == m.release_term + 1
        if m.term > r.term and sticky and not released:
            return OK
    if m.term > r.term:
        # A pre-vote never changes the term, and its grant answers at the term that was asked about.
        if m.type != MSG_PRE_VOTE and (m.type != MSG_PRE_VOTE_RESP or m.reject):
            become_follower(r, m.term, m.from_ if is_leader_message(m.type) else NO_MEMBER)
    if m.type == MSG_VOTE or m.type == MSG_PRE_VOTE:
        on_vote_request(r, m)
    elif r.role == LEADER:
        step_leader(r, m)
    else:
        step_other(r, m)
    return r.failed


cdef void step_leader(Raft* r, const Message* m) noexcept nogil:
    cdef Progress* p = progress_of(r, m.from_)
    if p == NULL:
        if m.type == MSG_READ_INDEX:
            refuse_remote_read(r, m)
    elif m.type == MSG_APP_RESP:
        on_append_reply(r, p, m)
        membership_on_reply(r)
    elif m.type == MSG_HEARTBEAT_RESP:
        on_heartbeat_reply(r, p, m)
        membership_on_reply(r)
    elif m.type == MSG_READ_INDEX:
        if reads_add(r, m.read_id, m.from_) != OK:
            refuse_remote_read(r, m)
    elif m.type == MSG_VOTE_RESP or m.type == MSG_PRE_VOTE_RESP:
        # A vote is no promise, however late it comes.
        if not m.reject and not guard_on(r.config.guards_off, GUARD_ACKNOWLEDGEMENT):
            lease_on_vote(r, p)


cdef void refuse_remote_read(Raft* r, const Message* m) noexcept nogil:
    cdef Message* refusal = outbox(r, MSG_READ_INDEX_RESP, m.from_)
    if refusal != NULL:
        refusal.read_id = m.read_id
        refusal.reject = True


cdef void step_other(Raft* r, const Message* m) noexcept nogil:
    if is_leader_message(m.type):
        if r.role != FOLLOWER:
            become_follower(r, m.term, m.from_)  # somebody else was elected in this term
        r.election_elapsed = 0
        r.campaign_at_ns = 0
        r.lead = m.from_
        if m.type == MSG_APP:
            on_append(r, m)
        elif m.type == MSG_HEARTBEAT:
            on_heartbeat(r, m)
        else:
            on_snapshot(r, m)
    elif m.type == MSG_PRE_VOTE_RESP or m.type == MSG_VOTE_RESP:
        learn_commit(r, m)
        if r.role != FOLLOWER:
            on_vote_reply(r, m)
    elif m.type == MSG_TIMEOUT_NOW:
        on_timeout_now(r, m.release_term)
    elif m.type == MSG_READ_INDEX:
        refuse_remote_read(r, m)
    elif m.type == MSG_READ_INDEX_RESP:
        read_answer_here(r, m.read_id, m.index, ERR_STEPPED_DOWN if m.reject else OK)


cdef int raft_tick(Raft* r, int64_t now_ns) noexcept nogil:
    if r.failed != OK:
        return r.failed
    take_clock(r, now_ns)
    if r.lease_late_clear:  # proof build, H19 switched off
        r.lease_late_clear = False
        if r.role != LEADER and r.lease != NULL:
            lease_invalidate(r.lease)
    if r.role == LEADER:
        tick_leader(r)
    else:
        tick_other(r)
    return r.failed


cdef int32_t raft_rest_ticks(const Raft* r) noexcept nogil:
    cdef int32_t left
    if r.role == LEADER:
        left = min(
            r.config.heartbeat_ticks - r.heartbeat_elapsed, r.config.election_ticks - r.election_elapsed)
    elif r.campaign_at_ns != 0 or r.lease_late_clear:
        left = 1    # an instant, not a number of ticks
    else:
        left = r.election_timeout - r.election_elapsed
    return max(1, left)


cdef void tick_other(Raft* r) noexcept nogil:
    r.election_elapsed += 1
    if not promotable(r):
        return
    if r.campaign_at_ns != 0 and r.now_ns >= r.campaign_at_ns:
        r.campaign_at_ns = 0
        r.election_elapsed = 0
        hup(r, 0)
    elif r.election_elapsed >= r.election_timeout:
        r.election_elapsed = 0
        hup(r, 0)


cdef void tick_leader(Raft* r) noexcept nogil:
    cdef size_t i
    r.heartbeat_elapsed += 1
    r.election_elapsed += 1
    for i in range(r.progress.size):
        r.progress.data[i].silent_ticks += 1
    if r.election_elapsed >= r.config.election_ticks:
        r.election_elapsed = 0
        if r.config.check_quorum and not quorum_is_active(r):
            become_follower(r, r.term, NO_MEMBER)
            return
        if r.transferee != NO_MEMBER:
            if r.transfer_sent and guard_on(r.config.guards_off, GUARD_TRANSFER_CLEARS):
                re_elect_self(r)
                return
            r.transferee = NO_MEMBER
            r.transfer_sent = False
    if r.heartbeat_elapsed >= r.config.heartbeat_ticks:
        r.heartbeat_elapsed = 0
        # The latest round rides along: a lost heartbeat of it delays its reads by one interval at most. It may be repeated
        # because it was minted before, but a read that joins later needs a later round.
        broadcast_heartbeat(r, r.round)
    lease_update(r)


cdef int raft_campaign(Raft* r, int64_t now_ns) noexcept nogil:
    if r.failed != OK:
        return r.failed
    take_clock(r, now_ns)
    hup(r, 0)
    return r.failed


cdef int may_propose(Raft* r) noexcept nogil:
    if r.role != LEADER:
        return ERR_NOT_LEADER
    if progress_of(r, r.config.id) == NULL or r.leaving_index != 0:
        return ERR_REMOVED
    if r.transferee != NO_MEMBER:
        return ERR_TRANSFER
    return OK


cdef int raft_propose(
        Raft* r, Blob** payloads, size_t count, int64_t now_ns, uint64_t* first_index) noexcept nogil:
    cdef int code
    if r.failed != OK:
        return r.failed
    take_clock(r, now_ns)
    code = may_propose(r)
    if code != OK:
        return code
    if first_index != NULL:
        first_index[0] = log_last_index(&r.log) + 1
    code = append_entries(r, payloads, count, ENTRY_NORMAL)
    if code == OK:
        broadcast_append(r)
    return code if code != OK else r.failed


cdef int raft_propose_conf_change(
        Raft* r, const ConfChange* change, int64_t now_ns, uint64_t* index, int32_t* refused) noexcept nogil:
    cdef int code
    if r.failed != OK:
        return r.failed
    take_clock(r, now_ns)
    code = may_propose(r)
    if code == OK:
        code = propose_change(r, change, index, refused)
    return code if code != OK else r.failed


cdef int raft_apply_conf_change(Raft* r, const Entry* entry, int64_t now_ns) noexcept nogil:
    if r.failed != OK:
        return r.failed
    take_clock(r, now_ns)
    return apply_change(r, entry)


cdef int raft_read_index(Raft* r, uint64_t read_id, int64_t now_ns) noexcept nogil:
    cdef Message* m
    if r.failed != OK:
        return r.failed
    take_clock(r, now_ns)
    if r.role == LEADER:
        return reads_add(r, read_id, r.config.id)
    if r.lead == NO_MEMBER:
        return ERR_NO_LEADER
    m = outbox(r, MSG_READ_INDEX, r.lead)
    if m != NULL:
        m.read_id = read_id
    return r.failed


cdef int raft_transfer(Raft* r, uint64_t target, int64_t now_ns) noexcept nogil:
    cdef Progress* p
    if r.failed != OK:
        return r.failed
    take_clock(r, now_ns)
    if r.role != LEADER:
        return ERR_NOT_LEADER
    p = progress_of(r, target)
    if p == NULL or p.is_learner or target == r.config.id or not is_voter(r, target):
        return ERR_BAD_TARGET
    if r.transferee == target:
        return OK
    if r.transfer_sent:
        return ERR_TRANSFER
    r.transferee = target
    r.election_elapsed = 0  # the hand-over has one election timeout to succeed
    if not hand_over_if_caught_up(r):
        maybe_send_append(r, p, True)
    return r.failed


cdef int raft_step_down(Raft* r, int64_t now_ns) noexcept nogil:
    if r.failed != OK:
        return r.failed
    take_clock(r, now_ns)
    if r.role != LEADER:
        return ERR_NOT_LEADER
    step_down(r)
    return r.failed


cdef void raft_forget_leader(Raft* r) noexcept nogil:
    if r.config.promise_ns != 0 and guard_on(r.config.guards_off, GUARD_OWN_FIELD):
        return
    if r.role == FOLLOWER:
        r.lead = NO_MEMBER


cdef void raft_report_unreachable(Raft* r, uint64_t id) noexcept nogil:
    cdef Progress* p = progress_of(r, id)
    # Appends in flight are probably lost: find out where the member stands before streaming again.
    if r.failed == OK and r.role == LEADER and p != NULL and p.state == REPLICATE:
        become_probe(p)


cdef int raft_report_snapshot(Raft* r, uint64_t id, bint delivered, int64_t now_ns) noexcept nogil:
    cdef Progress* p = progress_of(r, id)
    if r.failed != OK:
        return r.failed
    take_clock(r, now_ns)
    if r.role != LEADER or p == NULL or p.state != SNAPSHOT:
        return OK
    if not delivered:
        p.pending_snapshot = 0  # probe from what is known to match
    become_probe(p)
    # Delivered: wait for the acknowledgement of its installation. Failed: wait for a heartbeat before trying again.
    p.paused = True
    return OK


# ----------------------------------------------------------------------------------------------------------- output

cdef HardState hard_state(const Raft* r) noexcept nogil:
    cdef HardState hard
    memset(&hard, 0, sizeof(hard))
    hard.term = r.term
    hard.vote = r.vote
    hard.commit = r.log.committed
    hard.promise_bound_ns = r.promise_bound_ns
    return hard


cdef bint hard_changed(const Raft* r) noexcept nogil:
    cdef HardState hard = hard_state(r)
    return memcmp(&hard, &r.told_hard, sizeof(hard)) != 0


cdef uint64_t last_to_apply(const Raft* r) noexcept nogil:
    """Committed and, with asynchronous storage, durable here as well; nothing while a snapshot is being installed."""
    if r.log.pending_snapshot != NULL or r.log.installing != 0:
        return r.log.applying
    return min(r.log.committed, r.log.stable) if r.config.async_storage else r.log.committed


cdef bint raft_has_ready(const Raft* r) noexcept nogil:
    if r.failed != OK:
        return r.read_states.size > 0
    return (
        r.messages.size > 0
        or r.after_append.size > 0
        or r.read_states.size > 0
        or r.log.persisting < log_last_index(&r.log)
        or r.log.applying < last_to_apply(r)
        or r.log.pending_snapshot != NULL
        or r.told_role != r.role
        or r.told_lead != r.lead
        or hard_changed(r)
    )


cdef int take_after_append(Raft* r, Ready* ready) noexcept nogil:
    """Messages to others wait in the Ready; this member's own acknowledgements wait here."""
    cdef SelfMessage own
    cdef size_t i
    for i in range(r.after_append.size):
        if r.after_append.data[i].to == r.config.id:
            own.number = ready.number
            own.behind = ready.after_append.size
            own.message = r.after_append.data[i]
            if not r.self_messages.push(own):
                return ERR_MEMORY
        elif not ready.after_append.push(r.after_append.data[i]):
            return ERR_MEMORY
    r.after_append.clear()
    return OK


cdef void note_changes_handed(Raft* r, const Ready* ready) noexcept nogil:
    cdef size_t i
    for i in range(ready.committed.size):
        if ready.committed.data[i].kind != ENTRY_NORMAL:
            r.change_handed = ready.committed.data[i].index


cdef int raft_ready(Raft* r, Ready* ready) noexcept nogil:
    cdef uint64_t last = log_last_index(&r.log), apply_to
    cdef Write write
    cdef int code = OK
    ready.number = r.ready_number + 1
    ready.reads = r.read_states
    memset(&r.read_states, 0, sizeof(r.read_states))
    if r.failed != OK:
        return OK  # only the answers to waiting reads still leave a failed member
    r.ready_number += 1

    ready.lead = r.lead
    ready.role = r.role
    ready.soft_changed = r.told_lead != r.lead or r.told_role != r.role
    ready.hard = hard_state(r)
    ready.hard_changed = hard_changed(r)
    ready.must_sync = (
        r.log.persisting < last
        or ready.hard.term != r.told_hard.term
        or ready.hard.vote != r.told_hard.vote
        or ready.hard.promise_bound_ns != r.told_hard.promise_bound_ns
    )
    r.told_lead = r.lead
    r.told_role = r.role
    r.told_hard = ready.hard

    memset(&write, 0, sizeof(write))
    write.number = ready.number
    write.term = r.term
    write.last = last
    write.promise_bound_ns = r.promise_bound_ns
    if r.log.persisting < last:
        code = log_copy(&r.log, r.log.persisting + 1, last, UINT64_MAX, &ready.entries)
        r.log.persisting = last
    apply_to = last_to_apply(r)
    if code == OK and r.log.applying < apply_to:
        code = log_copy(&r.log, r.log.applying + 1, apply_to, r.config.max_committed_bytes, &ready.committed)
        if code == OK:
            r.log.applying += ready.committed.size
            note_changes_handed(r, ready)
    if r.log.pending_snapshot != NULL:
        ready.snapshot = r.log.pending_snapshot
        r.log.pending_snapshot = NULL
        r.log.installing = write.snapshot_index = ready.snapshot.index
    if code == OK and not r.writes.push(write):
        code = ERR_MEMORY
    if code == OK:
        ready.messages = r.messages
        memset(&r.messages, 0, sizeof(r.messages))
        r.round_open = False
        code = take_after_append(r, ready)
    if code != OK:
        raft_fail(r, code)
    return code


cdef int raft_appended(Raft* r, uint64_t number, int64_t now_ns) noexcept nogil:
    cdef Vec[SelfMessage] own
    cdef size_t done = 0, i
    if r.failed != OK:
        return r.failed
    take_clock(r, now_ns)
    while done < r.writes.size and r.writes.data[done].number <= number:
        # A write of an earlier term may be one that was overwritten since: the first one of this term speaks for it too.
        if r.writes.data[done].term == r.term:
            r.log.stable = max(r.log.stable, r.writes.data[done].last)
        r.promise_bound_durable_ns = r.writes.data[done].promise_bound_ns
        if r.writes.data[done].snapshot_index != 0:
            r.log.applied = max(r.log.applied, r.writes.data[done].snapshot_index)
            r.log.applying = max(r.log.applying, r.log.applied)
            if r.log.installing == r.writes.data[done].snapshot_index:
                r.log.installing = 0
        done += 1
    if done:
        r.writes.remove(0, done)
    # Stepping them may queue further ones, never of a Ready that is durable already.
    done = 0
    while done < r.self_messages.size and r.self_messages.data[done].number <= number:
        done += 1
    if done == 0:
        return r.failed
    memset(&own, 0, sizeof(own))
    if not own.reserve(done):
        raft_fail(r, ERR_MEMORY)
        return ERR_MEMORY
    memcpy(own.data, r.self_messages.data, done * sizeof(SelfMessage))
    own.size = done
    r.self_messages.remove(0, done)
    for i in range(done):
        raft_step(r, &own.data[i].message, now_ns)
        message_release(&own.data[i].message)
    own.release()
    return r.failed


cdef int raft_applied(Raft* r, uint64_t index, int64_t now_ns) noexcept nogil:
    cdef uint64_t i, size = 0
    if r.failed != OK:
        return r.failed
    take_clock(r, now_ns)
    if index <= r.log.applied:
        return OK
    if index > r.log.applying or (index >= r.change_handed and r.change_handed > r.configuration_index):
        raft_fail(r, ERR_INVARIANT)  # what was not handed out, or a change that the configuration has not followed
        return ERR_INVARIANT
    if r.uncommitted_bytes:
        for i in range(max(r.log.applied, r.log.offset) + 1, index + 1):
            size += entry_bytes(&r.log.entries.data[i - r.log.offset - 1])
        r.uncommitted_bytes -= min(size, r.uncommitted_bytes)
    r.log.applied = index
    if r.role == LEADER:
        lease_update(r)
        membership_on_applied(r)
        if r.config.promise_ns != 0:
            tell_commit(r)
        reads_on_applied(r)
    elif r.delayed_release != 0:
        on_timeout_now(r, r.delayed_release)
    return r.failed


cdef int raft_note_snapshot(Raft* r, uint64_t index, const Configuration* configuration) noexcept nogil:
    cdef uint64_t term
    if configuration == NULL:
        if index < r.configuration_index:
            return ERR_UNAVAILABLE  # the present configuration is that of a later index
        configuration = &r.configuration
    if index <= r.log.latest_snapshot.index:
        return ERR_COMPACTED
    if index > min(r.log.applied, r.log.stable) or not log_term(&r.log, index, &term):
        return ERR_UNAVAILABLE
    r.log.latest_snapshot.index = index
    r.log.latest_snapshot.term = term
    memcpy(&r.log.latest_snapshot.configuration, configuration, sizeof(Configuration))
    return OK


cdef int raft_compact(Raft* r, uint64_t index) noexcept nogil:
    if index > r.log.latest_snapshot.index:
        return ERR_UNAVAILABLE  # what is dropped must be in a snapshot
    return log_compact(&r.log, index)
