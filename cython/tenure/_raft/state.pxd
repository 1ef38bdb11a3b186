"""The state of one member of one group. Every module of the package works on this struct; none of them keeps more.

    offset <= applied <= applying <= committed <= last          stable <= persisting <= last
    commit index told to anybody <= applied here                 (while leases are asked for)
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from tenure._core.lease cimport LeaseWord
from tenure._core.vec cimport Vec
from tenure._raft.types cimport Configuration, Entry, HardState, Message, ReadState, Snapshot

cdef enum ProgressState:
    PROBE = 0               # one append at a time: where the follower's log agrees is unknown
    REPLICATE = 1           # appends are streamed, bounded by the in-flight window
    SNAPSHOT = 2            # nothing is appended until the snapshot has been installed

cdef enum OnRemoval:
    # What a leader does that has applied its own removal or demotion.
    REMOVAL_STAY = 0        # it goes on leading, without a lease and without proposals, until somebody takes over
    REMOVAL_STEP_DOWN = 1   # it follows at once; others may need its vote to learn that it was removed
    REMOVAL_HAND_OVER = 2   # it follows once a quorum knows, and names a successor

cdef struct Inflight:
    uint64_t last           # index of the last entry of an append in flight
    uint64_t bytes

cdef struct Progress:
    # What the leader knows of one member, itself included.
    uint64_t id
    uint64_t match          # highest index known to be durable there
    uint64_t next           # first index that the next append carries;  match < next
    uint64_t sent_commit    # highest commit index in flight or delivered
    uint64_t pending_snapshot
    uint8_t state           # ProgressState
    bint paused             # no append until a reply or a heartbeat's reply
    bint recent_active      # replied since the last check of the quorum
    bint is_learner
    uint64_t acked_round    # highest ReadIndex round confirmed in this term
    int32_t silent_ticks    # since the last reply
    int64_t lease_until_ns  # own clock: until then the member's promises bind it (LEASE.md rule 5); 0 = none
    # H10: base of the comparison of clock rates
    int64_t rate_stamp_ns
    int64_t rate_peer_ns
    int64_t rate_received_ns
    bint rate_refused
    # ring of appends in flight
    Vec[Inflight] window
    int32_t window_start
    int32_t window_count
    uint64_t window_bytes

cdef struct PendingRead:
    uint64_t read_id
    uint64_t from_          # member that asked
    uint64_t index          # commit index at receipt
    uint64_t round          # confirmed by acknowledgements of this round or a later one; 0 = not asked yet
    bint confirmed          # waits only for this member to apply `index`

cdef struct Write:
    # A Ready that storage has not acknowledged yet.
    uint64_t number
    uint64_t term           # of the member when it was handed out; of a later term it acknowledges no entries
    uint64_t last           # acknowledges entries up to here, lowered when they are truncated
    uint64_t snapshot_index # acknowledges the installation of this snapshot; 0 = none
    int64_t promise_bound_ns

cdef struct SelfMessage:
    uint64_t number         # of the Ready that must be durable first
    uint64_t behind         # so many of that Ready's messages to others were queued before it
    Message message

cdef struct Departed:
    # A member that a change of the configuration has dropped.
    uint64_t id
    uint64_t match
    bint told               # that it was dropped, as far as one heartbeat can say
    int64_t lease_until_ns  # kept for the proof build alone (H18 off)
    uint64_t acked_round

cdef struct Vote:
    uint64_t id
    bint granted

cdef struct RaftConfig:
    uint64_t id
    int32_t election_ticks
    int32_t heartbeat_ticks
    bint check_quorum
    bint pre_vote
    bint async_storage      # committed entries are handed out only once durable here
    uint8_t on_removal      # OnRemoval
    bint commit_in_votes    # a refused vote says what is known to be committed
    bint disable_change_validation  # changes of membership enter the log unchecked; switches leases off (LEASE.md H17)
    uint64_t max_message_bytes
    uint64_t max_committed_bytes
    int32_t max_inflight_messages
    uint64_t max_inflight_bytes
    uint64_t max_uncommitted_bytes
    int32_t max_pending_reads
    int64_t promise_ns      # D, asked of every peer; 0 = no leases, every read is a ReadIndex round
    int64_t rate_numerator      # r, bound on the rate error of any member's clock, as a fraction
    int64_t rate_denominator
    int64_t granularity_ns  # g
    uint64_t seed
    uint64_t guards_off     # proof build only

cdef struct RaftLog:
    Vec[Entry] entries      # entries[i].index == offset + 1 + i
    uint64_t offset         # everything at or below it is in a snapshot
    uint64_t offset_term
    uint64_t committed
    uint64_t applying       # handed out in a Ready
    uint64_t applied
    uint64_t persisting     # handed out for writing
    uint64_t stable         # durable here
    Snapshot latest_snapshot        # what a member that is too far behind is sent; offset <= latest_snapshot.index
    Snapshot* pending_snapshot      # received, not yet handed out for installing
    uint64_t installing             # index of a snapshot handed out and not yet durable; 0 = none

cdef struct Raft:
    RaftConfig config
    int32_t failed          # Code; nothing but release is allowed when not OK
    int64_t now_ns          # reading handed in with the current input; 0 = the clock could not be read

    # durable
    uint64_t term
    uint64_t vote
    RaftLog log
    Configuration configuration     # the one at `configuration_index`
    uint64_t configuration_index    # of the change applied last, or of the snapshot that brought the configuration
    uint64_t change_handed          # index of the last change handed out to be applied

    # role
    uint8_t role
    uint64_t lead
    Vec[Progress] progress  # sorted by id, every member of the configuration
    Vec[Vote] votes         # in order of arrival, one a member
    Vec[Departed] departed  # as leader: dropped members that have not been told
    uint64_t leaving_index  # as leader that hands over: index of the change that removed it; 0 = none
    uint64_t leaving_round  # acknowledged by whoever has heard that this change is committed; 0 = not minted yet
    uint64_t pending_change_index   # as leader: no change may be proposed before everything up to here is applied
    uint64_t transferee
    bint transfer_sent      # TimeoutNow was queued in this term
    uint64_t delayed_release        # TimeoutNow came before a committed change was applied: its release_term
    uint64_t release_term   # of the own campaign, 0 = none
    int32_t election_elapsed
    int32_t heartbeat_elapsed
    int32_t election_timeout        # randomised, election_ticks <= x < 2 election_ticks
    int64_t campaign_at_ns  # a refused pre-vote said when to ask again; 0 = no
    uint64_t uncommitted_bytes
    uint64_t random

    # this member's promise (LEASE.md rules 2 and 4): fields of their own, no change of role, term or leader touches them
    int64_t promise_until_ns
    uint64_t promise_holder
    uint64_t promise_term
    int64_t promise_bound_ns
    int64_t promise_bound_durable_ns
    int64_t bound_shrink_at_ns      # the old, longer bound has passed then
    int64_t bound_shrink_to_ns
    int64_t restart_wait_ns         # started without a clock: the wait begins with the first reading

    # this member's lease, as leader
    LeaseWord* lease        # shared with readers; may be null
    uint64_t own_term_index # index of the empty entry that opened the term
    int64_t lease_generation
    Vec[LeaseWord*] dependents      # leases of others that rest on this leadership; one reference each
    bint lease_cleared      # for the rest of the term
    bint lease_late_clear   # proof build, H19 off
    uint64_t told_commit    # highest commit index any message carried in this term
    uint64_t rate_alarms    # peers newly refused for their clock's rate, ever

    # ReadIndex
    uint64_t round          # minted in this term
    bint round_open         # its heartbeats have not left yet
    Vec[PendingRead] reads

    # output
    Vec[Message] messages
    Vec[Message] after_append
    Vec[SelfMessage] self_messages
    Vec[ReadState] read_states
    Vec[Write] writes
    uint64_t ready_number
    HardState told_hard
    uint64_t told_lead
    uint8_t told_role
