"""The snapshot thread of a host: the one that reads and writes snapshot files."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libcpp.atomic cimport atomic

from tenure._core.posix cimport pthread_t
from tenure._core.queue cimport Queue
from tenure._core.state_machine cimport StateMachine
from tenure._core.vec cimport Vec
from tenure._core.wakeup cimport LoopWakeup, Wakeup
from tenure._raft.types cimport Snapshot
from tenure._storage.directory cimport Directory

cdef enum:
    SNAPSHOT_STOPPED = 299      # a job's code: the host stopped before it was done

cdef enum SnapshotJobKind:
    JOB_WRITE = 1               # `dump` becomes the file of `snapshot`; files below `keep_from` go
    JOB_SERVE = 2               # up to `wanted` bytes from `offset` of the file of `snapshot` into `piece`, for `peer`
    JOB_STORE = 3               # `piece` belongs at `offset` of a file of `total` bytes; with the last one it becomes `load`
    JOB_DISCARD = 4             # `load` is not needed after all

cdef struct SnapshotJob:
    int32_t kind                # SnapshotJobKind
    uint32_t group
    Snapshot snapshot           # its index and term name the file; JOB_STORE fills in the rest with the last piece
    StateMachine machine        # for its functions; `self` only to begin a load
    int32_t code                # StorageCode, MachineCode or SNAPSHOT_STOPPED, filled in by the thread
    void* dump                  # owned until the thread has read it
    uint64_t keep_from
    uint64_t peer
    uint64_t offset
    uint64_t total              # size of the file
    size_t wanted
    Vec[char] piece
    void* load                  # whole, sound, and its file durable; owned
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
        size_t in_flight        # pushed and not taken back, but for JOB_DISCARD; the loop's
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
