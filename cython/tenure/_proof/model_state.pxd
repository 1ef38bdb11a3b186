"""What a state of the lease model consists of: plain structs, compared and hashed byte by byte. No code.

The model is an abstraction written from the contract, not from the core: `docs/model.md` says what stands for what.
Time. Nothing holds an instant; everything that ends holds what is *left of it on the clock of the member that waits*, 0 when it
has ended. One step of true time moves each member's clock by SLOW or FAST, the extremes of a clock that is wrong by r = 1/8.
A promise lasts `steps` times FAST, and so a lease that may rest on it `steps` times SLOW: D (1 - r) / (1 + r).
Members are numbered from 0; a set of them is a mask of bits; a field that may name nobody holds the number plus one.
"""

from libc.stdint cimport uint8_t, uint16_t, uint64_t

from tenure._core.vec cimport Vec

cdef enum:
    MODEL_MEMBERS = 4
    MODEL_TERMS = 3
    MODEL_LOG = 5
    SLOW = 7
    FAST = 9
    ENDLESS = 255       # a lease without an end, which only a gap can grant
    UNLIMITED = 15      # a budget that is not spent

cdef enum Role:
    FOLLOWER
    CANDIDATE
    LEADER

cdef enum Gap:          # one bit each: the guard that is missing
    GAP_H01
    GAP_H02
    GAP_H03_WORD
    GAP_H03_RESUME
    GAP_H03_LATE
    GAP_H04_WAIT
    GAP_H04_BOUND
    GAP_H04_WIPED
    GAP_H05
    GAP_H06
    GAP_H07
    GAP_H08
    GAP_H10
    GAP_H11
    GAP_H12
    GAP_H13
    GAP_H14
    GAP_H15
    GAP_H16_HALF
    GAP_H16_SWITCH
    GAP_H17_APPLIED
    GAP_H17_CARRIED
    GAP_H17_CAMPAIGN
    GAP_H17_DURABLE
    GAP_H18_LEARNER
    GAP_H18_FORGET
    GAP_H19
    GAP_H20
    GAP_H21

cdef enum Change:       # one bit each: the changes of membership that a world knows
    CHANGE_REMOVE           # a voter leaves
    CHANGE_ADD              # an outsider becomes a voter
    CHANGE_PROMOTE          # a learner becomes a voter
    CHANGE_DEMOTE           # a voter becomes a learner
    CHANGE_JOINT_SHRINK     # jointly, to one voter
    CHANGE_JOINT_GROW       # jointly, to every member
    CHANGE_JOINT_SWAP       # jointly, an outsider for a voter

cdef enum Kind:         # of a step from a state to the next; a, b and c of `Action` are what the comment says
    START                   # the initial state
    TICK                    # a: two bits a member: 0 slow, 1 fast, 2 not at all
    CAMPAIGN                # a
    VOTE                    # a for b
    REFUSE                  # a hears b's higher term and refuses its vote
    WIN                     # a
    LEARN                   # a hears of b's higher term
    STEP_DOWN               # a, released to b - 1 unless 0
    BROADCAST               # a; b: the commit index is left out
    RECEIVE                 # a, of term b, c entries; d: it promises
    REPLY                   # a gets b's
    COMMIT                  # a, up to b
    APPLY                   # a applies b
    WRITE                   # a
    TRANSFER                # a to b
    ABORT                   # a
    TIMEOUT_NOW             # a gets that of term b
    RESTART                 # a
    PERSIST                 # a: the bound of its promises is durable
    PROPOSE                 # a; b: the change, c: whom
    LEAVE                   # a
    FORGET                  # a
    CAPTURE                 # a
    COMPLETE                # a
    CALL                    # a read begins; a: where
    CHECK                   # it checks the word
    LOAD                    # it loads the applied index
    WIPE                    # a
    KIND_COUNT

cdef enum Invariant:
    HOLDS
    TWO_LEASES              # never two members with a valid lease
    COMMIT_UNDER_LEASE      # never a committed entry of a higher term while a lower term's lease is valid
    HOLDER_BEHIND           # a valid lease's holder has applied whatever was applied, acknowledged or shown
    STALE_READ              # what a read returns is at least what was shown when it was called
    DIVERGENCE              # Raft: one entry an index, and none that was committed is lost

# An entry of the log: bits 0-2 its term, bit 3 set for a change of membership, then three masks of four bits each: voters,
# outgoing voters (joint when not empty), learners. A configuration is such an entry; that of the beginning is of term 0.
ctypedef uint16_t LogEntry

ctypedef struct Peer:       # a leader's view of one member, all of it of the leader's own term
    uint8_t match           # entries the member has acknowledged, the acknowledgement perhaps still on its way
    uint8_t reply           # left of the lease that the reply on its way allows
    uint8_t until           # left of the lease that the replies received allow

ctypedef struct Member:
    # On disk
    uint8_t term
    uint8_t voted           # in this term, for anybody
    uint8_t length          # of the log
    uint8_t durable_commit  # what is certain to be found after a crash
    uint8_t bound_durable   # the bound of what it promises (H04)
    LogEntry log[5]
    # In memory, lost by a restart
    uint8_t commit
    uint8_t applied
    uint8_t role
    uint8_t grants          # candidate: who voted for it
    uint8_t release_term    # candidate: the term whose leader released it to campaign, or 0
    uint8_t own_index       # leader: its first entry of this term
    uint8_t cleared         # leader: the word was cleared for the rest of the term
    uint8_t transferring    # leader: TimeoutNow has left
    Peer peers[4]           # leader
    uint8_t promise         # left of it
    uint8_t promise_holder  # plus one
    uint8_t promise_term
    uint8_t word            # left of the lease: valid while not 0
    uint8_t word_term
    uint8_t late            # left of an extension computed and not yet made (H20)
    uint8_t late_term
    uint8_t late_current    # the word's generation is still the one it was computed under

ctypedef struct Broadcast:  # the latest append of one term's leader: delivered to anybody it was sent to, at any later time, in
    uint8_t sent            # any part, any number of times, or never
    uint8_t sender
    uint8_t recipients
    uint8_t length
    uint8_t commit
    uint8_t stamp           # left of the lease that a promise in answer to it allows
    LogEntry log[5]

ctypedef struct State:
    Member members[4]
    Broadcast broadcasts[3]     # of term i + 1
    uint8_t timeout_now[3]      # of term i + 1: whom it was sent to; delivered at any later time, or never
    LogEntry base               # the configuration of the beginning
    uint8_t writes, restarts, transfers, changes            # how many more there may be
    uint8_t reader, reader_at, reader_floor, reader_index   # one call of the fence: phase 0 none, 1 begun, 2 half done
    # What nobody in the system knows
    uint8_t shown               # the highest index that anybody ever applied
    uint8_t stale               # a read returned less than was shown when it was called
    uint8_t diverged            # two entries at one index were committed
    uint8_t chosen_length       # every entry that a leader ever knew to be committed
    LogEntry chosen[5]

ctypedef struct World:          # bounds, features, gaps
    int members, max_term, max_log, steps
    int writes, restarts, transfers, changes
    unsigned int change_kinds
    bint step_downs, late, reader, bound_unsaved, unread_clocks, slow_apply
    unsigned int voters, learners
    uint64_t gaps
    unsigned int judged         # the invariants that end a search

ctypedef struct Action:
    uint8_t kind, a, b, c, d

ctypedef struct Step:
    Action action
    State state

cdef struct Steps:              # the successors of a state
    Vec[Step] found
    bint no_memory
