"""Progress of one member as its leader sees it (etcd/raft's tracker; Ongaro's dissertation, section 10.2.1).

A member is probed (one append at a time) until an append is accepted, then replicated to in a stream bounded by a window of
appends in flight, by count and by bytes; it waits silently while a snapshot is on its way.

    match < next      PROBE: at most one append in flight      REPLICATE: window_count <= max_inflight_messages
"""

from libc.stdint cimport int32_t, uint64_t
from libc.string cimport memset

from tenure._core.vec cimport Vec
from tenure._raft.changer cimport Changed, ids_contain, is_tracked
from tenure._raft.types cimport Configuration
from tenure._raft.state cimport PROBE, REPLICATE, SNAPSHOT, Inflight, Progress, Raft


cdef Progress* progress_of(Raft* r, uint64_t id) noexcept nogil:
    cdef size_t i
    for i in range(r.progress.size):
        if r.progress.data[i].id == id:
            return &r.progress.data[i]
    return NULL


cdef bint progress_add(Vec[Progress]* all, uint64_t id, bint is_learner, uint64_t next) noexcept nogil:
    cdef Progress p
    cdef size_t at = 0
    memset(&p, 0, sizeof(p))
    p.id = id
    p.is_learner = is_learner
    p.next = next
    while at < all.size and all.data[at].id < id:
        at += 1
    if at < all.size and all.data[at].id == id:
        return True
    return all.insert(at, p)


cdef bint was_dropped(const Changed* to, uint64_t id) noexcept nogil:
    cdef int32_t i
    for i in range(to.dropped_count):
        if to.dropped[i] == id:
            return True
    return False


cdef bint add_missing(
        Vec[Progress]* all, const uint64_t* ids, int32_t count, bint are_learners, uint64_t next) noexcept nogil:
    cdef size_t before, at
    cdef int32_t i
    for i in range(count):
        before = all.size
        if not progress_add(all, ids[i], are_learners, next):
            return False
        for at in range(all.size if all.size > before else 0):
            if all.data[at].id == ids[i]:
                all.data[at].recent_active = True   # else a check of the quorum could depose its leader before it has spoken
    return True


cdef bint progress_follow(Vec[Progress]* all, const Changed* to, uint64_t next, uint64_t self_id) noexcept nogil:
    cdef const Configuration* c = &to.configuration
    cdef Progress* p
    cdef size_t i = 0
    while i < all.size:
        p = &all.data[i]
        if is_tracked(c, p.id) and (p.id == self_id or not was_dropped(to, p.id)):
            p.is_learner = ids_contain(c.learners, c.learners_count, p.id)
            i += 1
        else:
            p.window.release()
            all.remove(i)
    return (
        add_missing(all, c.voters, c.voters_count, False, next)
        and add_missing(all, c.outgoing, c.outgoing_count, False, next)
        and add_missing(all, c.learners, c.learners_count, True, next)
    )


cdef void progress_reset(Progress* p, uint64_t last_index, bint is_self) noexcept nogil:
    """Forget everything of an earlier term, replies that carried promises included."""
    cdef Vec[Inflight] window = p.window
    cdef uint64_t id = p.id
    cdef bint is_learner = p.is_learner
    memset(p, 0, sizeof(Progress))
    p.id = id
    p.is_learner = is_learner
    p.window = window
    p.next = last_index + 1
    if is_self:
        p.match = last_index


cdef void progress_release(Vec[Progress]* all) noexcept nogil:
    cdef size_t i
    for i in range(all.size):
        all.data[i].window.release()
    all.release()


cdef bint progress_paused(const Progress* p) noexcept nogil:
    return p.state == SNAPSHOT or p.paused


cdef bint window_full(const Progress* p, int32_t max_messages, uint64_t max_bytes) noexcept nogil:
    return p.window_count >= max_messages or (max_bytes != 0 and p.window_bytes >= max_bytes)


cdef bint window_add(Progress* p, uint64_t last, uint64_t size, int32_t max_messages) noexcept nogil:
    cdef Inflight sent
    if p.window.size < <size_t>max_messages:
        if not p.window.reserve(max_messages):
            return False
        p.window.size = max_messages
    sent.last = last
    sent.bytes = size
    p.window.data[(p.window_start + p.window_count) % max_messages] = sent
    p.window_count += 1
    p.window_bytes += size
    return True


cdef void window_free_to(Progress* p, uint64_t index) noexcept nogil:
    while p.window_count > 0 and p.window.data[p.window_start].last <= index:
        p.window_bytes -= p.window.data[p.window_start].bytes
        p.window_start = (p.window_start + 1) % <int32_t>p.window.size
        p.window_count -= 1


cdef void enter(Progress* p, int state) noexcept nogil:
    p.paused = False
    p.pending_snapshot = 0
    p.state = state
    p.window_start = p.window_count = 0
    p.window_bytes = 0


cdef void become_probe(Progress* p) noexcept nogil:
    # Whoever was sent a snapshot is probed right behind it, even if its reply was lost.
    cdef uint64_t next = max(p.match + 1, p.pending_snapshot + 1) if p.state == SNAPSHOT else p.match + 1
    enter(p, PROBE)
    p.next = next
    p.sent_commit = min(p.sent_commit, p.next - 1)


cdef void become_replicate(Progress* p) noexcept nogil:
    enter(p, REPLICATE)
    p.next = p.match + 1


cdef void become_snapshot(Progress* p, uint64_t index) noexcept nogil:
    enter(p, SNAPSHOT)
    p.pending_snapshot = index
    p.next = index + 1
    p.sent_commit = index


cdef bint progress_matched(Progress* p, uint64_t index) noexcept nogil:
    """An append up to `index` was acknowledged. False when that says nothing new."""
    if index <= p.match:
        return False
    p.match = index
    p.next = max(p.next, index + 1)
    p.paused = False
    return True


cdef bint progress_rejected(Progress* p, uint64_t rejected, uint64_t hint) noexcept nogil:
    """The append behind `rejected` was refused; try again behind `hint`. False when the reply is stale."""
    if p.state == REPLICATE:
        if rejected <= p.match:
            return False
        p.next = p.match + 1
        p.sent_commit = min(p.sent_commit, p.next - 1)
        return True
    if p.next - 1 != rejected:
        return False
    p.next = max(min(rejected, hint + 1), p.match + 1)
    p.sent_commit = min(p.sent_commit, p.next - 1)
    p.paused = False
    return True
