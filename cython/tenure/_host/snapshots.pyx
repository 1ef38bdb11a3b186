"""A member's snapshots: when one is begun, what becomes of the log behind it, and which one a start begins with.

A snapshot is due `every` entries after the last one, or after 64 MiB of commands, whatever comes first. The loop begins the
dump between two entries; the snapshot thread does the rest. Once the file is durable:

    latest = this snapshot, previous = the one before; files older than `previous` are gone
    the log on disk starts behind `previous`: if the newest file turns out damaged, the older one still joins the log
    the log in memory starts some entries before `latest`: a member that lags a little is sent entries

**Members that are far behind.** The core sends a member whose entries are gone a message that names the latest snapshot. The
host of that member keeps the message back and asks the sender for the file, piece by piece, one at a time; whatever is lost
is asked for again, so a connection that breaks costs a piece. Once the file has come, was found whole, was loaded beside the
machine and is durable, the message goes to the core, as if it had just come; what the core decides then counts. The machine
adopts the loaded state on the loop, and the core acknowledges after the log has marked the snapshot too. A leader that
hears nothing of a member for SILENT_NS begins anew, with its latest snapshot. As long as it hears of it, it keeps the entries
behind the snapshot that it sends.

Entries are kept for members that lag less: TRAILING_ENTRIES always, LAG_ENTRIES while an active member needs them, never more
than 64 MiB of either.

A snapshot that fails for want of memory or space is counted and tried again after a while: the log is whole without it. A
disk that fails costs the member, like everywhere. A machine that cannot dump takes no snapshots and forgets nothing.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset
from libcpp.atomic cimport memory_order_relaxed

from tenure._core.clock cimport clock_monotonic_ns
from tenure._core.state_machine cimport MACHINE_MALFORMED, MACHINE_NO_MEMORY, MACHINE_OK
from tenure._core.vec cimport Vec
from tenure._host.member cimport Member, SnapshotPeer
from tenure._host.snapshotter cimport (
    JOB_DISCARD, JOB_SERVE, JOB_STORE, JOB_WRITE, SNAPSHOT_STOPPED, SnapshotJob, snapshot_job_free, snapshotter_push,
)
from tenure._host.writer cimport WriteJob, write_job_free, writer_push
from tenure._net.transport cimport transport_send_data
from tenure._raft.log cimport log_matches, log_term
from tenure._raft.progress cimport progress_of
from tenure._raft.raft cimport raft_compact, raft_note_snapshot, raft_report_snapshot, raft_step
from tenure._raft.state cimport SNAPSHOT, Progress
from tenure._raft.types cimport ERR_MEMORY, LEADER, OK, Configuration, Message, Snapshot, entry_bytes
from tenure._storage.directory cimport Directory
from tenure._storage.error cimport (
    STORAGE_BAD_DIRECTORY, STORAGE_CORRUPT, STORAGE_FOREIGN, STORAGE_FULL, STORAGE_MEMORY, STORAGE_MISUSE,
    STORAGE_NEWER_FORMAT, STORAGE_OK, StorageError, storage_error_set,
)
from tenure._storage.snapshot cimport (
    SnapshotName, SnapshotSource, snapshot_list, snapshot_open, snapshot_read, snapshot_source_close, snapshot_sweep,
)
from tenure._storage.wal cimport RecoveredGroup

cdef enum:
    DUE_BYTES = 64 << 20        # commands applied since the last snapshot
    TRAILING_ENTRIES = 10000    # kept in memory behind the latest snapshot, at most `every`
    LAG_ENTRIES = 100000        # kept for an active member
    KEPT_BYTES = 64 << 20       # of entries kept in memory behind the latest snapshot
    DROPPED_AT_ONCE = 4096      # entries
    RETRY_NS = 2000000000       # after a snapshot that failed
    PIECE_BYTES = 256 << 10
    ASK_AGAIN_NS = 500000000
    SILENT_NS = 3000000000


# --------------------------------------------------------------------------------------------------------- compaction

cdef uint64_t back_from_latest(const Member* m, uint64_t most) noexcept nogil:
    """The index that `most` entries, or KEPT_BYTES of them, reach back to from the latest snapshot."""
    cdef uint64_t at = m.snapshots.latest.index, offset = m.raft.log.offset, bytes = 0
    while at > offset and m.snapshots.latest.index - at < most:
        bytes += entry_bytes(&m.raft.log.entries.data[at - offset - 1])
        if bytes > KEPT_BYTES:
            break
        at -= 1
    return at


cdef uint64_t needed_by_active(const Member* m) noexcept nogil:
    """Active members still need the entries behind this index."""
    cdef uint64_t needed = m.raft.log.applied
    cdef const Progress* p
    cdef size_t i
    if m.raft.role == LEADER:
        for i in range(m.raft.progress.size):
            p = &m.raft.progress.data[i]
            if p.recent_active and p.state != SNAPSHOT:
                needed = min(needed, p.match)
    return needed


cdef uint64_t may_forget(const Member* m) noexcept nogil:
    cdef uint64_t index = back_from_latest(m, min(<uint64_t>TRAILING_ENTRIES, m.snapshots.every))
    cdef uint64_t needed = needed_by_active(m)
    cdef size_t i
    if needed < index:
        index = max(needed, back_from_latest(m, LAG_ENTRIES))
    for i in range(m.snapshots.peers.size):
        index = min(index, m.snapshots.peers.data[i].index)
    return index


cdef bint compact_some(Member* m) noexcept nogil:
    """Drop entries up to `compact_to`, a bounded number at once. True when there are more."""
    cdef uint64_t offset = m.raft.log.offset, target = m.snapshots.compact_to
    if target <= offset:
        m.snapshots.compact_to = 0
        return False
    if raft_compact(m.raft, min(target, offset + DROPPED_AT_ONCE)) != OK:
        m.snapshots.compact_to = 0
        return False
    return m.raft.log.offset < target


cdef bint mark_log(Member* m) noexcept nogil:
    """Tell the log on disk that it starts behind the older of the two snapshots. False without memory."""
    cdef WriteJob* job
    if m.snapshots.previous.index <= m.snapshots.marked:
        return True
    job = <WriteJob*>calloc(1, sizeof(WriteJob))
    if job == NULL:
        return False
    job.group = m.group
    job.number = 0              # of no Ready
    job.queued_ns = clock_monotonic_ns()
    job.snapshot = <Snapshot*>calloc(1, sizeof(Snapshot))
    if job.snapshot == NULL:
        write_job_free(job)
        return False
    memcpy(job.snapshot, &m.snapshots.previous, sizeof(Snapshot))
    if not writer_push(m.writer, job):
        write_job_free(job)
        return True             # the queue is full: the next snapshot marks it
    m.snapshots.marked = m.snapshots.previous.index
    m.writes_in_flight += 1
    if m.oldest_write_ns == 0:
        m.oldest_write_ns = job.queued_ns
    return True


# ----------------------------------------------------------------------------------------------------------- taking one

cdef bint due(const Member* m) noexcept nogil:
    cdef uint64_t applied = m.raft.log.applied
    return (
        m.machine.self != NULL and m.machine.dump_begin != NULL and m.snapshots.every != 0 and not m.snapshots.running
        and m.snapshots.installing == 0 and m.raft.log.pending_snapshot == NULL
        and applied > m.snapshots.latest.index
        and (applied - m.snapshots.latest.index >= m.snapshots.every or m.snapshots.applied_bytes >= DUE_BYTES)
    )


cdef void count_failure(Member* m, int64_t monotonic_ns) noexcept nogil:
    m.snapshots.retry_ns = monotonic_ns + RETRY_NS
    m.gauges.snapshots_failed.fetch_add(1, memory_order_relaxed)  # relaxed: statistics


cdef void begin(Member* m, int64_t monotonic_ns) noexcept nogil:
    """The cut: everything applied so far, nothing behind it."""
    cdef SnapshotJob* job = <SnapshotJob*>calloc(1, sizeof(SnapshotJob))
    if job == NULL:
        count_failure(m, monotonic_ns)
        return
    job.kind = JOB_WRITE
    job.group = m.group
    job.machine = m.machine
    job.snapshot.index = m.raft.log.applied
    memcpy(&job.snapshot.configuration, &m.raft.configuration, sizeof(Configuration))
    job.keep_from = m.snapshots.latest.index
    if log_term(&m.raft.log, job.snapshot.index, &job.snapshot.term):
        job.dump = m.machine.dump_begin(m.machine.self)
    if job.dump == NULL or not snapshotter_push(m.snapshots.snapshotter, job):
        snapshot_job_free(job)
        count_failure(m, monotonic_ns)
        return
    m.snapshots.running = True
    m.snapshots.applied_bytes = 0


cdef bint snapshots_step(Member* m, int64_t monotonic_ns) noexcept nogil:
    if m.raft.failed != OK:
        return False
    if due(m) and monotonic_ns >= m.snapshots.retry_ns:
        begin(m, monotonic_ns)
    return m.snapshots.compact_to != 0 and compact_some(m)


cdef int snapshots_done(Member* m, SnapshotJob* job, int64_t now_ns, int64_t monotonic_ns) noexcept nogil:
    cdef int code = OK
    if m.raft.failed != OK:
        pass
    elif job.kind == JOB_SERVE:
        send_piece(m, job)
    elif job.kind == JOB_STORE:
        return stored(m, job, now_ns, monotonic_ns)
    else:
        return written(m, job, monotonic_ns)
    snapshot_job_free(job)
    return code


cdef bint is_harmless(int code) noexcept nogil:
    """Failures that cost a snapshot and nothing else."""
    return (
        code == STORAGE_FULL or code == STORAGE_MEMORY or code == STORAGE_CORRUPT or code == STORAGE_MISUSE
        or code == STORAGE_NEWER_FORMAT or code == STORAGE_FOREIGN or code == MACHINE_NO_MEMORY or code == SNAPSHOT_STOPPED
    )


cdef int written(Member* m, SnapshotJob* job, int64_t monotonic_ns) noexcept nogil:
    """A snapshot of this member's own is done with. Takes over the job."""
    cdef int code = job.code
    m.snapshots.running = False
    if code != STORAGE_OK:
        snapshot_job_free(job)
        count_failure(m, monotonic_ns)
        return OK if is_harmless(code) else code
    if job.snapshot.index > m.snapshots.latest.index:
        m.snapshots.previous = m.snapshots.latest
        m.snapshots.latest = job.snapshot
        # the configuration is the one at the cut, whatever was applied since
        raft_note_snapshot(m.raft, job.snapshot.index, &job.snapshot.configuration)
        m.snapshots.compact_to = may_forget(m)
        # relaxed: statistics
        m.gauges.snapshots.fetch_add(1, memory_order_relaxed)
        m.gauges.snapshot_index.store(job.snapshot.index, memory_order_relaxed)
        m.gauges.snapshot_bytes.store(job.bytes, memory_order_relaxed)
        m.gauges.snapshot_ns.store(job.took_ns, memory_order_relaxed)
    snapshot_job_free(job)
    return OK if mark_log(m) else ERR_MEMORY


