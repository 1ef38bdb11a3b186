"""What the apply loop asks of a compiled state machine. The functions run on the thread that applies, one at a time."""

from libc.stdint cimport uint32_t, uint64_t

from tenure._core.blob cimport Blob


cdef struct StateMachine:
    void* self
    # One committed command. `result` (never null) receives a new blob or null; the caller releases it. Deterministic. False
    # when the machine cannot go on (no memory): the member fails, and this entry counts as not applied.
    bint (*apply)(void* self, uint64_t index, uint64_t term, const char* command, uint32_t size, Blob** result) noexcept nogil
    uint64_t (*hash)(void* self) noexcept nogil         # of everything applied so far; equal on all members at one index
    void (*release)(void* self) noexcept nogil


cdef class NativeMachine:
    """A compiled state machine on its way into a host; see `state_machine.pyx`."""
    cdef StateMachine machine       # self null once a host has taken it over
    cdef StateMachine take(self)    # the taker calls release
