"""The op side: what a command that cannot be answered at once waits for. Only the loop thread.

All writes of a pass become one append; all reads of a pass that found no lease become one ReadIndex, asked for after
the last of them was parsed. A follower sends its writes to the leader and answers its clients from the leader's
answers; each request carries this process's incarnation and an id that is never used twice, so that no late answer
meets another request. A write is sent once: nothing here repeats one. What was handed to the log or to the leader and
not answered within the time limit is unknown, and its reply says so; what was not is refused, and its reply says that.

A read that is confirmed goes back to its client side, which runs it when its turn to be answered comes. One that meets a
key of which nobody can say yet whether it has ended (`tenure/_kv/read.pyx`) puts a mark into the log, and judges by the
mark's timestamp. Such reads are few: those of a key's last moment.

Ops come from the loop's own client side by a call, and from threads through the inbox; each goes back the way it came,
once. Callbacks from the member note outcomes; they never call the member.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from libcpp.atomic cimport memory_order_relaxed

from tenure._core.blob cimport Blob, blob_new, blob_release
from tenure._core.clock cimport clock_now_ns
from tenure._host.member cimport (
    OUTCOME_CLOSED, OUTCOME_FAILED, OUTCOME_LOST, OUTCOME_OK, OUTCOME_UNKNOWN, Member, member_read,
)
from tenure._host.redis_types cimport (
    OP_IS_LIST, OP_IS_WRITE, Client, Forward, Mark, Proposal, ReadBatch, RemoteOp, op_last_holder,
)
from tenure._host.timekeeper cimport CEILING_AHEAD_MS, keeper_leads, keeper_propose
from tenure._host.waiter cimport Caller, Completion
from tenure._kv.codec cimport OP_CEILING, command_new
from tenure._kv.read cimport READ_CONFIRMED, READ_LED, READ_SETTLED
from tenure._net.transport cimport PeerStatistics, transport_send_data, transport_statistics
from tenure._raft.types cimport (
    ERR_MEMORY, ERR_NO_LEADER, ERR_NOT_LEADER, ERR_OVERLOADED, ERR_TOO_LARGE, LEADER, NO_MEMBER, OK,
)

cdef enum:
    PROPOSALS_BYTES = 64 << 20      # of one pass, or held until a new leader may propose
    FORWARD_HEAD_BYTES = 16
    ANSWER_HEAD_BYTES = 40

cdef struct ForwardHead:
    uint64_t incarnation
    uint64_t request_id

cdef struct AnswerHead:
    uint64_t incarnation
    uint64_t request_id
    int32_t code
    uint32_t zero
    uint64_t index
    uint64_t leader


# --------------------------------------------------------------------------------------------------------------- ops

cdef void chain_add(OpChain* chain, Op* op) noexcept nogil:
    op.newer = NULL
    if chain.first == NULL:
        chain.first = op
    else:
        chain.last.newer = op
    chain.last = op


cdef void op_release(Op* op, bint at_home) noexcept nogil:
    if op.shared and not op_last_holder(&op.holders):
        return
    blob_release(op.payload)
    blob_release(op.value)
    op.reply.release()
    free(op.request)
    if at_home:
        op.next = op.side.free_ops
        op.side.free_ops = op
    else:
        free(op)


cdef void op_answered(Op* op) noexcept nogil:
    cdef Client* client = op.client
    op.answered = True
    if client == NULL:
        op_release(op, True)
        return
    if op.kind == OP_IS_WRITE:
        client.held_bytes -= op.held_bytes
        op.held_bytes = op.value.size if op.value != NULL else 0
        client.held_bytes += op.held_bytes
    if not client.dirty:
        # there is room for every client
        client.dirty = op.side.dirty.push(client)


cdef void hand_back(Op* op) noexcept nogil:
    cdef Front* f = op.side.front
    if op.side.thread == NULL:
        op_answered(op)
    else:
        to_thread(f, op.side.number, op)


cdef void to_thread(Front* f, uint32_t number, Op* op) noexcept nogil:
    f.answered_count += f.answered[number].first == NULL
    chain_add(&f.answered[number], op)


cdef void op_link(Front* f, Op* op) noexcept nogil:
    """At the end of the list of deadlines, with the latest of all."""
    op.deadline_ns = f.pass_ns + f.config.time_limit_ns
    op.newer = NULL
    op.older = f.newest
    if f.newest == NULL:
        f.oldest = op
    else:
        f.newest.newer = op
    f.newest = op


cdef void op_unlink(Op* op) noexcept nogil:
    """Out of the list of deadlines."""
    cdef Front* f = op.side.front
    if op.older == NULL:
        f.oldest = op.newer
    else:
        op.older.newer = op.newer
    if op.newer == NULL:
        f.newest = op.older
    else:
        op.newer.older = op.older
    op.older = op.newer = NULL


cdef void op_settle(Op* op, int32_t code) noexcept nogil:
    """The outcome is final. The op may be gone afterwards, unless something here still refers to it."""
    op.code = code
    op.settled = True
    op_unlink(op)
    if op.outstanding:
        op.shared = True
        op.holders = 2
    hand_back(op)


cdef bint op_returned(Op* op) noexcept nogil:
    """Whoever had it gave it back. False when its client side has long been told; it may be gone then."""
    op.outstanding = False
    if not op.settled:
        return True
    op_release(op, op.side.thread == NULL)
    return False


cdef void op_begin(Front* f, Op* op) noexcept nogil:
    if op.kind == OP_IS_LIST:
        list_on(f, op)
        return
    op.settled = False
    op_link(f, op)
    if op.kind == OP_IS_WRITE:
        op.completion.done = write_done
        begin_write(f, op)
    elif op.wants_mark:
        begin_mark(f, op)
    else:
        begin_read(f, op)


cdef void list_on(Front* f, Op* op) noexcept nogil:
    """To the next side that has clients, or home. It has no deadline: no thread that has it takes long."""
    if op.visited + 1 >= f.sides_count or f.ending:
        op.code = <int32_t>OUTCOME_CLOSED if f.ending else <int32_t>OP_LISTED
        op.settled = True
        hand_back(op)
        return
    op.visited += 1
    to_thread(f, op.visited, op)


cdef void ops_release(Front* f) noexcept nogil:
    """Every completion has been called: only what was never handed out is left."""
    ops_give_up(f)
    f.proposals.release()
    f.payloads.release()
    f.callers.release()
    f.forwards.release()
    f.free_forwards.release()
    f.marks_to_apply.release()


cdef void ops_end(Front* f) noexcept nogil:
    f.ending = True
    ops_submit(f)
    ops_give_up(f)
    while f.oldest != NULL:
        op_settle(f.oldest, code_when_given_up(f.oldest, OUTCOME_CLOSED))


cdef void ops_give_up(Front* f) noexcept nogil:
    cdef uint32_t slot
    cdef size_t i
    cdef Proposal proposal
    while f.proposals.size:
        f.proposals.size -= 1
        proposal = f.proposals.data[f.proposals.size]
        blob_release(proposal.command)
        proposal.completion.done(proposal.completion, OUTCOME_CLOSED, 0, 0, 0, NULL)
    for slot in range(<uint32_t>f.forwards.size):
        if f.forwards.data[slot].completion != NULL:
            forward_done(f, slot, OUTCOME_UNKNOWN, 0, 0, NULL)
    for i in range(f.marks_to_apply.size):
        mark_settle(f.marks_to_apply.data[i], OUTCOME_CLOSED)
    f.marks_to_apply.clear()
    if f.mark != NULL:
        mark_settle(f.mark, OUTCOME_CLOSED)
        f.mark = NULL
    if f.reads != NULL:
        batch_settle(f.reads, OUTCOME_CLOSED)
        f.reads = NULL


cdef int32_t code_when_given_up(const Op* op, int32_t otherwise) noexcept nogil:
    return <int32_t>OUTCOME_UNKNOWN if op.kind == OP_IS_WRITE and op.proposed else otherwise


# ------------------------------------------------------------------------------------------------------------ writes

cdef void write_done(
        Completion* completion, int32_t code, uint64_t index, uint64_t term, uint64_t leader, Blob* value) noexcept nogil:
    cdef Op* op = <Op*>completion
    if not op_returned(op):
        blob_release(value)
        return
    op.value = value
    op.leader = leader
    op_settle(op, code)


cdef bint propose_later(Front* f, Blob* command, Completion* completion) noexcept nogil:
    cdef Proposal proposal
    proposal.command = command
    proposal.completion = completion
    if f.proposals_bytes + command.size > PROPOSALS_BYTES or not f.proposals.push(proposal):
        return False
    f.proposals_bytes += command.size
    return True


cdef void proposals_clear(Front* f) noexcept nogil:
    f.proposals.clear()
    f.proposals_bytes = 0


cdef void begin_write(Front* f, Op* op) noexcept nogil:
    cdef Blob* command = op.payload
    op.payload = NULL
    if command.size > f.member.raft.config.max_message_bytes:
        blob_release(command)
        op_settle(op, ERR_TOO_LARGE)
    elif not propose_later(f, command, &op.completion):
        blob_release(command)
        op_settle(op, ERR_OVERLOADED)
    else:
        op.outstanding = True


cdef void answer_all(Front* f, int32_t code) noexcept nogil:
    cdef size_t i
    for i in range(f.proposals.size):
        blob_release(f.proposals.data[i].command)
        f.proposals.data[i].completion.done(
            f.proposals.data[i].completion, code, 0, f.member.raft.term, f.member.raft.lead, NULL)
    proposals_clear(f)


cdef bint given_up(Completion* completion) noexcept nogil:
    """An op that timed out before it was proposed."""
    return completion.done == write_done and (<Op*>completion).settled


cdef void propose_here(Front* f) noexcept nogil:
    cdef Caller caller
    cdef size_t i
    cdef Completion* completion
    cdef Blob* command
    f.payloads.clear()
    f.callers.clear()
    if not f.payloads.reserve(f.proposals.size) or not f.callers.reserve(f.proposals.size):
        answer_all(f, ERR_OVERLOADED)
        return
    caller.waiter = NULL
    for i in range(f.proposals.size):
        command = f.proposals.data[i].command
        completion = f.proposals.data[i].completion
        if given_up(completion):
            blob_release(command)
            op_returned(<Op*>completion)
            continue
        if completion.done == write_done:
            (<Op*>completion).proposed = True
        caller.completion = completion
        f.payloads.push(command)
        f.callers.push(caller)
    proposals_clear(f)
    if f.payloads.size:
        f.gauges.writes.fetch_add(f.payloads.size, memory_order_relaxed)  # relaxed: statistics
        keeper_propose(f.keeper, f.payloads.data, f.callers.data, f.payloads.size, clock_now_ns())


cdef void propose_there(Front* f, uint64_t leader) noexcept nogil:
    cdef size_t i
    cdef Proposal* proposal
    for i in range(f.proposals.size):
        proposal = &f.proposals.data[i]
        if given_up(proposal.completion):
            op_returned(<Op*>proposal.completion)
        elif proposal.completion.done == remote_done:
            # What a peer sent here is not sent on: it could travel in circles.
            proposal.completion.done(proposal.completion, ERR_NOT_LEADER, 0, f.member.raft.term, leader, NULL)
        else:
            forward(f, proposal, leader)
        blob_release(proposal.command)
    proposals_clear(f)


cdef void propose(Front* f) noexcept nogil:
    cdef Member* m = f.member
    if f.proposals.size == 0:
        return
    if m.raft.failed != OK or m.stopped:
        answer_all(f, OUTCOME_CLOSED if m.raft.failed == OUTCOME_CLOSED or f.stopping else OUTCOME_FAILED)
    elif m.raft.role == LEADER:
        if keeper_leads(f.keeper):
            propose_here(f)
    elif m.raft.lead != NO_MEMBER:
        propose_there(f, m.raft.lead)
    else:
        answer_all(f, ERR_NO_LEADER)


# -------------------------------------------------------------------------------------------------------- forwarding

cdef void forward(Front* f, Proposal* proposal, uint64_t leader) noexcept nogil:
    cdef Forward empty
    cdef ForwardHead head
    cdef Forward* entry
    cdef Completion* completion = proposal.completion
    cdef uint32_t slot
    memset(&empty, 0, sizeof(empty))
    if f.free_forwards.size == 0:
        # Both lists grow together, so that giving a slot back never needs memory.
        if not f.free_forwards.reserve(f.forwards.size + 1) or not f.forwards.push(empty):
            completion.done(completion, ERR_OVERLOADED, 0, 0, leader, NULL)
            return
        slot = <uint32_t>(f.forwards.size - 1)
    else:
        f.free_forwards.size -= 1
        slot = f.free_forwards.data[f.free_forwards.size]
    entry = &f.forwards.data[slot]
    entry.generation += 1
    entry.peer = leader
    entry.deadline_ns = f.pass_ns + f.config.time_limit_ns
    head.incarnation = f.incarnation
    head.request_id = <uint64_t>entry.generation << 32 | slot
    if not transport_send_data(
            f.transport, leader, DATA_FORWARD, <const char*>&head, FORWARD_HEAD_BYTES, proposal.command.bytes(),
            proposal.command.size):
        f.free_forwards.push(slot)
        completion.done(completion, OP_NOT_CONNECTED, 0, 0, leader, NULL)
        return
    entry.completion = completion
    f.forwards_count += 1
    f.gauges.forwarded.fetch_add(1, memory_order_relaxed)  # relaxed: statistics
    if completion.done == write_done:
        (<Op*>completion).proposed = True


cdef void forward_done(
        Front* f, uint32_t slot, int32_t code, uint64_t index, uint64_t leader, Blob* value) noexcept nogil:
    cdef Completion* completion = f.forwards.data[slot].completion
    f.forwards.data[slot].completion = NULL
    f.forwards_count -= 1
    f.free_forwards.push(slot)
    completion.done(completion, code, index, 0, leader, value)


cdef void on_answer(Front* f, const char* bytes, uint32_t size) noexcept nogil:
    cdef AnswerHead head
    cdef uint32_t slot
    cdef Blob* value = NULL
    if size < ANSWER_HEAD_BYTES:
        return
    memcpy(&head, bytes, ANSWER_HEAD_BYTES)
    slot = <uint32_t>head.request_id
    if (
        head.incarnation != f.incarnation or slot >= f.forwards.size or f.forwards.data[slot].completion == NULL
        or f.forwards.data[slot].generation != head.request_id >> 32
    ):
        return                                            # too late: it was given up
    if size > ANSWER_HEAD_BYTES:
        value = blob_new(bytes + ANSWER_HEAD_BYTES, size - ANSWER_HEAD_BYTES)
        if value == NULL:
            head.code = OUTCOME_UNKNOWN                   # it was executed; what came of it is lost
    forward_done(f, slot, head.code, head.index, head.leader, value)


cdef void answer_peer(
        Transport* transport, uint64_t peer, uint64_t incarnation, uint64_t request_id, int32_t code, uint64_t index,
        uint64_t leader, Blob* value) noexcept nogil:
    """Best effort: an answer that is lost leaves the peer's client with an unknown outcome."""
    cdef AnswerHead head
    head.incarnation = incarnation
    head.request_id = request_id
    head.code = code
    head.zero = 0
    head.index = index
    head.leader = leader
    transport_send_data(
        transport, peer, DATA_ANSWER, <const char*>&head, ANSWER_HEAD_BYTES, value.bytes() if value != NULL else NULL,
        value.size if value != NULL else 0)


