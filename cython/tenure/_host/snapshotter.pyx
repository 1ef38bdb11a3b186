"""The snapshot thread: writes the dump that the loop began into a file, beside the loop, and says when it is durable.

The loop fixes what is dumped by `dump_begin`, between two entries, and hands the dump over; from then on this thread alone
reads and closes it, while the loop applies. So the loop never waits for a snapshot and no two threads share one. Jobs run in
the order of their coming, one at a time. A job that fails leaves no file behind; whether that costs the member anything is
the loop's decision. The thread touches no member, no log and no socket.
"""

from libc.stdint cimport int64_t
from libc.stdlib cimport free
from libc.string cimport memset
from libcpp.atomic cimport memory_order_acquire, memory_order_release

from tenure._core.clock cimport clock_monotonic_ns
from tenure._core.posix cimport pthread_join, thread_start
from tenure._core.queue cimport PUSHED, queue_free, queue_open, queue_pop_batch, queue_push
from tenure._core.state_machine cimport MACHINE_END, MACHINE_OK
from tenure._core.vec cimport Vec
from tenure._core.wakeup cimport LoopWakeup, loop_wakeup_notify, wakeup_notify, wakeup_wait
from tenure._storage.directory cimport Directory
from tenure._storage.error cimport STORAGE_OK, StorageError
from tenure._storage.snapshot cimport (
    SnapshotSink, snapshot_append, snapshot_create, snapshot_finish, snapshot_remove_below, snapshot_sink_close,
)

cdef enum:
    MAX_JOBS = 4096             # a group has one at a time
    PIECE_BYTES = 256 << 10


cdef void snapshot_job_free(SnapshotJob* job) noexcept nogil:
    if job != NULL:
        if job.dump != NULL:
            job.machine.dump_close(job.dump)
        free(job)


cdef bint stopping(Snapshotter* snapshotter) noexcept nogil:
    # acquire: pairs with the release in snapshotter_stop; what was pushed before it is seen by one more look
    return snapshotter.stopping.load(memory_order_acquire) != 0


cdef int write_pieces(Snapshotter* snapshotter, SnapshotJob* job, SnapshotSink* sink) noexcept nogil:
    cdef Vec[char] piece
    cdef int code = MACHINE_OK
    memset(&piece, 0, sizeof(piece))
    while code == MACHINE_OK:
        if stopping(snapshotter):
            code = SNAPSHOT_STOPPED
            break
        piece.clear()
        code = job.machine.dump_read(job.dump, &piece, PIECE_BYTES)
        if code == MACHINE_OK or code == MACHINE_END:
            job.bytes += piece.size
            if snapshot_append(sink, piece.data, piece.size) != STORAGE_OK:
                code = sink.error.code
    piece.release()
    job.machine.dump_close(job.dump)    # before the sync: what it keeps alive may go
    job.dump = NULL
    return STORAGE_OK if code == MACHINE_END else code


cdef int write_file(Snapshotter* snapshotter, SnapshotJob* job) noexcept nogil:
    cdef const Directory* directory = <const Directory*>snapshotter.directory
    cdef StorageError error
    cdef SnapshotSink* sink = snapshot_create(directory, job.group, &job.snapshot, &error)
    cdef int code
    if sink == NULL:
        return error.code
    code = write_pieces(snapshotter, job, sink)
    if code == STORAGE_OK:
        code = snapshot_finish(sink)
    snapshot_sink_close(sink)
    if code == STORAGE_OK:
        code = snapshot_remove_below(directory, job.group, job.keep_from, &error)
    return code


cdef void* snapshotter_body(void* argument) noexcept nogil:
    cdef Snapshotter* snapshotter = <Snapshotter*>argument
    cdef SnapshotJob* job
    cdef int64_t began
    while True:
        if stopping(snapshotter):
            return NULL
        if queue_pop_batch(&snapshotter.todo, <void**>&job, 1) == 0:
            wakeup_wait(&snapshotter.wakeup, -1)
            continue
        began = clock_monotonic_ns()
        job.code = write_file(snapshotter, job)
        job.took_ns = clock_monotonic_ns() - began
        queue_push(&snapshotter.done, job)      # as large as `todo`, and a group has one job: never full
        loop_wakeup_notify(snapshotter.loop)


cdef Snapshotter* snapshotter_start(const Directory* directory, LoopWakeup* loop) noexcept nogil:
    cdef Snapshotter* snapshotter = snapshotter_new()
    if snapshotter == NULL:
        return NULL
    snapshotter.directory = directory
    snapshotter.loop = loop
    if not queue_open(&snapshotter.todo, MAX_JOBS) or not queue_open(&snapshotter.done, 2 * MAX_JOBS) or thread_start(
            &snapshotter.thread, b"tenure-snapshot", 0, snapshotter_body, snapshotter) != 0:
        queue_free(&snapshotter.todo)
        queue_free(&snapshotter.done)
        snapshotter_free(snapshotter)
        return NULL
    return snapshotter


cdef bint snapshotter_push(Snapshotter* snapshotter, SnapshotJob* job) noexcept nogil:
    if queue_push(&snapshotter.todo, job) != PUSHED:
        return False
    wakeup_notify(&snapshotter.wakeup)
    return True


cdef SnapshotJob* snapshotter_take_done(Snapshotter* snapshotter) noexcept nogil:
    cdef SnapshotJob* job = NULL
    return job if queue_pop_batch(&snapshotter.done, <void**>&job, 1) else NULL


cdef void snapshotter_stop(Snapshotter* snapshotter) noexcept nogil:
    cdef void* job
    if snapshotter == NULL:
        return
    # release: what was pushed before is visible to the thread that sees it
    snapshotter.stopping.store(1, memory_order_release)
    wakeup_notify(&snapshotter.wakeup)
    pthread_join(snapshotter.thread, NULL)
    while queue_pop_batch(&snapshotter.todo, &job, 1):
        snapshot_job_free(<SnapshotJob*>job)
    while queue_pop_batch(&snapshotter.done, &job, 1):
        snapshot_job_free(<SnapshotJob*>job)
    queue_free(&snapshotter.todo)
    queue_free(&snapshotter.done)
    snapshotter_free(snapshotter)
