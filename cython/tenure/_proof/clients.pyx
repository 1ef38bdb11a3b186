"""A client calls, waits for the answer or for its patience to end, thinks, and calls again.

Keys come in epochs: after `epoch_operations` operations, or `epoch_unknown` writes a key that nobody knows the outcome of, all
clients move to fresh keys, so that the checker comes to an end on each key's history however long the run is. Values written
are the number of their operation, hence unique.

A write that nobody answered may be tried again, anywhere, in the same session, until it is answered well or the client has
tried often enough: then nobody knows. A refusal says something of that attempt alone.

What a client asks is a `Call`, decided at once and recorded; in a replay each recorded call has a client of its own.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset

from tenure._proof.operations cimport operation_finish, operation_open
from tenure._proof.world cimport (
    COUNT_RETRIES,
    EV_CALL,
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
    STREAM_OPERATION,
    VIA_LEASE,
    VIA_LOG,
    VIA_READ_INDEX,
    Call,
    Client,
    Event,
    Register,
    Row,
    World,
    absent,
    count,
    random_below,
    random_between,
    stream_of,
    world_schedule,
)


cdef void client_event(World* w, Event* event) noexcept nogil:
    if event.kind == EV_START:
        start(w, event.member)
    elif event.kind == EV_CALL:
        issue(w, event.member, &w.calls.data[event.a])
    elif event.kind == EV_REPLY:
        reply(w, event.member, event)
    elif event.kind == EV_TIMEOUT:
        timeout(w, event.member)


cdef void clients_begin(World* w) noexcept nogil:
    cdef int32_t at
    if w.replaying:
        for at in range(<int32_t>w.calls.size):
            world_schedule(w, w.calls.data[at].at_ns, EV_CALL, at).a = at
        return
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


cdef void choose_operation(World* w, uint64_t* chance, Call* call, bint reader) noexcept nogil:
    cdef int64_t draw
    cdef Register* hint
    if (w.epoch_asked >= w.profile.epoch_operations
            or (w.profile.epoch_unknown > 0 and w.epoch_unknown >= w.profile.epoch_unknown * w.profile.keys)):
        w.epoch += 1
        w.epoch_asked = w.epoch_unknown = 0
    w.epoch_asked += 1
    call.key = w.epoch * w.profile.keys + random_below(chance, w.profile.keys)
    call.via = VIA_LOG
    if reader or random_below(chance, 100) < w.profile.read_percent:
        call.kind = OP_GET
        # A reader that waits for a quorum cannot watch a lease run out.
        call.via = VIA_READ_INDEX
        if reader or random_below(chance, 100) < w.profile.lease_read_percent:
            call.via = VIA_LEASE
        return
    call.value = call.id
    draw = random_below(chance, 10)
    if draw < 6:
        call.kind = OP_SET
    elif draw < 7:
        call.kind = OP_INCR
    elif draw < 9:
        call.kind = OP_CAS
        hint = hint_of(w, call.key)
        call.expected = hint.value if hint != NULL and hint.present else absent()
    else:
        call.kind = OP_DEL


cdef bint choose(World* w, Client* client, bint reader, Call* call) noexcept nogil:
    """What this client asks next, and whom. False when the user's own choice raised an exception."""
    cdef Row row
    cdef uint64_t* chance = &client.chance
    if w.machines.context == NULL:
        choose_operation(w, chance, call, reader)
    else:
        memset(&row, 0, sizeof(row))
        if not w.machines.choose(w.machines.context, call.id, call.client, &row):
            return False
        call.kind = row.kind
        call.value = call.id    # by which the user knows what was asked, in a replay too
        call.via = VIA_LOG
        if row.kind == OP_GET:
            call.via = VIA_LEASE if random_below(chance, 100) < w.profile.lease_read_percent else VIA_READ_INDEX
    call.target = client.target
    # readers rarely stray: they are there to ask a leader until the very end of its lease
    if random_below(chance, 4000) < w.profile.stray_percent * (1 if reader else 40):
        call.target = <int32_t>random_below(chance, w.count)
    if (call.kind != OP_GET and client.wrote_at != 0 and w.count > 1
            and random_below(chance, 100) < w.profile.probe_percent):
        call.target = (client.wrote_at + <int32_t>random_below(chance, w.count - 1)) % w.count     # anybody else
    call.deadline_ns = w.now_ns + patience(w, chance)
    return True


