"""A client calls, waits for the answer or for its patience to end, thinks, and calls again.

Keys come in epochs: after `epoch_operations` operations all clients move to fresh keys, so that each key's history stays
short enough for the checker however long the run is. Values written are the number of their operation, hence unique.
"""

from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from tenure._proof.operations cimport operation_finish, operation_open
from tenure._proof.world cimport (
    EV_REPLY,
    EV_REQUEST,
    EV_START,
    EV_TIMEOUT,
    OP_CAS,
    OP_DEL,
    OP_GET,
    OP_INCR,
    OP_SET,
    STATUS_FAIL,
    STATUS_OK,
    STATUS_UNKNOWN,
    VIA_LEASE,
    VIA_LOG,
    VIA_READ_INDEX,
    Client,
    Event,
    Register,
    Row,
    World,
    absent,
    random_below,
    random_between,
    world_schedule,
)


cdef void client_event(World* w, Event* event) noexcept nogil:
    if event.kind == EV_START:
        start(w, event.member)
    elif event.kind == EV_REPLY:
        reply(w, event.member, event)
    elif event.kind == EV_TIMEOUT:
        timeout(w, event.member)


cdef void clients_begin(World* w) noexcept nogil:
    cdef int32_t at
    for at in range(<int32_t>w.clients.size):
        if w.clients.data[at].operation == 0 and not w.clients.data[at].starting:
            think(w, at, 0)


cdef Register* hint_of(World* w, int64_t key) noexcept nogil:
    cdef Register none
    memset(&none, 0, sizeof(none))
    while w.hints.size <= <size_t>key:
        if not w.hints.push(none):
            w.no_memory = True
            return NULL
    return &w.hints.data[key]


cdef void choose_operation(World* w, Row* row, int64_t operation, bint reader) noexcept nogil:
    cdef int64_t draw
    cdef Register* hint
    row.key = (operation - 1) // w.profile.epoch_operations * w.profile.keys + random_below(w, w.profile.keys)
    row.via = VIA_LOG
    if reader or random_below(w, 100) < w.profile.read_percent:
        row.kind = OP_GET
        # A reader that waits for a quorum cannot watch a lease run out.
        row.via = VIA_LEASE if reader or random_below(w, 100) < w.profile.lease_read_percent else VIA_READ_INDEX
        return
    row.value = operation
    draw = random_below(w, 10)
    if draw < 6:
        row.kind = OP_SET
    elif draw < 7:
        row.kind = OP_INCR
    elif draw < 9:
        row.kind = OP_CAS
        hint = hint_of(w, row.key)
        row.expected = hint.value if hint != NULL and hint.present else absent()
    else:
        row.kind = OP_DEL


cdef void start(World* w, int32_t at) noexcept nogil:
    cdef Client* client = &w.clients.data[at]
    cdef Event* event
    cdef Row* row
    cdef int64_t operation
    cdef int32_t target = client.target
    client.starting = False
    if <int64_t>w.history.size >= w.operations_wanted:
        return
    operation = operation_open(w, at)
    if operation == 0:
        return
    row = &w.history.data[operation - 1]
    choose_operation(w, row, operation, at < w.profile.readers)
    # readers rarely stray: they are there to ask a leader until the very end of its lease
    if random_below(w, 4000) < w.profile.stray_percent * (40 if at >= w.profile.readers else 1):
        target = <int32_t>random_below(w, w.count)
    if row.kind != OP_GET and client.wrote_at != 0 and w.count > 1 and random_below(w, 100) < w.profile.probe_percent:
        target = (client.wrote_at + <int32_t>random_below(w, w.count - 1)) % w.count     # anybody else
    event = world_schedule(w, w.now_ns + random_below(w, w.profile.client_delay_max_ns), EV_REQUEST, target)
    event.a = operation
    client.deadline_ns = w.now_ns + random_between(w, w.profile.client_timeout_ns // 4, w.profile.client_timeout_ns)
    if not client.timeout_armed:
        client.timeout_armed = True
        world_schedule(w, client.deadline_ns, EV_TIMEOUT, at)


cdef void think(World* w, int32_t at, int64_t least_ns) noexcept nogil:
    cdef int64_t most = w.profile.think_max_ns if at < w.profile.readers else w.profile.writer_think_max_ns
    w.clients.data[at].starting = True
    world_schedule(w, w.now_ns + least_ns + random_below(w, most), EV_START, at)


cdef void reply(World* w, int32_t at, const Event* event) noexcept nogil:
    cdef Client* client = &w.clients.data[at]
    cdef const Row* row
    cdef Register* hint
    if not operation_finish(w, at, event.a, event.status, event.b):
        return
    row = &w.history.data[event.a - 1]
    if event.status == STATUS_OK and row.kind == OP_GET:
        hint = hint_of(w, row.key)
        if hint != NULL:
            hint.present = event.b != absent()
            hint.value = event.b
    if event.status != STATUS_OK or (at < w.profile.readers and row.via == VIA_READ_INDEX):
        if event.incarnation != 0:
            client.target = <int32_t>event.incarnation - 1      # told who leads
        elif event.status != STATUS_OK:
            client.target = <int32_t>random_below(w, w.count)
    elif row.kind != OP_GET:
        client.wrote_at = <int32_t>row.member
    # somebody who is refused does not come back at once
    think(w, at, 2000000 if event.status == STATUS_FAIL else 0)


cdef void timeout(World* w, int32_t at) noexcept nogil:
    cdef Client* client = &w.clients.data[at]
    cdef int64_t operation = client.operation
    client.timeout_armed = False
    if operation == 0:
        return
    if w.now_ns < client.deadline_ns:
        client.timeout_armed = True
        world_schedule(w, client.deadline_ns, EV_TIMEOUT, at)
        return
    client.target = <int32_t>random_below(w, w.count)
    if operation_finish(w, at, operation, STATUS_FAIL if w.history.data[operation - 1].kind == OP_GET else STATUS_UNKNOWN, 0):
        think(w, at, 0)
