"""An operation is opened when its client calls, and finished once: by an answer, or by the client's own patience. An
unknown outcome stays unknown: it is never folded into a failure, which is a claim that nothing happened or ever will."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memset

from tenure._proof.world cimport (
    COUNT_FAILED,
    COUNT_OK,
    COUNT_OPERATIONS,
    COUNT_UNKNOWN,
    EV_REPLY,
    OP_GET,
    STATUS_FAIL,
    STATUS_OK,
    STATUS_UNKNOWN,
    TRACE_FINISH,
    Event,
    Member,
    Row,
    World,
    count,
    random_below,
    random_hit,
    world_schedule,
    world_trace,
)


cdef int64_t operation_open(World* w, int32_t client, uint64_t chance) noexcept nogil:
    cdef Row row
    memset(&row, 0, sizeof(row))
    row.client = client
    row.call_ns = w.now_ns
    row.status = STATUS_UNKNOWN
    row.chance = chance
    if not w.history.push(row):
        w.no_memory = True
        return 0
    w.clients.data[client].operation = <int64_t>w.history.size
    w.clients.data[client].attempts = 1
    w.operations_open += 1
    count(w, COUNT_OPERATIONS)
    return <int64_t>w.history.size


cdef void operation_answer(World* w, const Member* m, int64_t operation, uint8_t status, int64_t out) noexcept nogil:
    cdef Event* event
    cdef uint64_t* chance
    if operation <= 0 or <size_t>operation > w.history.size:
        return
    chance = &w.history.data[operation - 1].chance
    w.history.data[operation - 1].member = <int64_t>m.id
    if random_hit(chance, w.profile.reply_drop_ppm):
        return
    event = world_schedule(
        w, w.now_ns + random_below(chance, w.profile.client_delay_max_ns), EV_REPLY,
        <int32_t>w.history.data[operation - 1].client)
    event.a = operation
    event.b = out
    event.status = status
    event.incarnation = 0 if m.raft == NULL else m.raft.lead


cdef bint operation_finish(World* w, int32_t client, int64_t operation, uint8_t status, int64_t out) noexcept nogil:
    cdef Row* row
    if w.clients.data[client].operation != operation:
        return False
    w.clients.data[client].operation = 0
    w.operations_open -= 1
    row = &w.history.data[operation - 1]
    row.status = status
    row.out = out
    row.ret_ns = w.now_ns
    world_trace(w, TRACE_FINISH, NULL, operation, status)
    if status == STATUS_OK:
        count(w, COUNT_OK)
        w.finished_ns = w.now_ns
        if row.kind != OP_GET:
            w.written_ns = w.now_ns
    elif status == STATUS_FAIL:
        count(w, COUNT_FAILED)
    else:
        count(w, COUNT_UNKNOWN)
        w.epoch_unknown += row.kind != OP_GET
    return True
