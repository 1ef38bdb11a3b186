"""The pure Raft state machine: what a host calls.

One thread at a time. No thread, lock, clock, socket or file inside: every input brings the clock reading `now_ns` that its
caller took (0 = the clock could not be read), every output is in the Ready. The same inputs give the same outputs.

Order of a host's pass: inputs (`raft_step`, `raft_tick`, `raft_propose`, ...), then `raft_has_ready` / `raft_ready`; send
`messages`; write `hard`, `snapshot`, `entries`; when durable, `raft_appended(number)` and then send `after_append` of every
Ready up to that number; apply `committed` (`raft_apply_conf_change` for each change among them), then `raft_applied(index)`.
Writes are acknowledged in order.
A function that returns a Code leaves the member unchanged unless it returns OK; ERR_MEMORY and ERR_INVARIANT fail it.

Members: a new member starts with an empty configuration and waits to be fed; a leader learns of it by applying the change that
adds it (`raft_propose_conf_change`, as a learner first, promoted when its progress has caught up). A host connects to everybody
in the configuration and goes on receiving from whoever connects: a newcomer hears its leader before it knows any configuration,
a dropped member is told so in one heartbeat more. A leader that applied its own removal refuses proposals with ERR_REMOVED and
steps down when those who stay know of it (`on_removal`); its host should run on until then.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t

from tenure._core.blob cimport Blob
from tenure._core.lease cimport LeaseWord
from tenure._core.vec cimport Vec
from tenure._raft.state cimport Raft, RaftConfig
from tenure._raft.types cimport ConfChange, Configuration, Entry, HardState, Message, Ready, Snapshot

cdef void raft_default_config(RaftConfig* config) noexcept nogil

# `snapshot` (may be null) and `entries` are what storage recovered, `applied` what the state machine already contains.
# The configuration is the one at `applied`. Takes its own reference to `lease` (may be null). Null without memory or with
# state that contradicts itself. A member whose hard state holds a promise bound votes for nobody and does not campaign
# until that bound has passed (LEASE.md H04).
cdef Raft* raft_new(
    const RaftConfig* config, const HardState* hard, const Configuration* configuration, const Snapshot* snapshot,
    const Vec[Entry]* entries, uint64_t applied, LeaseWord* lease, int64_t now_ns) noexcept nogil
cdef void raft_free(Raft* r) noexcept nogil            # clears the lease word, releases everything

# Keeps references of its own. ERR_UNKNOWN_PEER: a reply of somebody outside of the configuration, ignored.
cdef int raft_step(Raft* r, const Message* message, int64_t now_ns) noexcept nogil
cdef int raft_tick(Raft* r, int64_t now_ns) noexcept nogil
# How many of the next ticks at least do nothing but count, the one that acts included (so never less than 1). Whoever calls
# raft_tick may sleep that long and then make up for what went by; any input may make it shorter.
cdef int32_t raft_rest_ticks(const Raft* r) noexcept nogil
cdef int raft_campaign(Raft* r, int64_t now_ns) noexcept nogil
# Appends entries; takes references of its own. `first_index` (may be null) is where they were put.
cdef int raft_propose(Raft* r, Blob** payloads, size_t count, int64_t now_ns, uint64_t* first_index) noexcept nogil
# Proposes a change of membership. OK: an entry was appended at `index`; it carries the change if `refused` is OK. Otherwise it
# is an empty entry in the change's place, and `refused` says why: ERR_CHANGE_PENDING (a change may be unapplied here: try again
# when more is applied), ERR_ALREADY_JOINT (leave the joint configuration first: propose an empty change), ERR_NOT_JOINT (an
# empty change, and nothing to leave). Not OK: nothing was appended. ERR_NOT_LEADER, ERR_REMOVED, ERR_TRANSFER, ERR_OVERLOADED,
# ERR_TOO_LARGE as with raft_propose; ERR_BAD_CHANGE (malformed); ERR_NEEDS_JOINT, ERR_NO_VOTERS, ERR_TOO_MANY_MEMBERS (it can
# not be applied to this configuration). Contexts are copied.
cdef int raft_propose_conf_change(
    Raft* r, const ConfChange* change, int64_t now_ns, uint64_t* index, int32_t* refused) noexcept nogil
# Answered by a ReadState with this id, OK or not, unless a forwarded request is lost. Ids are never used twice.
cdef int raft_read_index(Raft* r, uint64_t read_id, int64_t now_ns) noexcept nogil
cdef int raft_transfer(Raft* r, uint64_t target, int64_t now_ns) noexcept nogil
# Clears the word for the term, releases the promises to the best follower, steps down: graceful stop, stalled disk.
cdef int raft_step_down(Raft* r, int64_t now_ns) noexcept nogil
cdef void raft_forget_leader(Raft* r) noexcept nogil   # refused while leases are on
cdef void raft_report_unreachable(Raft* r, uint64_t id) noexcept nogil
cdef int raft_report_snapshot(Raft* r, uint64_t id, bint delivered, int64_t now_ns) noexcept nogil

cdef bint raft_has_ready(const Raft* r) noexcept nogil
cdef int raft_ready(Raft* r, Ready* ready) noexcept nogil     # fills a zeroed Ready, to be given to ready_release
cdef int raft_appended(Raft* r, uint64_t number, int64_t now_ns) noexcept nogil
cdef int raft_applied(Raft* r, uint64_t index, int64_t now_ns) noexcept nogil
# To be called for every committed entry whose kind is not ENTRY_NORMAL, in order, when the host applies it and before
# raft_applied says so (a host that forgets is failed with ERR_INVARIANT). Afterwards `configuration` is the new one: connect to
# who is new, let go of who has left (`conf_change_decode` gives the contexts), persist it with the next snapshot.
# OK: the configuration is that of this entry, or of a later one that a snapshot brought. ERR_BAD_CHANGE, ERR_ALREADY_JOINT,
# ERR_NOT_JOINT, ERR_SIMPLE_IN_JOINT, ERR_NEEDS_JOINT, ERR_NO_VOTERS, ERR_TOO_MANY_MEMBERS: the change is impossible, here as
# everywhere, and changes nothing (only without validation, in `disable_change_validation`). ERR_INVARIANT: it cannot be
# read (a later version, damage); the member has failed.
cdef int raft_apply_conf_change(Raft* r, const Entry* entry, int64_t now_ns) noexcept nogil
# A snapshot of the state machine at `index` <= applied is durable; from now on it is what lagging members are sent.
# `configuration` is the one at `index`; null = the present one (ERR_UNAVAILABLE when that is of a later index).
cdef int raft_note_snapshot(Raft* r, uint64_t index, const Configuration* configuration) noexcept nogil
# Drops the entries up to and with `index` <= the latest snapshot's.
cdef int raft_compact(Raft* r, uint64_t index) noexcept nogil
cdef uint64_t raft_last_index(const Raft* r) noexcept nogil
# Fails the member from outside (storage, state machine): word cleared, pending reads answered in the next Ready.
cdef void raft_fail(Raft* r, int code) noexcept nogil
