"""What the pure core's structs look like as text: the form that etcd/raft's data-driven files use.

So that those files work as a conformance language, the order and spelling of every field that etcd/raft has is theirs, and
the fields that only tenure has are printed when they are not zero. Instants and durations are printed exactly, in the
largest of ms, us and ns that divides them. Any thread that holds the GIL may call these; they own and change nothing.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from tenure._core.vec cimport Vec
from tenure._raft.conf_change cimport conf_change_decode
from tenure._raft.replication cimport is_voter
from tenure._raft.state cimport PROBE, REPLICATE, SNAPSHOT, Progress, Raft, RaftConfig
from tenure._raft.types cimport (
    CANDIDATE, CHANGE_ADD_LEARNER, CHANGE_ADD_VOTER, CHANGE_REMOVE, CHANGE_UPDATE, ENTRY_CONF_CHANGE, ENTRY_CONF_CHANGE_V2,
    ENTRY_NORMAL, ERR_ALREADY_JOINT, ERR_BAD_CHANGE, ERR_BAD_TARGET, ERR_CHANGE_PENDING, ERR_COMPACTED, ERR_INVARIANT,
    ERR_JOINT_WITHOUT_VOTERS, ERR_MEMORY, ERR_NEEDS_JOINT, ERR_NO_LEADER, ERR_NO_VOTERS, ERR_NOT_JOINT, ERR_NOT_LEADER,
    ERR_OVERLOADED, ERR_REMOVED, ERR_SIMPLE_IN_JOINT, ERR_STEPPED_DOWN, ERR_TOO_LARGE, ERR_TOO_MANY_MEMBERS, ERR_TRANSFER,
    ERR_UNAVAILABLE, ERR_UNKNOWN_PEER, FOLLOWER, LEADER, MSG_APP, MSG_APP_RESP, MSG_HEARTBEAT, MSG_HEARTBEAT_RESP, MSG_PRE_VOTE,
    MSG_PRE_VOTE_RESP, MSG_READ_INDEX, MSG_READ_INDEX_RESP, MSG_SNAP, MSG_TIMEOUT_NOW, MSG_VOTE, MSG_VOTE_RESP, OK,
    PRE_CANDIDATE, ConfChange, Configuration, Entry, HardState, MemberChange, Message, ReadState, Ready, Snapshot,
)

CODE_NAMES = {
    OK: "OK",
    ERR_MEMORY: "OutOfMemory",
    ERR_INVARIANT: "InvariantBroken",
    ERR_NOT_LEADER: "NotLeader",
    ERR_NO_LEADER: "NoLeader",
    ERR_OVERLOADED: "Overloaded",
    ERR_TRANSFER: "TransferInProgress",
    ERR_TOO_LARGE: "TooLarge",
    ERR_REMOVED: "Removed",
    ERR_COMPACTED: "Compacted",
    ERR_UNAVAILABLE: "Unavailable",
    ERR_BAD_TARGET: "BadTarget",
    ERR_STEPPED_DOWN: "SteppedDown",
    ERR_UNKNOWN_PEER: "UnknownPeer",
    ERR_CHANGE_PENDING: "ChangePending",
    ERR_ALREADY_JOINT: "AlreadyJoint",
    ERR_NOT_JOINT: "NotJoint",
    ERR_SIMPLE_IN_JOINT: "SimpleChangeInJoint",
    ERR_NEEDS_JOINT: "NeedsJoint",
    ERR_NO_VOTERS: "NoVoters",
    ERR_JOINT_WITHOUT_VOTERS: "JointWithoutVoters",
    ERR_TOO_MANY_MEMBERS: "TooManyMembers",
    ERR_BAD_CHANGE: "BadChange",
}
ROLE_NAMES = {
    FOLLOWER: "StateFollower",
    PRE_CANDIDATE: "StatePreCandidate",
    CANDIDATE: "StateCandidate",
    LEADER: "StateLeader",
}
MESSAGE_TYPE_NAMES = {
    MSG_APP: "MsgApp",
    MSG_APP_RESP: "MsgAppResp",
    MSG_HEARTBEAT: "MsgHeartbeat",
    MSG_HEARTBEAT_RESP: "MsgHeartbeatResp",
    MSG_PRE_VOTE: "MsgPreVote",
    MSG_PRE_VOTE_RESP: "MsgPreVoteResp",
    MSG_VOTE: "MsgVote",
    MSG_VOTE_RESP: "MsgVoteResp",
    MSG_SNAP: "MsgSnap",
    MSG_TIMEOUT_NOW: "MsgTimeoutNow",
    MSG_READ_INDEX: "MsgReadIndex",
    MSG_READ_INDEX_RESP: "MsgReadIndexResp",
}
ENTRY_KIND_NAMES = {
    ENTRY_NORMAL: "EntryNormal",
    ENTRY_CONF_CHANGE: "EntryConfChange",
    ENTRY_CONF_CHANGE_V2: "EntryConfChangeV2",
}
CHANGE_LETTERS = {CHANGE_ADD_VOTER: "v", CHANGE_REMOVE: "r", CHANGE_UPDATE: "u", CHANGE_ADD_LEARNER: "l"}
PROGRESS_STATE_NAMES = {PROBE: "StateProbe", REPLICATE: "StateReplicate", SNAPSHOT: "StateSnapshot"}

ESCAPES = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\", '"': '\\"',
}


cdef str code_name(int code):
    return CODE_NAMES.get(code, f"Code({code})")


cdef str role_name(uint8_t role):
    return ROLE_NAMES.get(role, f"Role({role})")


cdef str message_type_name(uint8_t kind):
    return MESSAGE_TYPE_NAMES.get(kind, f"Msg({kind})")


cdef str describe_duration(int64_t ns):
    if ns % 1_000_000 == 0:
        return f"{ns // 1_000_000}ms"
    if ns % 1_000 == 0:
        return f"{ns // 1_000}us"
    return f"{ns}ns"


def quote(bytes data not None) -> str:
    """The payload in double quotes with Go's escapes: readable UTF-8 as it is, every other byte as \\xNN."""
    cdef str character                                    # not a code point: it is looked up as text
    parts = ['"']
    for character in data.decode("utf-8", "surrogateescape"):
        point = ord(character)
        if character in ESCAPES:
            parts.append(ESCAPES[character])
        elif 0xDC80 <= point <= 0xDCFF:
            parts.append(f"\\x{point - 0xDC00:02x}")
        elif character.isprintable():
            parts.append(character)
        elif point < 0x80:
            parts.append(f"\\x{point:02x}")
        else:
            parts.append(f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}")
    parts.append('"')
    return "".join(parts)


