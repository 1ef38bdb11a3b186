"""`RawNode`: one member of the pure core as a Python object, for tests, tools and data-driven runs.

A RawNode is `tenure._raft.raft` with the structs turned into Python values at the edge, and nothing else: no thread, clock,
disk or socket. One thread at a time may use it; production hosts use the C functions and never come here. Every call that the
core gives a clock reading takes it as `now_ns` (0 = the clock could not be read). Values (`Entry`, `HardState`, ...) are frozen
dataclasses; `Message` and `Ready` own the C struct, so that passing a message on costs no conversion.
"""

cimport cython
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from dataclasses import make_dataclass

from tenure import errors

from tenure._core.blob cimport Blob, blob_new, blob_release
from tenure._core.lease cimport Lease, LeaseWord
from tenure._core.vec cimport Vec
from tenure._raft.changes cimport change_error, fill_change
from tenure._raft.describe cimport (
    code_name, describe_entry, describe_members, describe_message, describe_ready, describe_state, describe_status,
    message_type_name, role_name,
)
from tenure._raft.describe import MESSAGE_TYPE_NAMES, PROGRESS_STATE_NAMES
from tenure._raft.lease_rule cimport lease_add_dependent, lease_drop_dependent
from tenure._raft.quorum cimport quorum_joint_vote, quorum_selection, quorum_vote
from tenure._raft.raft cimport (
    raft_appended, raft_applied, raft_apply_conf_change, raft_campaign, raft_compact, raft_default_config, raft_fail,
    raft_forget_leader, raft_free, raft_has_ready, raft_last_index, raft_new, raft_note_snapshot, raft_propose,
    raft_propose_conf_change, raft_read_index, raft_ready, raft_report_snapshot,
    raft_report_unreachable, raft_rest_ticks, raft_step, raft_step_down, raft_tick, raft_transfer,
)
from tenure._raft.state cimport Progress as CProgress
from tenure._raft.state cimport REMOVAL_HAND_OVER, REMOVAL_STAY, REMOVAL_STEP_DOWN, Raft, RaftConfig, Vote
from tenure._raft.types cimport (
    ENTRY_NORMAL, ERR_BAD_TARGET, ERR_COMPACTED, ERR_INVARIANT, ERR_MEMORY, ERR_NO_LEADER, ERR_NOT_LEADER, ERR_OVERLOADED,
    ERR_CHANGE_PENDING, ERR_STEPPED_DOWN, ERR_TOO_LARGE, ERR_TRANSFER, ERR_UNAVAILABLE, MAX_MEMBERS, OK, VOTE_LOST, VOTE_WON,
    ConfChange, VoteResult, entries_push, message_release, ready_release,
)
from tenure._raft.types cimport Configuration as CConfiguration
from tenure._raft.types cimport Entry as CEntry
from tenure._raft.types cimport HardState as CHardState
from tenure._raft.types cimport Message as CMessage
from tenure._raft.types cimport Snapshot as CSnapshot


def value_type(str name, *fields):
    return make_dataclass(name, fields, frozen=True, slots=True, namespace={"__module__": __name__})


Entry = value_type("Entry", ("term", int), ("index", int), ("data", bytes, b""), ("kind", int, int(ENTRY_NORMAL)))
HardState = value_type(
    "HardState", ("term", int, 0), ("vote", int, 0), ("commit", int, 0), ("promise_bound_ns", int, 0))
ReadState = value_type("ReadState", ("read_id", int), ("index", int), ("code", str))
Configuration = value_type(
    "Configuration", ("voters", tuple, ()), ("outgoing", tuple, ()), ("learners", tuple, ()), ("learners_next", tuple, ()),
    ("auto_leave", bool, False))
Snapshot = value_type("Snapshot", ("index", int), ("term", int), ("configuration", Configuration))
Progress = value_type(
    "Progress", ("id", int), ("match", int), ("next", int), ("sent_commit", int), ("pending_snapshot", int), ("state", str),
    ("paused", bool), ("recent_active", bool), ("is_learner", bool), ("acked_round", int), ("lease_until_ns", int),
    ("rate_refused", bool), ("inflight_count", int), ("inflight_bytes", int))

