"""Python's view of changes of membership: see `changes.pyx`."""

from libc.stdint cimport uint64_t

from tenure._core.vec cimport Vec
from tenure._raft.changer cimport Changed
from tenure._raft.state cimport Progress
from tenure._raft.types cimport ConfChange, Configuration

# Fills `into` from Python values. Contexts point into the bytes objects of the returned list: keep it as long as `into`.
cdef list fill_change(ConfChange* into, object changes, str transition, bint v1)
cdef object change_error(int code)


cdef class Changer:
    cdef Configuration configuration
    cdef Vec[Progress] progress         # owned
    cdef int switch(self, int code, const Changed* to, uint64_t last_index) except -1