cdef bytes payload(const Entry* entry):
    if entry.data == NULL:
        return b""
    return entry.data.bytes()[:entry.data.size]


cdef str describe_change(const ConfChange* change):
    """A word a change; its context, if it has one, in brackets."""
    cdef const MemberChange* each
    cdef int32_t i
    words = []
    for i in range(change.count):
        each = &change.changes[i]
        word = f"{CHANGE_LETTERS.get(each.kind, '?')}{each.id}"
        words.append(f"{word}({quote(each.context[:each.context_bytes])})" if each.context_bytes else word)
    return " ".join(words)


cdef str describe_entry(const Entry* entry):
    cdef ConfChange change
    cdef str kind = ENTRY_KIND_NAMES.get(entry.kind, f"Entry({entry.kind})")
    cdef str text
    if entry.kind != ENTRY_NORMAL and conf_change_decode(entry, &change) == OK:
        text = describe_change(&change)
        return f"{entry.term}/{entry.index} {kind}" + (f" {text}" if text else "")
    return f"{entry.term}/{entry.index} {kind} {quote(payload(entry))}"


cdef str describe_entries(const Vec[Entry]* entries):
    cdef size_t i
    return "".join([describe_entry(&entries.data[i]) + "\n" for i in range(entries.size)])


cdef str describe_hard_state(const HardState* hard):
    text = f"Term:{hard.term}"
    if hard.vote:
        text += f" Vote:{hard.vote}"
    text += f" Commit:{hard.commit}"
    if hard.promise_bound_ns:
        text += f" PromiseBound:{describe_duration(hard.promise_bound_ns)}"
    return text


cdef str ids(const uint64_t* members, int32_t count):
    return "[" + " ".join([str(members[i]) for i in range(count)]) + "]"


cdef str describe_configuration(const Configuration* c):
    return (
        f"Voters:{ids(c.voters, c.voters_count)} VotersOutgoing:{ids(c.outgoing, c.outgoing_count)}"
        f" Learners:{ids(c.learners, c.learners_count)} LearnersNext:{ids(c.learners_next, c.learners_next_count)}"
        f" AutoLeave:{'true' if c.auto_leave else 'false'}"
    )


cdef str member_set(const uint64_t* members, int32_t count):
    return "(" + " ".join([str(members[i]) for i in range(count)]) + ")"


cdef str describe_members(const Configuration* c):
    text = f"voters={member_set(c.voters, c.voters_count)}"
    if c.outgoing_count:
        text += f"&&{member_set(c.outgoing, c.outgoing_count)}"
    if c.learners_count:
        text += f" learners={member_set(c.learners, c.learners_count)}"
    if c.learners_next_count:
        text += f" learners_next={member_set(c.learners_next, c.learners_next_count)}"
    return text + (" autoleave" if c.auto_leave else "")


