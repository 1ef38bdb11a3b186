"""Hints, the ceiling, and the collection of what has expired; see `timekeeper.pxd`.

A hint is the wall clock's time, but never below an instant at which this member, or one that led before, may have judged a
read. What is proposed and not applied is noted with its hint, since no read may be judged behind the least of them:

    store.pending_ms = hint of pending[head], the oldest that is not applied      (INT64_MAX when there is none)

A new leader whose time begins ahead of the clocks says so by a command, so that nobody gives a key a life that has ended.

What a former term of this member's left in the log is settled once the entry that opened the new term is applied: it is
applied too, or will never be.
"""

from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from libcpp.atomic cimport memory_order_relaxed

from tenure._core.blob cimport Blob, blob_release
from tenure._core.clock cimport clock_wall_ms
from tenure._host.member cimport OUTCOME_CLOSED, OUTCOME_FAILED, OUTCOME_OK, Member, member_propose
from tenure._host.waiter cimport Caller, Completion, caller_answer
from tenure._kv.codec cimport (
    COMMAND_HEAD_BYTES, COMMAND_VERSION, COUNTER_BITS, OP_CEILING, OP_COLLECT, Slice, command_new, command_stamp,
)
from tenure._kv.read cimport store_ceiling_ts, store_expiring, store_find_expired, store_time_ms
from tenure._kv.store cimport ms_of, store_pend, store_release, store_retain
from tenure._raft.raft cimport raft_last_index
from tenure._raft.types cimport ERR_OVERLOADED, LEADER, OK

cdef enum:
    HELD_BYTES = 64 << 20
    COLLECT_EVERY_NS = 100000000
    COLLECT_KEYS = 200              # of one command
    COLLECT_BYTES = 65536           # of one command, unless a single key is longer
    COLLECT_STEPS = 2000            # buckets looked at each time


cdef Timekeeper* keeper_new(Member* member, Store* store) noexcept nogil:
    cdef Timekeeper* k = <Timekeeper*>calloc(1, sizeof(Timekeeper))
    if k == NULL:
        return NULL
    k.member = member
    k.store = store_retain(store)
    k.ceiling.completion.done = errand_done
    k.collection.completion.done = errand_done
    return k


cdef void keeper_free(Timekeeper* k) noexcept nogil:
    if k == NULL:
        return
    keeper_end(k)
    store_release(k.store)
    k.held.release()
    k.pending.release()
    k.payloads.release()
    k.callers.release()
    k.expired.keys.release()
    free(k)


cdef bint keeper_leads(const Timekeeper* k) noexcept nogil:
    return (
        k.member.raft.role == LEADER and k.member.raft.own_term_index != 0
        and k.member.raft.log.applied >= k.member.raft.own_term_index)


cdef int64_t keeper_now(Timekeeper* k) noexcept nogil:
    k.now_ms = max(k.now_ms, store_time_ms(k.store, clock_wall_ms()))
    if k.member.raft.role == LEADER and k.led_term != k.member.raft.term and keeper_leads(k):
        k.led_term = k.member.raft.term
        k.now_ms = max(k.now_ms, ms_of(store_ceiling_ts(k.store)) + 1)
        k.announce = k.now_ms > clock_wall_ms()
        k.pending.clear()
        k.pending_head = 0
        store_pend(k.store, INT64_MAX)
    return k.now_ms


# ---------------------------------------------------------------------------------------------------------- proposals

cdef int64_t least_hint(const Timekeeper* k, int64_t otherwise) noexcept nogil:
    return k.pending.data[k.pending_head].hint_ms if k.pending_head < k.pending.size else otherwise


cdef void note_pending(Timekeeper* k, uint64_t index, int64_t hint_ms) noexcept nogil:
    """There is room."""
    cdef Pending pending
    if k.pending_head < k.pending.size and k.pending.data[k.pending.size - 1].hint_ms == hint_ms:
        k.pending.data[k.pending.size - 1].index = index
        return
    pending.index = index
    pending.hint_ms = hint_ms
    k.pending.push(pending)


cdef void answer_all(
        Timekeeper* k, Blob** payloads, Caller* callers, size_t count, int32_t code) noexcept nogil:
    cdef size_t i
    for i in range(count):
        blob_release(payloads[i])
        caller_answer(&callers[i], code, 0, k.member.raft.term, k.member.raft.lead, NULL)