ON_REMOVAL = {"stay": REMOVAL_STAY, "step-down": REMOVAL_STEP_DOWN, "hand-over": REMOVAL_HAND_OVER}
MESSAGE_TYPES = {name: number for number, name in MESSAGE_TYPE_NAMES.items()}


cdef object error_of(int code, uint64_t lead):
    """The typed error for a Code; its message is the core's own name for it."""
    message = code_name(code)
    if code in (ERR_NOT_LEADER, ERR_NO_LEADER, ERR_STEPPED_DOWN):
        return errors.NotLeader(message, leader=lead or None)
    if code == ERR_OVERLOADED:
        return errors.Overloaded(message)
    if code == ERR_TRANSFER:
        return errors.ProposalRefused(message)
    if code in (ERR_BAD_TARGET, ERR_COMPACTED, ERR_UNAVAILABLE):
        return errors.InvalidArgument(message)
    if code in (ERR_MEMORY, ERR_INVARIANT):
        return errors.MemberFailed(message, cause=message)
    if code >= ERR_CHANGE_PENDING:
        return change_error(code)
    return errors.Refused(message)


cdef int check(const Raft* r, int code) except -1:
    if code != OK:
        raise error_of(code, r.lead)
    return 0


# ---- values in

cdef int fill_ids(uint64_t* into, int32_t* count, object ids) except -1:
    cdef uint64_t last = 0, member
    count[0] = 0
    for member in sorted(ids):
        if member == 0 or member == last or count[0] == MAX_MEMBERS:
            raise ValueError(f"members must be different, not 0, and at most {MAX_MEMBERS}: {ids}")
        into[count[0]] = member
        count[0] += 1
        last = member
    return 0


cdef int fill_configuration(CConfiguration* into, object configuration) except -1:
    memset(into, 0, sizeof(CConfiguration))
    fill_ids(into.voters, &into.voters_count, configuration.voters)
    fill_ids(into.outgoing, &into.outgoing_count, configuration.outgoing)
    fill_ids(into.learners, &into.learners_count, configuration.learners)
    fill_ids(into.learners_next, &into.learners_next_count, configuration.learners_next)
    into.auto_leave = configuration.auto_leave
    return 0


cdef CSnapshot* new_snapshot(object snapshot) except NULL:
    cdef CSnapshot* c = <CSnapshot*>calloc(1, sizeof(CSnapshot))
    if c == NULL:
        raise MemoryError
    try:
        c.index = snapshot.index
        c.term = snapshot.term
        fill_configuration(&c.configuration, snapshot.configuration)
    except BaseException:
        free(c)
        raise
    return c


cdef Blob* new_blob(bytes data) except? NULL:
    cdef Blob* blob
    if not data:
        return NULL
    blob = blob_new(data, <uint64_t>len(data))
    if blob == NULL:
        raise MemoryError
    return blob


cdef int push_entries(Vec[CEntry]* into, object entries) except -1:
    cdef CEntry c
    for entry in entries:
        memset(&c, 0, sizeof(c))
        c.term = entry.term
        c.index = entry.index
        c.kind = entry.kind
        c.data = new_blob(entry.data)
        if not into.push(c):
            blob_release(c.data)
            raise MemoryError
    return 0


# ---- values out

cdef tuple ids_of(const uint64_t* members, int32_t count):
    return tuple([members[i] for i in range(count)])


cdef object configuration_of(const CConfiguration* c):
    return Configuration(
        ids_of(c.voters, c.voters_count), ids_of(c.outgoing, c.outgoing_count), ids_of(c.learners, c.learners_count),
        ids_of(c.learners_next, c.learners_next_count), bool(c.auto_leave),
    )


cdef object snapshot_of(const CSnapshot* s):
    return None if s == NULL else Snapshot(s.index, s.term, configuration_of(&s.configuration))


cdef object entry_of(const CEntry* e):
    return Entry(e.term, e.index, b"" if e.data == NULL else e.data.bytes()[:e.data.size], e.kind)


