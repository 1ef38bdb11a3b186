"""Changes of membership: proposing them, switching to what they say, leaving joint configurations."""

from libc.stdint cimport int32_t, uint64_t

from tenure._raft.state cimport Raft
from tenure._raft.types cimport ConfChange, Entry

# The contracts are those of `raft_propose_conf_change` and `raft_apply_conf_change`; the caller checked role and clock.
cdef int propose_change(Raft* r, const ConfChange* change, uint64_t* index, int32_t* refused) noexcept nogil
cdef int apply_change(Raft* r, const Entry* entry) noexcept nogil
cdef void membership_on_start(Raft* r) noexcept nogil
cdef void membership_on_reply(Raft* r) noexcept nogil
cdef void membership_on_applied(Raft* r) noexcept nogil