# -------------------------------------------------------------------------------------------- to a member that is behind

cdef SnapshotPeer* peer_of(Member* m, uint64_t id) noexcept nogil:
    cdef size_t i
    for i in range(m.snapshots.peers.size):
        if m.snapshots.peers.data[i].id == id:
            return &m.snapshots.peers.data[i]
    return NULL


cdef void watch_peers(Member* m, int64_t now_ns, int64_t monotonic_ns) noexcept nogil:
    """As leader: note who was sent a snapshot, and begin anew with those that fell silent."""
    cdef SnapshotPeer* peer
    cdef SnapshotPeer added
    cdef Progress* p
    cdef size_t i = m.snapshots.peers.size
    while i > 0:
        i -= 1
        p = progress_of(m.raft, m.snapshots.peers.data[i].id)
        if m.raft.role != LEADER or p == NULL or p.state != SNAPSHOT:
            m.snapshots.peers.remove(i)
    if m.raft.role != LEADER:
        return
    for i in range(m.raft.progress.size):
        p = &m.raft.progress.data[i]
        if p.state != SNAPSHOT:
            continue
        peer = peer_of(m, p.id)
        if peer == NULL or peer.index != p.pending_snapshot:
            added.id = p.id
            added.index = p.pending_snapshot
            added.heard_ns = monotonic_ns
            if peer != NULL:
                peer[0] = added
            else:
                m.snapshots.peers.push(added)   # without memory: noted in the next tick
        elif monotonic_ns - peer.heard_ns > SILENT_NS:
            raft_report_snapshot(m.raft, p.id, False, now_ns)