cdef tuple entries_of(const Vec[CEntry]* entries):
    cdef size_t i
    return tuple([entry_of(&entries.data[i]) for i in range(entries.size)])


cdef object progress_tuple(const CProgress* p):
    return Progress(
        p.id, p.match, p.next, p.sent_commit, p.pending_snapshot, PROGRESS_STATE_NAMES.get(p.state), bool(p.paused),
        bool(p.recent_active), bool(p.is_learner), p.acked_round, p.lease_until_ns, bool(p.rate_refused),
        p.window_count, p.window_bytes,
    )


@cython.final
cdef class Message:
    """One message between members. Immutable; its fields are those of `Message` in `types.pxd`."""

    def __init__(self, str type, *, uint64_t from_, uint64_t to, uint64_t term=0, uint64_t index=0, uint64_t log_term=0,
                 uint64_t commit=0, bint reject=False, uint64_t reject_hint=0, uint64_t round=0, uint64_t read_id=0,
                 uint64_t release_term=0, int64_t stamp_ns=0, int64_t promise_ns=0, int64_t promised_ns=0,
                 int64_t peer_clock_ns=0, int64_t remaining_ns=0, entries=(), snapshot=None):
        if self.c.type:
            raise TypeError("a message is immutable")
        self.c.type = MESSAGE_TYPES[type]
        self.c.reject = reject
        self.c.from_ = from_
        self.c.to = to
        self.c.term = term
        self.c.index = index
        self.c.log_term = log_term
        self.c.commit = commit
        self.c.reject_hint = reject_hint
        self.c.round = round
        self.c.read_id = read_id
        self.c.release_term = release_term
        self.c.stamp_ns = stamp_ns
        self.c.promise_ns = promise_ns
        self.c.promised_ns = promised_ns
        self.c.peer_clock_ns = peer_clock_ns
        self.c.remaining_ns = remaining_ns
        push_entries(&self.c.entries, entries)
        if snapshot is not None:
            self.c.snapshot = new_snapshot(snapshot)

    def __dealloc__(self):
        message_release(&self.c)

    @staticmethod
    cdef Message copy_of(const CMessage* source):
        cdef Message copy = Message.__new__(Message)
        cdef size_t i
        copy.c = source[0]
        memset(&copy.c.entries, 0, sizeof(copy.c.entries))
        copy.c.snapshot = NULL
        for i in range(source.entries.size):
            if not entries_push(&copy.c.entries, &source.entries.data[i]):
                raise MemoryError
        if source.snapshot != NULL:
            copy.c.snapshot = <CSnapshot*>malloc(sizeof(CSnapshot))
            if copy.c.snapshot == NULL:
                raise MemoryError
            copy.c.snapshot[0] = source.snapshot[0]
        return copy

    @property
    def type(self) -> str: return message_type_name(self.c.type)
    @property
    def reject(self) -> bool: return bool(self.c.reject)
    @property
    def from_(self) -> int: return self.c.from_
    @property
    def to(self) -> int: return self.c.to
    @property
    def term(self) -> int: return self.c.term
    @property
    def index(self) -> int: return self.c.index
    @property
    def log_term(self) -> int: return self.c.log_term
    @property
    def commit(self) -> int: return self.c.commit
    @property
    def reject_hint(self) -> int: return self.c.reject_hint
    @property
    def round(self) -> int: return self.c.round
    @property
    def read_id(self) -> int: return self.c.read_id
    @property
    def release_term(self) -> int: return self.c.release_term
    @property
    def stamp_ns(self) -> int: return self.c.stamp_ns
    @property
    def promise_ns(self) -> int: return self.c.promise_ns
    @property
    def promised_ns(self) -> int: return self.c.promised_ns
    @property
    def peer_clock_ns(self) -> int: return self.c.peer_clock_ns
    @property
    def remaining_ns(self) -> int: return self.c.remaining_ns
    @property
    def entries(self) -> tuple: return entries_of(&self.c.entries)
    @property
    def snapshot(self): return snapshot_of(self.c.snapshot)

    def __str__(self) -> str:
        return describe_message(&self.c)

    def __repr__(self) -> str:
        return f"<Message {describe_message(&self.c)}>"


