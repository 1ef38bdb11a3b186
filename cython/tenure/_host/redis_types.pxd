"""The structs of the Redis front end, and who may touch what.

    Front -> ClientSide (one thread's share of the clients) -> Client (a connection) -> Op (a command not answered at once)

A client side belongs to one thread: the loop's own, or, with `io_threads`, one each. It parses, answers what it can by itself
and keeps a client's replies in the order of its commands: `Client.first` is the oldest command without a reply, and whatever
came after it waits, either as an Op behind it or as bytes not parsed yet.

What a command waits for (the log, a quorum, the leader) is the op side: the rest of Front, which is the loop's alone.

    an Op is handed to the op side (`op_begin`), comes back settled exactly once (`op_settle`), and only then gets its reply

The loop's own client side does both by a call; a thread's by a chain of ops in a queue. Between the two moments the client
side touches nothing of the op but `client` and `next`; a client that goes away leaves its ops there, without a client, and
frees them when they come back. One case is shared: an op that was settled because its time was up while a completion still
refers to it. Then, and only then, `holders` counts.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libcpp.atomic cimport atomic

from tenure._core.blob cimport Blob
from tenure._core.posix cimport pthread_t
from tenure._core.queue cimport Queue
from tenure._core.vec cimport Vec
from tenure._core.wakeup cimport LoopWakeup
from tenure._host.member cimport Member
from tenure._host.redis_commands cimport ReadCounts, RedisCommand
from tenure._host.timekeeper cimport Timekeeper
from tenure._host.waiter cimport Caller, Completion
from tenure._kv.codec cimport Slice
from tenure._kv.store cimport Store
from tenure._net.resp cimport RespLimits, RespParser
from tenure._net.transport cimport Transport

cdef enum:
    REDIS_TOKEN_TAG = 0x52          # the highest byte of the front end's epoll tokens
    LISTENER_SLOT = 0xFFFFFF
    SLOT_BITS = 24                  # of a token, below 32 bits of generation and the tag
    NAME_BYTES = 128                # of a client's name
    MAX_IO_THREADS = 64

cdef enum OpKind:
    OP_IS_WRITE = 1                 # waits for apply, here or on the leader
    OP_IS_READ = 2                  # waits for a quorum, or for a mark in the log
    OP_IS_LIST = 3                  # goes from thread to thread, and each adds its clients

cdef struct Op:
    Completion completion           # first: a Completion* of an op is the op
    ClientSide* side                # whose it is; never changes

    # The client side's.
    Client* client                  # null: the client is gone, nobody wants the reply
    Op* next                        # the client's next command
    bint answered                   # it has come back: all of it is the client side's again

    # Whoever has it: the client side before it is handed over and once it is answered, else the op side.
    Op* newer                       # in the list of deadlines, or in a chain on its way between the sides
    uint8_t kind                    # OpKind
    bint wants_mark                 # of a read: a mark in the log has to settle it
    uint8_t basis                   # ReadBasis of a read that is settled as OUTCOME_OK: it is run when its turn comes
    int32_t code                    # Code or Outcome
    uint32_t visited                # of OP_IS_LIST: sides asked so far
    uint64_t leader                 # a hint that came with the code
    uint64_t held_bytes             # what it may hold until it is answered: its request and its reply
    Blob* payload                   # of a write: what is to be proposed; owned
    Blob* value                     # result of a write; owned
    Vec[char] reply                 # of a request that was refused while others were under way, or of OP_IS_LIST
    const RedisCommand* command
    char* request                   # of a read: its slices and their bytes, one allocation; owned
    uint32_t arguments
    bint shared                     # `holders` counts
    uint32_t holders

    # The op side's, also when it is answered and shared.
    Op* older                       # all ops without an outcome, in order of their deadlines
    int64_t deadline_ns
    bint outstanding                # a completion, a read batch or a mark refers to it
    bint proposed                   # it left this front end: without an answer its outcome is unknown
    bint settled                    # `code` and what belongs to it are final

cdef struct OpChain:
    Op* first                       # linked by `newer`, in order
    Op* last

cdef struct Client:
    int fd                          # -1: closed
    uint32_t slot
    uint64_t token
    uint64_t id
    Vec[char] input
    size_t input_head               # consumed up to here
    RespParser parser
    Vec[char] output
    size_t output_head              # sent up to here
    Op* first
    Op* last
    uint32_t ops
    uint8_t ops_kind                # OpKind of all of them: reads and writes do not overtake each other
    uint64_t held_bytes             # by all of them
    int32_t protocol                # 2 or 3
    bint authenticated
    bint ready                      # stands in ClientSide.ready
    bint dirty                      # stands in ClientSide.dirty
    bint readable                   # the socket may hold bytes
    bint request_waits              # a parsed request that may not begin yet
    bint stalled                    # what it has sent is not looked at while too much of it is under way
    bint closing                    # nothing more is read; closes once the output is sent
    bint lingering                  # our side is shut down; what still comes is thrown away
    bint at_end                     # the client shut its side down
    uint32_t watched                # epoll events asked for
    int64_t since_ns
    int64_t linger_until_ns
    int64_t last_command_ns
    const RedisCommand* last_command
    uint32_t name_size
    char name[NAME_BYTES]
    char address[64]
    Client* next_dead

cdef struct Forward:
    # What was sent to the leader and not answered yet.
    Completion* completion          # null: free
    uint32_t generation
    uint64_t peer
    int64_t deadline_ns

cdef struct RemoteOp:
    # A command that a peer forwarded here.
    Completion completion
    Front* front
    uint64_t peer
    uint64_t incarnation
    uint64_t request_id

cdef struct Proposal:
    Blob* command
    Completion* completion

cdef struct ReadBatch:
    # Reads that one ReadIndex confirms; all of them were parsed before it was asked for.
    Completion completion
    Front* front
    Vec[Op*] ops

cdef struct Mark:
    # A command in the log that settles whether keys have ended, and the reads that wait for it.
    Completion completion
    Front* front
    uint64_t index                  # where it stands, once it is known
    Vec[Op*] ops

cdef struct FrontConfig:
    const char* address             # numeric
    uint32_t port
    uint32_t io_threads             # 0: the loop serves the clients
    RespLimits limits
    uint32_t max_clients
    uint32_t max_ops                # of one client
    uint64_t max_ops_bytes          # that the commands of one client may hold, with their replies, before it is not read
    uint64_t max_output_bytes       # of one client, before its commands wait
    int64_t time_limit_ns           # of a command
    const char* password            # may be null
    size_t password_size


cdef extern from "tenure/_host/redis_types.hpp" namespace "tenure" nogil:
    cdef cppclass FrontGauges:
        atomic[uint64_t] clients
        atomic[uint64_t] accepted
        atomic[uint64_t] refused            # connections over the limit
        atomic[uint64_t] commands
        atomic[uint64_t] lease_hits         # reads served under the lease
        atomic[uint64_t] lease_misses       # reads for which no lease was valid
        atomic[uint64_t] read_index_reads   # of these, served after a quorum confirmed
        atomic[uint64_t] marks              # commands put into the log to settle an expiry
        atomic[uint64_t] writes             # proposed or forwarded
        atomic[uint64_t] forwarded
        atomic[uint64_t] unknown_outcomes
        atomic[uint64_t] protocol_errors
        atomic[uint64_t] keys_found
        atomic[uint64_t] keys_absent
        atomic[uint64_t] passes             # of a thread
        atomic[int64_t] busy_ns             # of a thread: time not slept

    cdef struct FrontCounts:
        uint64_t clients
        uint64_t accepted
        uint64_t refused
        uint64_t commands
        uint64_t lease_hits
        uint64_t lease_misses
        uint64_t read_index_reads
        uint64_t marks
        uint64_t writes
        uint64_t forwarded
        uint64_t unknown_outcomes
        uint64_t protocol_errors
        uint64_t keys_found
        uint64_t keys_absent
        uint64_t passes
        int64_t busy_ns

    cdef cppclass SideThread:
        Queue arrivals
        Queue answers
        LoopWakeup wakeup
        pthread_t thread
        bint started
        atomic[uint32_t] stopping
        atomic[uint32_t] quiet

    cdef cppclass FrontInbox:
        Queue queue

    FrontGauges* front_gauges_new() noexcept
    void front_gauges_free(FrontGauges* gauges) noexcept
    void front_counts_add(FrontCounts* to, const FrontGauges* of) noexcept
    SideThread* side_thread_new() noexcept
    void side_thread_free(SideThread* thread) noexcept
    FrontInbox* front_inbox_new() noexcept
    void front_inbox_free(FrontInbox* inbox) noexcept
    bint op_last_holder(uint32_t* holders) noexcept


cdef struct ClientSide:
    # One thread's share of the clients. Its thread alone touches it, but for what never changes, the gauges and `thread`.
    Front* front
    SideThread* thread              # null: the loop's own
    FrontGauges* gauges
    uint32_t number                 # in Front.sides
    int epoll_fd
    uint32_t generation             # of tokens
    bint ending                     # nothing new is begun
    Vec[Client*] clients            # by slot; null: free
    Vec[uint32_t] free_slots
    uint32_t lingering_count
    Client* dead
    Vec[Client*] ready              # have something to do this pass
    Vec[Client*] dirty              # have something to send
    Vec[Slice] arguments            # of the request at hand
    Vec[char] refusal               # scratch
    Op* free_ops
    OpChain outbox                  # of a thread: for the loop
    uint64_t away                   # of a thread: its ops that are not back yet
    int64_t pass_ns                 # CLOCK_MONOTONIC of the pass
    int64_t now_ms                  # the wall clock of the pass, monotone, not behind the group's time
    ReadCounts counts
    uint64_t counted_found
    uint64_t counted_absent

cdef struct Front:
    # The op side, and what all sides share and nobody changes. The loop's alone, but for the latter.
    FrontConfig config
    char* password                  # owned copies of what the configuration points to
    Member* member
    Store* store                    # a reference of its own
    ClientSide** sides              # the first is the loop's own; then one for each thread
    uint32_t sides_count
    FrontInbox* inbox               # from the threads; null without any
    LoopWakeup* wakeup              # the loop sleeps
    int64_t started_ns
    uint32_t port
    uint64_t incarnation            # of this process, in what it forwards

    int epoll_fd
    int listen_fd
    bint accepting
    bint stopping
    bint ending                     # the loop is at its end
    Transport* transport
    Timekeeper* keeper
    FrontGauges* gauges             # those of the loop's own side
    OpChain* answered               # by side: on their way to its thread
    uint32_t answered_count         # sides with a chain that is not empty
    uint64_t next_client_id
    int64_t pass_ns                 # CLOCK_MONOTONIC of the pass
    Op* oldest                      # without an outcome, by deadline
    Op* newest
    Vec[Proposal] proposals         # of this pass, or held until a new leader may propose
    uint64_t proposals_bytes
    Vec[Blob*] payloads             # the same as the member takes them
    Vec[Caller] callers
    ReadBatch* reads                # of this pass; null: none yet
    Mark* mark                      # of this pass; null: none yet
    Vec[Mark*] marks_to_apply       # committed, not applied here yet
    Vec[Forward] forwards
    Vec[uint32_t] free_forwards
    uint32_t forwards_count
