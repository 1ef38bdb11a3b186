"""The snapshot thread: writes the dump that the loop began into a file, beside the loop, and says when it is durable.

The loop fixes what is dumped by `dump_begin`, between two entries, and hands the dump over; from then on this thread alone
reads and closes it, while the loop applies. So the loop never waits for a snapshot and no two threads share one. For members
that are sent a snapshot the thread reads pieces of the file, and on their side writes them, checks the whole, builds the
state beside the machine and makes the file durable; the loop carries the pieces and adopts the state.

Jobs run in the order of their coming, one at a time. A job that fails leaves no file behind; whether that costs the member
anything is the loop's decision. Files that are served stay open for a while, so that they may be removed meanwhile. The thread
touches no member, no log and no socket.
"""

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport memset
from libcpp.atomic cimport memory_order_acquire, memory_order_release

from tenure._core.clock cimport clock_monotonic_ns
from tenure._core.posix cimport pthread_join, thread_start
from tenure._core.queue cimport PUSHED, queue_free, queue_open, queue_pop_batch, queue_push
from tenure._core.state_machine cimport MACHINE_END, MACHINE_MALFORMED, MACHINE_NO_MEMORY, MACHINE_OK
from tenure._core.vec cimport Vec
from tenure._core.wakeup cimport LoopWakeup, loop_wakeup_notify, wakeup_notify, wakeup_wait
from tenure._storage.directory cimport Directory
from tenure._storage.error cimport STORAGE_CORRUPT, STORAGE_MEMORY, STORAGE_MISUSE, STORAGE_OK, StorageError
from tenure._storage.snapshot cimport (
    SnapshotName, SnapshotSink, SnapshotSource, snapshot_append, snapshot_append_raw, snapshot_check, snapshot_create,
    snapshot_finish, snapshot_open, snapshot_publish, snapshot_read, snapshot_read_raw, snapshot_receive,
    snapshot_remove_below, snapshot_sink_close, snapshot_source_close,
)

cdef enum:
    MAX_JOBS = 4096
    PIECE_BYTES = 256 << 10
    SERVED_FOR_NS = 30000000000     # a file that nobody asked for so long is closed

cdef struct Served:
    uint32_t group
    SnapshotName name
    SnapshotSource* source
    int64_t used_ns

cdef struct Incoming:
    uint32_t group
    SnapshotName name
    SnapshotSink* sink

cdef struct Archive:
    # What the thread keeps between jobs.
    Vec[Served] served
    Vec[Incoming] incoming


cdef void snapshot_job_free(SnapshotJob* job) noexcept nogil:
    if job != NULL:
        if job.dump != NULL:
            job.machine.dump_close(job.dump)
        if job.load != NULL:
            job.machine.load_close(job.load)
        job.piece.release()
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


# ---------------------------------------------------------------------------------------------------- for other members

cdef SnapshotName name_of(const SnapshotJob* job) noexcept nogil:
    cdef SnapshotName name
    name.index = job.snapshot.index
    name.term = job.snapshot.term
    return name


cdef SnapshotSource* served(
        Archive* archive, const Directory* directory, const SnapshotJob* job, StorageError* error) noexcept nogil:
    """The open file that the job asks for; null with `error`."""
    cdef Served found
    cdef int64_t now_ns = clock_monotonic_ns()
    cdef size_t i = archive.served.size
    found.source = NULL
    while i > 0:
        i -= 1
        found = archive.served.data[i]
        if found.group == job.group and found.name.index == job.snapshot.index and found.name.term == job.snapshot.term:
            archive.served.data[i].used_ns = now_ns
            return found.source
        if now_ns - found.used_ns > SERVED_FOR_NS:
            snapshot_source_close(found.source)
            archive.served.remove(i)
    found.group = job.group
    found.name = name_of(job)
    found.used_ns = now_ns
    found.source = snapshot_open(directory, job.group, &found.name, error)
    if found.source != NULL and not archive.served.push(found):
        snapshot_source_close(found.source)
        error.code = STORAGE_MEMORY
        return NULL
    return found.source


cdef int serve(Archive* archive, const Directory* directory, SnapshotJob* job) noexcept nogil:
    cdef StorageError error
    cdef SnapshotSource* source = served(archive, directory, job, &error)
    if source == NULL:
        return error.code
    job.total = source.size
    return snapshot_read_raw(source, job.offset, job.wanted, &job.piece)


cdef void drop_incoming(Archive* archive, uint32_t group) noexcept nogil:
    cdef size_t i = archive.incoming.size
    while i > 0:
        i -= 1
        if archive.incoming.data[i].group == group:
            snapshot_sink_close(archive.incoming.data[i].sink)
            archive.incoming.remove(i)