cdef list messages_of(const Vec[CMessage]* messages):
    cdef size_t i
    return [Message.copy_of(&messages.data[i]) for i in range(messages.size)]


@cython.final
cdef class Ready:
    """What the core wants done; `str()` is the text of etcd/raft's data-driven files."""

    def __init__(self):
        raise TypeError("made by RawNode.ready")

    def __dealloc__(self):
        ready_release(&self.c)

    @property
    def number(self) -> int: return self.c.number
    @property
    def soft_changed(self) -> bool: return bool(self.c.soft_changed)
    @property
    def lead(self) -> int: return self.c.lead
    @property
    def role(self) -> str: return role_name(self.c.role)
    @property
    def must_sync(self) -> bool: return bool(self.c.must_sync)

    @property
    def hard_state(self):
        """The hard state to write, or None when it has not changed."""
        cdef CHardState* hard = &self.c.hard
        if not self.c.hard_changed:
            return None
        return HardState(hard.term, hard.vote, hard.commit, hard.promise_bound_ns)

    @property
    def entries(self) -> tuple: return entries_of(&self.c.entries)
    @property
    def committed(self) -> tuple: return entries_of(&self.c.committed)
    @property
    def messages(self) -> list: return messages_of(&self.c.messages)
    @property
    def after_append(self) -> list: return messages_of(&self.c.after_append)
    @property
    def snapshot(self): return snapshot_of(self.c.snapshot)

    @property
    def reads(self) -> tuple:
        cdef size_t i
        return tuple([
            ReadState(self.c.reads.data[i].read_id, self.c.reads.data[i].index, code_name(self.c.reads.data[i].code))
            for i in range(self.c.reads.size)
        ])

    def __str__(self) -> str:
        return describe_ready(&self.c)

    def describe_sent_at_once(self) -> str:
        """The same without the messages that wait for the disk."""
        return describe_ready(&self.c, False)