cdef void remote_done(
        Completion* completion, int32_t code, uint64_t index, uint64_t term, uint64_t leader, Blob* value) noexcept nogil:
    cdef RemoteOp* op = <RemoteOp*>completion
    answer_peer(op.front.transport, op.peer, op.incarnation, op.request_id, code, index, leader, value)
    blob_release(value)
    free(op)


cdef void on_forward(Front* f, uint64_t peer, const char* bytes, uint32_t size) noexcept nogil:
    cdef ForwardHead head
    cdef RemoteOp* op
    cdef Blob* command
    cdef int32_t code = ERR_OVERLOADED
    if size <= FORWARD_HEAD_BYTES:
        return
    memcpy(&head, bytes, FORWARD_HEAD_BYTES)
    if f.stopping:
        code = OUTCOME_CLOSED
    elif f.member.raft.role != LEADER:
        code = ERR_NOT_LEADER
    elif size - FORWARD_HEAD_BYTES > f.member.raft.config.max_message_bytes:
        code = ERR_TOO_LARGE
    elif size - FORWARD_HEAD_BYTES >= 24:
        op = <RemoteOp*>calloc(1, sizeof(RemoteOp))
        command = blob_new(bytes + FORWARD_HEAD_BYTES, size - FORWARD_HEAD_BYTES)
        if op != NULL and command != NULL:
            op.completion.done = remote_done
            op.front = f
            op.peer = peer
            op.incarnation = head.incarnation
            op.request_id = head.request_id
            if propose_later(f, command, &op.completion):
                return
        free(op)
        blob_release(command)
    answer_peer(f.transport, peer, head.incarnation, head.request_id, code, 0, f.member.raft.lead, NULL)


