"""A log on a disk that syncs at its own pace: usually fast, sometimes slowly, sometimes not for a long while, or never again.

Writes become durable in order, by whole Readys. A crash destroys those that no sync covered, except for a prefix of them
that made it all the same. One sync at a time; it covers what was queued when it began.

    durable[i].index == durable_offset + 1 + i        snapshot.index >= durable_offset
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from tenure._core.blob cimport blob_release
from tenure._proof.monitor cimport violate
from tenure._proof.raft.types cimport entries_release, messages_release
from tenure._proof.world cimport (
    COUNT_LOST_WRITES,
    EV_SYNCED,
    VIOLATION_LOG_ORDER,
    DiskWrite,
    Event,
    Member,
    World,
    random_between,
    world_schedule,
)


cdef uint64_t disk_last_index(const Member* m) noexcept nogil:
    return m.durable_offset + m.durable.size


cdef bint disk_holds(const Member* m, uint64_t index, uint64_t term) noexcept nogil:
    if index <= m.durable_offset:
        return True     # in the snapshot, which holds committed entries only
    return index <= disk_last_index(m) and m.durable.data[index - m.durable_offset - 1].term == term


cdef int64_t disk_delay(World* w, Member* m) noexcept nogil:
    cdef int64_t wait = max(m.disk_stalled_until_ns - w.now_ns, 0)
    if w.now_ns < m.disk_slow_until_ns:
        return wait + random_between(&m.chance, w.profile.slow_sync_min_ns, w.profile.slow_sync_max_ns)
    return wait + random_between(&m.chance, w.profile.sync_min_ns, w.profile.sync_max_ns)


cdef void disk_write(World* w, Member* m, DiskWrite* write) noexcept nogil:
    write.queued_ns = w.now_ns
    if not m.writes.push(write[0]):
        w.no_memory = True
        entries_release(&write.entries)
        messages_release(&write.after_append)


cdef void disk_schedule(World* w, Member* m) noexcept nogil:
    cdef Event* event
    if m.syncing or m.writes.size == 0:
        return
    m.syncing = True
    event = world_schedule(w, w.now_ns + disk_delay(w, m), EV_SYNCED, m.at)
    event.incarnation = m.incarnation
    event.a = <int64_t>m.writes.data[m.writes.size - 1].number


cdef void drop_all(Member* m) noexcept nogil:
    cdef size_t i
    for i in range(m.durable.size):
        blob_release(m.durable.data[i].data)
    m.durable.clear()


cdef void make_durable(World* w, Member* m, DiskWrite* write) noexcept nogil:
    cdef size_t i, kept
    if write.hard_changed:
        m.hard = write.hard
    if write.snapshot != NULL:
        drop_all(m)
        m.snapshot = write.snapshot
        m.durable_offset = write.snapshot.index
    if write.entries.size == 0:
        return
    if write.entries.data[0].index <= m.durable_offset or write.entries.data[0].index > disk_last_index(m) + 1:
        violate(w, VIOLATION_LOG_ORDER, m, 0, write.entries.data[0].index, disk_last_index(m))
        return
    kept = <size_t>(write.entries.data[0].index - m.durable_offset - 1)
    while m.durable.size > kept:
        m.durable.size -= 1
        blob_release(m.durable.data[m.durable.size].data)
    for i in range(write.entries.size):
        if m.durable.push(write.entries.data[i]):
            write.entries.data[i].data = NULL   # moved
        else:
            w.no_memory = True
    entries_release(&write.entries)


cdef size_t disk_synced(World* w, Member* m, uint64_t number) noexcept nogil:
    cdef size_t done = 0
    m.syncing = False
    while done < m.writes.size and m.writes.data[done].number <= number:
        make_durable(w, m, &m.writes.data[done])
        done += 1
    return done


cdef size_t disk_crash(World* w, Member* m, uint64_t luck) noexcept nogil:
    cdef size_t i, survive = 0
    if luck & 1:
        survive = <size_t>((luck >> 1) % (m.writes.size + 1))
    w.counters[<int>COUNT_LOST_WRITES] += <int64_t>(m.writes.size - survive)
    for i in range(survive):
        make_durable(w, m, &m.writes.data[i])
    return survive


cdef void disk_wipe(Member* m) noexcept nogil:
    drop_all(m)
    memset(&m.hard, 0, sizeof(m.hard))
    m.durable_offset = 0
    m.snapshot = NULL


cdef void disk_drop_log(Member* m, uint64_t index) noexcept nogil:
    cdef size_t i, gone
    if index <= m.durable_offset:
        return
    gone = min(<size_t>(index - m.durable_offset), m.durable.size)
    for i in range(gone):
        blob_release(m.durable.data[i].data)
    m.durable.remove(0, gone)
    m.durable_offset += gone


cdef void disk_forget_writes(Member* m) noexcept nogil:
    cdef size_t i
    for i in range(m.writes.size):
        entries_release(&m.writes.data[i].entries)
        messages_release(&m.writes.data[i].after_append)
    m.writes.clear()
    m.syncing = False