@cython.final
cdef class RawNode:
    """One member of one group. Configuration keywords are the fields of `RaftConfig` in `state.pxd`.

    `snapshot` and `entries` are what storage recovered, `applied` what the state machine already contains (by default the
    snapshot's index); the members are those at `applied`.
    """

    def __cinit__(self, uint64_t id, *, voters=(), outgoing=(), learners=(), learners_next=(), bint auto_leave=False,
                  hard_state=None, snapshot=None, entries=(), applied=None, Lease lease=None, int64_t now_ns=0, **config):
        cdef RaftConfig c
        cdef CHardState hard
        cdef CConfiguration members
        cdef CSnapshot* recovered = NULL
        cdef CMessage holder        # owns the entries and the snapshot while the member copies them
        cdef LeaseWord* word = NULL
        cdef uint64_t applied_index
        raft_default_config(&c)
        c.id = id
        set_config(&c, config)
        memset(&hard, 0, sizeof(hard))
        memset(&holder, 0, sizeof(holder))
        if hard_state is not None:
            hard.term = hard_state.term
            hard.vote = hard_state.vote
            hard.commit = hard_state.commit
            hard.promise_bound_ns = hard_state.promise_bound_ns
        fill_configuration(
            &members, Configuration(tuple(voters), tuple(outgoing), tuple(learners), tuple(learners_next), auto_leave))
        if lease is not None:
            word = lease.word
            self.lease_object = lease
        applied_index = applied if applied is not None else snapshot.index if snapshot is not None else 0
        try:
            if snapshot is not None:
                holder.snapshot = recovered = new_snapshot(snapshot)
            push_entries(&holder.entries, entries)
            self.raft = raft_new(&c, &hard, &members, recovered, &holder.entries, applied_index, word, now_ns)
        finally:
            message_release(&holder)
        if self.raft == NULL:
            raise ValueError("the member cannot start: the recovered state contradicts itself, or no memory")

    def __dealloc__(self):
        if self.raft != NULL:
            raft_free(self.raft)

    # ---- inputs

    def step(self, Message message not None, int64_t now_ns) -> None:
        check(self.raft, raft_step(self.raft, &message.c, now_ns))

    def tick(self, int64_t now_ns) -> None:
        check(self.raft, raft_tick(self.raft, now_ns))

    def rest_ticks(self) -> int:
        """How many of the next ticks do nothing but count, the one that acts included."""
        return raft_rest_ticks(self.raft)

    def campaign(self, int64_t now_ns) -> None:
        check(self.raft, raft_campaign(self.raft, now_ns))

    def propose(self, data, int64_t now_ns) -> int:
        """Append payloads (bytes, or a sequence of them); the index of the first."""
        payloads = [data] if isinstance(data, bytes) else list(data)
        cdef size_t count = len(payloads), made = 0, i
        cdef uint64_t first_index = 0
        cdef int code
        cdef Blob** blobs = <Blob**>calloc(count + 1, sizeof(Blob*))
        if blobs == NULL:
            raise MemoryError
        try:
            for made in range(count):
                blobs[made] = new_blob(payloads[made])
            code = raft_propose(self.raft, blobs, count, now_ns, &first_index)
            if code == ERR_TOO_LARGE:
                raise errors.TooLarge(
                    code_name(code), size_bytes=max(map(len, payloads)), limit_bytes=self.raft.config.max_message_bytes)
            check(self.raft, code)
        finally:
            for i in range(count):
                blob_release(blobs[i])
            free(blobs)
        return first_index

    def propose_conf_change(self, changes, int64_t now_ns, *, str transition="auto", bint v1=False) -> str | None:
        """Propose a change of membership. None, or why an empty entry was appended in its place."""
        cdef ConfChange change
        cdef uint64_t index = 0
        cdef int32_t refused = OK
        keep = fill_change(&change, changes, transition, v1)
        check(self.raft, raft_propose_conf_change(self.raft, &change, now_ns, &index, &refused))
        del keep
        return None if refused == OK else code_name(refused)

    def apply_conf_change(self, entry, int64_t now_ns):
        """Follow a committed change; the configuration from now on."""
        cdef Message holder = Message.__new__(Message)
        push_entries(&holder.c.entries, (entry,))
        check(self.raft, raft_apply_conf_change(self.raft, &holder.c.entries.data[0], now_ns))
        return configuration_of(&self.raft.configuration)

    def read_index(self, uint64_t read_id, int64_t now_ns) -> None:
        check(self.raft, raft_read_index(self.raft, read_id, now_ns))

    def transfer(self, uint64_t target, int64_t now_ns) -> None:
        check(self.raft, raft_transfer(self.raft, target, now_ns))

    def step_down(self, int64_t now_ns) -> None:
        check(self.raft, raft_step_down(self.raft, now_ns))

    def forget_leader(self) -> None:
        raft_forget_leader(self.raft)

    def report_unreachable(self, uint64_t id) -> None:
        raft_report_unreachable(self.raft, id)

    def report_snapshot(self, uint64_t id, bint delivered, int64_t now_ns) -> None:
        check(self.raft, raft_report_snapshot(self.raft, id, delivered, now_ns))

    def fail(self) -> None:
        """Fail the member from outside, as its storage would."""
        raft_fail(self.raft, ERR_INVARIANT)

    def set_election_timeout(self, int32_t ticks) -> None:
        """Replace the randomised timeout until it is drawn again (tests)."""
        self.raft.election_timeout = ticks

    # ---- output

    def has_ready(self) -> bool:
        return bool(raft_has_ready(self.raft))

    def ready(self) -> Ready:
        cdef Ready ready = Ready.__new__(Ready)
        check(self.raft, raft_ready(self.raft, &ready.c))
        return ready

    def appended(self, uint64_t number, int64_t now_ns) -> None:
        check(self.raft, raft_appended(self.raft, number, now_ns))

    def applied_to(self, uint64_t index, int64_t now_ns) -> None:
        check(self.raft, raft_applied(self.raft, index, now_ns))

    def own_responses(self, uint64_t number) -> list:
        """What this member will tell itself once that Ready is durable: (message, messages to others before it)."""
        cdef size_t i
        return [
            (Message.copy_of(&self.raft.self_messages.data[i].message), self.raft.self_messages.data[i].behind)
            for i in range(self.raft.self_messages.size)
            if self.raft.self_messages.data[i].number == number
        ]

    def note_snapshot(self, uint64_t index, configuration=None) -> None:
        """A snapshot at `index` exists; its configuration is the present one unless another is given."""
        cdef CConfiguration c
        if configuration is None:
            check(self.raft, raft_note_snapshot(self.raft, index, NULL))
            return
        fill_configuration(&c, configuration)
        check(self.raft, raft_note_snapshot(self.raft, index, &c))

    def compact(self, uint64_t index) -> None:
        """Drop the entries up to and with `index`; a snapshot is noted there if none is that far."""
        if index > self.raft.log.latest_snapshot.index:
            check(self.raft, raft_note_snapshot(self.raft, index, NULL))
        check(self.raft, raft_compact(self.raft, index))

    # ---- state

    @property
    def id(self) -> int: return self.raft.config.id
    @property
    def failed(self) -> str | None: return None if self.raft.failed == OK else code_name(self.raft.failed)
    @property
    def term(self) -> int: return self.raft.term
    @property
    def vote(self) -> int: return self.raft.vote
    @property
    def lead(self) -> int: return self.raft.lead
    @property
    def role(self) -> str: return role_name(self.raft.role)
    @property
    def commit(self) -> int: return self.raft.log.committed
    @property
    def applied(self) -> int: return self.raft.log.applied
    @property
    def applying(self) -> int: return self.raft.log.applying
    @property
    def stable(self) -> int: return self.raft.log.stable
    @property
    def persisting(self) -> int: return self.raft.log.persisting
    @property
    def first_index(self) -> int: return self.raft.log.offset + 1
    @property
    def last_index(self) -> int: return raft_last_index(self.raft)
    @property
    def entries(self) -> tuple: return entries_of(&self.raft.log.entries)
    @property
    def configuration(self): return configuration_of(&self.raft.configuration)
    @property
    def configuration_index(self) -> int: return self.raft.configuration_index
    @property
    def pending_change_index(self) -> int: return self.raft.pending_change_index
    @property
    def transferee(self) -> int: return self.raft.transferee
    @property
    def round(self) -> int: return self.raft.round
    @property
    def pending_reads(self) -> int: return self.raft.reads.size
    @property
    def uncommitted_bytes(self) -> int: return self.raft.uncommitted_bytes
    @property
    def election_timeout(self) -> int: return self.raft.election_timeout
    @property
    def promise_until_ns(self) -> int: return self.raft.promise_until_ns
    @property
    def promise_holder(self) -> int: return self.raft.promise_holder
    @property
    def promise_term(self) -> int: return self.raft.promise_term
    @property
    def promise_bound_ns(self) -> int: return self.raft.promise_bound_ns
    @property
    def promise_bound_durable_ns(self) -> int: return self.raft.promise_bound_durable_ns
    @property
    def restart_wait_ns(self) -> int: return self.raft.restart_wait_ns
    @property
    def lease(self): return self.lease_object

    def add_dependent(self, Lease lease not None) -> None:
        """Let `lease` be withdrawn with this member's own, until `drop_dependent`."""
        if not lease_add_dependent(self.raft, lease.word):
            raise MemoryError

    def drop_dependent(self, Lease lease not None) -> None:
        """Undo one `add_dependent`."""
        lease_drop_dependent(self.raft, lease.word)

    @property
    def lease_cleared(self) -> bool: return bool(self.raft.lease_cleared)
    @property
    def own_term_index(self) -> int: return self.raft.own_term_index
    @property
    def told_commit(self) -> int: return self.raft.told_commit
    @property
    def rate_alarms(self) -> int: return self.raft.rate_alarms

    @property
    def progress(self) -> dict:
        """What this member knows of every member, by id; meaningful on a leader."""
        cdef size_t i
        return {
            self.raft.progress.data[i].id: progress_tuple(&self.raft.progress.data[i])
            for i in range(self.raft.progress.size)
        }

    def describe_status(self) -> str:
        """A line for every member's progress, on a leader; empty elsewhere."""
        return describe_status(self.raft)

    def describe_members(self) -> str:
        """Voters (of both halves), learners, and whether a joint configuration is left by itself."""
        return describe_members(&self.raft.configuration)

    def describe_state(self) -> str:
        return describe_state(self.raft)