cdef void ops_data(Front* f, uint64_t peer, uint32_t kind, const char* bytes, uint32_t size) noexcept nogil:
    if kind == DATA_FORWARD:
        on_forward(f, peer, bytes, size)
    elif kind == DATA_ANSWER:
        on_answer(f, bytes, size)


cdef void data_refuse(Transport* transport, uint64_t peer, uint32_t kind, const char* bytes, uint32_t size) noexcept nogil:
    cdef ForwardHead head
    if kind == DATA_FORWARD and size >= FORWARD_HEAD_BYTES:
        memcpy(&head, bytes, FORWARD_HEAD_BYTES)
        answer_peer(transport, peer, head.incarnation, head.request_id, OP_NO_FRONT, 0, 0, NULL)


cdef void ops_unreachable(Front* f, uint64_t peer) noexcept nogil:
    """What was sent to this peer may be lost, and so may its answers, unless only a message too many was dropped."""
    cdef PeerStatistics statistics
    cdef uint32_t slot
    if f.forwards_count and not (transport_statistics(f.transport, peer, &statistics) and statistics.connected):
        for slot in range(<uint32_t>f.forwards.size):
            if f.forwards.data[slot].completion != NULL and f.forwards.data[slot].peer == peer:
                forward_done(f, slot, OUTCOME_UNKNOWN, 0, 0, NULL)


