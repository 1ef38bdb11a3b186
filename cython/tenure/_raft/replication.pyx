"""Log replication (Raft, section 5.3; pipelining as in Ongaro's dissertation, section 10.2.1).

The leader appends, streams to each member within its window, and commits what a quorum has made durable in the leader's own
term. A follower appends what fits behind an entry it shares with the leader and otherwise says where the logs may agree.
What the leader tells of commits is `commit_to_tell`: with leases on never above its own applied index. The leader's own
acknowledgement comes, like everybody's, only after its write is durable.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from tenure._core.blob cimport Blob
from tenure._raft.changer cimport configuration_is_sane, ids_contain
from tenure._raft.guards cimport GUARD_TRANSFER_CLEARS, guard_on
from tenure._raft.lease_rule cimport fail, lease_on_reply, lease_withdraw
from tenure._raft.log cimport (
    log_append,
    log_commit_to,
    log_conflict_by_term,
    log_copy,
    log_last_index,
    log_matches,
    log_restore,
    log_term,
    log_truncate,
)
from tenure._raft.outbox cimport commit_to_tell, outbox, outbox_reply
from tenure._raft.progress cimport (
    become_probe,
    become_replicate,
    become_snapshot,
    progress_add,
    progress_matched,
    progress_of,
    progress_paused,
    progress_rejected,
    progress_release,
    window_add,
    window_free_to,
    window_full,
)
from tenure._raft.promise cimport promise_make
from tenure._raft.quorum cimport quorum_selection
from tenure._raft.reads cimport own_term_committed, reads_on_ack, reads_on_own_term_commit
from tenure._raft.state cimport PROBE, REPLICATE, SNAPSHOT, Progress, Raft
from tenure._raft.types cimport (
    ENTRY_ROOM_BYTES,
    ERR_INVARIANT,
    ERR_MEMORY,
    ERR_OVERLOADED,
    ERR_TOO_LARGE,
    FOLLOWER,
    MAX_MEMBERS,
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT_RESP,
    MSG_SNAP,
    MSG_TIMEOUT_NOW,
    OK,
    Configuration,
    Entry,
    Message,
    Snapshot,
    entry_bytes,
)


cdef bint is_voter(const Raft* r, uint64_t id) noexcept nogil:
    return (
        ids_contain(r.configuration.voters, r.configuration.voters_count, id)
        or ids_contain(r.configuration.outgoing, r.configuration.outgoing_count, id)
    )


# ---------------------------------------------------------------------------------------------------------- the leader

cdef int append_entries(Raft* r, Blob** payloads, size_t count, uint8_t kind) noexcept nogil:
    """Append to the leader's own log. All or nothing."""
    cdef Entry entry
    cdef uint64_t size = 0, before = log_last_index(&r.log)
    cdef size_t i
    cdef int code
    cdef Message* acknowledgement
    for i in range(count):
        if payloads[i] != NULL:
            if payloads[i].size > r.config.max_message_bytes:
                return ERR_TOO_LARGE
            size += payloads[i].size
    # An empty payload is always let through: the entry that opens a term must never be refused. Neither is the first entry
    # of an empty window, however large: it could never be accepted otherwise.
    if size and r.uncommitted_bytes and r.uncommitted_bytes + size > r.config.max_uncommitted_bytes:
        return ERR_OVERLOADED
    for i in range(count):
        entry.term = r.term
        entry.index = log_last_index(&r.log) + 1
        entry.data = payloads[i]
        entry.kind = kind
        code = log_append(&r.log, &entry)
        if code != OK:
            log_truncate(&r.log, before)
            fail(r, code)
            return code
    r.uncommitted_bytes += size
    acknowledgement = outbox(r, MSG_APP_RESP, r.config.id)
    if acknowledgement == NULL:
        return r.failed
    acknowledgement.index = log_last_index(&r.log)
    return OK


cdef bint send_snapshot(Raft* r, Progress* p) noexcept nogil:
    """What the member needs is compacted away: send it the latest snapshot instead."""
    cdef Snapshot* snapshot
    cdef Message* message
    if not p.recent_active:
        return False
    snapshot = <Snapshot*>malloc(sizeof(Snapshot))
    if snapshot == NULL:
        fail(r, ERR_MEMORY)
        return False
    memcpy(snapshot, &r.log.latest_snapshot, sizeof(Snapshot))
    message = outbox(r, MSG_SNAP, p.id)
    if message == NULL:
        free(snapshot)
        return False
    message.snapshot = snapshot
    become_snapshot(p, snapshot.index)
    r.told_commit = max(r.told_commit, snapshot.index)
    return True


