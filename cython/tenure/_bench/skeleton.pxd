"""The bare skeleton of a quorum round and of a durable write: what the hops cost when nothing rides on them."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libcpp.atomic cimport atomic

from tenure._core.posix cimport pthread_t
from tenure._core.queue cimport Queue
from tenure._core.wakeup cimport LoopWakeup, Wakeup

cdef enum:
    MAX_PEERS = 8
    BUFFER_BYTES = 256 * 1024
    SLOTS = 1024                    # calls on their way at once


cdef extern from "tenure/_bench/skeleton.hpp" namespace "tenure" nogil:
    cdef cppclass SkeletonCall:
        atomic[uint32_t] done
        int32_t kind

    cdef cppclass SkeletonThreads:
        Queue submissions
        LoopWakeup wakeup
        Queue todo
        Queue done
        Wakeup writer_wakeup
        pthread_t loop
        pthread_t writer
        atomic[uint32_t] stopping       # ends the log writer and, when it sleeps in epoll, the loop
        atomic[uint32_t] failed         # an errno of the disk or a socket; every later call fails

    SkeletonThreads* skeleton_threads_new() noexcept
    void skeleton_threads_free(SkeletonThreads* threads) noexcept
    SkeletonCall* skeleton_call_new() noexcept
    void skeleton_call_free(SkeletonCall* call) noexcept


cdef struct Frame:
    uint32_t size                   # of header and padding
    uint32_t kind
    uint64_t number

cdef struct Slot:
    SkeletonCall* call              # null: free
    uint64_t number
    int32_t answers                 # followers that answered
    bint synced                     # the leader's own write is durable

cdef struct Peer:
    int outgoing                    # dialled by this side: written only
    int incoming                    # accepted by this side: read only
    size_t input_size
    size_t output_size
    char* input
    char* output

cdef struct Job:
    uint64_t number

cdef struct Skeleton:
    SkeletonThreads* threads
    int epoll_fd
    int log_fd
    uint64_t log_size
    uint64_t log_at                 # the log writer's
    uint32_t read_bytes             # of a frame
    uint32_t write_bytes
    char* record
    Peer peers[MAX_PEERS]
    size_t peers_count
    Slot slots[SLOTS]
    uint64_t next_number
    uint64_t applied[64]            # the state "machine": a table of sums


cdef class SkeletonHost:
    cdef Skeleton* skeleton
    cdef bint started
    cdef bint closed

    cdef void stop(self) noexcept nogil