# ------------------------------------------------------------------------------------------------------------- reads

cdef void batch_settle(ReadBatch* batch, int32_t code) noexcept nogil:
    cdef Front* f = batch.front
    cdef uint8_t basis = READ_LED if keeper_leads(f.keeper) else READ_CONFIRMED
    cdef size_t i
    for i in range(batch.ops.size):
        if not op_returned(batch.ops.data[i]):
            continue
        if code == OUTCOME_OK:
            batch.ops.data[i].basis = basis
            f.gauges.read_index_reads.fetch_add(1, memory_order_relaxed)  # relaxed: statistics
        op_settle(batch.ops.data[i], code)
    batch.ops.release()
    free(batch)


cdef void batch_done(
        Completion* completion, int32_t code, uint64_t index, uint64_t term, uint64_t leader, Blob* value) noexcept nogil:
    batch_settle(<ReadBatch*>completion, code)


cdef void begin_read(Front* f, Op* op) noexcept nogil:
    if f.reads == NULL:
        f.reads = <ReadBatch*>calloc(1, sizeof(ReadBatch))
        if f.reads == NULL:
            op_settle(op, ERR_MEMORY)
            return
        f.reads.completion.done = batch_done
        f.reads.front = f
    if not f.reads.ops.push(op):
        op_settle(op, ERR_MEMORY)
        return
    op.outstanding = True


