"""Target `core`: one member of a group of three voters and a learner, whose peers say whatever the codec lets through.

The bytes are a program of messages, ticks, requests and acknowledgements of writes. The fields of a message are given relative
to what the member has, so that few bytes reach deep; a mask says which of them are not what an honest peer would say.

A peer that breaks the protocol may make the member fail (ERR_INVARIANT), never more than that. As long as it has not failed:

    applied <= applying <= committed <= last;  stable <= persisting <= last;  term and commit never fall
    a vote is not changed within its term; entries and commits are handed out without a gap; who does not lead has no lease
    every message that leaves decodes to what was encoded
"""

from libc.stdint cimport INT64_MAX, INT64_MIN, UINT64_MAX, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memset

from tenure._core.blob cimport Blob, blob_new, blob_release
from tenure._core.lease cimport LeaseWord, lease_expiry_ns, lease_new, lease_release
from tenure._core.vec cimport Vec
from tenure._fuzz.kit cimport Cursor, left, take8, take16
from tenure._net.message_codec cimport CODEC_OK, message_bytes, message_decode, message_encode
from tenure._raft.raft cimport (
    raft_applied, raft_appended, raft_campaign, raft_compact, raft_default_config, raft_forget_leader, raft_free,
    raft_has_ready, raft_last_index, raft_new, raft_note_snapshot, raft_propose, raft_read_index, raft_ready,
    raft_report_snapshot, raft_report_unreachable, raft_rest_ticks, raft_step, raft_step_down, raft_tick, raft_transfer,
)
from tenure._raft.state cimport Raft, RaftConfig
from tenure._raft.types cimport (
    LEADER, MSG_APP, MSG_SNAP, OK, Configuration, Entry, HardState, Message, Ready, Snapshot, entries_release,
    message_release, ready_release,
)

cdef enum:
    SELF = 1
    MESSAGE_TYPES = 12
    MAX_STEPS = 400
    TICK_NS = 10000000

cdef struct Member:
    Raft* raft
    LeaseWord* lease
    int64_t now_ns
    uint64_t written            # the last index that a Ready gave to storage
    uint64_t handed             # the last index that a Ready gave to the state machine
    uint64_t ready_number
    HardState hard              # of the last Ready
    uint64_t read_id
    uint64_t committed          # after the last step


# ---- messages

cdef uint64_t around(uint64_t value, uint8_t byte) noexcept nogil:
    """A little below or above, or somewhere else altogether."""
    if byte == 255:
        return UINT64_MAX
    if byte == 254:
        return <uint64_t> INT64_MAX + 1
    if byte == 253:
        return 0
    return value + (byte & 31) - 8


