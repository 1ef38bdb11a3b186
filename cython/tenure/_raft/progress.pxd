"""What the leader knows of one member, and how fast it may be fed."""

from libc.stdint cimport int32_t, uint64_t

from tenure._core.vec cimport Vec
from tenure._raft.changer cimport Changed
from tenure._raft.state cimport Progress, Raft

cdef Progress* progress_of(Raft* r, uint64_t id) noexcept nogil         # null = not a member
cdef bint progress_add(Vec[Progress]* all, uint64_t id, bint is_learner, uint64_t next) noexcept nogil
# Makes `all` the members of a configuration: whoever stays keeps what is known of it, whoever is new or was dropped on the way
# starts with `next` and counts as active. False without memory.
cdef bint progress_follow(Vec[Progress]* all, const Changed* to, uint64_t next, uint64_t self_id) noexcept nogil
cdef void progress_reset(Progress* p, uint64_t last_index, bint is_self) noexcept nogil
cdef void progress_release(Vec[Progress]* all) noexcept nogil
cdef bint progress_paused(const Progress* p) noexcept nogil
cdef bint window_full(const Progress* p, int32_t max_messages, uint64_t max_bytes) noexcept nogil
cdef bint window_add(Progress* p, uint64_t last, uint64_t size, int32_t max_messages) noexcept nogil
cdef void window_free_to(Progress* p, uint64_t index) noexcept nogil
cdef void become_probe(Progress* p) noexcept nogil
cdef void become_replicate(Progress* p) noexcept nogil
cdef void become_snapshot(Progress* p, uint64_t index) noexcept nogil
cdef bint progress_matched(Progress* p, uint64_t index) noexcept nogil
cdef bint progress_rejected(Progress* p, uint64_t rejected, uint64_t hint) noexcept nogil
