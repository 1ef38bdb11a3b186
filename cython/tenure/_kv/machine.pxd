"""The key-value store as the state machine of a group, and its edge for Python."""

from libc.stdint cimport int64_t

from tenure._core.state_machine cimport NativeMachine
from tenure._kv.dump cimport Dump
from tenure._kv.read cimport Instant
from tenure._kv.store cimport Store, StoreCode


cdef class KeyValueMachine(NativeMachine):
    cdef Store* store           # a reference of its own: reads go on after a host has taken the machine over
    cdef Dump* open_dump
    cdef int require_ours(self) except -1
    cdef Instant instant_at(self, object now_ms) except *
    cdef Instant instant_of(self, int basis, object wall_ms) except *
    cdef object value_of(self, bytes key, const Instant* instant)
    cdef StoreCode expiry_of(self, bytes key, const Instant* instant, int64_t* expires_ms) except *
    cdef object values_of(self, list keys, Instant* instant)
