"""The event heap, the trace ring and the life of a world. See `world.pxd`."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from tenure._core.blob cimport blob_release
from tenure._proof.raft.types cimport Message, Snapshot, entries_push, entries_release, message_release

cdef Event spare_event


cdef World* world_new(const ProfileC* profile, uint64_t seed, uint64_t guards_off) noexcept nogil:
    cdef World* w = <World*>calloc(1, sizeof(World))
    cdef int32_t i
    cdef Client client
    if w == NULL:
        return NULL
    w.profile = profile[0]
    w.guards_off = guards_off
    w.seed = seed
    w.faults_chance = stream_of(w, STREAM_FAULTS, 0)
    w.now_ns = 1000000000
    w.count = <int32_t>(profile.members + profile.spares)
    w.monitoring = True
    for i in range(w.count):
        w.members[i].id = <uint64_t>i + 1
        w.members[i].at = i
        w.members[i].chance = stream_of(w, STREAM_MEMBER, <uint64_t>i)
        if i < profile.members:
            w.configuration.voters[i] = <uint64_t>i + 1
            w.configuration.voters_count = i + 1
    memset(&client, 0, sizeof(client))
    for i in range(<int32_t>profile.clients):
        client.target = i % w.count
        client.label = i
        client.chance = stream_of(w, STREAM_CLIENT, <uint64_t>i)
        if not w.clients.push(client):
            w.no_memory = True
    return w


cdef void world_free(World* w) noexcept nogil:
    cdef size_t i
    cdef int32_t at
    cdef Member* m
    if w == NULL:
        return
    for i in range(w.heap.size):
        message_free(w.heap.data[i].message)
    w.heap.release()
    for at in range(w.count):
        m = &w.members[at]
        entries_release(&m.durable)
        m.registers.release()
        m.sessions.release()
        m.proposals.release()
        m.reads.release()
        m.deferred.release()
        m.writes.release()
        entries_release(&m.apply_queue)
    for i in range(w.snapshots.size):
        blob_release(w.snapshots.data[i].data)
        free(w.snapshots.data[i])
    w.snapshots.release()
    w.faults.release()
    w.calls.release()
    w.fates.release()
    w.inputs.release()
    w.clients.release()
    w.history.release()
    w.hints.release()
    w.committed.release()
    w.leaders.release()
    w.violations.release()
    w.trace.release()
    free(w)


cdef inline bint earlier(const Event* one, const Event* other) noexcept nogil:
    return one.at_ns < other.at_ns or (one.at_ns == other.at_ns and one.order < other.order)


cdef Event* world_schedule(World* w, int64_t at_ns, uint8_t kind, int32_t member) noexcept nogil:
    cdef Event event
    cdef size_t i, parent
    memset(&event, 0, sizeof(event))
    w.order += 1
    event.at_ns = at_ns if at_ns > w.now_ns else w.now_ns
    event.order = w.order
    event.kind = kind
    event.member = member
    if not w.heap.push(event):
        w.no_memory = True
        return &spare_event
    i = w.heap.size - 1
    while i > 0:
        parent = (i - 1) // 2
        if not earlier(&event, &w.heap.data[parent]):
            break
        w.heap.data[i] = w.heap.data[parent]
        i = parent
    w.heap.data[i] = event
    return &w.heap.data[i]


cdef bint world_pop(World* w, Event* event) noexcept nogil:
    cdef size_t i, child, size
    cdef Event last
    if w.heap.size == 0:
        return False
    event[0] = w.heap.data[0]
    size = w.heap.size - 1
    w.heap.size = size
    if size == 0:
        return True
    last = w.heap.data[size]
    i = 0
    while True:
        child = 2 * i + 1
        if child >= size:
            break
        if child + 1 < size and earlier(&w.heap.data[child + 1], &w.heap.data[child]):
            child += 1
        if not earlier(&w.heap.data[child], &last):
            break
        w.heap.data[i] = w.heap.data[child]
        i = child
    w.heap.data[i] = last
    return True


cdef void world_input(World* w, uint8_t kind, const Member* m, int64_t a, int64_t b) noexcept nogil:
    cdef Input record
    if not w.recording:
        return
    record.now_ns = clock_now(w, m)
    record.a = a
    record.b = b
    record.member = m.at
    record.kind = kind
    if not w.inputs.push(record):
        w.no_memory = True


cdef Trace* trace_slot(World* w, uint8_t what, const Member* m) noexcept nogil:
    cdef Trace record
    cdef Trace* slot
    memset(&record, 0, sizeof(record))
    record.at_ns = w.now_ns
    record.what = what
    if m != NULL:
        record.member = m.at + 1
        record.local_ns = clock_now(w, m)
        if m.raft != NULL:
            record.term = m.raft.term
            record.commit = m.raft.log.committed
    if w.trace.size < TRACE_CAPACITY:
        if not w.trace.push(record):
            w.no_memory = True
            return NULL
        slot = &w.trace.data[w.trace.size - 1]
    else:
        slot = &w.trace.data[w.traced % TRACE_CAPACITY]
        slot[0] = record
    w.traced += 1
    return slot


cdef void world_trace(World* w, uint8_t what, const Member* m, int64_t a, int64_t b) noexcept nogil:
    cdef Trace* slot
    if not w.tracing:
        return
    slot = trace_slot(w, what, m)
    if slot != NULL:
        slot.a = a
        slot.b = b


cdef void world_trace_message(World* w, uint8_t what, const Member* m, const Message* message) noexcept nogil:
    cdef Trace* slot
    if not w.tracing:
        return
    slot = trace_slot(w, what, m)
    if slot == NULL:
        return
    slot.type = message.type
    slot.reject = message.reject
    slot.from_ = message.from_
    slot.to = message.to
    slot.term = message.term
    slot.index = message.index
    slot.log_term = message.log_term
    slot.commit = message.commit
    slot.stamp_ns = message.stamp_ns
    slot.promise_ns = message.promise_ns if message.promise_ns else message.promised_ns
    slot.entries = message.entries.size
    slot.a = <int64_t>message.release_term
    slot.b = message.remaining_ns


cdef Message* message_take(Message* message) noexcept nogil:
    cdef Message* taken = <Message*>malloc(sizeof(Message))
    if taken == NULL:
        message_release(message)
        return NULL
    memcpy(taken, message, sizeof(Message))
    message.entries.data = NULL
    message.entries.size = 0
    message.entries.capacity = 0
    message.snapshot = NULL
    return taken


cdef Message* message_copy(const Message* message) noexcept nogil:
    cdef Message* copy = <Message*>malloc(sizeof(Message))
    cdef size_t i
    if copy == NULL:
        return NULL
    memcpy(copy, message, sizeof(Message))
    copy.entries.data = NULL
    copy.entries.size = 0
    copy.entries.capacity = 0
    copy.snapshot = NULL
    for i in range(message.entries.size):
        if not entries_push(&copy.entries, &message.entries.data[i]):
            message_free(copy)
            return NULL
    if message.snapshot != NULL:
        copy.snapshot = <Snapshot*>malloc(sizeof(Snapshot))
        if copy.snapshot == NULL:
            message_free(copy)
            return NULL
        memcpy(copy.snapshot, message.snapshot, sizeof(Snapshot))
    return copy


cdef void message_free(Message* message) noexcept nogil:
    if message != NULL:
        message_release(message)
        free(message)
