"""The Python edge of a host with one member: `HostCore`, and the inbox of one asyncio loop."""

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libcpp.atomic cimport atomic

from tenure._core.applied_index cimport AppliedIndex
from tenure._core.fence cimport Fence
from tenure._core.lease cimport Lease
from tenure._core.queue cimport Queue
from tenure._core.state_machine cimport NativeMachine
from tenure._host.loop cimport Host, HostConfig
from tenure._host.member cimport Member
from tenure._host.waiter cimport Inbox, Waiter
from tenure._net.transport cimport TransportConfig
from tenure._raft.state cimport RaftConfig
from tenure._raft.types cimport Snapshot
from tenure._storage.wal cimport RecoveredGroup


cdef struct WalOptions:
    uint64_t segment_bytes
    bint sync
    uint64_t snapshot_every
    uint64_t snapshot_hold_bytes


cdef class CompletionInbox:
    cdef Inbox* inbox           # one reference, set once


cdef class HostCore:
    cdef Host* host             # from __cinit__ to __dealloc__
    cdef Member* member
    cdef atomic[uint32_t] running       # 1: there are threads, and nobody has begun to end them
    cdef atomic[uint32_t] closed
    cdef int pid
    cdef object __weakref__
    cdef readonly uint16_t port         # where peers reach this member
    cdef readonly uint64_t member_id
    cdef readonly Lease lease
    cdef readonly AppliedIndex applied
    cdef readonly Fence fence

    cdef int open_log(self, str directory, bytes cluster_id, WalOptions* options) except -1
    cdef int open_roster(self, list roster, dict addresses) except -1
    cdef int open_member(
        self, NativeMachine machine, RaftConfig* config, tuple voters, tuple learners, uint64_t base_index,
        const WalOptions* options) except -1
    cdef int open_state(self, RecoveredGroup* found, Snapshot* chosen) except -1
    cdef int open_network(self, dict addresses, TransportConfig* config) except -1
    cdef int open_front(self, NativeMachine machine, dict options) except -1
    cdef int check_fork(self) except -1
    cdef bint wait_for(self, Waiter* waiter, int64_t deadline_ns) except -1
    cdef void* pop(self, Queue* queue) noexcept
    cdef void let_go(self) noexcept
    cdef Waiter* submit(
            self, int kind, bytes data, uint64_t argument, CompletionInbox inbox, uint64_t tag, Lease lease=*
    ) except NULL
