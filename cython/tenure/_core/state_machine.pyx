"""The carrier of a compiled state machine from Python, where it is made, to the host that runs it.

A subclass fills in `machine`; a host takes the functions and what they own, once. The object may live on as the Python
edge of its state, but it no longer runs or releases anything. Python threads with the GIL; `take` belongs to the host's
constructor.
"""

from libc.string cimport memset


cdef class NativeMachine:

    def __dealloc__(self):
        cdef StateMachine machine = self.take()
        if machine.self != NULL:
            machine.release(machine.self)

    cdef StateMachine take(self):
        cdef StateMachine machine = self.machine
        memset(&self.machine, 0, sizeof(StateMachine))
        return machine
