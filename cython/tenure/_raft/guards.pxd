"""Names of the guards that the proof build can switch off, one bit each, numbered as the hazards of the lease contract."""

from libc.stdint cimport uint64_t

cdef enum Guard:
    GUARD_SEND_STAMP = 1            # H01: leases are anchored at send stamps
    GUARD_DEADLINE = 2              # H02: every read compares an explicit deadline (reader's side)
    GUARD_TRANSFER_CLEARS = 3       # H03: the word is cleared in the step that queues TimeoutNow
    GUARD_RESTART = 4               # H04: a restarted member waits out the longest promise
    GUARD_OWN_FIELD = 5             # H05: a promise does not depend on knowing a leader
    GUARD_CLOCK_NOT_TICKS = 6       # H06: deadlines are compared with a clock, not with counted ticks (reader's side)
    GUARD_PROMISED = 7              # H07: what was promised counts, not what was asked
    GUARD_FRESH_CLOCK = 8           # H08: the promise starts at a reading taken after receipt (host's side)
    GUARD_RATE = 10                 # H10: a peer whose clock rate contradicts the bound is not counted
    GUARD_CHECK_EVERY_READ = 11     # H11: one check serves one call (reader's side)
    GUARD_NOBODY_AHEAD = 12         # H12: no commit index above the leader's applied index leaves it
    GUARD_OWN_TERM = 13             # H13: an entry of the own term is applied first
    GUARD_SOLE_VOTER = 14           # H14: "sole voter" means this member, and no outgoing half
    GUARD_REMOVED_LEADER = 15       # H15: a removed or demoted leader has no lease, its own acknowledgement no longer counts
    GUARD_JOINT = 16                # H16: the lease is the minimum over both halves, recomputed at a switch
    GUARD_ONE_CHANGE = 17           # H17: one change at a time, and no campaign with a committed, unapplied one
    GUARD_FORGET = 18               # H18: replies are forgotten when a member leaves
    GUARD_WITHDRAW_FIRST = 19       # H19: the word is cleared before the role changes
    GUARD_GENERATION = 20           # H20: a late extension needs the generation it was computed under
    GUARD_OWN_ROUND = 22            # H22: an acknowledgement confirms the rounds up to its own, not a later attempt
    GUARD_OPEN_ROUND = 23           # H23: a read joins a round only before its heartbeats leave
    GUARD_STALL = 26                # H26: a leader whose disk stalls gives up (host's side)
    GUARD_ACKNOWLEDGEMENT = 27      # H27: replies to votes promise nothing


cdef extern from "tenure/_raft/guards.hpp" nogil:
    bint guard_on "TENURE_GUARD"(uint64_t guards_off, int guard) noexcept
    const bint PROOF_BUILD "TENURE_PROOF_BUILD"