cdef void ask_read_index(Front* f) noexcept nogil:
    cdef Caller caller
    cdef ReadBatch* batch = f.reads
    if batch == NULL:
        return
    f.reads = NULL
    if f.member.raft.failed != OK or f.member.stopped:
        batch_settle(batch, OUTCOME_CLOSED if f.stopping else OUTCOME_FAILED)
        return
    caller.waiter = NULL
    caller.completion = &batch.completion
    member_read(f.member, &caller, clock_now_ns())


# ------------------------------------------------------------------------------------------------------------- marks

cdef void begin_mark(Front* f, Op* op) noexcept nogil:
    if f.mark == NULL:
        f.mark = <Mark*>calloc(1, sizeof(Mark))
        if f.mark == NULL:
            op_settle(op, ERR_MEMORY)
            return
        f.mark.completion.done = mark_done
        f.mark.front = f
    if not f.mark.ops.push(op):
        op_settle(op, ERR_MEMORY)
        return
    op.outstanding = True


cdef void mark_settle(Mark* mark, int32_t code) noexcept nogil:
    """`code` OK: the mark is applied here, and its timestamp settles every key that has ended before it."""
    cdef size_t i
    if code == OUTCOME_UNKNOWN or code == OUTCOME_LOST:
        code = OP_TIMED_OUT                               # a read has no effect that could be unknown
    for i in range(mark.ops.size):
        if op_returned(mark.ops.data[i]):
            mark.ops.data[i].basis = READ_SETTLED
            op_settle(mark.ops.data[i], code)
    mark.ops.release()
    free(mark)


