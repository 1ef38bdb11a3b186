"""Snapshots as a host handles them: dumped between two entries, durable a while later, then told to the core, which may send
them to members whose entries are gone. The host of such a member keeps the core's message back until the file is here, durable
and loaded; then the core hears of it as if it had just come. A sender that sees no progress begins anew.

What a snapshot holds follows from its index alone, so the world keeps one copy for all. Two members whose snapshots of one
index differ have diverged: that is a violation. Files that nobody refers to are forgotten, but for the latest: a message that
names a forgotten one is as good as lost.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from tenure._core.blob cimport Blob, blob_release
from tenure._proof.answers cimport answer_lost_proposals
from tenure._proof.disk cimport disk_delay, disk_drop_log
from tenure._proof.machine cimport machine_can_dump, machine_dump, machine_load
from tenure._proof.monitor cimport monitor_install, violate
from tenure._proof.raft.log cimport log_term
from tenure._proof.raft.progress cimport progress_of
from tenure._proof.raft.raft cimport raft_compact, raft_note_snapshot, raft_report_snapshot
from tenure._proof.raft.state cimport SNAPSHOT, Progress
from tenure._proof.raft.types cimport OK, Configuration, Message, Snapshot, entries_release
from tenure._proof.world cimport (
    COUNT_SNAPSHOTS,
    COUNT_SNAPSHOTS_INSTALLED,
    EV_SNAPSHOT_CAME,
    EV_SNAPSHOT_GIVEN_UP,
    EV_SNAPSHOT_WRITTEN,
    INPUT_COMPACT,
    INPUT_NOTE,
    INPUT_REPORT,
    VIOLATION_LOG_ORDER,
    VIOLATION_STATE_MACHINE,
    Event,
    Member,
    StoredSnapshot,
    World,
    count,
    random_between,
    world_input,
    world_schedule,
)

cdef enum:
    KEPT = 32           # snapshots that nobody refers to


cdef StoredSnapshot* find(World* w, uint64_t index) noexcept nogil:
    cdef size_t i
    for i in range(w.snapshots.size):
        if w.snapshots.data[w.snapshots.size - 1 - i].index == index:
            return w.snapshots.data[w.snapshots.size - 1 - i]
    return NULL


cdef bint referred_to(const World* w, const StoredSnapshot* snapshot) noexcept nogil:
    cdef int at
    cdef size_t i
    for at in range(w.count):
        if snapshot in (w.members[at].snapshot, w.members[at].incoming, w.members[at].dumping):
            return True
        for i in range(w.members[at].writes.size):
            if w.members[at].writes.data[i].snapshot == snapshot:
                return True
    return False


cdef void forget_old(World* w) noexcept nogil:
    cdef size_t i, kept = 0
    if w.snapshots.size < 2 * KEPT:
        return
    for i in range(w.snapshots.size):
        if i + KEPT >= w.snapshots.size or referred_to(w, w.snapshots.data[i]):
            w.snapshots.data[kept] = w.snapshots.data[i]
            kept += 1
        else:
            blob_release(w.snapshots.data[i].data)
            free(w.snapshots.data[i])
    w.snapshots.size = kept


cdef StoredSnapshot* keep(World* w, Member* m, Blob* data, uint64_t term) noexcept nogil:
    """The world's copy of what this member dumped; takes the reference."""
    cdef StoredSnapshot* stored = find(w, m.applied)
    if stored != NULL:
        if stored.term != term or (w.machines.context == NULL and (
                stored.data.size != data.size or memcmp(stored.data.bytes(), data.bytes(), data.size) != 0)):
            violate(w, VIOLATION_STATE_MACHINE, m, 0, m.applied, term)
        blob_release(data)
        return stored
    forget_old(w)
    stored = <StoredSnapshot*>calloc(1, sizeof(StoredSnapshot))
    if stored == NULL or not w.snapshots.push(stored):
        free(stored)
        blob_release(data)
        w.no_memory = True
        return NULL
    stored.index = m.applied
    stored.term = term
    stored.data = data
    memcpy(&stored.configuration, &m.raft.configuration, sizeof(Configuration))
    return stored


