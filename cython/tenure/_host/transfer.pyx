"""How a member that is far behind gets a snapshot.

The core sends a member whose entries are gone a message that names the latest snapshot. The host of that member keeps the
message back and asks the sender for the file, piece by piece, one at a time. Once the file has come, was found whole, was
loaded beside the machine and is durable, the message goes to the core, as if it had just come; what the core decides then
counts. The machine adopts the loaded state on the loop, and the core acknowledges after the log has marked the snapshot too.

**Going on.** What was received stays through lost connections, other leaders' messages and restarts of the receiver, and says
which bytes it is the beginning of: index, term, size and checksum of the whole file. Its owner asks for the rest of just
that file, even if the leader names a later snapshot by now: any snapshot is a state that was committed. A leader that has
other bytes of that name answers from their beginning; one that has none, or whose log does not go on there, says so, and the
file is given up for the one that was named.

**Losses and slow links.** What is lost is asked for again, after twice what the last piece took, and ever more seldom: on a
slow link a piece that was asked for twice is sent twice. The leader has one piece at a time for a member, and none while
as much still waits in its output.

**What the leader keeps.** The entries behind the file that a member pulls, or is at after that, until it has caught up; not
if it is not heard of for KEEP_NS, and never more than `hold_bytes`: then the member is offered the latest snapshot. A member
that waits for a snapshot and is not heard of for SILENT_NS is offered the latest one again.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset
from libcpp.atomic cimport memory_order_relaxed

from tenure._core.state_machine cimport MACHINE_OK
from tenure._core.vec cimport Vec
from tenure._host.member cimport Download, Member, SnapshotPeer, Transfer
from tenure._host.snapshots cimport snapshots_count_failure, snapshots_forget, snapshots_is_harmless
from tenure._host.snapshotter cimport (
    JOB_DISCARD, JOB_FORGET, JOB_RESUME, JOB_SERVE, JOB_STORE, SNAPSHOT_STOPPED, SnapshotJob, snapshot_job_free,
    snapshotter_push,
)
from tenure._net.transport cimport PeerStatistics, transport_send_data, transport_statistics
from tenure._raft.log cimport log_matches
from tenure._raft.progress cimport progress_of
from tenure._raft.raft cimport raft_report_snapshot, raft_step
from tenure._raft.state cimport SNAPSHOT, Progress
from tenure._raft.types cimport LEADER, OK, Message, Snapshot
from tenure._storage.error cimport STORAGE_CORRUPT, STORAGE_OK
from tenure._storage.snapshot cimport SnapshotBytes

cdef enum:
    PIECE_BYTES = 256 << 10
    ASK_AGAIN_NS = 500000000
    MOST_PATIENCE_NS = 10000000000
    SILENT_NS = 3000000000
    KEEP_NS = 60000000000

cdef struct Heads:
    SnapshotData head
    SnapshotBytes bytes_of


# -------------------------------------------------------------------------------------------- to a member that is behind

cdef SnapshotPeer* peer_of(Member* m, uint64_t id) noexcept nogil:
    cdef size_t i
    for i in range(m.transfer.peers.size):
        if m.transfer.peers.data[i].id == id:
            return &m.transfer.peers.data[i]
    return NULL


cdef SnapshotPeer* note_peer(Member* m, const Progress* p, int64_t monotonic_ns) noexcept nogil:
    """Null without memory: it is noted in the next tick."""
    cdef SnapshotPeer added
    memset(&added, 0, sizeof(added))
    added.id = p.id
    added.index = p.pending_snapshot
    added.bytes = m.snapshots.latest_bytes
    added.heard_ns = added.offered_ns = monotonic_ns
    added.waiting = True
    return &m.transfer.peers.data[m.transfer.peers.size - 1] if m.transfer.peers.push(added) else NULL


cdef bint watch_peer(Member* m, SnapshotPeer* peer, Progress* p, int64_t now_ns, int64_t monotonic_ns) noexcept nogil:
    """False: nothing is kept for it any more."""
    cdef bint too_much = m.snapshots.total_bytes - peer.bytes > m.transfer.hold_bytes
    if p.state != SNAPSHOT:
        peer.waiting = False
        if p.match > peer.index:
            peer.index = p.match
            peer.heard_ns = monotonic_ns
        return p.match < m.snapshots.latest.index and not too_much and monotonic_ns - peer.heard_ns <= KEEP_NS
    if too_much and m.snapshots.latest.index > peer.index:
        peer.index = peer.floor = m.snapshots.latest.index
        peer.bytes = m.snapshots.latest_bytes
        peer.waiting = False
        raft_report_snapshot(m.raft, p.id, False, now_ns)
        snapshots_forget(m)
    elif not peer.waiting:
        peer.waiting = True
        peer.offered_ns = monotonic_ns
        if monotonic_ns - peer.heard_ns > KEEP_NS:
            peer.index = p.pending_snapshot     # whatever it had, it asks for something else now
            peer.bytes = m.snapshots.latest_bytes
    elif monotonic_ns - max(peer.heard_ns, peer.offered_ns) > SILENT_NS:
        peer.waiting = False
        raft_report_snapshot(m.raft, p.id, False, now_ns)
    return True


cdef void watch_peers(Member* m, int64_t now_ns, int64_t monotonic_ns) noexcept nogil:
    cdef Progress* p
    cdef size_t i = m.transfer.peers.size
    cdef bint fewer = False
    if m.raft.role != LEADER:
        m.transfer.peers.clear()
        return
    while i > 0:
        i -= 1
        p = progress_of(m.raft, m.transfer.peers.data[i].id)
        if p == NULL or not watch_peer(m, &m.transfer.peers.data[i], p, now_ns, monotonic_ns):
            m.transfer.peers.remove(i)
            fewer = True
    for i in range(m.raft.progress.size):
        p = &m.raft.progress.data[i]
        if p.state == SNAPSHOT and peer_of(m, p.id) == NULL:
            note_peer(m, p, monotonic_ns)
    if fewer:
        snapshots_forget(m)


cdef void send_data(
        Member* m, uint64_t to, const SnapshotData* head, const SnapshotBytes* bytes_of, const Vec[char]* piece) noexcept nogil:
    """What is dropped is asked for again."""
    cdef Heads heads
    cdef uint32_t size = sizeof(SnapshotData)
    heads.head = head[0]
    if bytes_of != NULL:
        heads.bytes_of = bytes_of[0]
        size = sizeof(heads)
    if piece != NULL:
        transport_send_data(m.transport, to, DATA_SNAPSHOT, <const char*>&heads, size, piece.data, <uint32_t>piece.size)
    else:
        transport_send_data(m.transport, to, DATA_SNAPSHOT, <const char*>&heads, size, NULL, 0)


cdef void say_gone(Member* m, uint64_t to, uint64_t index, uint64_t term) noexcept nogil:
    cdef SnapshotData head
    memset(&head, 0, sizeof(head))
    head.what = DATA_GONE
    head.group = m.group
    head.index = index
    head.term = term
    send_data(m, to, &head, NULL, NULL)


cdef void send_piece(Member* m, const SnapshotJob* job) noexcept nogil:
    cdef SnapshotPeer* peer = peer_of(m, job.peer)
    cdef SnapshotData head
    if peer != NULL:
        peer.serving = False
    if job.code == STORAGE_CORRUPT and job.snapshot.index == m.snapshots.latest.index:
        m.snapshots.renew = True
        m.gauges.snapshots_damaged.fetch_add(1, memory_order_relaxed)  # relaxed: statistics
    if job.code != STORAGE_OK or job.piece.size == 0:
        say_gone(m, job.peer, job.snapshot.index, job.snapshot.term)
        return
    head.what = DATA_PIECE_OF if job.in_full else DATA_PIECE
    head.group = m.group
    head.index = job.snapshot.index
    head.term = job.snapshot.term
    head.offset = job.offset
    head.size = job.bytes_of.size
    send_data(m, job.peer, &head, &job.bytes_of if job.in_full else NULL, &job.piece)


cdef bint may_serve(Member* m, const SnapshotPeer* peer) noexcept nogil:
    """One piece at a time, and none behind another that has not left yet."""
    cdef PeerStatistics statistics
    return (
        not peer.serving and transport_statistics(m.transport, peer.id, &statistics)
        and statistics.queued_bytes < PIECE_BYTES
    )


cdef void serve_piece(
        Member* m, uint64_t to, const SnapshotData* head, const SnapshotBytes* bytes_of, int64_t monotonic_ns) noexcept nogil:
    """`bytes_of`: what the peer has the beginning of; null from a member of an older build."""
    cdef Progress* p = progress_of(m.raft, to)
    cdef SnapshotPeer* peer = peer_of(m, to)
    cdef SnapshotJob* job
    if m.raft.role != LEADER or p == NULL:
        return
    if peer == NULL and p.state == SNAPSHOT:
        peer = note_peer(m, p, monotonic_ns)
    if peer == NULL:
        return
    peer.heard_ns = monotonic_ns
    if head.index > m.snapshots.latest.index or head.index < max(peer.floor, m.raft.log.offset):
        say_gone(m, to, head.index, head.term)
        return
    if p.state == SNAPSHOT and head.index != peer.index:
        peer.index = head.index
        if head.index == m.snapshots.latest.index:
            peer.bytes = m.snapshots.latest_bytes
    if head.size == 0 or not may_serve(m, peer):
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
    if bytes_of != NULL:
        job.bytes_of = bytes_of[0]
        job.in_full = True
    # a frame holds two messages of the largest size
    job.wanted = min(min(head.size, <uint64_t>PIECE_BYTES), max(m.raft.config.max_message_bytes, <uint64_t>4096))
    if snapshotter_push(m.snapshots.snapshotter, job):
        peer.serving = True
    else:
        snapshot_job_free(job)


# ------------------------------------------------------------------------------------------------- as the member behind

cdef void free_held(Transfer* t) noexcept nogil:
    free(t.held.snapshot)
    t.held.snapshot = NULL
    t.receiving = False


cdef void forget(Member* m) noexcept nogil:
    """Give up what was received."""
    cdef SnapshotJob* job = <SnapshotJob*>calloc(1, sizeof(SnapshotJob))
    memset(&m.transfer.download, 0, sizeof(Download))
    if job == NULL:
        return                  # it is removed when the next one begins
    job.kind = JOB_FORGET
    job.group = m.group
    if not snapshotter_push(m.snapshots.snapshotter, job):
        snapshot_job_free(job)


cdef void choose_download(Member* m) noexcept nogil:
    """Go on with what was begun; else take what the leader named."""
    cdef Transfer* t = &m.transfer
    if t.download.received != 0 and t.download.index > m.raft.log.committed:
        return
    if t.download.received != 0:
        forget(m)
    memset(&t.download, 0, sizeof(Download))
    t.download.index = t.held.snapshot.index
    t.download.term = t.held.snapshot.term


cdef void look_for_rest(Member* m) noexcept nogil:
    """Ask the snapshot thread for what a former process received."""
    cdef SnapshotJob* job = <SnapshotJob*>calloc(1, sizeof(SnapshotJob))
    if job == NULL:
        return
    job.kind = JOB_RESUME
    job.group = m.group
    job.snapshot.index = m.raft.log.committed
    if snapshotter_push(m.snapshots.snapshotter, job):
        m.transfer.storing = m.transfer.resuming = True
    else:
        snapshot_job_free(job)


cdef void ask(Member* m, bint for_a_piece, int64_t monotonic_ns) noexcept nogil:
    """For the next piece, or only to be heard of."""
    cdef Transfer* t = &m.transfer
    cdef SnapshotData head
    head.what = DATA_ASK
    head.group = m.group
    head.index = t.held.snapshot.index if t.resuming else t.download.index
    head.term = t.held.snapshot.term if t.resuming else t.download.term
    head.offset = t.download.received
    head.size = PIECE_BYTES if for_a_piece else 0
    send_data(m, t.held.from_, &head, &t.download.bytes_of, NULL)
    t.told_ns = monotonic_ns
    if for_a_piece:
        t.asked_ns = monotonic_ns


cdef bint transfer_hold(Member* m, const Message* message, int64_t monotonic_ns) noexcept nogil:
    cdef Transfer* t = &m.transfer
    cdef Snapshot* copy
    if (
            message.to != m.id or message.snapshot == NULL or message.term < m.raft.term or m.raft.failed != OK
            or message.snapshot.index <= m.raft.log.committed
            or log_matches(&m.raft.log, message.snapshot.index, message.snapshot.term)):
        return False            # the core sees for itself that there is nothing to install
    if m.machine.self == NULL or m.machine.load_begin == NULL or t.installing != 0 or (
            t.receiving and message.term < t.held.term):
        return True             # dropped: what could be installed now?
    copy = <Snapshot*>malloc(sizeof(Snapshot))
    if copy == NULL:
        return True
    memcpy(copy, message.snapshot, sizeof(Snapshot))
    free_held(t)
    t.held = message[0]
    memset(&t.held.entries, 0, sizeof(t.held.entries))
    t.held.snapshot = copy
    t.receiving = True
    t.patience_ns = ASK_AGAIN_NS
    if not t.storing and t.left_index != 0:
        look_for_rest(m)
        t.left_index = 0
    if not t.storing:
        choose_download(m)
    ask(m, not t.storing, monotonic_ns)
    return True


cdef int resumed(Member* m, SnapshotJob* job, int64_t monotonic_ns) noexcept nogil:
    """The snapshot thread has looked for what a former process received."""
    cdef Transfer* t = &m.transfer
    t.storing = t.resuming = False
    if job.code == STORAGE_OK:
        t.download.index = job.snapshot.index
        t.download.term = job.snapshot.term
        t.download.bytes_of = job.bytes_of
        t.download.received = job.offset
        if job.offset:
            m.gauges.snapshots_resumed.fetch_add(1, memory_order_relaxed)  # relaxed: statistics
    if t.receiving:
        choose_download(m)
        ask(m, True, monotonic_ns)
    snapshot_job_free(job)
    return OK


cdef bint same_bytes(const SnapshotBytes* one, const SnapshotBytes* other) noexcept nogil:
    return one.size == other.size and one.checksum == other.checksum


cdef bint begins_or_continues(Member* m, const SnapshotData* head, const SnapshotBytes* bytes_of) noexcept nogil:
    """Whether a piece is the next one of the file that is received; its first piece says which file that is."""
    cdef Download* d = &m.transfer.download
    if head.offset == 0:
        if d.bytes_of.size == 0 or not same_bytes(&d.bytes_of, bytes_of):
            d.bytes_of = bytes_of[0]
            d.received = 0
    elif bytes_of.checksum == 0 and d.bytes_of.size != bytes_of.size:
        # a sender of an older build, and another file: it does not know that it should begin at the beginning
        memset(&d.bytes_of, 0, sizeof(SnapshotBytes))
        d.received = 0
        return False
    elif bytes_of.checksum != 0 and not same_bytes(&d.bytes_of, bytes_of):
        return False
    return head.offset == d.received


cdef void store_piece(
        Member* m, uint64_t from_, const SnapshotData* head, const SnapshotBytes* bytes_of, const char* piece, size_t size,
        int64_t monotonic_ns) noexcept nogil:
    cdef Transfer* t = &m.transfer
    cdef SnapshotJob* job
    if (
            not t.receiving or t.storing or from_ != t.held.from_ or head.index != t.download.index
            or head.term != t.download.term or head.size != bytes_of.size or head.offset >= head.size or size == 0
            or size > head.size - head.offset or not begins_or_continues(m, head, bytes_of)):
        return                  # late, or twice: the one that is wanted is on its way or will be asked for again
    job = <SnapshotJob*>calloc(1, sizeof(SnapshotJob))
    if job == NULL:
        return
    job.kind = JOB_STORE
    job.group = m.group
    job.machine = m.machine
    job.snapshot.index = head.index
    job.snapshot.term = head.term
    job.offset = head.offset
    job.bytes_of = t.download.bytes_of
    if not job.piece.reserve(size):
        snapshot_job_free(job)
        return
    memcpy(job.piece.data, piece, size)
    job.piece.size = size
    if snapshotter_push(m.snapshots.snapshotter, job):
        t.storing = True
        # what was asked for twice came sooner than the last asking says
        t.patience_ns = max(2 * (monotonic_ns - t.asked_ns), t.patience_ns // 2)
        t.patience_ns = min(max(t.patience_ns, <int64_t>ASK_AGAIN_NS), <int64_t>MOST_PATIENCE_NS)
    else:
        snapshot_job_free(job)


cdef bint is_of_download(const Download* d, const SnapshotJob* job, uint64_t index, uint64_t term) noexcept nogil:
    return d.index == index and d.term == term and same_bytes(&d.bytes_of, &job.bytes_of) and d.received == job.offset


cdef int stored(Member* m, SnapshotJob* job, int64_t now_ns, int64_t monotonic_ns) noexcept nogil:
    """A piece is on disk; after the last one the state is loaded and the file durable. Takes over the job."""
    cdef Transfer* t = &m.transfer
    cdef int code = job.code
    t.storing = False
    if code == SNAPSHOT_STOPPED or not t.receiving or not is_of_download(
            &t.download, job, job.snapshot.index, job.snapshot.term):
        if t.receiving and code != SNAPSHOT_STOPPED:
            choose_download(m)
            ask(m, True, monotonic_ns)
        discard(m, job)
        return OK
    if code != STORAGE_OK:
        snapshots_count_failure(m, monotonic_ns)
        memset(&t.download, 0, sizeof(Download))    # the thread has removed it
        free_held(t)            # the leader begins anew after a while
        snapshot_job_free(job)
        return OK if snapshots_is_harmless(code) else code
    t.download.received += job.bytes
    m.gauges.snapshot_received_bytes.fetch_add(job.bytes, memory_order_relaxed)  # relaxed: statistics
    if job.load == NULL:
        choose_download(m)
        ask(m, True, monotonic_ns)
        snapshot_job_free(job)
        return OK
    memset(&t.download, 0, sizeof(Download))
    t.held.snapshot[0] = job.snapshot       # perhaps older than the one that the leader named
    offer(m, job, now_ns)
    discard(m, job)
    return OK


cdef void offer(Member* m, SnapshotJob* job, int64_t now_ns) noexcept nogil:
    """The core hears of the snapshot. A state that it does not want, or not any more, goes into the job."""
    cdef Transfer* t = &m.transfer
    cdef const Snapshot* pending
    cdef void* former = t.load
    raft_step(m.raft, &t.held, now_ns)
    free_held(t)
    pending = m.raft.log.pending_snapshot
    if pending != NULL and pending.index == job.snapshot.index and pending.term == job.snapshot.term:
        t.load = job.load
        t.loaded = job.snapshot
        job.load = former


cdef void discard(Member* m, SnapshotJob* job) noexcept nogil:
    """Frees the job; a state that nobody adopts is freed beside the loop."""
    job.kind = JOB_DISCARD
    if job.load == NULL or not snapshotter_push(m.snapshots.snapshotter, job):
        snapshot_job_free(job)


cdef void on_gone(Member* m, uint64_t from_, const SnapshotData* head, int64_t monotonic_ns) noexcept nogil:
    cdef Transfer* t = &m.transfer
    if not t.receiving or t.storing or from_ != t.held.from_ or head.index != t.download.index or (
            head.term != t.download.term):
        return
    forget(m)
    if head.index == t.held.snapshot.index and head.term == t.held.snapshot.term:
        free_held(t)            # the leader begins anew after a while
        return
    choose_download(m)
    ask(m, True, monotonic_ns)


cdef bint transfer_adopt(Member* m, const Snapshot* snapshot) noexcept nogil:
    cdef Transfer* t = &m.transfer
    cdef bint adopted
    if t.load == NULL or t.loaded.index != snapshot.index or t.loaded.term != snapshot.term:
        return False
    adopted = m.machine.load_adopt(m.machine.self, t.load) == MACHINE_OK
    m.machine.load_close(t.load)
    t.load = NULL
    t.installing = snapshot.index
    m.snapshots.latest = snapshot[0]
    m.snapshots.latest_bytes = m.snapshots.total_bytes
    memset(&m.snapshots.previous, 0, sizeof(Snapshot))      # the log does not reach it any more
    m.snapshots.marked = snapshot.index
    m.snapshots.compact_to = 0
    m.snapshots.applied_bytes = 0
    m.snapshots.renew = False
    # relaxed: statistics
    m.gauges.snapshots_installed.fetch_add(1, memory_order_relaxed)
    m.gauges.snapshot_index.store(snapshot.index, memory_order_relaxed)
    return adopted


cdef void watch_download(Member* m, int64_t monotonic_ns) noexcept nogil:
    cdef Transfer* t = &m.transfer
    cdef uint64_t committed = m.raft.log.committed
    if t.storing:
        if t.receiving and monotonic_ns - t.told_ns > ASK_AGAIN_NS:
            ask(m, False, monotonic_ns)
        return
    if t.left_index != 0 and committed >= t.left_index:
        t.left_index = 0
        forget(m)
    if not t.receiving:
        return
    if committed >= t.held.snapshot.index:
        forget(m)               # the entries came after all
        free_held(t)
    elif monotonic_ns - t.asked_ns > t.patience_ns:
        t.patience_ns = min(2 * t.patience_ns, <int64_t>MOST_PATIENCE_NS)
        ask(m, True, monotonic_ns)
    elif monotonic_ns - t.told_ns > ASK_AGAIN_NS:
        ask(m, False, monotonic_ns)


# ------------------------------------------------------------------------------------------------------------ both sides

cdef int transfer_done(Member* m, SnapshotJob* job, int64_t now_ns, int64_t monotonic_ns) noexcept nogil:
    if m.raft.failed == OK:
        if job.kind == JOB_STORE:
            return stored(m, job, now_ns, monotonic_ns)
        if job.kind == JOB_RESUME:
            return resumed(m, job, monotonic_ns)
        send_piece(m, job)
    snapshot_job_free(job)
    return OK


cdef void transfer_tick(Member* m, int64_t now_ns, int64_t monotonic_ns) noexcept nogil:
    watch_peers(m, now_ns, monotonic_ns)
    watch_download(m, monotonic_ns)


cdef bint transfer_rest(const Member* m) noexcept nogil:
    cdef size_t i
    if m.transfer.receiving or m.transfer.storing or m.transfer.peers.size or m.transfer.left_index != 0:
        return False
    for i in range(m.raft.progress.size if m.raft.role == LEADER else 0):
        if m.raft.progress.data[i].state == SNAPSHOT:
            return False
    return True


cdef uint32_t transfer_data_group(const char* bytes) noexcept nogil:
    cdef SnapshotData head
    memcpy(&head, bytes, sizeof(head))
    return head.group


cdef void transfer_data(Member* m, uint64_t peer, const char* bytes, uint32_t size, int64_t monotonic_ns) noexcept nogil:
    cdef SnapshotData head
    cdef SnapshotBytes bytes_of
    cdef bint in_full
    memcpy(&head, bytes, sizeof(head))
    if m.raft.failed != OK:
        return
    bytes += sizeof(head)
    size -= sizeof(head)
    in_full = (head.what == DATA_ASK or head.what == DATA_PIECE_OF) and size >= sizeof(bytes_of)
    memset(&bytes_of, 0, sizeof(bytes_of))
    bytes_of.size = head.size
    if in_full:
        memcpy(&bytes_of, bytes, sizeof(bytes_of))
        bytes += sizeof(bytes_of)
        size -= sizeof(bytes_of)
    if head.what == DATA_ASK:
        serve_piece(m, peer, &head, &bytes_of if in_full else NULL, monotonic_ns)
    elif head.what == DATA_PIECE or (head.what == DATA_PIECE_OF and in_full):
        store_piece(m, peer, &head, &bytes_of, bytes, size, monotonic_ns)
    elif head.what == DATA_GONE:
        on_gone(m, peer, &head, monotonic_ns)


cdef void transfer_release(Member* m) noexcept nogil:
    if m.transfer.load != NULL:
        m.machine.load_close(m.transfer.load)
    free_held(&m.transfer)
    m.transfer.peers.release()