cdef void mark_done(
        Completion* completion, int32_t code, uint64_t index, uint64_t term, uint64_t leader, Blob* value) noexcept nogil:
    cdef Mark* mark = <Mark*>completion
    blob_release(value)
    mark.index = index
    if code == OUTCOME_OK and index > mark.front.member.raft.log.applied:
        if mark.front.marks_to_apply.push(mark):
            return
        code = ERR_MEMORY
    mark_settle(mark, code)


cdef void submit_mark(Front* f) noexcept nogil:
    cdef Mark* mark = f.mark
    cdef Blob* command
    cdef int64_t until_ms = 1                             # a follower's clock moves no ceiling
    if mark == NULL:
        return
    f.mark = NULL
    if f.member.raft.role == LEADER:
        until_ms = f.keeper.now_ms + CEILING_AHEAD_MS
    command = command_new(OP_CEILING, 0, 0, until_ms, NULL, 0)
    if command == NULL or not propose_later(f, command, &mark.completion):
        blob_release(command)
        mark_settle(mark, ERR_MEMORY)
        return
    f.gauges.marks.fetch_add(1, memory_order_relaxed)  # relaxed: statistics


# ------------------------------------------------------------------------------------------------------------ passes

cdef void ops_submit(Front* f) noexcept nogil:
    submit_mark(f)
    propose(f)
    ask_read_index(f)


cdef void ops_applied(Front* f) noexcept nogil:
    cdef size_t i = 0
    cdef Mark* mark
    while i < f.marks_to_apply.size:
        mark = f.marks_to_apply.data[i]
        if mark.index <= f.member.raft.log.applied:
            f.marks_to_apply.remove(i)
            mark_settle(mark, OUTCOME_OK)
        else:
            i += 1


cdef bint ops_waiting(const Front* f) noexcept nogil:
    """Something that the next pass should submit."""
    return f.mark != NULL or f.reads != NULL or (f.proposals.size != 0 and (
        f.member.raft.role != LEADER or keeper_leads(f.keeper)))


cdef void ops_tick(Front* f, int64_t monotonic_ns) noexcept nogil:
    cdef Op* op
    cdef uint32_t slot
    while f.oldest != NULL and f.oldest.deadline_ns <= monotonic_ns:
        op = f.oldest
        op_settle(op, code_when_given_up(op, OP_TIMED_OUT))
    if f.forwards_count:
        for slot in range(<uint32_t>f.forwards.size):
            if f.forwards.data[slot].completion != NULL and f.forwards.data[slot].deadline_ns <= monotonic_ns:
                forward_done(f, slot, OUTCOME_UNKNOWN, 0, 0, NULL)
