"""Changes of membership (Ongaro's dissertation, section 4; etcd/raft): the life of a change in the log.

A change is appended by a leader that has applied every change before it, is committed by the configuration before it, and
takes effect on each member when that member applies it. So the configurations that any two members act on are at most one
change apart, and a majority of one meets a majority of the other. Three rules keep it so (LEASE.md, H17):

    proposed only when                pending_change_index <= applied
    an append that carries a change   carries a commit index that covers the change before it: commit_to_tell >= applied here,
                                      or whoever leads has applied every change that it knows to be committed (`hup`)
    no campaign while                 applied < change <= committed

A commit index does not survive a crash, but the log does, and the first rule can be read backwards: of several changes in it,
every one but the last was applied by the leader that proposed its successor, hence is committed.

A switch comes in this order: the lease word, the configuration, everybody's progress, then what the other quorum decides:
commits, reads, the lease anew. A leader that is no voter any more has no lease for the rest of its term (H15).
"""

from libc.stdint cimport int32_t, uint64_t
from libc.string cimport memset

from tenure._core.blob cimport Blob, blob_release
from tenure._raft.changer cimport Changed, change_apply, is_joint, is_tracked
from tenure._raft.conf_change cimport conf_change_check, conf_change_decode, conf_change_encode
from tenure._raft.election cimport become_follower, step_down
from tenure._raft.guards cimport GUARD_FORGET, GUARD_ONE_CHANGE, guard_on
from tenure._raft.lease_rule cimport fail, lease_before_switch, lease_update
from tenure._raft.log cimport log_last_index
from tenure._raft.outbox cimport send_heartbeat
from tenure._raft.progress cimport progress_follow, progress_of
from tenure._raft.reads cimport reads_confirmed_round, reads_new_round, reads_on_switch
from tenure._raft.replication cimport (
    append_entries,
    broadcast_append,
    is_voter,
    maybe_commit,
    maybe_send_append,
    quorum_stored,
    tell_commit,
)
from tenure._raft.state cimport REMOVAL_HAND_OVER, REMOVAL_STEP_DOWN, Departed, Progress, Raft
from tenure._raft.types cimport (
    ENTRY_CONF_CHANGE,
    ENTRY_CONF_CHANGE_V2,
    ENTRY_NORMAL,
    ERR_ALREADY_JOINT,
    ERR_CHANGE_PENDING,
    ERR_INVARIANT,
    ERR_MEMORY,
    ERR_NOT_JOINT,
    LEADER,
    NO_MEMBER,
    OK,
    ConfChange,
    Entry,
)


# ------------------------------------------------------------------------------------------------------------ proposing

cdef int32_t refusal(const Raft* r, const ConfChange* change) noexcept nogil:
    """Why the change cannot follow what is in the log, or OK."""
    if r.config.disable_change_validation:
        return OK
    if r.pending_change_index > r.log.applied and guard_on(r.config.guards_off, GUARD_ONE_CHANGE):
        return ERR_CHANGE_PENDING
    if is_joint(&r.configuration) and change.count != 0:
        return ERR_ALREADY_JOINT
    if not is_joint(&r.configuration) and change.count == 0:
        return ERR_NOT_JOINT
    return OK


cdef int append_change(Raft* r, Blob* payload, bint is_v1) noexcept nogil:
    cdef int code = append_entries(r, &payload, 1, ENTRY_CONF_CHANGE if is_v1 else ENTRY_CONF_CHANGE_V2)
    if code == OK:
        r.pending_change_index = log_last_index(&r.log)
        broadcast_append(r)
    return code


cdef int propose_change(Raft* r, const ConfChange* change, uint64_t* index, int32_t* refused) noexcept nogil:
    cdef Changed unused
    cdef Blob* payload = NULL
    cdef int code = conf_change_check(change)
    if code != OK:
        return code
    refused[0] = refusal(r, change)
    index[0] = log_last_index(&r.log) + 1
    if refused[0] != OK:
        code = append_entries(r, &payload, 1, ENTRY_NORMAL)
        if code == OK:
            broadcast_append(r)
        return code
    if not r.config.disable_change_validation:
        code = change_apply(&r.configuration, change, &unused)
        if code != OK:
            return code
    payload = conf_change_encode(change, &code)
    if code == OK:
        code = append_change(r, payload, change.is_v1)
    blob_release(payload)
    return code


# ------------------------------------------------------------------------------------------------------------ switching

cdef void note_departed(Raft* r, const Changed* to) noexcept nogil:
    """Remember who leaves until it was told so."""
    cdef Departed gone
    cdef Progress* p
    cdef size_t i
    if r.config.promise_ns == 0:
        return  # everybody was told of the commit before it was applied here
    for i in range(r.progress.size):
        p = &r.progress.data[i]
        if p.id == r.config.id or is_tracked(&to.configuration, p.id):
            continue
        memset(&gone, 0, sizeof(gone))
        gone.id = p.id
        gone.match = p.match
        gone.lease_until_ns = p.lease_until_ns
        gone.acked_round = p.acked_round
        if not r.departed.push(gone):
            fail(r, ERR_MEMORY)


