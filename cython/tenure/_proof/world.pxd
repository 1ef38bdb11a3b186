"""The simulated world: true time, events, members' clocks, disks and logs, clients, and the one source of randomness.

Plain structs that every module of the simulator works on; one thread owns a world. Everything in it follows from the seed:
events are ordered by (true time, order of creation) and nothing looks at an address, a hash or the machine's clock.

Chance comes from many small splitmix64 streams, each named by what it decides: one of the faults, one of each client, each
operation, each message of a link, each process. So a decision that is left out of a replay changes what follows from it and
nothing else. What is worth leaving out is recorded, if asked for: faults (`Fault`), calls (`Call`) and what befell messages
(`Fate`). A world that was given such a record draws none of these three.

Layers, lowest first: world, monitor, network, operations, machine, user, disk, answers, snapshots, host, requests, changes,
clients and faults, simulator.
"""

from libc.stdint cimport INT64_MIN, int32_t, int64_t, uint64_t, uint8_t

from tenure._core.blob cimport Blob
from tenure._core.lease cimport LeaseWord
from tenure._core.vec cimport Vec
from tenure._proof.raft.state cimport Raft
from tenure._proof.raft.types cimport Configuration, Entry, HardState, Message

cdef enum:
    MAX_SIM_MEMBERS = 7
    TRACE_CAPACITY = 8192
    MESSAGE_TYPES = 16

cdef enum EventKind:
    EV_DELIVER = 0          # message to member
    EV_TICK = 1
    EV_SYNCED = 2           # a = number of the last write that this sync covers
    EV_APPLY = 3
    EV_PUMP = 4             # end of a loop pass: the Ready is taken
    EV_REQUEST = 5          # a client's operation reaches a member; a = operation
    EV_FINISH_READ = 6      # a reader that stalled between its check and its read goes on; a = operation
    EV_LATE_EXTEND = 7      # a stalled coordinator extends the lease; a = until, b = generation
    EV_REPLY = 8            # member = client, a = operation, b = value, status
    EV_TIMEOUT = 9          # member = client
    EV_START = 10           # member = client
    EV_FAULT = 11           # member = FaultKind
    EV_RESUME = 12
    EV_RESTART = 13
    EV_THAW = 14
    EV_CALL = 15            # of a replay; a = number of the recorded call
    EV_SNAPSHOT_CAME = 16   # the file behind a message that the host kept back is here, durable and loaded
    EV_SNAPSHOT_WRITTEN = 17        # a = index
    EV_SNAPSHOT_GIVEN_UP = 18       # member = sender, a = receiver, b = index
    EV_KINDS = 19

cdef enum FaultKind:
    FAULT_PARTITION = 0
    FAULT_PAUSE = 1
    FAULT_CRASH = 2
    FAULT_DISK_STALL = 3
    FAULT_APPLY_STALL = 4
    FAULT_CLOCK_FAILURE = 5
    FAULT_CLOCK_FREEZE = 6
    FAULT_CLOCK_RATE = 7
    FAULT_TRANSFER = 8
    FAULT_STEP_DOWN = 9
    FAULT_FORGET = 10
    FAULT_LATE_EXTENSION = 11
    FAULT_SLOW_DISK = 12
    FAULT_DISK_FAILURE = 13
    FAULT_CLOCK_JUMP = 14
    FAULT_CHANGE = 15               # of the membership
    FAULT_WIPE = 16                 # a removed member loses its disk; never drawn, it is safe only once everybody knows
    FAULT_KINDS = 17

cdef enum ViolationKind:
    VIOLATION_TWO_LEASES = 1
    VIOLATION_COMMIT_UNDER_LEASE = 2
    VIOLATION_HOLDER_BEHIND = 3
    VIOLATION_ELECTION_SAFETY = 4
    VIOLATION_STATE_MACHINE = 5
    VIOLATION_LEADER_COMPLETENESS = 6
    VIOLATION_COMMIT_NOT_STABLE = 7
    VIOLATION_AHEAD_OF_HOLDER = 8
    VIOLATION_CORE_FAILED = 9
    VIOLATION_LOG_ORDER = 10
    VIOLATION_LIVENESS = 11
    VIOLATION_PROMISE = 12
    VIOLATION_STALE_READ = 13
    VIOLATION_READ_INDEX = 14
    VIOLATION_WRITE_LIVENESS = 15