cdef void send_data(
        Member* m, uint64_t to, uint32_t what, const Snapshot* snapshot, uint64_t offset, uint64_t size,
        const Vec[char]* piece) noexcept nogil:
    """What is dropped is asked for again."""
    cdef SnapshotData head
    cdef const char* body = NULL
    cdef uint32_t body_size = 0
    if piece != NULL:
        body = piece.data
        body_size = <uint32_t>piece.size
    head.what = what
    head.group = m.group
    head.index = snapshot.index
    head.term = snapshot.term
    head.offset = offset
    head.size = size
    transport_send_data(
        m.transport, to, DATA_SNAPSHOT, <const char*>&head, sizeof(head), body, body_size)


cdef void send_piece(Member* m, const SnapshotJob* job) noexcept nogil:
    if job.code != STORAGE_OK or job.piece.size == 0:
        send_data(m, job.peer, DATA_GONE, &job.snapshot, 0, 0, NULL)
    else:
        send_data(m, job.peer, DATA_PIECE, &job.snapshot, job.offset, job.total, &job.piece)


cdef void serve_piece(Member* m, uint64_t to, const SnapshotData* head, int64_t monotonic_ns) noexcept nogil:
    cdef SnapshotPeer* peer = peer_of(m, to)
    cdef SnapshotJob* job
    if peer != NULL:
        peer.heard_ns = monotonic_ns
    if head.size == 0:
        return
    job = <SnapshotJob*>calloc(1, sizeof(SnapshotJob))
    if job == NULL:
        return
    job.kind = JOB_SERVE
    job.group = m.group
    job.snapshot.index = head.index
    job.snapshot.term = head.term
    job.peer = to
    job.offset = head.offset
    # a frame holds two messages of the largest size
    job.wanted = min(min(head.size, <uint64_t>PIECE_BYTES), max(m.raft.config.max_message_bytes, <uint64_t>4096))
    if not snapshotter_push(m.snapshots.snapshotter, job):
        snapshot_job_free(job)


