"""The log writer: the one thread of a host that waits for the disk."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libcpp.atomic cimport atomic

from tenure._core.queue cimport Queue
from tenure._core.vec cimport Vec
from tenure._core.posix cimport pthread_t
from tenure._core.wakeup cimport LoopWakeup, Wakeup
from tenure._raft.types cimport Entry, HardState, Snapshot
from tenure._storage.wal cimport Wal

cdef struct WriteJob:
    uint32_t group
    uint64_t number             # of the Ready; acknowledged in this order within a group
    bint has_hard
    HardState hard
    Vec[Entry] entries
    Snapshot* snapshot          # installed in its own file before; null = none
    int32_t code                # StorageCode, filled in by the writer
    int64_t queued_ns           # CLOCK_MONOTONIC


cdef extern from "tenure/_host/writer.hpp" namespace "tenure" nogil:
    cdef cppclass Writer:
        Queue todo              # the loop pushes, the writer pops
        Queue done              # the writer pushes, the loop pops
        atomic[uint64_t] batches
        atomic[uint64_t] jobs
        atomic[int64_t] busy_since_ns   # CLOCK_MONOTONIC when the running write began; 0 = idle
        Wakeup wakeup
        LoopWakeup* loop
        size_t in_flight        # pushed and not taken back; the loop's
        void* wal               # Wal*; touched by the writer's thread only
        pthread_t thread
        atomic[uint32_t] stopping

    Writer* writer_new() noexcept
    void writer_free(Writer* writer) noexcept


cdef Writer* writer_start(Wal* wal, LoopWakeup* loop) noexcept nogil    # null without memory or thread; does not own `wal`
# The loop. Takes over the job. False when as many are under way as there may be: the caller keeps it and stops producing.
cdef bint writer_push(Writer* writer, WriteJob* job) noexcept nogil
cdef bint writer_has_room(const Writer* writer) noexcept nogil     # for a Ready's job, and a few beside it
cdef size_t writer_take_done(Writer* writer, WriteJob** jobs, size_t limit) noexcept nogil
cdef void write_job_free(WriteJob* job) noexcept nogil
# Writes what was pushed, ends the thread and joins it. Jobs done and not taken are freed.
cdef void writer_stop(Writer* writer) noexcept nogil