cdef enum CounterKind:
    COUNT_EVENTS = 0
    COUNT_OPERATIONS = 1
    COUNT_OK = 2
    COUNT_FAILED = 3
    COUNT_UNKNOWN = 4
    COUNT_LEASE_READS = 5
    COUNT_LATE_LEASE_READS = 6      # in the last 5 ms of a lease
    COUNT_STALLED_READS = 7         # stalled between the check and the read
    COUNT_READ_INDEX_LEADER = 8
    COUNT_READ_INDEX_FOLLOWER = 9
    COUNT_FALLBACKS = 10
    COUNT_LEASE_SPANS = 11          # a word became valid
    COUNT_ELECTIONS = 12
    COUNT_CRASHES = 13
    COUNT_RESTARTS = 14
    COUNT_RESTARTS_IN_PROMISE = 15
    COUNT_LOST_WRITES = 16          # Readys whose writes a crash destroyed
    COUNT_PAUSES = 17
    COUNT_PARTITIONS = 18
    COUNT_MESSAGES = 19
    COUNT_DROPPED = 20
    COUNT_DUPLICATED = 21
    COUNT_HELD = 22
    COUNT_DISK_STALLS = 23
    COUNT_APPLY_STALLS = 24
    COUNT_CLOCK_FAULTS = 25
    COUNT_TRANSFERS = 26
    COUNT_TRANSFERS_DONE = 27
    COUNT_TRANSFERS_ABORTED = 28
    COUNT_STEP_DOWNS = 29
    COUNT_FORGETS = 30
    COUNT_LATE_EXTENSIONS = 31
    COUNT_LATE_EXTENSIONS_REFUSED = 32
    COUNT_COMMITTED = 33
    COUNT_RATE_ALARMS = 34
    COUNT_DISK_FAILURES = 35
    COUNT_DISK_STEP_DOWNS = 36      # leaders that gave up because their disk stalled
    COUNT_CLOCK_JUMPS = 37
    COUNT_RETRIES = 38
    COUNT_DUPLICATES_REFUSED = 39   # commands that a session knew already
    COUNT_SNAPSHOTS = 40
    COUNT_SNAPSHOTS_INSTALLED = 41
    COUNT_LATE_TIMEOUT_NOW = 42     # of a lower term than its receiver's
    COUNT_CHANGES = 43              # of the membership, applied by whoever is first
    COUNT_CALMS = 44                # no operation had ended well for so long that the faults paused
    COUNT_KINDS = 45

cdef enum OperationKind:
    # numbered as the checker of linearizability numbers them
    OP_SET = 0
    OP_GET = 1
    OP_INCR = 2
    OP_CAS = 3
    OP_DEL = 4

cdef enum OperationStatus:
    STATUS_OK = 0
    STATUS_FAIL = 1         # certainly without effect
    STATUS_UNKNOWN = 2

cdef enum Via:
    VIA_LOG = 0
    VIA_LEASE = 1           # with fallback to a ReadIndex round
    VIA_READ_INDEX = 2

cdef struct ProfileC:
    # Field by field the Python `tenure.sim.Profile`, which documents them.
    int64_t members
    int64_t spares
    int64_t joint_percent
    int64_t least_voters
    int64_t clients
    int64_t readers
    int64_t keys
    int64_t epoch_operations
    int64_t epoch_unknown
    int64_t tick_ns
    int64_t election_ticks
    int64_t heartbeat_ticks
    int64_t pre_vote
    int64_t check_quorum
    int64_t promise_ns
    int64_t rate_numerator
    int64_t rate_denominator
    int64_t granularity_ns
    int64_t max_inflight_messages
    int64_t delay_min_ns
    int64_t delay_max_ns
    int64_t drop_ppm
    int64_t duplicate_ppm
    int64_t hold_ppm
    int64_t hold_max_ns
    int64_t hold_timeout_now_percent
    int64_t hold_vote_percent
    int64_t sync_min_ns
    int64_t sync_max_ns
    int64_t slow_sync_min_ns
    int64_t slow_sync_max_ns
    int64_t stall_limit_ns
    int64_t snapshot_every
    int64_t snapshot_trailing
    int64_t snapshot_transfer_min_ns
    int64_t snapshot_transfer_max_ns
    int64_t snapshot_patience_ns
    int64_t apply_min_ns
    int64_t apply_max_ns
    int64_t pass_max_ns
    int64_t client_delay_max_ns
    int64_t client_timeout_ns
    int64_t think_max_ns
    int64_t writer_think_max_ns
    int64_t refused_wait_ns
    int64_t probe_percent
    int64_t reply_drop_ppm
    int64_t retry_percent
    int64_t max_attempts
    int64_t sessions
    int64_t read_percent
    int64_t lease_read_percent
    int64_t stray_percent
    int64_t read_stall_ppm
    int64_t read_stall_max_ns
    int64_t check_cache_ns
    int64_t clock_offset_max_ns
    int64_t clock_rate_max_ppm
    int64_t clock_jump_max_ns
    int64_t clock_jump_leader_max_ns
    int64_t every_ns[17]
    int64_t fault_min_ns
    int64_t fault_max_ns
    int64_t pause_min_ns
    int64_t pause_max_ns
    int64_t down_min_ns
    int64_t down_max_ns
    int64_t leader_bias_percent
    int64_t one_way_percent
    int64_t isolate_percent
    int64_t freeze_isolates
    int64_t pause_isolates_percent
    int64_t transfer_cut_percent
    int64_t late_extension_max_ns
    int64_t calm_after_ns
    int64_t liveness_ns
    int64_t write_liveness_ns

