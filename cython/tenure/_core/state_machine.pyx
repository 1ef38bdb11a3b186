"""The carrier of a compiled state machine from Python, where it is made, to the host that runs it.

A subclass fills in `machine`; a host takes the functions and what they own, once. The object may live on as the Python
edge of its state, but it no longer runs or releases anything. Any Python thread; `take` belongs to the host's constructor, and
of two hosts that want the same machine one gets it, with or without a GIL.
"""

cimport cython
from libc.string cimport memset


cdef class NativeMachine:

    def __dealloc__(self):
        cdef StateMachine machine = self.take()
        if machine.self != NULL:
            machine.release(machine.self)

    cdef bint is_taken(self) noexcept:
        return self.machine.self == NULL

    cdef StateMachine take(self):
        cdef StateMachine machine
        with cython.critical_section(self):
            machine = self.machine
            memset(&self.machine, 0, sizeof(StateMachine))
        return machine