# ------------------------------------------------------------------------------------------------- as the member behind

cdef bint snapshots_hold(Member* m, const Message* message, int64_t monotonic_ns) noexcept nogil:
    cdef Snapshot* copy
    if (
            message.to != m.id or message.snapshot == NULL or message.term < m.raft.term or m.raft.failed != OK
            or message.snapshot.index <= m.raft.log.committed
            or log_matches(&m.raft.log, message.snapshot.index, message.snapshot.term)):
        return False            # the core sees for itself that there is nothing to install
    if m.machine.self == NULL or m.machine.load_begin == NULL or m.snapshots.installing != 0:
        return True             # dropped: what could be installed now?
    copy = <Snapshot*>malloc(sizeof(Snapshot))
    if copy == NULL:
        return True
    memcpy(copy, message.snapshot, sizeof(Snapshot))
    if not m.snapshots.receiving or m.snapshots.held.from_ != message.from_ or (
            m.snapshots.held.snapshot.index != copy.index or m.snapshots.held.snapshot.term != copy.term):
        m.snapshots.received = 0
        m.snapshots.asked_ns = 0
    stop_receiving(m)
    m.snapshots.held = message[0]
    memset(&m.snapshots.held.entries, 0, sizeof(m.snapshots.held.entries))
    m.snapshots.held.snapshot = copy
    m.snapshots.receiving = True
    ask(m, monotonic_ns)
    return True


cdef void stop_receiving(Member* m) noexcept nogil:
    free(m.snapshots.held.snapshot)
    m.snapshots.held.snapshot = NULL
    m.snapshots.receiving = False


cdef void ask(Member* m, int64_t monotonic_ns) noexcept nogil:
    """For the next piece, or, while one is being stored, only to be heard of."""
    m.snapshots.asked_ns = monotonic_ns
    send_data(
        m, m.snapshots.held.from_, DATA_ASK, m.snapshots.held.snapshot, m.snapshots.received,
        0 if m.snapshots.storing else PIECE_BYTES, NULL)


cdef void store_piece(
        Member* m, uint64_t from_, const SnapshotData* head, const char* piece, size_t size, int64_t monotonic_ns
) noexcept nogil:
    cdef SnapshotJob* job
    if (
            not m.snapshots.receiving or m.snapshots.storing or from_ != m.snapshots.held.from_
            or head.index != m.snapshots.held.snapshot.index or head.term != m.snapshots.held.snapshot.term
            or head.offset != m.snapshots.received or size == 0 or size > head.size - head.offset or head.offset >= head.size):
        return                  # late, or twice: the one that is wanted is on its way or will be asked for again
    job = <SnapshotJob*>calloc(1, sizeof(SnapshotJob))
    if job == NULL:
        return
    job.kind = JOB_STORE
    job.group = m.group
    job.machine = m.machine
    job.snapshot.index = head.index
    job.snapshot.term = head.term
    job.peer = from_
    job.offset = head.offset
    job.total = head.size
    if not job.piece.reserve(size):
        snapshot_job_free(job)
        return
    memcpy(job.piece.data, piece, size)
    job.piece.size = size
    if snapshotter_push(m.snapshots.snapshotter, job):
        m.snapshots.storing = True
        m.snapshots.asked_ns = monotonic_ns
    else:
        snapshot_job_free(job)