cdef struct Event:
    int64_t at_ns
    uint64_t order
    int64_t a
    int64_t b
    uint64_t incarnation    # of the member's process that this event belongs to; 0 = any
    Message* message        # owned
    int32_t member
    uint8_t kind
    uint8_t status

cdef struct SimClock:
    int64_t base_true_ns
    int64_t base_local_ns
    int64_t rate_ppm
    int64_t unreadable_until_ns     # true time
    bint frozen

cdef struct Command:
    # The payload of an entry, or its head where a user's bytes follow.
    int64_t operation
    int64_t session         # 0 = none
    int64_t kind
    int64_t key
    int64_t value
    int64_t expected

cdef struct Session:
    # The last command of a client that took effect: a retry of it is answered from here.
    int64_t operation
    int64_t result

cdef struct StoredSnapshot:
    uint64_t index
    uint64_t term
    Configuration configuration
    Blob* data              # owned

ctypedef StoredSnapshot* StoredSnapshotPointer

cdef struct Fault:
    # A decision to do harm, with everything that chance had to say about it.
    int64_t at_ns
    int64_t from_ns         # beginning of a cut network, where it differs
    int64_t until_ns
    int64_t value           # jump, wait, a random number, or a change of the membership (see changes.pxd)
    int64_t rate_ppm        # of the clock from now on, or after a reboot
    int64_t reading_ns      # of the clock after a reboot; 0 = the machine stays up
    int32_t kind            # FaultKind
    int32_t member          # position
    int32_t other           # position of the other end, or of the target; -1 = everybody
    int32_t direction       # 0 both, 1 nothing leaves, 2 nothing arrives

cdef struct Call:
    # A decision of a client: what it asks, whom and when.
    int64_t id              # number of the operation in the recorded run: names its stream of chance
    int64_t client
    int64_t at_ns
    int64_t deadline_ns
    int64_t kind
    int64_t key
    int64_t value
    int64_t expected
    int64_t via
    int32_t target

cdef enum FateKind:
    FATE_DROPPED = 1
    FATE_DUPLICATED = 2
    FATE_HELD = 4

cdef struct Fate:
    # What befell the first message of a type that left on a link at `at_ns` or later, other than the usual delay.
    int64_t at_ns
    int64_t held_ns
    int32_t nth             # of the messages of this type that left at `at_ns`, from 0
    int32_t type            # MessageType
    int32_t from_
    int32_t to
    int32_t what            # FateKind, added up

cdef enum InputKind:
    # What a host told its core, or did with what the core wanted: enough to do the same to another core.
    INPUT_START = 0         # a = seed of the core, b = position of the process' first write among those that survived
    INPUT_STEP = 1          # a = sender's position, b = number of the message on its link
    INPUT_TICK = 2
    INPUT_READY = 3
    INPUT_APPENDED = 4      # a = how many of the oldest waiting Readys
    INPUT_APPLIED = 5       # a = index
    INPUT_PROPOSE = 6       # a = operation
    INPUT_READ = 7          # a = read id
    INPUT_TRANSFER = 8      # a = target
    INPUT_STEP_DOWN = 9
    INPUT_FORGET = 10
    INPUT_STOP = 11         # a = how many waiting Readys were durable all the same
    INPUT_NOTE = 12         # a = index of a snapshot
    INPUT_COMPACT = 13      # a = index
    INPUT_REPORT = 14       # a = peer
    INPUT_CHANGE = 15       # a = the change, b = its transition
    INPUT_END = 16          # the run ended here