cdef bint maybe_send_append(Raft* r, Progress* p, bint even_if_empty) noexcept nogil:
    cdef Message* message
    cdef uint64_t previous = p.next - 1, previous_term, size = 0, last
    cdef size_t i
    cdef int code
    if progress_paused(p):
        return False
    if not log_term(&r.log, previous, &previous_term):
        return send_snapshot(r, p)
    # Into a full window only an empty append goes: if every append in it was lost, this one is rejected or acknowledged and
    # either frees the window.
    last = previous
    if p.state != REPLICATE or not window_full(p, r.config.max_inflight_messages, r.config.max_inflight_bytes):
        last = log_last_index(&r.log)
    # Payloads alone do not bound a message: each entry has a header, and payloads may be empty.
    last = min(last, previous + max(<uint64_t>1, r.config.max_message_bytes // ENTRY_ROOM_BYTES))
    if last == previous and not even_if_empty:
        return False
    message = outbox(r, MSG_APP, p.id)
    if message == NULL:
        return False
    message.index = previous
    message.log_term = previous_term
    message.commit = commit_to_tell(r)
    if last > previous:
        code = log_copy(&r.log, p.next, last, r.config.max_message_bytes, &message.entries)
        if code != OK:
            fail(r, code)
            return False
    for i in range(message.entries.size):
        size += entry_bytes(&message.entries.data[i])
    if p.state == REPLICATE:
        if message.entries.size:
            p.next += message.entries.size
            if not window_add(p, p.next - 1, size, r.config.max_inflight_messages):
                fail(r, ERR_MEMORY)
                return False
        p.paused = window_full(p, r.config.max_inflight_messages, r.config.max_inflight_bytes)
    elif message.entries.size:
        p.paused = True
    p.sent_commit = message.commit
    r.told_commit = max(r.told_commit, message.commit)
    return True


cdef void broadcast_append(Raft* r) noexcept nogil:
    cdef size_t i
    for i in range(r.progress.size):
        if r.progress.data[i].id != r.config.id:
            maybe_send_append(r, &r.progress.data[i], True)


cdef bint can_bump_commit(const Raft* r, const Progress* p) noexcept nogil:
    """An append sent for its commit index alone is worth it only if it says more than what is already on its way."""
    return commit_to_tell(r) > p.sent_commit and p.sent_commit < p.next - 1


cdef void tell_commit(Raft* r) noexcept nogil:
    """The commit index that may be told has grown: tell it to whoever can use it."""
    cdef size_t i
    for i in range(r.progress.size):
        if r.progress.data[i].id != r.config.id and can_bump_commit(r, &r.progress.data[i]):
            maybe_send_append(r, &r.progress.data[i], True)


cdef uint64_t quorum_match(Raft* r, const uint64_t* voters, int32_t count) noexcept nogil:
    cdef int64_t matches[MAX_MEMBERS]
    cdef Progress* p
    cdef int32_t i
    for i in range(count):
        p = progress_of(r, voters[i])
        matches[i] = 0 if p == NULL else <int64_t>p.match
    return <uint64_t>quorum_selection(matches, count)


cdef uint64_t quorum_stored(Raft* r) noexcept nogil:
    return min(
        quorum_match(r, r.configuration.voters, r.configuration.voters_count),
        quorum_match(r, r.configuration.outgoing, r.configuration.outgoing_count),
    )


cdef bint maybe_commit(Raft* r) noexcept nogil:
    """Commit what a quorum stored, if it is of the own term (Raft, section 5.4.2)."""
    cdef bint first_of_term = not own_term_committed(r)
    cdef uint64_t index = quorum_stored(r)
    if index <= r.log.committed or not log_matches(&r.log, index, r.term):
        return False
    r.log.committed = index
    if first_of_term:
        reads_on_own_term_commit(r)
    return True


cdef bint hand_over_if_caught_up(Raft* r) noexcept nogil:
    """Queue TimeoutNow once the transferee has everything and is alive (H03).

    The word is cleared in this very step, before the message that allows another leader exists.
    """
    cdef Progress* p = progress_of(r, r.transferee)
    cdef Message* message
    if r.transfer_sent or p == NULL or p.match != log_last_index(&r.log):
        return False
    if p.silent_ticks > 2 * r.config.heartbeat_ticks:
        return False
    if guard_on(r.config.guards_off, GUARD_TRANSFER_CLEARS):
        lease_withdraw(r)
    r.transfer_sent = True
    message = outbox(r, MSG_TIMEOUT_NOW, r.transferee)
    if message != NULL:
        message.release_term = r.term
    return True


cdef void on_append_reply(Raft* r, Progress* p, const Message* m) noexcept nogil:
    cdef uint64_t hint, hint_term, id = p.id
    if id != r.config.id:
        p.silent_ticks = 0
        lease_on_reply(r, p, m)
    p.recent_active = True
    if m.reject:
        hint = m.reject_hint
        if m.log_term > 0:
            hint = log_conflict_by_term(&r.log, m.reject_hint, m.log_term, &hint_term)
        if progress_rejected(p, m.index, hint):
            if p.state == REPLICATE:
                become_probe(p)
            maybe_send_append(r, p, True)
        return
    if m.index > log_last_index(&r.log):
        return  # acknowledges what was never sent
    if not (progress_matched(p, m.index) or (p.match == m.index and p.state == PROBE)):
        return
    if p.state == PROBE:
        become_replicate(p)
    elif p.state == SNAPSHOT:
        if p.match >= r.log.offset:
            become_probe(p)
            become_replicate(p)
    else:
        window_free_to(p, m.index)
    if maybe_commit(r):
        if r.config.promise_ns == 0:
            broadcast_append(r)
        else:
            tell_commit(r)  # what is applied here already; the rest follows when it is
    elif id != r.config.id and can_bump_commit(r, p):
        maybe_send_append(r, p, True)
    if id != r.config.id:
        while maybe_send_append(r, p, False):
            pass
        if id == r.transferee:
            hand_over_if_caught_up(r)


cdef void on_heartbeat_reply(Raft* r, Progress* p, const Message* m) noexcept nogil:
    p.silent_ticks = 0
    lease_on_reply(r, p, m)
    p.recent_active = True
    p.paused = False
    if p.match < log_last_index(&r.log) or p.state == PROBE:
        maybe_send_append(r, p, True)
    reads_on_ack(r, p, m.round)
    if p.id == r.transferee:
        hand_over_if_caught_up(r)


# -------------------------------------------------------------------------------------------------------- the follower

cdef void truncate(Raft* r, uint64_t last) noexcept nogil:
    """Drop a conflicting tail; writes of it that are still on their way to the disk acknowledge nothing any more."""
    cdef size_t i
    cdef int code = log_truncate(&r.log, last)
    if code != OK:
        fail(r, code)  # a leader contradicts a committed entry
        return
    for i in range(r.writes.size):
        r.writes.data[i].last = min(r.writes.data[i].last, last)


cdef bint well_formed(const Message* m) noexcept nogil:
    """Entries follow `index` without a gap, and no term goes down or above the message's."""
    cdef uint64_t term = m.log_term
    cdef size_t i
    for i in range(m.entries.size):
        if m.entries.data[i].index != m.index + 1 + i or m.entries.data[i].term < term:
            return False
        term = m.entries.data[i].term
    return term <= m.term


cdef void on_append(Raft* r, const Message* m) noexcept nogil:
    cdef int64_t promised
    cdef uint64_t hint, hint_term = 0, last, index
    cdef size_t i, first_new
    cdef Message* reply
    if not well_formed(m):
        return
    promised = promise_make(r, m)
    if m.index < r.log.committed:
        # Stale or duplicated: everything up to the commit index agrees already.
        reply = outbox_reply(r, MSG_APP_RESP, m)
        if reply != NULL:
            reply.promised_ns = promised
            reply.index = r.log.committed
        return
    if not log_matches(&r.log, m.index, m.log_term):
        hint = log_conflict_by_term(&r.log, min(m.index, log_last_index(&r.log)), m.log_term, &hint_term)
        reply = outbox_reply(r, MSG_APP_RESP, m)
        if reply != NULL:
            reply.promised_ns = promised
            reply.reject = True
            reply.index = m.index
            reply.reject_hint = hint
            reply.log_term = hint_term
        return
    last = m.index + m.entries.size
    first_new = m.entries.size
    for i in range(m.entries.size):
        if not log_matches(&r.log, m.entries.data[i].index, m.entries.data[i].term):
            first_new = i
            break
    if first_new < m.entries.size:
        index = m.entries.data[first_new].index
        if index <= log_last_index(&r.log):
            truncate(r, index - 1)
        for i in range(first_new, m.entries.size):
            if r.failed != OK:
                return
            if log_append(&r.log, &m.entries.data[i]) != OK:
                fail(r, ERR_MEMORY)
    if r.failed != OK:
        return
    if log_commit_to(&r.log, min(m.commit, last)) != OK:
        fail(r, ERR_INVARIANT)
        return
    reply = outbox_reply(r, MSG_APP_RESP, m)
    if reply != NULL:
        reply.promised_ns = promised
        reply.index = last


cdef void on_heartbeat(Raft* r, const Message* m) noexcept nogil:
    cdef int64_t promised
    cdef Message* reply
    if log_commit_to(&r.log, m.commit) != OK:
        fail(r, ERR_INVARIANT)
        return
    promised = promise_make(r, m)
    reply = outbox_reply(r, MSG_HEARTBEAT_RESP, m)
    if reply != NULL:
        reply.promised_ns = promised
        reply.round = m.round


cdef bint adopt(Raft* r, const Configuration* c, uint64_t index) noexcept nogil:
    """Make `c`, the configuration at `index`, the present one; everybody's progress starts anew."""
    cdef uint64_t next = log_last_index(&r.log) + 1
    cdef int32_t i
    cdef bint enough = True
    cdef Progress* me
    memcpy(&r.configuration, c, sizeof(Configuration))
    r.configuration_index = index
    progress_release(&r.progress)
    for i in range(c.voters_count):
        enough = enough and progress_add(&r.progress, c.voters[i], False, next)
    for i in range(c.outgoing_count):
        enough = enough and progress_add(&r.progress, c.outgoing[i], False, next)
    for i in range(c.learners_count):
        enough = enough and progress_add(&r.progress, c.learners[i], True, next)
    me = progress_of(r, r.config.id)
    if me != NULL:
        progress_matched(me, next - 1)
    return enough


cdef bint restore(Raft* r, const Snapshot* s) noexcept nogil:
    """Take over a snapshot that is ahead of the log. False when there is nothing to take over.

    Its configuration need not contain this member: the change that adds it may be in the log behind the snapshot, so that a
    newcomer is fed from whatever snapshot there is. Until it has applied that change it is nobody's voter and no candidate.
    """
    cdef Snapshot* copy
    cdef size_t i
    if not configuration_is_sane(&s.configuration):
        return False
    if s.index <= r.log.committed or r.role != FOLLOWER:
        return False
    if log_matches(&r.log, s.index, s.term):
        log_commit_to(&r.log, s.index)  # the log has it all: no need to install anything
        return False
    copy = <Snapshot*>malloc(sizeof(Snapshot))
    if copy == NULL:
        fail(r, ERR_MEMORY)
        return False
    memcpy(copy, s, sizeof(Snapshot))
    log_restore(&r.log, s.index, s.term)
    for i in range(r.writes.size):
        r.writes.data[i].last = 0
    free(r.log.pending_snapshot)
    r.log.pending_snapshot = copy
    memcpy(&r.log.latest_snapshot, s, sizeof(Snapshot))
    if not adopt(r, &s.configuration, s.index):
        fail(r, ERR_MEMORY)
    return True


cdef void on_snapshot(Raft* r, const Message* m) noexcept nogil:
    cdef int64_t promised
    cdef Message* reply
    if m.snapshot == NULL:
        return
    promised = promise_make(r, m)
    restore(r, m.snapshot)
    reply = outbox_reply(r, MSG_APP_RESP, m)
    if reply != NULL:
        reply.promised_ns = promised
        reply.index = r.log.committed
