"""A member's snapshots: when one is begun, what becomes of the log behind it, and which one a start begins with.

A snapshot is due `every` entries after the last one, or after 64 MiB of commands, whatever comes first. The loop begins the
dump between two entries; the snapshot thread does the rest. Once the file is durable:

    latest = this snapshot, previous = the one before; files older than `previous` are gone
    the log on disk starts behind `previous`: if the newest file turns out damaged, the older one still joins the log
    the log in memory starts some entries before `latest`: a member that lags a little is sent entries

Entries are kept for members that lag less: TRAILING_ENTRIES always, LAG_ENTRIES while an active member needs them, never more
than 64 MiB of either. More is kept for a member that is at a snapshot: see transfer.pyx.

A snapshot that fails for want of memory or space is counted and tried again after a while: the log is whole without it. A
disk that fails costs the member, like everywhere. A machine that cannot dump takes no snapshots and forgets nothing.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc
from libc.string cimport memcpy, memset
from libcpp.atomic cimport memory_order_relaxed

from tenure._core.clock cimport clock_monotonic_ns
from tenure._core.state_machine cimport MACHINE_MALFORMED, MACHINE_NO_MEMORY, MACHINE_OK
from tenure._core.vec cimport Vec
from tenure._host.member cimport Member
from tenure._host.snapshotter cimport JOB_WRITE, SNAPSHOT_STOPPED, SnapshotJob, snapshot_job_free, snapshotter_push
from tenure._host.writer cimport WriteJob, write_job_free, writer_push
from tenure._raft.log cimport log_term
from tenure._raft.raft cimport raft_compact, raft_note_snapshot
from tenure._raft.state cimport SNAPSHOT, Progress
from tenure._raft.types cimport ERR_MEMORY, LEADER, OK, Configuration, Snapshot, entry_bytes
from tenure._storage.directory cimport Directory
from tenure._storage.error cimport (
    STORAGE_BAD_DIRECTORY, STORAGE_CORRUPT, STORAGE_FOREIGN, STORAGE_FULL, STORAGE_MEMORY, STORAGE_MISUSE,
    STORAGE_NEWER_FORMAT, STORAGE_OK, StorageError, storage_error_set,
)
from tenure._storage.snapshot cimport (
    ReceivedName, SnapshotName, SnapshotSource, snapshot_list, snapshot_list_received, snapshot_open, snapshot_read,
    snapshot_source_close, snapshot_sweep,
)
from tenure._storage.wal cimport RecoveredGroup

cdef enum:
    DUE_BYTES = 64 << 20        # commands applied since the last snapshot
    TRAILING_ENTRIES = 10000    # kept in memory behind the latest snapshot, at most `every`
    LAG_ENTRIES = 100000        # kept for an active member
    KEPT_BYTES = 64 << 20       # of entries kept in memory behind the latest snapshot
    DROPPED_AT_ONCE = 4096      # entries, or a 32nd of them: each time all that stay are moved
    RETRY_NS = 2000000000       # after a snapshot that failed
    LOOK_NS = 1000000000        # while entries are kept for an active member


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
            # one whose next entry is gone already is not helped by those behind it
            if p.recent_active and p.state != SNAPSHOT and p.match >= m.raft.log.offset:
                needed = min(needed, p.match)
    return needed


cdef bint is_noted(const Member* m, uint64_t id) noexcept nogil:
    cdef size_t i
    for i in range(m.transfer.peers.size):
        if m.transfer.peers.data[i].id == id:
            return True
    return False


cdef uint64_t may_forget(Member* m) noexcept nogil:
    cdef uint64_t index = back_from_latest(m, min(<uint64_t>TRAILING_ENTRIES, m.snapshots.every))
    cdef uint64_t needed = needed_by_active(m)
    cdef size_t i
    m.snapshots.held_back = needed < index
    if needed < index:
        index = max(needed, back_from_latest(m, LAG_ENTRIES))
    if m.raft.role != LEADER:
        return index
    for i in range(m.transfer.peers.size):
        index = min(index, m.transfer.peers.data[i].index)
    for i in range(m.raft.progress.size):
        if m.raft.progress.data[i].state == SNAPSHOT and not is_noted(m, m.raft.progress.data[i].id):
            index = min(index, m.raft.progress.data[i].pending_snapshot)
    return index


cdef void snapshots_forget(Member* m) noexcept nogil:
    if m.snapshots.latest.index > m.raft.log.offset:
        m.snapshots.compact_to = may_forget(m)


cdef void snapshots_tick(Member* m, int64_t monotonic_ns) noexcept nogil:
    """Whoever is kept for may be gone by now, and no snapshot may come for long that would have it noticed."""
    if m.snapshots.held_back and monotonic_ns >= m.snapshots.look_ns:
        m.snapshots.look_ns = monotonic_ns + LOOK_NS
        snapshots_forget(m)


cdef bint compact_some(Member* m) noexcept nogil:
    """Drop entries up to `compact_to`, a bounded number at once. True when there are more."""
    cdef uint64_t offset = m.raft.log.offset, target = m.snapshots.compact_to
    if target <= offset:
        m.snapshots.compact_to = 0
        return False
    if raft_compact(m.raft, min(target, offset + max(<uint64_t>DROPPED_AT_ONCE, m.raft.log.entries.size // 32))) != OK:
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
        and m.transfer.installing == 0 and m.raft.log.pending_snapshot == NULL
        and applied >= m.snapshots.latest.index and (
            m.snapshots.renew or applied - m.snapshots.latest.index >= m.snapshots.every
            or m.snapshots.latest.index < m.snapshots.requested
            or (m.snapshots.applied_bytes >= DUE_BYTES and applied > m.snapshots.latest.index))
    )


cdef uint64_t snapshots_request(Member* m) noexcept nogil:
    if m.machine.self == NULL or m.machine.dump_begin == NULL or m.snapshots.every == 0:
        return 0
    m.snapshots.requested = m.raft.log.applied
    m.snapshots.retry_ns = 0
    return m.snapshots.requested


cdef void snapshots_count_failure(Member* m, int64_t monotonic_ns) noexcept nogil:
    m.snapshots.retry_ns = monotonic_ns + RETRY_NS
    m.gauges.snapshots_failed.fetch_add(1, memory_order_relaxed)  # relaxed: statistics


cdef void begin(Member* m, int64_t monotonic_ns) noexcept nogil:
    """The cut: everything applied so far, nothing behind it."""
    cdef SnapshotJob* job = <SnapshotJob*>calloc(1, sizeof(SnapshotJob))
    if job == NULL:
        snapshots_count_failure(m, monotonic_ns)
        return
    job.kind = JOB_WRITE
    job.group = m.group
    job.machine = m.machine
    job.snapshot.index = m.raft.log.applied
    memcpy(&job.snapshot.configuration, &m.raft.configuration, sizeof(Configuration))
    # the older file of two stays, but for one that is damaged
    job.keep_from = m.snapshots.previous.index if m.snapshots.renew else m.snapshots.latest.index
    if log_term(&m.raft.log, job.snapshot.index, &job.snapshot.term):
        job.dump = m.machine.dump_begin(m.machine.self)
    if job.dump == NULL or not snapshotter_push(m.snapshots.snapshotter, job):
        snapshot_job_free(job)
        snapshots_count_failure(m, monotonic_ns)
        return
    m.snapshots.running = True
    m.snapshots.applied_bytes = 0
    m.snapshots.cut_bytes = m.snapshots.total_bytes


cdef bint snapshots_step(Member* m, int64_t monotonic_ns) noexcept nogil:
    if m.raft.failed != OK:
        return False
    if due(m) and monotonic_ns >= m.snapshots.retry_ns:
        begin(m, monotonic_ns)
    return m.snapshots.compact_to != 0 and compact_some(m)


cdef bint snapshots_is_harmless(int code) noexcept nogil:
    return (
        code == STORAGE_FULL or code == STORAGE_MEMORY or code == STORAGE_CORRUPT or code == STORAGE_MISUSE
        or code == STORAGE_NEWER_FORMAT or code == STORAGE_FOREIGN or code == MACHINE_NO_MEMORY or code == SNAPSHOT_STOPPED
    )


cdef int snapshots_done(Member* m, SnapshotJob* job, int64_t monotonic_ns) noexcept nogil:
    if m.raft.failed == OK:
        return written(m, job, monotonic_ns)
    snapshot_job_free(job)
    return OK


cdef int written(Member* m, SnapshotJob* job, int64_t monotonic_ns) noexcept nogil:
    """A snapshot of this member's own is done with. Takes over the job."""
    cdef int code = job.code
    m.snapshots.running = False
    if code != STORAGE_OK:
        snapshot_job_free(job)
        snapshots_count_failure(m, monotonic_ns)
        return OK if snapshots_is_harmless(code) else code
    if job.snapshot.index == m.snapshots.latest.index:
        m.snapshots.renew = False
    if job.snapshot.index > m.snapshots.latest.index:
        if not m.snapshots.renew:
            m.snapshots.previous = m.snapshots.latest
        m.snapshots.latest = job.snapshot
        m.snapshots.latest_bytes = m.snapshots.cut_bytes
        m.snapshots.renew = False
        # the configuration is the one at the cut, whatever was applied since
        raft_note_snapshot(m.raft, job.snapshot.index, &job.snapshot.configuration)
        snapshots_forget(m)
        # relaxed: statistics
        m.gauges.snapshots.fetch_add(1, memory_order_relaxed)
        m.gauges.snapshot_index.store(job.snapshot.index, memory_order_relaxed)
        m.gauges.snapshot_bytes.store(job.bytes, memory_order_relaxed)
        m.gauges.snapshot_ns.store(job.took_ns, memory_order_relaxed)
    snapshot_job_free(job)
    return OK if mark_log(m) else ERR_MEMORY


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


cdef int find_left(Member* m, const Directory* directory, StorageError* error) noexcept nogil:
    """Whether a former process left the beginning of another member's file. A StorageCode."""
    cdef Vec[ReceivedName] names
    cdef int code
    memset(&names, 0, sizeof(names))
    code = snapshot_list_received(directory, m.group, &names, error)
    if names.size:
        m.transfer.left_index = names.data[names.size - 1].name.index
    names.release()
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
    if code == STORAGE_OK:
        code = find_left(m, directory, error)
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