cdef struct Input:
    int64_t now_ns          # what the member's clock said
    int64_t a
    int64_t b
    int32_t member
    uint8_t kind            # InputKind

cdef struct Register:
    int64_t value
    int64_t present         # 0 or 1; as wide as `value`, for registers are compared byte by byte

cdef struct DiskWrite:
    uint64_t number
    bint hard_changed
    HardState hard
    Vec[Entry] entries
    Vec[Message] after_append
    StoredSnapshot* snapshot        # of the world's store; null = none
    int64_t queued_ns       # true time

cdef struct Proposal:
    uint64_t index
    uint64_t term
    int64_t operation

cdef struct WaitingRead:
    uint64_t read_id
    int64_t operation
    uint64_t index
    uint64_t least          # what had been applied anywhere when it was asked
    bint confirmed

cdef struct Member:
    uint64_t id
    int32_t at              # position in World.members, id - 1
    bint alive
    bint paused
    bint wiped              # its disk was lost: it knows of no configuration
    bint stale_reading      # H08 off: handles what arrived during a pause, in the pass that began before it
    uint64_t incarnation
    Raft* raft
    LeaseWord* lease
    SimClock clock
    uint64_t tick_epoch     # older ticks are void
    int64_t pass_now_ns     # own clock at the last input before a pause

    uint64_t chance         # stream of this member's processes: disk, apply, passes
    int64_t ticked_ns       # H06 off: what the ticks of this process add up to

    # disk: the entries behind `durable_offset`, and a snapshot at or behind it
    HardState hard
    Vec[Entry] durable      # durable[i].index == durable_offset + 1 + i
    uint64_t durable_offset
    StoredSnapshot* snapshot        # of the world's store; null = none
    Vec[DiskWrite] writes   # not durable yet, in order
    bint syncing
    bint disk_fails         # at the next sync
    int64_t restart_at_ns   # after such a failure
    int64_t disk_stalled_until_ns
    int64_t disk_slow_until_ns

    StoredSnapshot* dumping         # is being written
    StoredSnapshot* incoming        # its file has come, the core was told

    Vec[Entry] apply_queue
    bint apply_scheduled
    int64_t apply_stalled_until_ns
    uint64_t applied
    Vec[Register] registers
    Vec[Session] sessions   # by client

    bint pump_scheduled
    Vec[Proposal] proposals
    Vec[WaitingRead] reads
    Vec[Event] deferred     # arrived during a pause
    int64_t checked_until_ns        # H11 off: a cached positive check serves calls until then

    # what the monitor saw last
    uint64_t seen_committed
    uint64_t seen_leader_term
    uint64_t seen_term
    uint8_t seen_role
    bint seen_valid
    bint transferring
    uint64_t transfer_term
    uint64_t transfer_target
    int64_t seen_promise_ns
    uint64_t seen_rate_alarms
    int64_t jumped_ns       # true time of the last jump of its clock
    int64_t promise_true_until_ns   # true time until which the promises of any incarnation bind (for counting)

cdef inline int64_t absent() noexcept nogil:
    """No value, in a row of the history."""
    return INT64_MIN


cdef struct Client:
    int64_t operation       # outstanding, 0 = none
    int64_t deadline_ns
    int32_t target
    int32_t wrote_at        # id of the member that acknowledged its last write
    int32_t attempts        # of the outstanding operation
    int64_t label           # the client's number in the history
    uint64_t chance
    int64_t alarm_ns        # the next one; 0 = none
    bint starting           # its next call is scheduled

cdef struct Row:
    # One operation of the history; operation n is row n - 1.
    int64_t client
    int64_t kind
    int64_t key
    int64_t value           # written value, or the increment
    int64_t expected        # CAS
    int64_t out
    int64_t call_ns
    int64_t ret_ns
    int64_t status
    int64_t via
    int64_t member
    uint64_t chance         # stream of what becomes of it

cdef struct Machines:
    # A user's state machines in place of the registers. Called with the GIL not held; false = an exception is waiting.
    void* context           # null = registers
    bint (*create)(void* context, int32_t member) noexcept nogil
    bint (*apply)(void* context, int32_t member, const Entry* entries, size_t count) noexcept nogil
    bint (*query)(void* context, int32_t member, int64_t operation, int64_t number) noexcept nogil
    Blob* (*dump)(void* context, int32_t member) noexcept nogil
    bint (*load)(void* context, int32_t member, Blob* data) noexcept nogil
    bint (*choose)(void* context, int64_t operation, int64_t client, Row* row) noexcept nogil
    Blob* (*payload)(void* context, int64_t operation, const Command* command) noexcept nogil