cdef SnapshotSink* incoming(
        Archive* archive, const Directory* directory, const SnapshotJob* job, StorageError* error) noexcept nogil:
    """The file that the piece goes into; its first piece begins it anew. Null with `error`."""
    cdef Incoming* found
    cdef Incoming added
    cdef size_t i
    error.code = STORAGE_MISUSE
    if job.offset != 0:
        for i in range(archive.incoming.size):
            found = &archive.incoming.data[i]
            if found.group == job.group and found.name.index == job.snapshot.index and (
                    found.name.term == job.snapshot.term and found.sink.offset == job.offset):
                return found.sink
        return NULL
    drop_incoming(archive, job.group)
    added.group = job.group
    added.name = name_of(job)
    added.sink = snapshot_receive(directory, job.group, &added.name, error)
    if added.sink != NULL and not archive.incoming.push(added):
        snapshot_sink_close(added.sink)
        error.code = STORAGE_MEMORY
        return NULL
    return added.sink


cdef int load_received(
        Snapshotter* snapshotter, SnapshotSink* sink, const Directory* directory, SnapshotJob* job) noexcept nogil:
    """Everything came: read it as a snapshot, and build the state."""
    cdef StorageError error
    cdef SnapshotName name = name_of(job)
    cdef SnapshotSource* source = snapshot_check(sink, directory, job.group, &name, &error)
    cdef int code = STORAGE_OK, machine = MACHINE_OK
    if source == NULL:
        return error.code
    job.snapshot = source.snapshot
    job.load = job.machine.load_begin(job.machine.self)
    if job.load == NULL:
        machine = MACHINE_NO_MEMORY
    while machine == MACHINE_OK:
        code = SNAPSHOT_STOPPED if stopping(snapshotter) else snapshot_read(source, &job.piece)
        if code != STORAGE_OK:
            break
        if job.piece.size == 0:
            machine = job.machine.load_end(job.load)
            break
        machine = job.machine.load_feed(job.load, job.piece.data, job.piece.size)
    snapshot_source_close(source)
    if machine != MACHINE_OK:
        code = STORAGE_CORRUPT if machine == MACHINE_MALFORMED else STORAGE_MEMORY
    return code


cdef int store(Snapshotter* snapshotter, Archive* archive, const Directory* directory, SnapshotJob* job) noexcept nogil:
    cdef StorageError error
    cdef SnapshotSink* sink = incoming(archive, directory, job, &error)
    cdef int code
    if sink == NULL:
        return error.code
    job.bytes = job.piece.size
    code = snapshot_append_raw(sink, job.piece.data, job.piece.size)
    if code == STORAGE_OK and sink.offset < job.total:
        return code
    if code == STORAGE_OK:
        code = load_received(snapshotter, sink, directory, job)
    if code == STORAGE_OK:
        code = snapshot_publish(sink)
    if code != STORAGE_OK and job.load != NULL:
        job.machine.load_close(job.load)
        job.load = NULL
    drop_incoming(archive, job.group)
    return code


cdef void archive_release(Archive* archive) noexcept nogil:
    cdef size_t i
    for i in range(archive.served.size):
        snapshot_source_close(archive.served.data[i].source)
    archive.served.release()
    for i in range(archive.incoming.size):
        snapshot_sink_close(archive.incoming.data[i].sink)
    archive.incoming.release()


cdef int run(Snapshotter* snapshotter, Archive* archive, SnapshotJob* job) noexcept nogil:
    cdef const Directory* directory = <const Directory*>snapshotter.directory
    if job.kind == JOB_WRITE:
        return write_file(snapshotter, job)
    if job.kind == JOB_SERVE:
        return serve(archive, directory, job)
    return store(snapshotter, archive, directory, job)


# ----------------------------------------------------------------------------------------------------------- the thread

cdef void* snapshotter_body(void* argument) noexcept nogil:
    cdef Snapshotter* snapshotter = <Snapshotter*>argument
    cdef SnapshotJob* job
    cdef Archive archive
    cdef int64_t began
    memset(&archive, 0, sizeof(archive))
    while True:
        if stopping(snapshotter):
            archive_release(&archive)
            return NULL
        if queue_pop_batch(&snapshotter.todo, <void**>&job, 1) == 0:
            wakeup_wait(&snapshotter.wakeup, -1)
            continue
        began = clock_monotonic_ns()
        if job.kind == JOB_DISCARD:
            snapshot_job_free(job)
            continue
        job.code = run(snapshotter, &archive, job)
        job.took_ns = clock_monotonic_ns() - began
        queue_push(&snapshotter.done, job)      # twice what `todo` holds, and emptied in every pass: never full
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
