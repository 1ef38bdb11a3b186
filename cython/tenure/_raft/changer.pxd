"""Changes of a configuration, as arithmetic: no log, no clock, no progress."""

from libc.stdint cimport int32_t, uint64_t

from tenure._raft.types cimport MAX_CHANGES, ConfChange, Configuration, MemberChange

cdef struct Changed:
    Configuration configuration
    # Members that were dropped on the way, each once: if they are in `configuration` again, they begin anew.
    uint64_t dropped[MAX_CHANGES]
    int32_t dropped_count

cdef bint configuration_is_sane(const Configuration* c) noexcept nogil
cdef bint is_joint(const Configuration* c) noexcept nogil
cdef bint ids_contain(const uint64_t* ids, int32_t count, uint64_t id) noexcept nogil
cdef bint is_tracked(const Configuration* c, uint64_t id) noexcept nogil      # voter of either half, or learner
# Each returns a Code and fills `into` when it is OK; `c` must be sane. Changes of member 0 are ignored.
cdef int change_simple(
    const Configuration* c, const MemberChange* changes, int32_t count, Changed* into) noexcept nogil
cdef int change_enter_joint(
    const Configuration* c, bint auto_leave, const MemberChange* changes, int32_t count, Changed* into) noexcept nogil
cdef int change_leave_joint(const Configuration* c, Changed* into) noexcept nogil
# Whichever of the three the change asks for.
cdef int change_apply(const Configuration* c, const ConfChange* change, Changed* into) noexcept nogil