cdef struct Committed:
    uint64_t term
    uint64_t leader_term    # of the leader that committed it
    int64_t operation       # 0 = an empty entry
    uint64_t checksum       # of all entries up to and with this one

cdef struct Violation:
    int64_t at_ns
    uint64_t event
    int32_t kind
    uint64_t member
    uint64_t other
    uint64_t a
    uint64_t b

cdef struct Trace:
    int64_t at_ns
    int64_t a
    int64_t b
    int64_t local_ns
    uint64_t term
    uint64_t index
    uint64_t log_term
    uint64_t commit
    int64_t stamp_ns
    int64_t promise_ns
    uint64_t from_
    uint64_t to
    uint64_t entries
    int32_t member
    uint8_t what            # EventKind, or TRACE_*
    uint8_t type
    uint8_t reject

cdef enum TraceKind:
    TRACE_SEND = 32
    TRACE_ROLE = 33
    TRACE_CRASH = 34
    TRACE_PAUSE = 35
    TRACE_PARTITION = 36
    TRACE_LEASE_READ = 37
    TRACE_LEASE_START = 38
    TRACE_COMMIT = 39
    TRACE_APPLIED = 40
    TRACE_VIOLATION = 41
    TRACE_FAULT = 42
    TRACE_FINISH = 43

ctypedef void (*Serve)(World*, Member*, Event*) noexcept nogil

cdef struct World:
    ProfileC profile
    uint64_t guards_off
    Serve serve             # what the layer above makes of the events of clients and operators
    uint64_t seed
    uint64_t faults_chance
    int64_t now_ns          # true time
    uint64_t order
    Vec[Event] heap
    Configuration configuration
    int32_t count
    Member members[MAX_SIM_MEMBERS]
    int64_t blocked_from_ns[MAX_SIM_MEMBERS][MAX_SIM_MEMBERS]
    int64_t blocked_until_ns[MAX_SIM_MEMBERS][MAX_SIM_MEMBERS]
    uint64_t sent[MAX_SIM_MEMBERS][MAX_SIM_MEMBERS]     # messages, ever
    Vec[StoredSnapshotPointer] snapshots        # every snapshot that anybody took, by index
    Vec[Client] clients
    Vec[Row] history
    Vec[Register] hints     # by key: what a client saw last, so that a CAS has a chance
    int64_t epoch           # of the keys
    int64_t epoch_asked     # operations in it
    int64_t epoch_unknown   # writes in it whose outcome nobody knows
    int64_t operations_wanted
    int64_t operations_open
    int64_t finished_ns     # true time of the last operation that ended well
    int64_t written_ns      # and of the last one that wrote
    int64_t harmed_ns       # true time of the last fault
    bint calm               # see world_calm
    uint64_t next_read_id
    # monitor
    bint monitoring
    Vec[Committed] committed        # [index - 1], known to be committed by anybody
    Vec[uint64_t] leaders           # [term]
    uint64_t max_applied
    uint64_t max_changed            # index of the last change of the membership that anybody applied
    uint64_t max_committed_term
    Vec[Violation] violations
    bint stopped
    bint no_memory
    int64_t counters[COUNT_KINDS]
    # record and replay
    bint recording
    bint replaying          # calls and fates are given
    bint scripted           # faults are given
    Vec[Fault] faults
    Vec[Call] calls
    Vec[Fate] fates         # of a replay: sorted by link, type and time
    int64_t left_ns[MAX_SIM_MEMBERS][MAX_SIM_MEMBERS][MESSAGE_TYPES]       # when the last message of a type left
    int32_t left_before[MAX_SIM_MEMBERS][MAX_SIM_MEMBERS][MESSAGE_TYPES]   # how many left at that same instant before it
    int32_t next_fate[MAX_SIM_MEMBERS][MAX_SIM_MEMBERS][MESSAGE_TYPES]      # of a replay: position in `fates`
    Vec[Input] inputs
    Machines machines
    bint tracing
    Vec[Trace] trace                # a ring
    uint64_t traced


cdef enum:
    # In the place of a guard: not a guard of anything, but a host's bug that nothing except the bound on liveness can find.
    PLANTED_LOST_WAKEUP = 40        # nobody is told of the end of a sync that stalled


