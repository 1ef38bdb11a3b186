"""The structs of the Redis front end; only the loop thread touches them, except for the gauges.

    Front -> Client (a connection) -> Op (a command that could not be answered at once), in the order of the commands

A client's replies leave in the order of its commands: `Client.first` is the oldest command without a reply, and whatever came
after it waits, either as an Op behind it or as bytes not parsed yet.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libcpp.atomic cimport atomic

from tenure._core.blob cimport Blob
from tenure._core.vec cimport Vec
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
    NAME_BYTES = 128                # of a client's name

cdef enum OpKind:
    OP_IS_WRITE = 1                 # waits for apply, here or on the leader
    OP_IS_READ = 2                  # waits for a quorum, or for a mark in the log

cdef struct Op:
    Completion completion           # first: a Completion* of an op is the op
    Front* front
    Client* client                  # null: the client is gone, nobody wants the reply
    Op* next                        # the client's next command
    Op* older                       # all ops without an outcome, in order of their deadlines
    Op* newer
    int64_t deadline_ns
    uint8_t kind                    # OpKind
    bint queued                     # the client's queue refers to it
    bint outstanding                # a completion, a read batch or a mark refers to it
    bint proposed                   # it left this front end: without an answer its outcome is unknown
    bint settled                    # `code` and what follows are final
    uint8_t basis                   # ReadBasis of a read that is settled as OUTCOME_OK: it is run when its turn comes
    int32_t code                    # Code or Outcome
    uint64_t leader                 # a hint that came with the code
    Blob* value                     # result of a write; owned
    Vec[char] reply                 # of a request that was refused while others were under way
    const RedisCommand* command
    char* request                   # of a read: its slices and their bytes, one allocation; owned
    uint32_t arguments

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
    int32_t protocol                # 2 or 3
    bint authenticated
    bint ready                      # stands in Front.ready
    bint dirty                      # stands in Front.dirty
    bint readable                   # the socket may hold bytes
    bint request_waits              # a parsed request that may not begin yet
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
    RespLimits limits
    uint32_t max_clients
    uint32_t max_ops                # of one client
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

    FrontGauges* front_gauges_new() noexcept
    void front_gauges_free(FrontGauges* gauges) noexcept


cdef struct Front:
    FrontConfig config
    char* password                  # owned copies of what the configuration points to
    int epoll_fd
    int listen_fd
    uint32_t port
    Member* member
    Transport* transport
    Timekeeper* keeper
    Store* store                    # a reference of its own
    FrontGauges* gauges
    uint64_t incarnation            # of this process, in what it forwards
    uint64_t next_client_id
    uint32_t generation
    bint accepting
    bint stopping
    int64_t started_ns
    Vec[Client*] clients            # by slot; null: free
    Vec[uint32_t] free_slots
    uint32_t clients_count
    uint32_t lingering_count
    Client* dead
    Vec[Client*] ready              # have something to do this pass
    Vec[Client*] dirty              # have something to send
    Vec[Slice] arguments            # of the request at hand
    Op* oldest                      # without an outcome, by deadline
    Op* newest
    Op* free_ops
    Vec[Proposal] proposals         # of this pass, or held until a new leader may propose
    uint64_t proposals_bytes
    Vec[Blob*] payloads             # the same as the member takes them
    Vec[Caller] callers
    Vec[char] refusal               # scratch
    ReadBatch* reads                # of this pass; null: none yet
    Mark* mark                      # of this pass; null: none yet
    Vec[Mark*] marks_to_apply       # committed, not applied here yet
    Vec[Forward] forwards
    Vec[uint32_t] free_forwards
    uint32_t forwards_count
    int64_t pass_ns                 # CLOCK_MONOTONIC of the pass
    ReadCounts counts
    uint64_t counted_found
    uint64_t counted_absent