cdef void tell_departed(Raft* r) noexcept nogil:
    """One heartbeat more, with the commit index of the change: with luck they learn that they were dropped."""
    cdef size_t i
    for i in range(r.departed.size):
        if not r.departed.data[i].told and progress_of(r, r.departed.data[i].id) == NULL:
            send_heartbeat(r, r.departed.data[i].id, r.departed.data[i].match, 0)
        r.departed.data[i].told = True
    if guard_on(r.config.guards_off, GUARD_FORGET):
        r.departed.clear()


cdef void remember_departed(Raft* r) noexcept nogil:
    """Proof build, H18 switched off: whoever comes back is taken at the word of its former life."""
    cdef Progress* p
    cdef size_t i
    for i in range(r.departed.size):
        p = progress_of(r, r.departed.data[i].id)
        if p != NULL:
            p.lease_until_ns = max(p.lease_until_ns, r.departed.data[i].lease_until_ns)
            p.acked_round = max(p.acked_round, r.departed.data[i].acked_round)


cdef bint is_demoted(const Raft* r) noexcept nogil:
    return not is_voter(r, r.config.id)


cdef void abort_transfer(Raft* r) noexcept nogil:
    """The transferee is no voter any more. Once TimeoutNow is out, the way back is the next term (H03)."""
    if r.transferee != NO_MEMBER and not is_voter(r, r.transferee) and not r.transfer_sent:
        r.transferee = NO_MEMBER


cdef void feed_everybody(Raft* r) noexcept nogil:
    """There is no reason to let a newcomer wait for the next heartbeat or proposal."""
    cdef size_t i
    for i in range(r.progress.size):
        if r.progress.data[i].id != r.config.id:
            maybe_send_append(r, &r.progress.data[i], False)


cdef void switch_configuration(Raft* r, const Changed* to) noexcept nogil:
    cdef uint64_t last = log_last_index(&r.log)
    cdef bint committed
    lease_before_switch(r, &to.configuration)
    if r.role == LEADER:
        note_departed(r, to)
    r.configuration = to.configuration
    if not progress_follow(&r.progress, to, max(last, <uint64_t>1), r.config.id):
        fail(r, ERR_MEMORY)
    if r.failed != OK or r.role != LEADER:
        return
    if is_demoted(r):
        if r.config.on_removal == REMOVAL_STEP_DOWN:
            become_follower(r, r.term, NO_MEMBER)
        elif r.config.on_removal == REMOVAL_HAND_OVER and r.leaving_index == 0:
            r.leaving_index = r.configuration_index
        return
    if not guard_on(r.config.guards_off, GUARD_FORGET):
        remember_departed(r)
    committed = maybe_commit(r)
    if committed and r.config.promise_ns == 0:
        broadcast_append(r)
    else:
        if committed:
            tell_commit(r)
        feed_everybody(r)
    abort_transfer(r)
    reads_on_switch(r)
    lease_update(r)


cdef int apply_change(Raft* r, const Entry* entry) noexcept nogil:
    cdef ConfChange change
    cdef Changed to
    cdef int code
    if entry.index <= r.configuration_index:
        return OK  # a snapshot has brought the configuration of a later index
    if entry.index > r.log.applying or conf_change_decode(entry, &change) != OK:
        fail(r, ERR_INVARIANT)
        return ERR_INVARIANT
    r.configuration_index = entry.index
    code = change_apply(&r.configuration, &change, &to)
    if code == OK:
        switch_configuration(r, &to)
    return r.failed if r.failed != OK else code


cdef void leave_joint(Raft* r) noexcept nogil:
    """Leave a joint configuration that wants to be left. Tried again at every apply while a transfer is in the way."""
    if not r.configuration.auto_leave or r.log.applied < r.pending_change_index or r.transferee != NO_MEMBER:
        return
    if progress_of(r, r.config.id) != NULL:
        append_change(r, NULL, False)


cdef void hand_over(Raft* r) noexcept nogil:
    """Leave, but not before a quorum of those who stay has heard that the change is committed.

    Until then they may need this member's vote, which nobody should rely on, least of all when the longer log is here. The
    word was cleared when the change was applied.
    """
    if r.log.applied < r.leaving_index or quorum_stored(r) < r.leaving_index:
        return
    if r.leaving_round == 0:
        reads_new_round(r)  # these heartbeats carry the commit index
        r.leaving_round = r.round
    elif reads_confirmed_round(r) >= r.leaving_round:
        step_down(r)


cdef void membership_on_reply(Raft* r) noexcept nogil:
    if r.leaving_index != 0:
        hand_over(r)


cdef void membership_on_start(Raft* r) noexcept nogil:
    """What this log proves to be committed, although the commit index was lost."""
    cdef uint64_t index = log_last_index(&r.log)
    cdef bint successor = False
    if r.config.disable_change_validation or not guard_on(r.config.guards_off, GUARD_ONE_CHANGE):
        return
    while index > max(r.log.committed, r.log.offset):
        if r.log.entries.data[index - r.log.offset - 1].kind != ENTRY_NORMAL:
            if successor:
                r.log.committed = index
                return
            successor = True
        index -= 1


cdef void membership_on_applied(Raft* r) noexcept nogil:
    """More is applied here: a leader may tell of it, and may go on with what waited for it."""
    if r.role == LEADER:
        leave_joint(r)
        if r.departed.size:
            tell_departed(r)
        if r.leaving_index != 0:
            hand_over(r)
