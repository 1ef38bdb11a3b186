"""The fence with a way out, for Python; see `fenced_read.pyx`."""

from tenure._core.applied_index cimport AppliedWord
from tenure._core.fence cimport Fence
from tenure._core.lease cimport LeaseWord


cdef class FencedRead:
    cdef LeaseWord* lease                                 # borrowed from the fence
    cdef AppliedWord* applied
    cdef Fence fence                                      # keeps both alive
    cdef object fallback