cdef int64_t patience(const World* w, uint64_t* chance) noexcept nogil:
    return random_between(chance, w.profile.client_timeout_ns // 4, w.profile.client_timeout_ns)


cdef void start(World* w, int32_t at) noexcept nogil:
    cdef Client* client = &w.clients.data[at]
    cdef Call call
    client.starting = False
    if <int64_t>w.history.size >= w.operations_wanted:
        return
    memset(&call, 0, sizeof(call))
    call.id = <int64_t>w.history.size + 1
    call.client = client.label
    call.at_ns = w.now_ns
    if not choose(w, client, at < w.profile.readers, &call):
        w.stopped = True
        return
    if w.recording and not w.calls.push(call):
        w.no_memory = True
    issue(w, at, &call)


cdef void issue(World* w, int32_t at, const Call* call) noexcept nogil:
    cdef Client* client = &w.clients.data[at]
    cdef int64_t operation = operation_open(w, at, stream_of(w, STREAM_OPERATION, <uint64_t>call.id))
    cdef Row* row
    if operation == 0:
        return
    row = &w.history.data[operation - 1]
    row.kind = call.kind
    row.key = call.key
    row.value = call.value
    row.expected = call.expected
    row.via = call.via
    send(w, operation, call.target)
    client.deadline_ns = call.deadline_ns
    watch(w, at)


cdef void send(World* w, int64_t operation, int32_t target) noexcept nogil:
    cdef uint64_t* chance = &w.history.data[operation - 1].chance
    world_schedule(
        w, w.now_ns + random_below(chance, w.profile.client_delay_max_ns), EV_REQUEST, target).a = operation


cdef void watch(World* w, int32_t at) noexcept nogil:
    """One alarm a client, as a rule: it is set anew when it rings before the deadline."""
    cdef Client* client = &w.clients.data[at]
    if client.alarm_ns == 0 or client.alarm_ns > client.deadline_ns:
        client.alarm_ns = client.deadline_ns
        world_schedule(w, client.deadline_ns, EV_TIMEOUT, at)


cdef void think(World* w, int32_t at, int64_t least_ns) noexcept nogil:
    cdef Client* client = &w.clients.data[at]
    cdef int64_t most = w.profile.think_max_ns if at < w.profile.readers else w.profile.writer_think_max_ns
    if w.replaying:
        return
    client.starting = True
    world_schedule(w, w.now_ns + least_ns + random_below(&client.chance, most), EV_START, at)


cdef void reply(World* w, int32_t at, const Event* event) noexcept nogil:
    cdef Client* client = &w.clients.data[at]
    cdef const Row* row
    cdef Register* hint
    if event.status != STATUS_OK and client.operation == event.a and client.attempts > 1:
        return      # an earlier attempt may still take effect: wait, and try again
    if not operation_finish(w, at, event.a, event.status, event.b):
        return
    row = &w.history.data[event.a - 1]
    if event.status == STATUS_OK and row.kind == OP_GET and w.machines.context == NULL:
        hint = hint_of(w, row.key)
        if hint != NULL:
            hint.present = event.b != absent()
            hint.value = event.b
    if event.status != STATUS_OK or (at < w.profile.readers and row.via == VIA_READ_INDEX):
        if event.incarnation != 0:
            client.target = <int32_t>event.incarnation - 1      # told who leads
        elif event.status != STATUS_OK:
            client.target = <int32_t>random_below(&client.chance, w.count)
    elif row.kind != OP_GET:
        client.wrote_at = <int32_t>row.member
    # somebody who is refused does not come back at once
    think(w, at, w.profile.refused_wait_ns if event.status == STATUS_FAIL else 0)


cdef bint try_again(World* w, int32_t at) noexcept nogil:
    cdef Client* client = &w.clients.data[at]
    cdef Row* row = &w.history.data[client.operation - 1]
    if row.kind == OP_GET or client.attempts >= w.profile.max_attempts:
        return False
    if client.attempts == 1 and random_below(&row.chance, 100) >= w.profile.retry_percent:
        return False
    count(w, COUNT_RETRIES)
    client.attempts += 1
    client.target = <int32_t>random_below(&row.chance, w.count)
    send(w, client.operation, client.target)
    client.deadline_ns = w.now_ns + patience(w, &row.chance)
    watch(w, at)
    return True


cdef void timeout(World* w, int32_t at) noexcept nogil:
    cdef Client* client = &w.clients.data[at]
    cdef int64_t operation = client.operation
    if client.alarm_ns <= w.now_ns:
        client.alarm_ns = 0
    if operation == 0:
        return
    if w.now_ns < client.deadline_ns:
        watch(w, at)
        return
    if try_again(w, at):
        return
    client.target = <int32_t>random_below(&client.chance, w.count)
    if operation_finish(w, at, operation, STATUS_FAIL if w.history.data[operation - 1].kind == OP_GET else STATUS_UNKNOWN, 0):
        think(w, at, 0)