cdef void snapshots_after_apply(World* w, Member* m) noexcept nogil:
    cdef uint64_t last = 0 if m.snapshot == NULL else m.snapshot.index, term
    cdef Event* event
    cdef Blob* data
    if w.profile.snapshot_every == 0 or m.dumping != NULL or m.applied < last + <uint64_t>w.profile.snapshot_every:
        return
    if not machine_can_dump(w) or not log_term(&m.raft.log, m.applied, &term):
        return
    data = machine_dump(w, m)
    if data == NULL:
        w.no_memory = True
        return
    m.dumping = keep(w, m, data, term)
    if m.dumping == NULL:
        return
    event = world_schedule(w, w.now_ns + 4 * disk_delay(w, m), EV_SNAPSHOT_WRITTEN, m.at)
    event.incarnation = m.incarnation
    event.a = <int64_t>m.applied


cdef void snapshots_written(World* w, Member* m, uint64_t index) noexcept nogil:
    cdef StoredSnapshot* stored = m.dumping
    cdef uint64_t behind
    m.dumping = NULL
    if stored == NULL or (m.snapshot != NULL and m.snapshot.index >= index):
        return      # an installed one overtook it
    if raft_note_snapshot(m.raft, index, &stored.configuration) != OK:
        return
    world_input(w, INPUT_NOTE, m, <int64_t>index, 0)
    count(w, COUNT_SNAPSHOTS)
    m.snapshot = stored
    if index <= <uint64_t>w.profile.snapshot_trailing:
        return
    behind = index - <uint64_t>w.profile.snapshot_trailing
    if raft_compact(m.raft, behind) == OK:
        world_input(w, INPUT_COMPACT, m, <int64_t>behind, 0)
    disk_drop_log(m, behind)


cdef void snapshots_sent(World* w, Member* m, const Message* message) noexcept nogil:
    cdef Event* event = world_schedule(w, w.now_ns + w.profile.snapshot_patience_ns, EV_SNAPSHOT_GIVEN_UP, m.at)
    event.incarnation = m.incarnation
    event.a = <int64_t>message.to
    event.b = <int64_t>message.snapshot.index


cdef bint snapshots_keep_back(World* w, Member* m, Event* event) noexcept nogil:
    cdef int64_t wait
    cdef Event* later
    cdef Message* message = event.message
    if message.snapshot == NULL or find(w, message.snapshot.index) == NULL:
        return False
    wait = random_between(&m.chance, w.profile.snapshot_transfer_min_ns, w.profile.snapshot_transfer_max_ns)
    event.message = NULL
    later = world_schedule(w, w.now_ns + wait, EV_SNAPSHOT_CAME, m.at)
    later.incarnation = m.incarnation
    later.message = message
    later.a = event.a
    return True


cdef void snapshots_came(World* w, Member* m, const Message* message) noexcept nogil:
    m.incoming = find(w, message.snapshot.index)


cdef StoredSnapshot* snapshots_adopt(World* w, Member* m, const Snapshot* snapshot) noexcept nogil:
    """The state machine becomes what the snapshot holds; what was committed and is not applied yet is part of it."""
    cdef StoredSnapshot* stored = find(w, snapshot.index)
    if stored == NULL or stored.term != snapshot.term:
        violate(w, VIOLATION_LOG_ORDER, m, 0, snapshot.index, snapshot.term)
        return NULL
    if not machine_load(w, m, stored.data):
        w.no_memory = True
        return NULL
    count(w, COUNT_SNAPSHOTS_INSTALLED)
    entries_release(&m.apply_queue)
    m.applied = snapshot.index
    monitor_install(w, m, snapshot)
    answer_lost_proposals(w, m, snapshot.index)
    m.incoming = NULL
    return stored


cdef void snapshots_given_up(World* w, Member* m, uint64_t peer, uint64_t index, int64_t now_ns) noexcept nogil:
    cdef Progress* p = progress_of(m.raft, peer)
    if p == NULL or p.state != SNAPSHOT or p.pending_snapshot != index:
        return
    world_input(w, INPUT_REPORT, m, <int64_t>peer, 0)
    raft_report_snapshot(m.raft, peer, False, now_ns)