cdef int64_t instant(int64_t now_ns, uint8_t byte) noexcept nogil:
    if byte == 255:
        return INT64_MAX
    if byte == 254:
        return INT64_MIN
    if byte == 253:
        return 0
    if byte >= 128:
        return -<int64_t> byte
    return now_ns + (<int64_t> byte - 64) * (TICK_NS // 2)


cdef void some_configuration(Configuration* c, uint8_t shape) noexcept nogil:
    cdef int i
    memset(c, 0, sizeof(Configuration))
    c.voters_count = shape & 3
    for i in range(c.voters_count):
        c.voters[i] = <uint64_t> i + 1 + (shape >> 2 & 1)
    if shape & 8:
        c.outgoing_count = 2
        c.outgoing[0] = 1
        c.outgoing[1] = 3
    if shape & 16:
        c.learners_count = 1
        c.learners[0] = 4 if shape & 32 else 1
    if shape & 64:
        c.learners_next_count = 1
        c.learners_next[0] = 3
    c.auto_leave = shape & 128


cdef bint fill_entries(Message* m, Cursor* cursor) noexcept nogil:
    cdef uint8_t shape = take8(cursor), i
    cdef Entry entry
    for i in range(shape & 7):
        entry.index = m.index + 1 + i + (shape >> 7)
        entry.term = m.term - (1 if shape & 64 and i == 0 else 0)
        entry.kind = shape >> 3 & 3
        entry.data = NULL
        if entry.kind == 3:
            entry.kind = 0
        if shape & 32:
            entry.data = blob_new(cursor.at, <uint32_t> min(left(cursor), <size_t> (i + 1) * 3))
        if not m.entries.push(entry):
            blob_release(entry.data)
            return False
    return True


cdef bint fill_message(const Member* m, Message* message, Cursor* cursor) noexcept nogil:
    cdef const Raft* r = m.raft
    cdef uint8_t kind = take8(cursor)
    cdef uint16_t odd = take16(cursor)
    cdef uint64_t last = raft_last_index(r)
    memset(message, 0, sizeof(Message))
    message.type = 1 + kind % MESSAGE_TYPES
    message.from_ = 2 + (kind >> 4) % 4
    message.to = SELF
    message.term = around(r.term, take8(cursor)) if odd & 1 else r.term
    message.index = around(r.log.committed if odd & 2 else last, take8(cursor)) if odd & 6 else last
    message.log_term = around(r.term, take8(cursor)) if odd & 8 else (
        r.log.entries.data[r.log.entries.size - 1].term if r.log.entries.size else r.log.offset_term)
    message.commit = around(r.log.committed, take8(cursor)) if odd & 16 else r.log.committed
    message.reject = odd & 32
    message.reject_hint = around(last, take8(cursor)) if odd & 64 else 0
    message.round = around(r.round, take8(cursor)) if odd & 128 else r.round
    message.read_id = around(m.read_id, take8(cursor)) if odd & 256 else m.read_id
    message.release_term = around(r.term, take8(cursor)) if odd & 512 else 0
    message.stamp_ns = instant(m.now_ns, take8(cursor)) if odd & 1024 else m.now_ns
    message.promise_ns = instant(0, take8(cursor)) if odd & 2048 else r.config.promise_ns
    message.promised_ns = instant(0, take8(cursor)) if odd & 4096 else r.config.promise_ns
    message.peer_clock_ns = instant(m.now_ns, take8(cursor)) if odd & 8192 else m.now_ns
    message.remaining_ns = instant(0, take8(cursor)) if odd & 16384 else 0
    if message.type == MSG_SNAP:
        message.snapshot = <Snapshot*> calloc(1, sizeof(Snapshot))
        if message.snapshot == NULL:
            return False
        message.snapshot.index = message.index
        message.snapshot.term = message.log_term
        some_configuration(&message.snapshot.configuration, take8(cursor) if odd & 32768 else 3)
        return True
    return message.type != MSG_APP or fill_entries(message, cursor)


cdef const char* judge_sent(const Vec[Message]* messages) noexcept nogil:
    """Every message is meant for another member, and decodes to what was encoded."""
    cdef size_t i, size
    cdef char* encoded
    cdef char* again
    cdef Message decoded
    cdef const char* verdict = NULL
    for i in range(messages.size):
        if messages.data[i].from_ != SELF or messages.data[i].to == SELF or messages.data[i].to == 0:
            return b"a message leaves under a wrong name, or for the member itself"
        size = message_bytes(&messages.data[i])
        encoded = <char*> malloc(2 * size)
        if encoded == NULL:
            return NULL
        again = encoded + size
        message_encode(&messages.data[i], encoded)
        if message_decode(encoded, size, &decoded) != CODEC_OK:
            verdict = b"a message that leaves does not decode"
        else:
            if message_bytes(&decoded) == size:
                message_encode(&decoded, again)
            if message_bytes(&decoded) != size or memcmp(encoded, again, size) != 0:
                verdict = b"a message that leaves decodes to another"
            message_release(&decoded)
        free(encoded)
        if verdict != NULL:
            return verdict
    return NULL


# ---- the host's part

cdef const char* take_ready(Member* m, uint64_t* accepted) noexcept nogil:
    cdef Ready ready
    cdef const char* verdict = NULL
    cdef size_t i
    memset(&ready, 0, sizeof(ready))
    if raft_ready(m.raft, &ready) != OK:
        ready_release(&ready)
        return NULL
    if ready.number <= m.ready_number:
        verdict = b"the numbers of Readys do not rise"
    m.ready_number = ready.number
    if ready.hard.term < m.hard.term or ready.hard.commit < m.hard.commit:
        verdict = b"a durable term or commit falls"
    elif ready.hard.term == m.hard.term and m.hard.vote != 0 and ready.hard.vote != m.hard.vote:
        verdict = b"a vote is changed within its term"
    m.hard = ready.hard
    if ready.snapshot != NULL:
        m.written = m.handed = ready.snapshot.index
    for i in range(ready.entries.size):
        if ready.entries.data[i].index > m.written + 1 or (
                i > 0 and ready.entries.data[i].index != ready.entries.data[i - 1].index + 1):
            verdict = b"entries are handed to storage with a gap"
        m.written = ready.entries.data[i].index
    for i in range(ready.committed.size):
        if ready.committed.data[i].index != m.handed + 1:
            verdict = b"entries are handed to the state machine with a gap, or twice"
        m.handed = ready.committed.data[i].index
    if ready.hard.commit > m.written:
        verdict = b"more is committed than was ever written"
    accepted[0] += ready.committed.size
    if verdict == NULL:
        verdict = judge_sent(&ready.messages)
    if verdict == NULL:
        verdict = judge_sent(&ready.after_append)
    ready_release(&ready)
    return verdict


cdef void ask(Member* m, uint8_t what, Cursor* cursor) noexcept nogil:
    """Something that the host asks of the member; a refusal is as good as any answer."""
    cdef Raft* r = m.raft
    cdef Blob* payload
    cdef uint64_t first
    if what == 0:
        payload = blob_new(cursor.at, <uint32_t> min(left(cursor), <size_t> 20))
        if payload != NULL:
            raft_propose(r, &payload, 1, 0, m.now_ns, &first)
            blob_release(payload)
    elif what == 1:
        m.read_id += 1
        raft_read_index(r, m.read_id, m.now_ns)
    elif what == 2:
        raft_campaign(r, m.now_ns)
    elif what == 3:
        raft_transfer(r, take8(cursor) % 6, m.now_ns)
    elif what == 4:
        raft_step_down(r, m.now_ns)
    elif what == 5:
        raft_forget_leader(r)
    elif what == 6:
        raft_report_unreachable(r, take8(cursor) % 6)
    elif what == 7:
        raft_report_snapshot(r, take8(cursor) % 6, take8(cursor) & 1, m.now_ns)
    elif what == 8:
        if raft_note_snapshot(r, r.log.applied) == OK:
            raft_compact(r, r.log.applied - min(<uint64_t> take8(cursor) % 4, r.log.applied))
    elif what == 9:
        m.now_ns += (<int64_t> take8(cursor)) * TICK_NS
    else:
        m.now_ns = instant(m.now_ns, take8(cursor))


cdef const char* judge_state(Member* m, uint64_t term_before) noexcept nogil:
    cdef const Raft* r = m.raft
    cdef uint64_t last = raft_last_index(r)
    if r.failed != OK:
        if lease_expiry_ns(m.lease) != 0:
            return b"a member that has failed holds a lease"
        return b""
    if not (r.log.applied <= r.log.applying <= r.log.committed <= last) and r.log.installing == 0 \
            and r.log.pending_snapshot == NULL:
        return b"applied <= applying <= committed <= last does not hold"
    if not (r.log.stable <= r.log.persisting <= last):
        return b"stable <= persisting <= last does not hold"
    if r.log.committed > last or r.log.committed < m.committed:
        return b"committed falls, or is above the last index"
    m.committed = r.log.committed
    if r.term < term_before:
        return b"the term falls"
    if r.role == LEADER and r.lead != SELF:
        return b"a leader knows another leader"
    if r.role != LEADER and lease_expiry_ns(m.lease) != 0:
        return b"a member that does not lead holds a lease"
    if raft_rest_ticks(r) < 1:
        return b"a rest of less than one tick"
    return NULL


cdef bint begin(Member* m, uint8_t shape, uint8_t entries) noexcept nogil:
    cdef RaftConfig config
    cdef HardState hard
    cdef Configuration configuration
    cdef Vec[Entry] log
    cdef Entry entry
    cdef uint64_t count
    memset(&hard, 0, sizeof(hard))
    memset(&log, 0, sizeof(log))
    memset(&entry, 0, sizeof(entry))
    raft_default_config(&config)
    config.id = SELF
    config.election_ticks = 6
    config.heartbeat_ticks = 2
    config.max_inflight_messages = 3
    config.max_message_bytes = 60
    config.max_pending_reads = 4
    config.max_uncommitted_bytes = 200
    config.promise_ns = 0 if shape & 1 else 5 * TICK_NS
    config.pre_vote = shape & 2
    config.check_quorum = shape & 4 or config.promise_ns != 0
    config.async_storage = shape & 8
    some_configuration(&configuration, 3)
    configuration.learners_count = 1
    configuration.learners[0] = 4
    if shape & 16:
        configuration.voters_count = 1          # alone
    hard.term = entries & 3
    count = entries & 7 if hard.term else 0
    while log.size < count and log.push(entry):
        log.data[log.size - 1].index = log.size
        log.data[log.size - 1].term = hard.term
    hard.commit = min(<uint64_t> (entries >> 3 & 7), log.size)
    m.now_ns = <int64_t> 1000 * TICK_NS
    m.written = log.size
    m.committed = hard.commit
    m.hard = hard
    m.lease = lease_new()
    if m.lease != NULL:
        m.raft = raft_new(&config, &hard, &configuration, NULL, &log, 0, m.lease, m.now_ns)
    entries_release(&log)
    return m.raft != NULL


cdef const char* run(Member* m, Cursor* cursor, uint64_t* accepted) noexcept nogil:
    cdef Message message
    cdef const char* verdict = NULL
    cdef uint8_t step
    cdef uint64_t term
    cdef int steps = 0
    while verdict == NULL and left(cursor) and steps < MAX_STEPS:
        steps += 1
        term = m.raft.term
        step = take8(cursor)
        if step % 16 < 7:
            if fill_message(m, &message, cursor):
                raft_step(m.raft, &message, m.now_ns)
            message_release(&message)
        elif step % 16 < 10:
            m.now_ns += TICK_NS
            raft_tick(m.raft, m.now_ns)
        elif step % 16 == 10:
            raft_appended(m.raft, m.ready_number - min(m.ready_number, <uint64_t> (step >> 6)), m.now_ns)
        elif step % 16 == 11:
            raft_applied(m.raft, m.raft.log.applying, m.now_ns)
        elif step % 16 < 14:
            if raft_has_ready(m.raft):
                verdict = take_ready(m, accepted)
        else:
            ask(m, (step >> 4) % 11, cursor)
        if verdict == NULL:
            verdict = judge_state(m, term)
    if verdict != NULL and verdict[0] == 0:
        return NULL             # it has failed, and that is all
    return verdict


cdef const char* fuzz_core(const char* data, size_t size, uint64_t* accepted) noexcept nogil:
    cdef Member m
    cdef Cursor cursor
    cdef const char* verdict = NULL
    cdef uint8_t shape
    memset(&m, 0, sizeof(m))
    cursor.at = data
    cursor.end = data + size
    shape = take8(&cursor)
    if begin(&m, shape, take8(&cursor)):
        verdict = run(&m, &cursor, accepted)
    raft_free(m.raft)
    lease_release(m.lease)
    return verdict
