"""Python's view of one member of the pure core: see `node.pyx`."""

from tenure._core.lease cimport Lease
from tenure._raft.state cimport Raft
from tenure._raft.types cimport Message as CMessage
from tenure._raft.types cimport Ready as CReady


cdef class Message:
    cdef CMessage c                 # owned, with its entries and snapshot; never changed after construction

    @staticmethod
    cdef Message copy_of(const CMessage* source)


cdef class Ready:
    cdef CReady c                   # owned


cdef class RawNode:
    cdef Raft* raft                 # owned, from __cinit__ to __dealloc__
    cdef Lease lease_object         # the lease handed in, or None