cdef int set_config(RaftConfig* c, dict config) except -1:
    for name, value in config.items():
        if name == "election_ticks":
            c.election_ticks = value
        elif name == "heartbeat_ticks":
            c.heartbeat_ticks = value
        elif name == "check_quorum":
            c.check_quorum = value
        elif name == "pre_vote":
            c.pre_vote = value
        elif name == "on_removal":
            c.on_removal = ON_REMOVAL[value]
        elif name == "commit_in_votes":
            c.commit_in_votes = value
        elif name == "disable_change_validation":
            c.disable_change_validation = value
        elif name == "async_storage":
            c.async_storage = value
        elif name == "max_message_bytes":
            c.max_message_bytes = value
        elif name == "max_committed_bytes":
            c.max_committed_bytes = value
        elif name == "max_inflight_messages":
            c.max_inflight_messages = value
        elif name == "max_inflight_bytes":
            c.max_inflight_bytes = value
        elif name == "max_uncommitted_bytes":
            c.max_uncommitted_bytes = value
        elif name == "max_pending_reads":
            c.max_pending_reads = value
        elif name == "promise_ns":
            c.promise_ns = value
        elif name == "rate_numerator":
            c.rate_numerator = value
        elif name == "rate_denominator":
            c.rate_denominator = value
        elif name == "granularity_ns":
            c.granularity_ns = value
        elif name == "seed":
            c.seed = value
        elif name == "guards_off":
            c.guards_off = value
        else:
            raise TypeError(f"no such configuration: {name}")
    return 0


