"""The fence of a lease read; see `fence.hpp`. Any thread."""

from libc.stdint cimport int64_t

from tenure._core.applied_index cimport AppliedWord
from tenure._core.lease cimport LeaseWord


cdef extern from "tenure/_core/fence.hpp" namespace "tenure" nogil:
    cdef cppclass FenceHandle:
        LeaseWord* lease
        AppliedWord* applied

    int64_t fence(LeaseWord* lease, AppliedWord* applied) noexcept       # the applied index, or -1
    FenceHandle* fence_new(LeaseWord* lease, AppliedWord* applied) noexcept
    FenceHandle* fence_retain(FenceHandle* handle) noexcept
    void fence_release(FenceHandle* handle) noexcept


cdef class Fence:
    cdef LeaseWord* lease                                 # borrowed from the handle: saves a step on the hot path
    cdef AppliedWord* applied
    cdef FenceHandle* handle                              # one reference, set once

    @staticmethod
    cdef Fence wrap(LeaseWord* lease, AppliedWord* applied)


cdef class FencedRead:
    cdef Fence fence
    cdef object fall_back                                 # set once