cdef int stored(Member* m, SnapshotJob* job, int64_t now_ns, int64_t monotonic_ns) noexcept nogil:
    """A piece is on disk; after the last one the state is loaded and the file durable. Takes over the job."""
    cdef int code = job.code
    m.snapshots.storing = False
    if not m.snapshots.receiving or m.snapshots.held.snapshot.index != job.snapshot.index or (
            m.snapshots.held.snapshot.term != job.snapshot.term or m.snapshots.held.from_ != job.peer):
        if m.snapshots.receiving:
            ask(m, monotonic_ns)
        discard(m, job)
        return OK
    if code != STORAGE_OK:
        count_failure(m, monotonic_ns)
        stop_receiving(m)       # the leader begins anew after a while
        snapshot_job_free(job)
        return OK if is_harmless(code) else code
    m.snapshots.received = job.offset + job.bytes
    if job.load == NULL:
        ask(m, monotonic_ns)
        snapshot_job_free(job)
        return OK
    m.snapshots.load = job.load
    m.snapshots.loaded = job.snapshot
    job.load = NULL
    raft_step(m.raft, &m.snapshots.held, now_ns)
    stop_receiving(m)
    if m.raft.log.pending_snapshot == NULL or m.raft.log.pending_snapshot.index != m.snapshots.loaded.index:
        job.load = m.snapshots.load     # the core wants it no more
        m.snapshots.load = NULL
    discard(m, job)
    return OK


cdef void discard(Member* m, SnapshotJob* job) noexcept nogil:
    """Frees the job; a state that nobody adopts is freed beside the loop."""
    job.kind = JOB_DISCARD
    if job.load == NULL or not snapshotter_push(m.snapshots.snapshotter, job):
        snapshot_job_free(job)


cdef bint snapshots_adopt(Member* m, const Snapshot* snapshot) noexcept nogil:
    cdef bint adopted
    cdef SnapshotJob* job
    if m.snapshots.load == NULL or m.snapshots.loaded.index != snapshot.index or (
            m.snapshots.loaded.term != snapshot.term):
        return False
    adopted = m.machine.load_adopt(m.machine.self, m.snapshots.load) == MACHINE_OK
    job = <SnapshotJob*>calloc(1, sizeof(SnapshotJob))
    if job == NULL:
        m.machine.load_close(m.snapshots.load)
    else:
        job.machine = m.machine
        job.load = m.snapshots.load     # with what the machine held before: a lot to free
        discard(m, job)
    m.snapshots.load = NULL
    m.snapshots.latest = snapshot[0]
    memset(&m.snapshots.previous, 0, sizeof(Snapshot))      # the log does not reach it any more
    m.snapshots.marked = m.snapshots.installing = snapshot.index
    m.snapshots.compact_to = 0
    m.snapshots.applied_bytes = 0
    # relaxed: statistics
    m.gauges.snapshots_installed.fetch_add(1, memory_order_relaxed)
    m.gauges.snapshot_index.store(snapshot.index, memory_order_relaxed)
    return adopted


cdef void snapshots_release(Member* m) noexcept nogil:
    if m.snapshots.load != NULL:
        m.machine.load_close(m.snapshots.load)
    stop_receiving(m)
    m.snapshots.peers.release()


# ------------------------------------------------------------------------------------------------------------ both sides

cdef uint32_t snapshots_data_group(const char* bytes) noexcept nogil:
    cdef SnapshotData head
    memcpy(&head, bytes, sizeof(head))
    return head.group


cdef void snapshots_data(Member* m, uint64_t peer, const char* bytes, uint32_t size, int64_t monotonic_ns) noexcept nogil:
    cdef SnapshotData head
    memcpy(&head, bytes, sizeof(head))
    if m.raft.failed != OK:
        return
    if head.what == DATA_ASK:
        serve_piece(m, peer, &head, monotonic_ns)
    elif head.what == DATA_PIECE:
        store_piece(m, peer, &head, bytes + sizeof(head), size - sizeof(head), monotonic_ns)
    elif head.what == DATA_GONE and m.snapshots.receiving and peer == m.snapshots.held.from_ and (
            head.index == m.snapshots.held.snapshot.index and head.term == m.snapshots.held.snapshot.term):
        stop_receiving(m)


