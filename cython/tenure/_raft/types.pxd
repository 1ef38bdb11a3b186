"""The vocabulary of the pure Raft state machine: codes, entries, messages, Ready.

Plain structs without behaviour, except for who owns what: an entry owns one reference to its payload, a message owns its
entries and its snapshot, a Ready owns everything in it. `*_release` gives up what is owned. A zeroed struct is empty.
Nothing here is thread-safe but the payloads (`tenure._core.blob`).
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free

from tenure._core.blob cimport Blob, blob_release, blob_retain
from tenure._core.vec cimport Vec

cdef enum:
    NO_MEMBER = 0           # no leader, no vote, no holder
    MAX_MEMBERS = 32        # of each kind: incoming voters, outgoing voters, learners
    ENTRY_ROOM_BYTES = 64   # a message has fewer entries than this goes into `max_message_bytes`, one at least
    MAX_CHANGES = 64        # in one change of membership
    MAX_CHANGE_CONTEXT_BYTES = 1024     # of each of them

cdef enum:
    MAX_PROMISE_NS = 10000000000    # nobody promises for longer than 10 s

cdef enum Code:
    OK = 0
    ERR_MEMORY = 1          # an allocation failed; the member has failed
    ERR_INVARIANT = 2       # a peer or the caller broke an invariant of the protocol; the member has failed
    ERR_NOT_LEADER = 3      # propose, read or transfer needs the leader and this member is not
    ERR_NO_LEADER = 4       # a follower knows nobody to forward to
    ERR_OVERLOADED = 5      # uncommitted bytes or pending reads are at their limit; try again
    ERR_TRANSFER = 6        # leadership is being handed over; try again
    ERR_TOO_LARGE = 7       # one entry is larger than a message may be
    ERR_REMOVED = 8         # this member is not in the configuration
    ERR_COMPACTED = 9       # the index is no longer in the log
    ERR_UNAVAILABLE = 10    # the index is not yet in the log
    ERR_BAD_TARGET = 11     # unknown member, or a learner, as target of a transfer
    ERR_STEPPED_DOWN = 12   # a pending read lost its leader
    ERR_UNKNOWN_PEER = 13   # a reply of somebody who is not in the configuration; ignored
    # Why a change of membership is refused. Nothing of it takes effect.
    ERR_CHANGE_PENDING = 14         # an earlier change may not be applied yet; try again
    ERR_ALREADY_JOINT = 15          # the configuration is joint: it must be left before the next change
    ERR_NOT_JOINT = 16              # there is no joint configuration to leave
    ERR_SIMPLE_IN_JOINT = 17        # a change without a joint configuration, while in one
    ERR_NEEDS_JOINT = 18            # more than one voter would change at once
    ERR_NO_VOTERS = 19              # nobody would be left to vote
    ERR_JOINT_WITHOUT_VOTERS = 20   # a configuration without voters cannot become joint
    ERR_TOO_MANY_MEMBERS = 21       # more than MAX_MEMBERS of a kind
    ERR_BAD_CHANGE = 22             # the change itself is malformed: kind, member, size, version

cdef enum Role:
    FOLLOWER = 0
    PRE_CANDIDATE = 1
    CANDIDATE = 2
    LEADER = 3

cdef enum EntryKind:
    ENTRY_NORMAL = 0
    ENTRY_CONF_CHANGE = 1
    ENTRY_CONF_CHANGE_V2 = 2

cdef enum ChangeKind:
    CHANGE_ADD_VOTER = 0        # a learner is promoted
    CHANGE_REMOVE = 1
    CHANGE_UPDATE = 2           # changes nothing here; its context is the host's business
    CHANGE_ADD_LEARNER = 3      # a voter is demoted

cdef enum Transition:
    TRANSITION_AUTO = 0         # joint, and left automatically, only when there is more than one change
    TRANSITION_IMPLICIT = 1     # joint, left automatically
    TRANSITION_EXPLICIT = 2     # joint, left by an empty change that somebody proposes

cdef enum MessageType:
    MSG_APP = 1
    MSG_APP_RESP = 2
    MSG_HEARTBEAT = 3
    MSG_HEARTBEAT_RESP = 4
    MSG_PRE_VOTE = 5
    MSG_PRE_VOTE_RESP = 6
    MSG_VOTE = 7
    MSG_VOTE_RESP = 8
    MSG_SNAP = 9
    MSG_TIMEOUT_NOW = 10
    MSG_READ_INDEX = 11
    MSG_READ_INDEX_RESP = 12

cdef enum VoteResult:
    VOTE_PENDING = 1
    VOTE_LOST = 2
    VOTE_WON = 3

cdef struct Entry:
    uint64_t term
    uint64_t index
    Blob* data              # null = empty
    uint8_t kind            # EntryKind

cdef struct MemberChange:
    uint64_t id
    uint8_t kind            # ChangeKind
    uint32_t context_bytes
    const char* context     # not owned: an address, say; opaque here

cdef struct ConfChange:
    # A change of membership. Without changes (and with TRANSITION_AUTO): leave the joint configuration.
    uint8_t transition      # Transition
    bint is_v1              # one change, never joint: an entry of kind ENTRY_CONF_CHANGE
    int32_t count
    MemberChange changes[MAX_CHANGES]

cdef struct Configuration:
    # Sorted, without duplicates. Joint while `outgoing_count` > 0.  learners & (voters | outgoing) = 0
    # learners_next: voters of the outgoing half that become learners when it is left.  learners_next <= outgoing - voters
    uint64_t voters[MAX_MEMBERS]
    uint64_t outgoing[MAX_MEMBERS]
    uint64_t learners[MAX_MEMBERS]
    uint64_t learners_next[MAX_MEMBERS]
    int32_t voters_count
    int32_t outgoing_count
    int32_t learners_count
    int32_t learners_next_count
    bint auto_leave

cdef struct Snapshot:
    # What the log needs to know of a snapshot; its bytes are the host's business.
    uint64_t index
    uint64_t term
    Configuration configuration

cdef struct HardState:
    # Durable before any message that `Ready.after_append` holds may leave.
    uint64_t term
    uint64_t vote
    uint64_t commit
    int64_t promise_bound_ns    # the longest promise made since it was last known to have passed (LEASE.md H04)

cdef struct Message:
    uint8_t type            # MessageType
    bint reject             # of a *_RESP
    uint64_t from_
    uint64_t to
    uint64_t term
    uint64_t index          # APP: index before `entries`; *VOTE: last index; APP_RESP: match, or the rejected index
    uint64_t log_term       # term at `index`; rejected APP_RESP: at `reject_hint`; rejected *VOTE_RESP: at `commit`
    uint64_t commit         # never above the leader's own applied index while leases are asked for (LEASE.md rule 6)
    uint64_t reject_hint
    uint64_t round          # HEARTBEAT and its RESP: ReadIndex round it confirms; 0 = none
    uint64_t read_id        # READ_INDEX and its RESP
    uint64_t release_term   # TIMEOUT_NOW, VOTE: the leader of this term released every promise up to it, for term + 1
    int64_t stamp_ns        # APP, HEARTBEAT, SNAP: the sender's clock before sending; echoed by the reply; 0 = none
    int64_t promise_ns      # APP, HEARTBEAT, SNAP: promise asked for; 0 = none
    int64_t promised_ns     # reply: promise really made; 0 = none
    int64_t peer_clock_ns   # reply: the replier's clock when it read the message; 0 = unknown
    int64_t remaining_ns    # rejected PRE_VOTE_RESP: how long a promise still forbids the vote; 0 = another reason
    Vec[Entry] entries
    Snapshot* snapshot      # SNAP

cdef struct ReadState:
    uint64_t read_id
    uint64_t index          # a read may be served once applied >= index
    int32_t code            # OK, or why there will be no answer

cdef struct Ready:
    # What the state machine wants done. `messages` may leave at once; `after_append` only after this Ready's hard state,
    # entries and snapshot, and those of every Ready before it, are durable.
    uint64_t number
    bint soft_changed
    uint64_t lead
    uint8_t role
    bint hard_changed
    bint must_sync
    HardState hard
    Vec[Entry] entries      # to be written; entries at or above entries[0].index written earlier are void
    Vec[Entry] committed    # to be applied, in order
    Vec[Message] messages
    Vec[Message] after_append
    Vec[ReadState] reads
    Snapshot* snapshot      # to be installed before `entries` are written


cdef inline uint32_t entry_bytes(const Entry* entry) noexcept nogil:
    return 0 if entry.data == NULL else entry.data.size


cdef inline void entries_release(Vec[Entry]* entries) noexcept nogil:
    cdef size_t i
    for i in range(entries.size):
        blob_release(entries.data[i].data)
    entries.release()


cdef inline bint entries_push(Vec[Entry]* entries, const Entry* entry) noexcept nogil:
    """Append a copy that shares the payload. False without memory."""
    if not entries.push(entry[0]):
        return False
    blob_retain(entry.data)
    return True


cdef inline void message_release(Message* message) noexcept nogil:
    entries_release(&message.entries)
    free(message.snapshot)
    message.snapshot = NULL


cdef inline void messages_release(Vec[Message]* messages) noexcept nogil:
    cdef size_t i
    for i in range(messages.size):
        message_release(&messages.data[i])
    messages.release()


cdef inline void ready_release(Ready* ready) noexcept nogil:
    entries_release(&ready.entries)
    entries_release(&ready.committed)
    messages_release(&ready.messages)
    messages_release(&ready.after_append)
    ready.reads.release()
    free(ready.snapshot)
    ready.snapshot = NULL