cdef void submit(Timekeeper* k, Blob** payloads, Caller* callers, size_t count, int64_t now_ns) noexcept nogil:
    """As a leader that knows what it inherited."""
    cdef int64_t hint_ms = keeper_now(k)
    cdef uint64_t before = raft_last_index(k.member.raft), after
    cdef size_t i
    if not k.pending.reserve(k.pending.size + 1):
        answer_all(k, payloads, callers, count, ERR_OVERLOADED)
        return
    hint_ms = k.now_ms = max(hint_ms, store_pend(k.store, least_hint(k, hint_ms)))
    for i in range(count):
        if payloads[i].size >= COMMAND_HEAD_BYTES and payloads[i].bytes()[0] == COMMAND_VERSION:
            command_stamp(payloads[i].bytes(), <uint64_t>hint_ms << COUNTER_BITS)
    member_propose(k.member, payloads, callers, count, now_ns)
    after = raft_last_index(k.member.raft)
    if after > before:
        note_pending(k, after, hint_ms)
    else:
        store_pend(k.store, least_hint(k, INT64_MAX))


cdef void hold(Timekeeper* k, Blob* command, const Caller* caller) noexcept nogil:
    cdef Held held
    held.command = command
    held.caller = caller[0]
    if k.held_bytes + command.size > HELD_BYTES or not k.held.push(held):
        blob_release(command)
        caller_answer(caller, ERR_OVERLOADED, 0, k.member.raft.term, k.member.raft.lead, NULL)
        return
    k.held_bytes += command.size


cdef void keeper_propose(
        Timekeeper* k, Blob** payloads, Caller* callers, size_t count, int64_t now_ns) noexcept nogil:
    cdef size_t i
    if k.member.raft.role != LEADER:
        member_propose(k.member, payloads, callers, count, now_ns)
    elif keeper_leads(k) and k.held.size == 0:      # nothing overtakes what is held back
        submit(k, payloads, callers, count, now_ns)
    else:
        for i in range(count):
            hold(k, payloads[i], &callers[i])


cdef bint release_held(Timekeeper* k, int64_t now_ns) noexcept nogil:
    cdef size_t i, count = k.held.size
    if not k.payloads.reserve(count) or not k.callers.reserve(count):
        return False
    k.payloads.clear()
    k.callers.clear()
    for i in range(count):
        k.payloads.push(k.held.data[i].command)
        k.callers.push(k.held.data[i].caller)
    k.held.clear()
    k.held_bytes = 0
    keeper_propose(k, k.payloads.data, k.callers.data, count, now_ns)
    return True


cdef bint keeper_step(Timekeeper* k, int64_t now_ns) noexcept nogil:
    cdef size_t head = k.pending_head
    while head < k.pending.size and k.pending.data[head].index <= k.member.raft.log.applied:
        head += 1
    if head != k.pending_head:
        if head == k.pending.size:
            k.pending.clear()
            head = 0
        elif head > 64:
            k.pending.remove(0, head)
            head = 0
        k.pending_head = head
        store_pend(k.store, least_hint(k, INT64_MAX))
    if k.member.raft.failed != OK:
        keeper_end(k)                                     # the member answers nobody any more
        return False
    if k.member.raft.role == LEADER and not keeper_leads(k):
        return False
    if k.held.size != 0:
        return release_held(k, now_ns)
    if k.announce and k.member.raft.role == LEADER and not k.ceiling.under_way:
        k.announce = False
        run_errand(k, &k.ceiling, command_new(OP_CEILING, 0, 0, 1, NULL, 0), now_ns)
        return True
    if k.collection.code != OUTCOME_OK:
        k.collect_on = False                              # refused: with the next tick that is due
    if k.collect_on and not k.collection.under_way and k.member.raft.role == LEADER:
        keeper_now(k)
        collect(k, now_ns)
        return True
    return False


