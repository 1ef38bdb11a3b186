"""The snapshot thread of a host: the one that reads and writes snapshot files."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libcpp.atomic cimport atomic

from tenure._core.posix cimport pthread_t
from tenure._core.queue cimport Queue
from tenure._core.state_machine cimport StateMachine
from tenure._core.wakeup cimport LoopWakeup, Wakeup
from tenure._raft.types cimport Snapshot
from tenure._storage.directory cimport Directory

cdef enum:
    SNAPSHOT_STOPPED = 299      # a job's code: the host stopped before it was done

cdef struct SnapshotJob:
    uint32_t group
    Snapshot snapshot           # what the file will be of
    uint64_t keep_from          # files below this index go once the new one is durable
    StateMachine machine        # for its functions; `self` is not touched
    void* dump                  # owned until the thread has read it
    int32_t code                # StorageCode, MachineCode or SNAPSHOT_STOPPED, filled in by the thread
    uint64_t bytes
    int64_t took_ns


cdef extern from "tenure/_host/snapshotter.hpp" namespace "tenure" nogil:
    cdef cppclass Snapshotter:
        Queue todo              # the loop pushes, the thread pops
        Queue done              # the thread pushes, the loop pops
        Wakeup wakeup
        LoopWakeup* loop
        const void* directory   # const Directory*
        pthread_t thread
        atomic[uint32_t] stopping

    Snapshotter* snapshotter_new() noexcept
    void snapshotter_free(Snapshotter* snapshotter) noexcept


# Null without memory or thread; owns neither argument.
cdef Snapshotter* snapshotter_start(const Directory* directory, LoopWakeup* loop) noexcept nogil
# The loop. Takes over the job; False: the caller keeps it.
cdef bint snapshotter_push(Snapshotter* snapshotter, SnapshotJob* job) noexcept nogil
cdef SnapshotJob* snapshotter_take_done(Snapshotter* snapshotter) noexcept nogil      # null: nothing is done
cdef void snapshot_job_free(SnapshotJob* job) noexcept nogil
# Gives up the running job at its next chunk, ends the thread and joins it. The loop has ended before.
cdef void snapshotter_stop(Snapshotter* snapshotter) noexcept nogil
