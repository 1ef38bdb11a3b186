"""How messages leave the state machine: what may go at once, what waits for the disk, what every message carries.

A message of a leader carries its clock reading and the promise it asks for; the reading was taken before this input was
handled, hence before the message can be handed to the transport (LEASE.md rule 1). Votes and append acknowledgements
wait until what they promise is durable. The pointer returned is valid until the next call.
"""

from libc.stdint cimport uint64_t
from libc.string cimport memset

from tenure._core.vec cimport Vec
from tenure._raft.guards cimport GUARD_NOBODY_AHEAD, guard_on
from tenure._raft.lease_rule cimport fail
from tenure._raft.state cimport Progress, Raft
from tenure._raft.types cimport (
    ERR_MEMORY,
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_PRE_VOTE_RESP,
    MSG_SNAP,
    MSG_VOTE_RESP,
    OK,
    Message,
    MessageType,
)


cdef Message* outbox(Raft* r, MessageType type, uint64_t to) noexcept nogil:
    cdef Message message
    cdef Vec[Message]* box = &r.messages
    if r.failed != OK:
        return NULL
    if type == MSG_APP_RESP or type == MSG_VOTE_RESP or type == MSG_PRE_VOTE_RESP:
        box = &r.after_append
    memset(&message, 0, sizeof(message))
    message.type = type
    message.from_ = r.config.id
    message.to = to
    message.term = r.term
    if type == MSG_APP or type == MSG_HEARTBEAT or type == MSG_SNAP:
        if r.config.promise_ns != 0:
            message.stamp_ns = r.now_ns
        if r.now_ns > 0 and not r.lease_cleared:
            message.promise_ns = r.config.promise_ns
    if not box.push(message):
        fail(r, ERR_MEMORY)
        return NULL
    return &box.data[box.size - 1]


cdef Message* outbox_reply(Raft* r, MessageType type, const Message* request) noexcept nogil:
    """A reply of the request's own term: it carries the stamp it answers and this member's clock."""
    cdef Message* reply = outbox(r, type, request.from_)
    if reply != NULL:
        reply.stamp_ns = request.stamp_ns
        if request.stamp_ns != 0:
            reply.peer_clock_ns = r.now_ns
    return reply


cdef uint64_t commit_to_tell(const Raft* r) noexcept nogil:
    """While leases are asked for, nobody learns of a commit that the leader itself has not applied (rule 6)."""
    if r.config.promise_ns != 0 and guard_on(r.config.guards_off, GUARD_NOBODY_AHEAD):
        return min(r.log.committed, r.log.applied)
    return r.log.committed


cdef void send_heartbeat(Raft* r, uint64_t to, uint64_t match, uint64_t round) noexcept nogil:
    cdef Message* message = outbox(r, MSG_HEARTBEAT, to)
    if message == NULL:
        return
    message.commit = min(match, commit_to_tell(r))
    message.round = round
    r.told_commit = max(r.told_commit, message.commit)


cdef void broadcast_heartbeat(Raft* r, uint64_t round) noexcept nogil:
    cdef Progress* p
    cdef size_t i
    for i in range(r.progress.size):
        p = &r.progress.data[i]
        if p.id != r.config.id:
            send_heartbeat(r, p.id, p.match, round)
            p.sent_commit = max(p.sent_commit, min(p.match, commit_to_tell(r)))