cdef void snapshots_tick(Member* m, int64_t now_ns, int64_t monotonic_ns) noexcept nogil:
    watch_peers(m, now_ns, monotonic_ns)
    if m.snapshots.receiving and monotonic_ns - m.snapshots.asked_ns > ASK_AGAIN_NS:
        ask(m, monotonic_ns)


cdef bint snapshots_rest(const Member* m) noexcept nogil:
    cdef size_t i
    if m.snapshots.receiving or m.snapshots.peers.size:
        return False
    for i in range(m.raft.progress.size if m.raft.role == LEADER else 0):
        if m.raft.progress.data[i].state == SNAPSHOT:
            return False
    return True


# -------------------------------------------------------------------------------------------------------------- a start

cdef bint joins(const RecoveredGroup* found, const SnapshotName* name) noexcept nogil:
    """Whether the recovered log goes on where this snapshot ends."""
    cdef uint64_t base = found.snapshot.index if found.has_snapshot else 0
    if found.has_snapshot and name.index == base:
        return name.term == found.snapshot.term
    return (
        base < name.index <= base + found.entries.size
        and found.entries.data[name.index - base - 1].term == name.term
    )


cdef int load_file(Member* m, SnapshotSource* source, StorageError* error) noexcept nogil:
    """Build the state that a file holds and adopt it. A StorageCode; the machine is changed only when it is STORAGE_OK."""
    cdef Vec[char] chunk
    cdef void* load = m.machine.load_begin(m.machine.self)
    cdef int code = STORAGE_OK, machine = MACHINE_OK
    memset(&chunk, 0, sizeof(chunk))
    if load == NULL:
        machine = MACHINE_NO_MEMORY
    while machine == MACHINE_OK:
        code = snapshot_read(source, &chunk)
        if code != STORAGE_OK:
            memcpy(error, &source.error, sizeof(StorageError))
            break
        if chunk.size == 0:
            machine = m.machine.load_end(load)
            if machine == MACHINE_OK:
                machine = m.machine.load_adopt(m.machine.self, load)
            break
        machine = m.machine.load_feed(load, chunk.data, chunk.size)
    chunk.release()
    if load != NULL:
        m.machine.load_close(load)
    if machine != MACHINE_OK:
        code = STORAGE_CORRUPT if machine == MACHINE_MALFORMED else STORAGE_MEMORY
        storage_error_set(error, code, 0, source.offset, source.path)
    return code


cdef int snapshots_load(
        Member* m, const Directory* directory, const RecoveredGroup* found, Snapshot* chosen, size_t* damaged,
        StorageError* error) noexcept nogil:
    cdef Vec[SnapshotName] names
    cdef SnapshotSource* source
    cdef StorageError newest
    cdef size_t i
    cdef int code
    memset(chosen, 0, sizeof(Snapshot))
    memset(&names, 0, sizeof(names))
    memset(&newest, 0, sizeof(newest))
    damaged[0] = 0
    code = snapshot_sweep(directory, error)
    if code == STORAGE_OK:
        code = snapshot_list(directory, m.group, &names, error)
    if m.machine.self == NULL or m.machine.load_begin == NULL:
        names.clear()
    i = names.size
    while code == STORAGE_OK and i > 0:
        i -= 1
        if not joins(found, &names.data[i]):
            continue
        source = snapshot_open(directory, m.group, &names.data[i], error)
        code = error.code
        if source != NULL:
            code = load_file(m, source, error)
            if code == STORAGE_OK:
                memcpy(chosen, &source.snapshot, sizeof(Snapshot))
            snapshot_source_close(source)
        if code == STORAGE_OK:
            break
        if code == STORAGE_CORRUPT:
            if damaged[0] == 0:
                memcpy(&newest, error, sizeof(StorageError))
            damaged[0] += 1
            code = STORAGE_OK   # an older one may join the log
    names.release()
    if code == STORAGE_OK and chosen.index == 0 and found.has_snapshot:
        if newest.code != 0:
            memcpy(error, &newest, sizeof(StorageError))
        else:
            storage_error_set(error, STORAGE_BAD_DIRECTORY, 0, 0, directory.path)
        return error.code
    return code
