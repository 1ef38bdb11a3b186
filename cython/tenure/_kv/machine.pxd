"""The key-value store as the state machine of a group, and its edge for Python."""

from tenure._core.state_machine cimport NativeMachine
from tenure._kv.dump cimport Dump
from tenure._kv.store cimport Store


cdef class KeyValueMachine(NativeMachine):
    cdef Store* store           # a reference of its own: reads go on after a host has taken the machine over
    cdef Dump* open_dump
    cdef int require_ours(self) except -1
