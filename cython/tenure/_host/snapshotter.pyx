"""The snapshot thread: writes the dump that the loop began into a file, beside the loop, and says when it is durable.

The loop fixes what is dumped by `dump_begin`, between two entries, and hands the dump over; from then on this thread alone
reads and closes it, while the loop applies. So the loop never waits for a snapshot and no two threads share one. For members
that are sent a snapshot the thread reads pieces of the file, and on their side writes them, checks the whole, builds the
state beside the machine and makes the file durable; the loop carries the pieces and adopts the state.

Jobs run in the order of their coming, one at a time. A job that fails leaves no file behind, but for the beginning of another
member's file: it stays, also when the host stops, and is gone on with. Whether a failure costs the member anything is the
loop's decision. A file is read through before it is served for the first time, so that damage is found where it can be mended.
Files that are served stay open for a while, so that they may be removed meanwhile. The thread touches no member, no log and no
socket.
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
    ReceivedName, SnapshotBytes, SnapshotName, SnapshotSink, SnapshotSource, snapshot_append, snapshot_append_raw,
    snapshot_bytes, snapshot_check, snapshot_create, snapshot_drop_received, snapshot_finish, snapshot_list_received,
    snapshot_open, snapshot_open_received, snapshot_publish, snapshot_read, snapshot_read_raw, snapshot_receive,
    snapshot_remove_below, snapshot_sink_close, snapshot_sink_keep, snapshot_source_close,
)

cdef enum:
    MAX_JOBS = 1024                 # under way at once: so neither queue is ever full
    PIECE_BYTES = 256 << 10
    SERVED_FOR_NS = 30000000000     # a file that nobody asked for so long is closed

cdef struct Served:
    uint32_t group
    SnapshotName name
    SnapshotSource* source
    SnapshotBytes bytes
    int64_t used_ns

cdef struct Incoming:
    uint32_t group
    ReceivedName received
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


cdef bint same_bytes(const SnapshotBytes* one, const SnapshotBytes* other) noexcept nogil:
    return one.size == other.size and one.checksum == other.checksum


cdef void close_unused(Archive* archive, int64_t now_ns) noexcept nogil:
    """A file that was removed keeps its room on the disk for as long as it is open."""
    cdef size_t i = archive.served.size
    while i > 0:
        i -= 1
        if now_ns - archive.served.data[i].used_ns > SERVED_FOR_NS:
            snapshot_source_close(archive.served.data[i].source)
            archive.served.remove(i)


cdef int read_through(Snapshotter* snapshotter, SnapshotSource* source, Vec[char]* piece) noexcept nogil:
    cdef int code
    while True:
        code = SNAPSHOT_STOPPED if stopping(snapshotter) else snapshot_read(source, piece)
        if code != STORAGE_OK or piece.size == 0:
            return code


cdef int open_served(
        Snapshotter* snapshotter, Archive* archive, SnapshotJob* job, Served** found) noexcept nogil:
    """The open file that the job asks for. A StorageCode."""
    cdef const Directory* directory = <const Directory*>snapshotter.directory
    cdef StorageError error
    cdef Served added
    cdef int code
    cdef size_t i
    for i in range(archive.served.size):
        found[0] = &archive.served.data[i]
        if found[0].group == job.group and found[0].name.index == job.snapshot.index and (
                found[0].name.term == job.snapshot.term):
            return STORAGE_OK
    added.group = job.group
    added.name = name_of(job)
    added.source = snapshot_open(directory, job.group, &added.name, &error)
    if added.source == NULL:
        return error.code
    code = read_through(snapshotter, added.source, &job.piece)
    if code == STORAGE_OK:
        code = snapshot_bytes(added.source, &added.bytes)
    if code == STORAGE_OK and not archive.served.push(added):
        code = STORAGE_MEMORY
    if code != STORAGE_OK:
        snapshot_source_close(added.source)
        return code
    found[0] = &archive.served.data[archive.served.size - 1]
    return STORAGE_OK


cdef int serve(Snapshotter* snapshotter, Archive* archive, SnapshotJob* job) noexcept nogil:
    cdef Served* found = NULL
    cdef int code = open_served(snapshotter, archive, job, &found)
    job.piece.clear()
    if code != STORAGE_OK:
        return code
    found.used_ns = clock_monotonic_ns()
    if job.in_full and not same_bytes(&job.bytes_of, &found.bytes):
        job.offset = 0
    job.bytes_of = found.bytes
    return snapshot_read_raw(found.source, job.offset, job.wanted, &job.piece)


cdef void drop_incoming(Archive* archive, uint32_t group) noexcept nogil:
    cdef size_t i = archive.incoming.size
    while i > 0:
        i -= 1
        if archive.incoming.data[i].group == group:
            snapshot_sink_close(archive.incoming.data[i].sink)
            archive.incoming.remove(i)


cdef int forget(Archive* archive, const Directory* directory, uint32_t group) noexcept nogil:
    cdef StorageError error
    drop_incoming(archive, group)
    return snapshot_drop_received(directory, group, &error)


cdef int receive(
        Archive* archive, const Directory* directory, uint32_t group, const ReceivedName* received, uint64_t offset
) noexcept nogil:
    """Open the one file of the group that is being received, at `offset`. A StorageCode."""
    cdef StorageError error
    cdef Incoming added
    added.group = group
    added.received = received[0]
    added.sink = snapshot_receive(directory, group, received, offset, &error)
    if added.sink == NULL:
        return error.code
    if archive.incoming.push(added):
        return STORAGE_OK
    snapshot_sink_close(added.sink)
    return STORAGE_MEMORY


cdef SnapshotSink* incoming(Archive* archive, const SnapshotJob* job) noexcept nogil:
    """The file that the piece goes into; null: none at that place."""
    cdef Incoming* found
    cdef size_t i
    for i in range(archive.incoming.size):
        found = &archive.incoming.data[i]
        if found.group == job.group and found.received.name.index == job.snapshot.index and (
                found.received.name.term == job.snapshot.term and same_bytes(&found.received.bytes, &job.bytes_of)
                and found.sink.offset == job.offset):
            return found.sink
    return NULL


cdef int sound_bytes(
        Snapshotter* snapshotter, SnapshotJob* job, const ReceivedName* received, uint64_t* offset) noexcept nogil:
    """How much of a file that was received may be gone on with: whole pieces, never the footer. A StorageCode."""
    cdef StorageError error
    cdef SnapshotSource* source = snapshot_open_received(
        <const Directory*>snapshotter.directory, job.group, received, &error)
    cdef int code = STORAGE_OK
    offset[0] = 0
    if source == NULL:
        return error.code
    while code == STORAGE_OK:
        offset[0] = source.offset
        code = SNAPSHOT_STOPPED if stopping(snapshotter) else snapshot_read(source, &job.piece)
        if job.piece.size == 0:
            break
    snapshot_source_close(source)
    return STORAGE_OK if code == STORAGE_CORRUPT else code     # which is what the end of a part looks like


cdef int resume(Snapshotter* snapshotter, Archive* archive, SnapshotJob* job) noexcept nogil:
    cdef const Directory* directory = <const Directory*>snapshotter.directory
    cdef Vec[ReceivedName] names
    cdef ReceivedName best
    cdef StorageError error
    cdef uint64_t above = job.snapshot.index, offset = 0
    cdef int code
    memset(&names, 0, sizeof(names))
    memset(&job.snapshot, 0, sizeof(job.snapshot))
    drop_unfinished(archive, job.group)
    code = snapshot_list_received(directory, job.group, &names, &error)
    if code == STORAGE_OK and names.size == 1 and names.data[0].name.index > above:
        best = names.data[0]
        code = sound_bytes(snapshotter, job, &best, &offset)
        if code == STORAGE_OK and offset > 0:
            code = receive(archive, directory, job.group, &best, offset)
        if code == STORAGE_OK and offset > 0:
            job.snapshot.index = best.name.index
            job.snapshot.term = best.name.term
            job.bytes_of = best.bytes
            job.offset = offset
    names.release()
    job.piece.clear()
    if job.snapshot.index == 0 and code != SNAPSHOT_STOPPED:
        forget(archive, directory, job.group)   # several, an old one, none that is sound: begin anew
    return SNAPSHOT_STOPPED if code == SNAPSHOT_STOPPED else STORAGE_OK


cdef void drop_unfinished(Archive* archive, uint32_t group) noexcept nogil:
    """Close what is open of the group; the files stay."""
    cdef size_t i = archive.incoming.size
    while i > 0:
        i -= 1
        if archive.incoming.data[i].group == group:
            snapshot_sink_keep(archive.incoming.data[i].sink)
            archive.incoming.remove(i)


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


cdef int store(Snapshotter* snapshotter, Archive* archive, SnapshotJob* job) noexcept nogil:
    cdef const Directory* directory = <const Directory*>snapshotter.directory
    cdef ReceivedName received
    cdef SnapshotSink* sink
    cdef int code
    if job.offset == 0:
        forget(archive, directory, job.group)
        received.name = name_of(job)
        received.bytes = job.bytes_of
        code = receive(archive, directory, job.group, &received, 0)
        if code != STORAGE_OK:
            return code
    sink = incoming(archive, job)
    if sink == NULL:
        return STORAGE_MISUSE
    job.bytes = job.piece.size
    code = snapshot_append_raw(sink, job.piece.data, job.piece.size)
    if code == STORAGE_OK and sink.offset < job.bytes_of.size:
        return code
    if code == STORAGE_OK:
        code = load_received(snapshotter, sink, directory, job)
    if code == STORAGE_OK:
        code = snapshot_publish(sink)
    if code != STORAGE_OK and job.load != NULL:
        job.machine.load_close(job.load)
        job.load = NULL
    if code == SNAPSHOT_STOPPED:
        drop_unfinished(archive, job.group)
    else:
        drop_incoming(archive, job.group)
    return code


cdef void archive_release(Archive* archive) noexcept nogil:
    cdef size_t i
    for i in range(archive.served.size):
        snapshot_source_close(archive.served.data[i].source)
    archive.served.release()
    for i in range(archive.incoming.size):
        snapshot_sink_keep(archive.incoming.data[i].sink)
    archive.incoming.release()


cdef int run(Snapshotter* snapshotter, Archive* archive, SnapshotJob* job) noexcept nogil:
    if job.kind == JOB_WRITE:
        return write_file(snapshotter, job)
    if job.kind == JOB_SERVE:
        return serve(snapshotter, archive, job)
    if job.kind == JOB_RESUME:
        return resume(snapshotter, archive, job)
    return store(snapshotter, archive, job)


cdef bint is_answered(const SnapshotJob* job) noexcept nogil:
    return job.kind != JOB_DISCARD and job.kind != JOB_FORGET


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
        began = clock_monotonic_ns()
        close_unused(&archive, began)
        if queue_pop_batch(&snapshotter.todo, <void**>&job, 1) == 0:
            wakeup_wait(&snapshotter.wakeup, began + SERVED_FOR_NS if archive.served.size else -1)
            continue
        if is_answered(job):
            job.code = run(snapshotter, &archive, job)
            job.took_ns = clock_monotonic_ns() - began
            queue_push(&snapshotter.done, job)      # holds all that are under way: never full
            loop_wakeup_notify(snapshotter.loop)
            continue
        if job.kind == JOB_FORGET:
            forget(&archive, <const Directory*>snapshotter.directory, job.group)
        snapshot_job_free(job)


cdef Snapshotter* snapshotter_start(const Directory* directory, LoopWakeup* loop) noexcept nogil:
    cdef Snapshotter* snapshotter = snapshotter_new()
    if snapshotter == NULL:
        return NULL
    snapshotter.directory = directory
    snapshotter.loop = loop
    if not queue_open(&snapshotter.todo, 2 * MAX_JOBS) or not queue_open(&snapshotter.done, MAX_JOBS) or thread_start(
            &snapshotter.thread, b"tenure-snapshot", 0, snapshotter_body, snapshotter) != 0:
        queue_free(&snapshotter.todo)
        queue_free(&snapshotter.done)
        snapshotter_free(snapshotter)
        return NULL
    return snapshotter


cdef bint snapshotter_push(Snapshotter* snapshotter, SnapshotJob* job) noexcept nogil:
    cdef bint answered = is_answered(job)   # the job is the thread's once it is pushed
    if (answered and snapshotter.in_flight >= MAX_JOBS) or queue_push(&snapshotter.todo, job) != PUSHED:
        return False
    snapshotter.in_flight += answered
    wakeup_notify(&snapshotter.wakeup)
    return True


cdef SnapshotJob* snapshotter_take_done(Snapshotter* snapshotter) noexcept nogil:
    cdef SnapshotJob* job = NULL
    if queue_pop_batch(&snapshotter.done, <void**>&job, 1) == 0:
        return NULL
    snapshotter.in_flight -= 1
    return job


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