cdef str describe_snapshot(const Snapshot* s):
    return f"Index:{s.index} Term:{s.term} ConfState:{describe_configuration(&s.configuration)}"


cdef str describe_read_state(const ReadState* read):
    if read.code == OK:
        return f"{read.read_id} Index:{read.index}"
    return f"{read.read_id} Failed:{code_name(read.code)}"


cdef str describe_message(const Message* m):
    cdef size_t i
    text = f"{m.from_}->{m.to} {message_type_name(m.type)} Term:{m.term} Log:{m.log_term}/{m.index}"
    if m.reject:
        text += f" Rejected (Hint: {m.reject_hint})"
    if m.commit:
        text += f" Commit:{m.commit}"
    if m.round:
        text += f" Round:{m.round}"
    if m.read_id:
        text += f" Read:{m.read_id}"
    if m.release_term:
        text += f" Release:{m.release_term}"
    if m.stamp_ns:
        text += f" Stamp:{describe_duration(m.stamp_ns)}"
    if m.promise_ns:
        text += f" Promise:{describe_duration(m.promise_ns)}"
    if m.promised_ns:
        text += f" Promised:{describe_duration(m.promised_ns)}"
    if m.peer_clock_ns:
        text += f" PeerClock:{describe_duration(m.peer_clock_ns)}"
    if m.remaining_ns:
        text += f" Remaining:{describe_duration(m.remaining_ns)}"
    if m.entries.size == 1:
        text += f" Entries:[{describe_entry(&m.entries.data[0])}]"
    elif m.entries.size > 1:
        text += " Entries:["
        for i in range(m.entries.size):
            text += f"\n  {describe_entry(&m.entries.data[i])}"
        text += "\n]"
    if m.snapshot != NULL:
        text += f"\n  Snapshot: {describe_snapshot(m.snapshot)}"
    return text


cdef str describe_ready(const Ready* ready, bint with_waiting=True):
    """Messages are printed in the order in which a synchronous host sends them: those that wait for the disk last."""
    cdef size_t i
    text = ""
    if ready.soft_changed:
        text += f"Lead:{ready.lead} State:{role_name(ready.role)}\n"
    if ready.hard_changed:
        text += f"HardState {describe_hard_state(&ready.hard)}\n"
    if ready.reads.size:
        text += "Reads:\n"
        for i in range(ready.reads.size):
            text += describe_read_state(&ready.reads.data[i]) + "\n"
    if ready.entries.size:
        text += "Entries:\n" + describe_entries(&ready.entries)
    if ready.snapshot != NULL:
        text += f"Snapshot {describe_snapshot(ready.snapshot)}\n"
    if ready.committed.size:
        text += "CommittedEntries:\n" + describe_entries(&ready.committed)
    if ready.messages.size or (with_waiting and ready.after_append.size):
        text += "Messages:\n"
        for i in range(ready.messages.size):
            text += describe_message(&ready.messages.data[i]) + "\n"
        for i in range(ready.after_append.size if with_waiting else 0):
            text += describe_message(&ready.after_append.data[i]) + "\n"
    if not text:
        return "<empty Ready>\n"
    return f"Ready MustSync={'true' if ready.must_sync else 'false'}:\n{text}"


cdef str describe_progress(const Progress* p, const RaftConfig* config):
    text = f"{PROGRESS_STATE_NAMES.get(p.state, p.state)} match={p.match} next={p.next}"
    if p.is_learner:
        text += " learner"
    if p.paused or p.state == SNAPSHOT:
        text += " paused"
    if p.pending_snapshot:
        text += f" pendingSnap={p.pending_snapshot}"
    if not p.recent_active:
        text += " inactive"
    if p.window_count:
        text += f" inflight={p.window_count}"
        if p.window_count >= config.max_inflight_messages or (
            config.max_inflight_bytes and p.window_bytes >= config.max_inflight_bytes
        ):
            text += "[full]"
    return text


cdef str describe_status(const Raft* r):
    cdef size_t i
    if r.role != LEADER:
        return ""
    text = ""
    for i in range(r.progress.size):
        text += f"{r.progress.data[i].id}: {describe_progress(&r.progress.data[i], &r.config)}\n"
    return text


cdef str describe_state(const Raft* r):
    voter = "(Voter)" if is_voter(r, r.config.id) else "(Non-Voter)"
    return f"{role_name(r.role)} {voter} Term:{r.term} Lead:{r.lead}"
