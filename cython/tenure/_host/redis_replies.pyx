"""Commands under way as their client sees them: a queue in order, each with its reply once it is known.

A read that is confirmed is run when its turn to be answered comes, into the client's output, so that what a slow client
has asked for takes no memory before it takes it. What the op side settles comes back to the thread that the client belongs
to; only there is anything said to the client.
"""

from libc.stdint cimport int32_t, uint32_t
from libc.stdlib cimport calloc, malloc
from libc.string cimport memcpy, memset
from libcpp.atomic cimport memory_order_relaxed

from tenure._core.vec cimport Vec
from tenure._host.member cimport OUTCOME_CLOSED, OUTCOME_FAILED, OUTCOME_LOST, OUTCOME_OK, OUTCOME_UNKNOWN
from tenure._host.redis_commands cimport (
    READ_DONE, READ_FAILED, READ_UNDECIDED, Judgement, error, execute_read, reply_result,
)
from tenure._host.redis_ops cimport (
    OP_LISTED, OP_NO_FRONT, OP_NOT_CONNECTED, OP_REFUSED, OP_TIMED_OUT, chain_add, op_begin, op_release,
)
from tenure._host.redis_types cimport OP_IS_READ
from tenure._kv.read cimport Instant, ReadBasis, store_instant
from tenure._net.resp cimport reply_raw, reply_text
from tenure._raft.types cimport (
    ERR_MEMORY, ERR_NO_LEADER, ERR_NOT_LEADER, ERR_OVERLOADED, ERR_STEPPED_DOWN, ERR_TOO_LARGE, ERR_TRANSFER,
)


# ---- on the way to the op side

cdef Op* op_new(ClientSide* s, Client* client, OpKind kind, const RedisCommand* command) noexcept nogil:
    cdef Op* op = s.free_ops
    if op != NULL:
        s.free_ops = op.next
        memset(op, 0, sizeof(Op))
    else:
        op = <Op*>calloc(1, sizeof(Op))
        if op == NULL:
            return NULL
    op.side = s
    op.client = client
    op.kind = kind
    op.command = command
    if client.last == NULL:
        client.first = op
    else:
        client.last.next = op
    client.last = op
    client.ops += 1
    client.ops_kind = kind
    return op


cdef void op_refuse(Op* op) noexcept nogil:
    op.code = OP_REFUSED
    op.answered = True


cdef void hand_over(Op* op) noexcept nogil:
    cdef ClientSide* s = op.side
    op.answered = False
    if s.thread == NULL:
        op_begin(s.front, op)
    else:
        s.away += 1
        chain_add(&s.outbox, op)


cdef void hold(Op* op, size_t bytes) noexcept nogil:
    op.held_bytes += bytes
    op.client.held_bytes += bytes


cdef void op_write(Op* op, Blob* command, uint32_t reply_bytes) noexcept nogil:
    op.payload = command
    hold(op, <size_t>command.size + reply_bytes)
    hand_over(op)


cdef void op_read(Op* op, bint wants_mark, const Slice* arguments, uint32_t count) noexcept nogil:
    op.wants_mark = wants_mark
    if copy_request(op, arguments, count):
        hand_over(op)
    else:
        op.code = ERR_MEMORY
        op.answered = True


cdef void op_list(Op* op) noexcept nogil:
    hand_over(op)


cdef bint copy_request(Op* op, const Slice* arguments, uint32_t count) noexcept nogil:
    cdef size_t bytes = count * sizeof(Slice)
    cdef Slice* slices
    cdef char* at
    cdef uint32_t i
    for i in range(count):
        bytes += arguments[i].size
    op.request = <char*>malloc(bytes)
    if op.request == NULL:
        return False
    hold(op, bytes)
    slices = <Slice*>op.request
    at = op.request + count * sizeof(Slice)
    for i in range(count):
        if arguments[i].size != 0:
            memcpy(at, arguments[i].data, arguments[i].size)
        slices[i].data = at
        slices[i].size = arguments[i].size
        at += arguments[i].size
    op.arguments = count
    return True


# ---- and back

cdef bint append_reply(Op* op, Vec[char]* out, int32_t protocol) noexcept nogil:
    """Not for a read that has to be run."""
    if op.code == OP_REFUSED:
        return reply_raw(out, op.reply.data, op.reply.size)
    if op.code == OP_LISTED:
        return reply_text(out, op.reply.data, op.reply.size, protocol)
    return reply_result(out, op.value, protocol) if op.code == OUTCOME_OK else reply_code(out, op)


