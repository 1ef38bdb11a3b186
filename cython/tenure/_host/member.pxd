"""One group's replica on this host. Only the loop thread calls anything here, except for reading the gauges."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libcpp.atomic cimport atomic

from tenure._core.applied_index cimport AppliedWord
from tenure._core.blob cimport Blob
from tenure._core.lease cimport LeaseWord
from tenure._core.queue cimport Queue
from tenure._core.state_machine cimport StateMachine
from tenure._core.vec cimport Vec
from tenure._core.wakeup cimport Wakeup
from tenure._host.snapshotter cimport Snapshotter
from tenure._host.roster cimport Roster
from tenure._host.waiter cimport Caller
from tenure._host.writer cimport WriteJob, Writer
from tenure._net.transport cimport Transport
from tenure._raft.state cimport Raft
from tenure._raft.types cimport Entry, Message, Snapshot
from tenure._storage.snapshot cimport SnapshotBytes

cdef enum Outcome:
    # How a submission ends; values below 100 are a Code of `_raft.types`.
    OUTCOME_OK = 0
    OUTCOME_UNKNOWN = 101       # it may or may not take effect
    OUTCOME_CLOSED = 102        # refused: the host is closing
    OUTCOME_FAILED = 103        # refused: the member has failed
    OUTCOME_LOST = 104          # another leader's entry stands where this proposal stood: it never takes effect
    OUTCOME_DIVERGED = 105      # why a member failed: its state is not the leader's

cdef enum EventKind:
    EVENT_ROLE = 1              # role, leader or term changed
    EVENT_LEADER_LOST = 2       # this member was the leader and is no longer
    EVENT_FAILED = 3
    EVENT_MEMBERS = 5           # the configuration, or where somebody is, changed
    EVENT_STALLED = 4           # the disk stalled past its limit; leadership was given up

cdef struct Event:
    int32_t kind
    uint32_t group
    int32_t role
    uint64_t term
    uint64_t leader
    int32_t code

cdef struct ApplyBatch:
    # Committed entries for a state machine written in Python, pulled by its thread.
    Vec[Entry] entries
    uint64_t last

cdef struct PendingProposal:
    uint64_t index
    uint64_t term
    Caller caller

cdef struct PendingRead:
    uint64_t read_id
    uint64_t index
    int32_t code                # OK, or why it will not be confirmed
    bint confirmed
    uint64_t tick               # the member's `ticks` when it came
    Caller caller

cdef struct Outgoing:
    # A Ready that was taken; its acknowledgements leave when it and all before it are durable.
    uint64_t number
    bint writing
    Vec[Message] after_append

cdef struct Answer:
    Caller caller
    uint64_t index
    uint64_t term
    Blob* value


cdef extern from "tenure/_host/member.hpp" namespace "tenure" nogil:
    cdef cppclass MemberGauges:
        atomic[uint64_t] term
        atomic[uint64_t] leader
        atomic[uint64_t] transferee         # whom leadership is being handed to; 0 = nobody
        atomic[uint64_t] commit
        atomic[uint64_t] applied
        atomic[uint64_t] last_index
        atomic[uint64_t] first_index
        atomic[uint64_t] proposals
        atomic[uint64_t] applied_entries
        atomic[uint64_t] reads
        atomic[uint64_t] elections
        atomic[uint64_t] lapses_deadline
        atomic[uint64_t] lapses_withdrawn
        atomic[uint64_t] rate_alarms
        atomic[uint64_t] state_hash
        atomic[uint64_t] state_hash_index
        atomic[uint64_t] snapshots
        atomic[uint64_t] snapshots_failed
        atomic[uint64_t] snapshots_damaged
        atomic[uint64_t] snapshots_installed
        atomic[uint64_t] snapshots_resumed
        atomic[uint64_t] snapshot_received_bytes
        atomic[uint64_t] snapshot_index
        atomic[uint64_t] snapshot_bytes
        atomic[uint64_t] snapshot_ns
        atomic[uint64_t] hashes_compared
        atomic[uint64_t] diverged_index     # where this member's state differed from the leader's; 0 = nowhere
        atomic[uint64_t] diverged_hash      # its own there
        atomic[uint64_t] leader_hash
        atomic[int32_t] role
        atomic[int32_t] failed

    MemberGauges* gauges_new() noexcept
    void gauges_free(MemberGauges* gauges) noexcept


cdef struct SnapshotPeer:
    # A member that the leader sent a snapshot, until it has caught up; see transfer.pyx.
    uint64_t id
    uint64_t index              # the entries behind it are kept
    uint64_t bytes              # `total_bytes` there
    uint64_t floor              # what it has of older snapshots is of no use to it any more
    int64_t heard_ns            # CLOCK_MONOTONIC, as the next
    int64_t offered_ns
    bint waiting                # the core waits for it to install a snapshot
    bint serving                # a piece for it is with the snapshot thread

cdef struct Download:
    # The file that is received, which may be older than the snapshot that the leader last named. index 0 = none.
    uint64_t index
    uint64_t term
    SnapshotBytes bytes_of      # size 0 = not known yet
    uint64_t received           # bytes of it that are here

cdef struct Transfer:
    # As leader.
    Vec[SnapshotPeer] peers
    uint64_t hold_bytes         # of entries that may be kept for one of them
    # As the member behind. The leader's message waits until a file is here, whole, durable, and loaded beside the machine.
    bint receiving
    bint storing                # the snapshot thread is at it
    bint resuming               # ... and looks for what a former process received
    Message held                # owns its snapshot
    Download download
    uint64_t left_index         # of the beginning of a file that a former process left; 0 = none, or it was looked at
    int64_t told_ns             # CLOCK_MONOTONIC, as the next: when the leader last heard of this member
    int64_t asked_ns            # when it was last asked for a piece
    int64_t patience_ns         # after which it is asked again
    void* load                  # what `loaded` is of; null = none
    Snapshot loaded
    uint64_t installing         # adopted, and not yet durable in the log; 0 = none

cdef struct MemberSnapshots:
    # See snapshots.pyx.  marked <= previous.index < latest.index <= applied
    Snapshotter* snapshotter
    uint64_t every              # entries between two snapshots; 0 = none are taken
    uint64_t applied_bytes      # commands applied since the last cut
    uint64_t requested          # somebody asked for a snapshot that covers this index
    uint64_t total_bytes        # of entries applied since the start, with what each costs beside its command
    uint64_t cut_bytes          # `total_bytes` at the cut of the running one
    uint64_t latest_bytes       # ... and at that of `latest`
    Snapshot latest             # whole and durable in a file; index 0 = none
    Snapshot previous           # the one before it
    uint64_t marked             # the log on disk starts behind this index
    uint64_t compact_to         # entries up to here may leave memory; 0 = nothing to do
    int64_t retry_ns            # CLOCK_MONOTONIC: none is begun before, since one failed
    bint running                # one of this member's own
    bint held_back              # entries are kept for a member that seems to be there and lacks them
    int64_t look_ns             # CLOCK_MONOTONIC: when that is looked at again
    bint renew                  # the file of `latest` is damaged

cdef enum:
    HASHES_KEPT = 1024

cdef struct StateHash:
    uint64_t index
    uint64_t hash               # of the state machine, everything up to `index` applied

cdef struct MemberHashes:
    # See divergence.pyx.
    StateHash kept[HASHES_KEPT] # a ring; number n stands at n % HASHES_KEPT
    uint64_t count              # that were ever noted
    int64_t due_ns              # CLOCK_MONOTONIC: as leader, when the next are told

cdef struct Member:
    uint32_t group
    uint64_t id
    Raft* raft
    LeaseWord* lease
    AppliedWord* applied
    StateMachine machine        # machine.self null: entries go to a Python thread
    Queue* apply_queue          # of ApplyBatch*, with its wakeup; null with a native machine
    Wakeup* apply_wakeup
    Queue* events               # of Event*
    Wakeup* events_wakeup
    Transport* transport
    Writer* writer
    MemberSnapshots snapshots
    Transfer transfer
    MemberHashes hashes
    MemberGauges* gauges
    Vec[PendingProposal] proposals
    size_t proposals_head
    Vec[PendingRead] reads      # in the order of their ids
    uint64_t ticks
    Roster* roster              # the host's
    uint64_t connected_index    # the configuration that the transport was last brought in line with
    Vec[Outgoing] outgoing
    Vec[Entry] to_apply
    size_t apply_head           # applied up to here
    size_t handed               # given to the Python thread up to here;  apply_head <= handed <= to_apply.size
    Vec[Answer] answers
    uint64_t unapplied_bytes
    uint64_t max_unapplied_bytes
    uint64_t next_read_id
    int64_t oldest_write_ns     # CLOCK_MONOTONIC when the oldest write in flight was queued; 0 = none
    int32_t writes_in_flight
    int32_t last_role
    uint64_t last_lead
    bint lease_was_valid
    bint stalled
    bint stopped                # failed or closed, and everybody was told


cdef void member_propose(Member* m, Blob** payloads, Caller* callers, size_t count, int64_t now_ns) noexcept nogil
# Proposes the change of membership that `payload` is (conf_change.pxd). Its caller is answered once it is applied here: with
# OUTCOME_OK, or at once with what `raft_propose_conf_change` says against it. Takes over the payload.
cdef void member_change(Member* m, Blob* payload, bint is_v1, const Caller* caller, int64_t now_ns) noexcept nogil
# The configuration applied here as bytes (see `encode_members`), the roster behind it; null without memory.
cdef Blob* member_members(const Member* m) noexcept nogil
cdef void member_members_changed(Member* m) noexcept nogil
cdef void member_read(Member* m, const Caller* caller, int64_t now_ns) noexcept nogil
cdef void member_receive(Member* m, Message* message, int64_t now_ns) noexcept nogil
# Counts a lease that ended since the last look; before the messages that may bring a new one.
cdef void member_watch_lease(Member* m, int64_t now_ns) noexcept nogil
cdef void member_tick(Member* m, int64_t now_ns, int64_t monotonic_ns, int64_t stall_limit_ns) noexcept nogil
# How many of the next ticks do nothing but count, the one that acts included.
cdef int32_t member_rest_ticks(const Member* m) noexcept nogil
# The instant of CLOCK_MONOTONIC at which a tick is wanted whatever is counted; INT64_MAX: none.
cdef int64_t member_due_ns(const Member* m, int64_t stall_limit_ns) noexcept nogil
cdef void member_written(Member* m, WriteJob* job, int64_t now_ns) noexcept nogil
cdef void member_applied(Member* m, uint64_t index, Blob** results, size_t count, int64_t now_ns) noexcept nogil
# Handles every Ready and applies until `deadline_ns` (CLOCK_MONOTONIC); True when something is left to do.
cdef bint member_process(Member* m, int64_t now_ns, int64_t deadline_ns) noexcept nogil
cdef void member_fail(Member* m, int32_t code, int32_t outcome) noexcept nogil
cdef void apply_batch_free(ApplyBatch* batch) noexcept nogil
cdef void member_release(Member* m) noexcept nogil