cdef inline uint64_t random_next(uint64_t* stream) noexcept nogil:
    """splitmix64."""
    stream[0] += <uint64_t>0x9E3779B97F4A7C15
    cdef uint64_t z = stream[0]
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EB
    return z ^ (z >> 31)


cdef inline int64_t random_below(uint64_t* stream, int64_t bound) noexcept nogil:
    """0 <= x < bound; 0 when bound < 2, without consuming a number less: a profile's zero leaves the stream alone."""
    if bound < 2:
        return 0
    return <int64_t>(random_next(stream) % <uint64_t>bound)


cdef inline int64_t random_between(uint64_t* stream, int64_t low, int64_t high) noexcept nogil:
    return low + random_below(stream, high - low + 1)


cdef inline bint random_hit(uint64_t* stream, int64_t ppm) noexcept nogil:
    return ppm > 0 and random_below(stream, 1000000) < ppm


cdef enum Stream:
    STREAM_FAULTS = 1
    STREAM_CLIENT = 2
    STREAM_OPERATION = 3
    STREAM_MEMBER = 4
    STREAM_LINK = 5
    STREAM_CLOCK = 6


cdef inline uint64_t stream_of(const World* w, Stream kind, uint64_t which) noexcept nogil:
    """The beginning of a stream of its own."""
    cdef uint64_t z = w.seed ^ (<uint64_t>kind * <uint64_t>0xD1B54A32D192ED03)
    random_next(&z)
    z ^= which * <uint64_t>0xABC98388FB8FAC03
    return random_next(&z)


cdef inline int64_t clock_true_to_local(const SimClock* clock, int64_t true_ns) noexcept nogil:
    cdef int64_t passed = true_ns - clock.base_true_ns
    if clock.frozen:
        return clock.base_local_ns
    # split, so that an hour at a few per cent does not overflow
    return clock.base_local_ns + passed + passed // 1000000 * clock.rate_ppm + passed % 1000000 * clock.rate_ppm // 1000000


cdef inline int64_t clock_span_to_true(const SimClock* clock, int64_t span_ns) noexcept nogil:
    """True time in which the clock advances by at least `span_ns`."""
    return span_ns * 1000000 // (1000000 + clock.rate_ppm) + 1


cdef inline int64_t clock_now(const World* w, const Member* m) noexcept nogil:
    """What the member reads; 0 = the clock cannot be read."""
    if w.now_ns < m.clock.unreadable_until_ns:
        return 0
    return clock_true_to_local(&m.clock, w.now_ns)


cdef inline void clock_change(World* w, Member* m, int64_t rate_ppm, bint frozen) noexcept nogil:
    """Continue from the present reading at another rate."""
    m.clock.base_local_ns = clock_true_to_local(&m.clock, w.now_ns)
    m.clock.base_true_ns = w.now_ns
    m.clock.rate_ppm = rate_ppm
    m.clock.frozen = frozen


cdef inline void count(World* w, int kind) noexcept nogil:
    w.counters[kind] += 1


cdef inline bint world_calm(const World* w) noexcept nogil:
    """Nothing has ended well for so long that the world is left alone until something does."""
    return w.profile.calm_after_ns > 0 and w.now_ns - w.finished_ns > w.profile.calm_after_ns


cdef inline bint world_stuck(const World* w) noexcept nogil:
    """And nothing has since, although nobody did any harm for `liveness_ns`."""
    return (w.now_ns - w.finished_ns > w.profile.calm_after_ns + w.profile.liveness_ns
            and w.now_ns - w.harmed_ns > w.profile.liveness_ns)


cdef World* world_new(const ProfileC* profile, uint64_t seed, uint64_t guards_off) noexcept nogil
cdef void world_free(World* w) noexcept nogil       # every member must have been stopped
cdef Event* world_schedule(World* w, int64_t at_ns, uint8_t kind, int32_t member) noexcept nogil
# The Event to fill in is valid until the next call; never null (a spare one takes what cannot be stored).
cdef bint world_pop(World* w, Event* event) noexcept nogil
cdef void world_input(World* w, uint8_t kind, const Member* m, int64_t a, int64_t b) noexcept nogil
cdef void world_trace(World* w, uint8_t what, const Member* m, int64_t a, int64_t b) noexcept nogil
cdef void world_trace_message(World* w, uint8_t what, const Member* m, const Message* message) noexcept nogil
cdef Message* message_take(Message* message) noexcept nogil     # moves what it owns to the heap; null without memory
cdef Message* message_copy(const Message* message) noexcept nogil
cdef void message_free(Message* message) noexcept nogil