cdef bint run_read(ClientSide* s, Client* client, Op* op, bint* away) noexcept nogil:
    """The state here is confirmed for this read. False without memory. `away`: it met a key in doubt and has no reply yet."""
    cdef Instant instant = store_instant(s.front.store, <ReadBasis>op.basis, s.now_ms)
    cdef Judgement judgement = execute_read(
        op.command, <const Slice*>op.request, op.arguments, s.front.store, s.thread == NULL, &instant, client.protocol,
        &client.output, &s.counts)
    if judgement == READ_DONE:
        return True
    if judgement == READ_FAILED:
        op.code = OUTCOME_FAILED
        return reply_code(&client.output, op)
    if judgement != READ_UNDECIDED:
        return False
    if s.ending:
        op.code = OUTCOME_CLOSED
        return reply_code(&client.output, op)
    op.wants_mark = True
    away[0] = True
    hand_over(op)
    return True


cdef bint reply_code(Vec[char]* out, const Op* op) noexcept nogil:
    cdef int32_t code = op.code
    if code == OUTCOME_UNKNOWN:
        return error(
            out, b"UNKNOWN the outcome of this command is not known: it may have been executed, it may still be, or never")
    if code == OUTCOME_LOST:
        return error(out, b"TRYAGAIN another leader took over: the command was not executed and never will be")
    if code == ERR_NOT_LEADER or code == ERR_STEPPED_DOWN:
        return error(out, b"TRYAGAIN the leader has changed: the command was not executed")
    if code == ERR_NO_LEADER:
        return error(out, b"CLUSTERDOWN no leader is known here now: the command was not executed")
    if code == OP_NOT_CONNECTED:
        return error(out, b"CLUSTERDOWN the leader cannot be reached from here: the command was not executed")
    if code == OP_NO_FRONT:
        return error(out, b"CLUSTERDOWN the leader takes no commands from here: the command was not executed")
    if code == ERR_OVERLOADED:
        return error(out, b"TRYAGAIN too much is under way: the command was not executed")
    if code == ERR_TRANSFER:
        return error(out, b"TRYAGAIN leadership is being handed over: the command was not executed")
    if code == ERR_TOO_LARGE:
        return error(out, b"ERR the command is larger than an entry of the log may be: it was not executed")
    if code == OP_TIMED_OUT:
        return error(out, b"TRYAGAIN nothing confirmed the command in time: it was not executed")
    if code == OUTCOME_CLOSED:
        return error(out, b"CLUSTERDOWN this member is closing: the command was not executed")
    if code == OUTCOME_FAILED:
        return error(out, b"CLUSTERDOWN this member has failed: the command was not executed")
    if code == ERR_MEMORY:
        return error(out, b"OOM no memory for the command: it was not executed")
    return error(out, b"ERR the command was refused: it was not executed")


cdef bint ops_drainable(const ClientSide* s, const Client* client) noexcept nogil:
    return client.first != NULL and client.first.answered and (
        client.output.size - client.output_head < s.front.config.max_output_bytes)


cdef bint ops_drain(ClientSide* s, Client* client) noexcept nogil:
    cdef Op* op
    cdef bint enough = True, away
    while ops_drainable(s, client) and enough:
        away = False
        op = client.first
        if op.code == OUTCOME_UNKNOWN:
            s.gauges.unknown_outcomes.fetch_add(1, memory_order_relaxed)  # relaxed: statistics
        if op.kind == OP_IS_READ and op.code == OUTCOME_OK:
            enough = run_read(s, client, op, &away)
            if away:
                continue                                  # or it is back at once, with an error
        else:
            enough = append_reply(op, &client.output, client.protocol)
        client.first = op.next
        if client.first == NULL:
            client.last = NULL
        client.ops -= 1
        client.held_bytes -= op.held_bytes
        op.client = NULL
        op_release(op, True)
    return enough


cdef void ops_forget(Client* client) noexcept nogil:
    cdef Op* op = client.first
    cdef Op* following
    while op != NULL:
        following = op.next
        op.client = NULL
        op.next = NULL
        if op.answered:
            op_release(op, True)
        op = following
    client.first = client.last = NULL
    client.ops = 0
    client.held_bytes = 0
