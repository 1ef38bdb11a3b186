"""One host's transport with an epoll of its own; see `endpoint.pyx`."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from tenure._core.blob cimport Blob
from tenure._core.vec cimport Vec
from tenure._net.transport cimport Transport
from tenure._raft.types cimport Message

cdef struct Received:
    uint32_t group
    int64_t now_ns
    Message message             # owned

cdef struct Introduction:
    uint64_t host
    uint32_t kind
    Blob* bytes                 # owned

cdef struct Inbox:
    # What the callbacks may touch: plain memory, so that they need nothing of Python.
    Transport* transport
    Vec[Received] received
    Vec[uint64_t] unreachable
    Vec[Introduction] introductions
    Blob* greeting              # to every peer that is reached; null: none
    int64_t deliver_pause_ns    # each delivery takes that long
    bint close_on_deliver
    bint failed                 # no memory

cdef class Endpoint:
    cdef Inbox inbox
    cdef int epoll_fd
    cdef readonly uint64_t id
    cdef Transport* opened(self) except NULL
