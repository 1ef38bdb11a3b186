"""The leader's side of the lease contract (LEASE.md rules 5 and 8)."""

from tenure._core.lease cimport LeaseWord
from tenure._raft.state cimport Progress, Raft
from tenure._raft.types cimport Configuration, Message

cdef bint is_sole_voter(const Raft* r) noexcept nogil
cdef void lease_open(Raft* r) noexcept nogil            # a new term of leadership begins, without a lease
cdef void lease_withdraw(Raft* r) noexcept nogil        # for the rest of the term
# A word that every withdrawal withdraws too, and this call unless this member leads with its lease not withdrawn. Each addition
# takes a reference, until it is dropped; False: no memory.
cdef bint lease_add_dependent(Raft* r, LeaseWord* word) noexcept nogil
cdef void lease_drop_dependent(Raft* r, LeaseWord* word) noexcept nogil     # one addition of it, if there is one
cdef void lease_close_dependents(Raft* r) noexcept nogil                    # for good, all of them
cdef void lease_on_reply(Raft* r, Progress* p, const Message* m) noexcept nogil
cdef void lease_on_vote(Raft* r, Progress* p) noexcept nogil       # proof build, H27 off
cdef void lease_update(Raft* r) noexcept nogil
# Before the configuration becomes `to`: what stands was reckoned for the one before. `lease_update` follows the switch.
cdef void lease_before_switch(Raft* r, const Configuration* to) noexcept nogil
cdef void fail(Raft* r, int code) noexcept nogil        # the member stops; its lease is gone
