"""The fence with a way out, for Python; see `lease_reader.pyx`."""

from tenure._core.applied_index cimport AppliedWord
from tenure._core.fence cimport Fence
from tenure._core.lease cimport LeaseWord


cdef class LeaseReader:
    cdef LeaseWord* lease                                 # borrowed from the fence
    cdef AppliedWord* applied
    cdef Fence fence                                      # keeps both alive
    cdef object fallback