cdef void keeper_end(Timekeeper* k) noexcept nogil:
    cdef size_t i
    cdef bint closed
    if k.held.size == 0:
        return
    closed = k.member.raft.failed == OK or k.member.raft.failed == OUTCOME_CLOSED
    for i in range(k.held.size):
        blob_release(k.held.data[i].command)
        caller_answer(
            &k.held.data[i].caller, OUTCOME_CLOSED if closed else OUTCOME_FAILED, 0, k.member.raft.term, 0, NULL)
    k.held.clear()
    k.held_bytes = 0


# ------------------------------------------------------------------------------------------- ceiling and collection

cdef void errand_done(
        Completion* completion, int32_t code, uint64_t index, uint64_t term, uint64_t leader, Blob* value) noexcept nogil:
    blob_release(value)
    (<Errand*>completion).under_way = False
    (<Errand*>completion).code = code


cdef void run_errand(Timekeeper* k, Errand* errand, Blob* command, int64_t now_ns) noexcept nogil:
    cdef Caller caller
    if command == NULL:
        return
    caller.waiter = NULL
    caller.completion = &errand.completion
    errand.under_way = True
    submit(k, &command, &caller, 1, now_ns)


cdef void raise_ceiling(Timekeeper* k, int64_t now_ns) noexcept nogil:
    """Only when somebody reads, and something will end: a group that nobody uses writes nothing."""
    # relaxed, both: a wish, repeated by every reader whose clock is about to pass the ceiling
    if not k.store.ceiling_wanted.load(memory_order_relaxed):
        return
    k.store.ceiling_wanted.store(0, memory_order_relaxed)
    if k.ceiling.under_way or store_expiring(k.store) == 0 or (
            ms_of(store_ceiling_ts(k.store)) > k.now_ms + CEILING_AHEAD_MS // 2):
        return
    run_errand(k, &k.ceiling, command_new(OP_CEILING, 0, 0, k.now_ms + CEILING_AHEAD_MS, NULL, 0), now_ns)


cdef void collect_key(void* context, const char* key, uint32_t size, int64_t expires_ms) noexcept nogil:
    """Under a shard's lock: copy the key."""
    cdef Expired* expired = <Expired*>context
    cdef Vec[char]* keys = &expired.keys
    expired.seen += 1
    if expired.taken == COLLECT_KEYS or (keys.size and keys.size + 4 + size > COLLECT_BYTES) or not keys.reserve(
            keys.size + 4 + size):
        return
    memcpy(keys.data + keys.size, &size, 4)
    if size != 0:
        memcpy(keys.data + keys.size + 4, key, size)
    keys.size += 4 + size
    expired.taken += 1


cdef void collect(Timekeeper* k, int64_t now_ns) noexcept nogil:
    cdef Slice slices[COLLECT_KEYS]
    cdef Expired* expired = &k.expired
    cdef uint32_t i
    cdef size_t at = 0
    k.collect_on = False
    if store_expiring(k.store) == 0:
        return
    expired.keys.clear()
    expired.seen = expired.taken = 0
    k.collect_cursor = store_find_expired(
        k.store, k.collect_cursor, k.now_ms, COLLECT_KEYS, COLLECT_STEPS, collect_key, expired)
    for i in range(expired.taken):
        memcpy(&slices[i].size, expired.keys.data + at, 4)
        slices[i].data = expired.keys.data + at + 4
        at += 4 + slices[i].size
    if expired.taken != 0:
        k.collect_on = expired.seen >= COLLECT_KEYS or expired.seen > expired.taken
        run_errand(k, &k.collection, command_new(OP_COLLECT, 0, 0, 0, slices, expired.taken), now_ns)


cdef int64_t keeper_due_ns(const Timekeeper* k) noexcept nogil:
    if k.member.raft.failed != OK or not keeper_leads(k) or store_expiring(k.store) == 0:
        return INT64_MAX
    return INT64_MAX if k.collection.under_way else k.collect_at_ns


cdef void keeper_tick(Timekeeper* k, int64_t now_ns, int64_t monotonic_ns) noexcept nogil:
    if k.member.raft.failed != OK or not keeper_leads(k):
        return
    keeper_now(k)
    raise_ceiling(k, now_ns)
    if monotonic_ns >= k.collect_at_ns and not k.collection.under_way:
        k.collect_at_ns = monotonic_ns + COLLECT_EVERY_NS
        collect(k, now_ns)