# ---- printers and quorum arithmetic for Python

def describe_entries(entries) -> str:
    """A line for each entry."""
    cdef Message holder = Message.__new__(Message)
    cdef size_t i
    push_entries(&holder.c.entries, entries)
    return "".join([describe_entry(&holder.c.entries.data[i]) + "\n" for i in range(holder.c.entries.size)])


def committed_index(acked, voters, outgoing=()):
    """The greatest index that a majority (of both halves) acknowledged, by `acked`; None when nobody is asked."""
    cdef int64_t values[MAX_MEMBERS]
    cdef int64_t index = INT64_MAX
    cdef int32_t count
    for half in (voters, outgoing):
        count = 0
        for member in half:
            if count == MAX_MEMBERS:
                raise ValueError("too many members")
            values[count] = acked.get(member, 0)
            count += 1
        index = min(index, quorum_selection(values, count))
    return None if index == INT64_MAX else index


def vote_result(votes, voters, outgoing=()) -> str:
    """`VotePending`, `VoteLost` or `VoteWon`: what the votes (id: granted) mean for a majority (of both halves)."""
    cdef Vote cast[2 * MAX_MEMBERS]
    cdef uint64_t ids[MAX_MEMBERS]
    cdef int32_t count
    cdef size_t votes_count = 0
    cdef VoteResult results[2]
    if len(votes) > 2 * MAX_MEMBERS:
        raise ValueError("too many votes")
    for member in sorted(votes):
        cast[votes_count].id = member
        cast[votes_count].granted = votes[member]
        votes_count += 1
    for half, members in enumerate((voters, outgoing)):
        fill_ids(ids, &count, members)
        results[<int>half] = quorum_vote(ids, count, cast, votes_count)
    result = quorum_joint_vote(results[0], results[1])
    return "VoteWon" if result == VOTE_WON else "VoteLost" if result == VOTE_LOST else "VotePending"
