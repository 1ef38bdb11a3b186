"""Messages of the Raft core to bytes and back: see `message_codec.pxd`.

Decoding trusts nothing: every count is compared with the bytes that are left before memory is asked for, so that what a hostile
message makes us allocate is at most about twice its own size. What the fields mean together is the core's to judge.

The payloads of a message go into one block of memory (`_core/blob.hpp`): an append of a hundred entries costs one allocation,
not a hundred. The block lives as long as one of them does, which is no loss: logs let go of entries in their order.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc
from libc.string cimport memcpy, memset

from tenure._core.blob cimport BlobBlock, blob_block_add, blob_block_new, blob_block_release, blob_new
from tenure._core.vec cimport Vec
from tenure._net.wire cimport wire_get16, wire_get32, wire_get64, wire_put32, wire_put64
from tenure._raft.types cimport (
    ENTRY_CONF_CHANGE_V2, MAX_MEMBERS, MSG_APP, MSG_READ_INDEX_RESP, MSG_SNAP, NO_MEMBER, Configuration, Entry, Snapshot,
    entry_bytes, message_release,
)

cdef enum:
    SCALARS_BYTES = 128
    ENTRY_HEADER_BYTES = 24
    SNAPSHOT_HEADER_BYTES = 24


cdef uint64_t message_bytes(const Message* message) noexcept nogil:
    cdef uint64_t bytes = SCALARS_BYTES + ENTRY_HEADER_BYTES * <uint64_t>message.entries.size
    cdef const Configuration* c
    cdef size_t i
    for i in range(message.entries.size):
        bytes += entry_bytes(&message.entries.data[i])
    if message.snapshot != NULL:
        c = &message.snapshot.configuration
        bytes += SNAPSHOT_HEADER_BYTES + 8 * <uint64_t>(
            c.voters_count + c.outgoing_count + c.learners_count + c.learners_next_count)
    return bytes


cdef inline char* put_ids(char* at, const uint64_t* ids, int32_t count) noexcept nogil:
    cdef int32_t i
    for i in range(count):
        wire_put64(at + 8 * i, ids[i])
    return at + 8 * count


cdef char* put_snapshot(char* at, const Snapshot* snapshot) noexcept nogil:
    cdef const Configuration* c = &snapshot.configuration
    wire_put64(at, snapshot.index)
    wire_put64(at + 8, snapshot.term)
    at[16] = 1 if c.auto_leave else 0
    at[17] = <char>c.voters_count
    at[18] = <char>c.outgoing_count
    at[19] = <char>c.learners_count
    at[20] = <char>c.learners_next_count
    memset(at + 21, 0, 3)
    at = put_ids(at + SNAPSHOT_HEADER_BYTES, c.voters, c.voters_count)
    at = put_ids(at, c.outgoing, c.outgoing_count)
    at = put_ids(at, c.learners, c.learners_count)
    return put_ids(at, c.learners_next, c.learners_next_count)


cdef char* message_encode(const Message* message, char* into) noexcept nogil:
    cdef char* at = into + SCALARS_BYTES
    cdef const Entry* entry
    cdef uint32_t payload_bytes
    cdef size_t i
    into[0] = <char>message.type
    into[1] = 1 if message.reject else 0
    into[2] = 1 if message.snapshot != NULL else 0
    into[3] = 0
    wire_put32(into + 4, <uint32_t>message.entries.size)
    wire_put64(into + 8, message.from_)
    wire_put64(into + 16, message.to)
    wire_put64(into + 24, message.term)
    wire_put64(into + 32, message.index)
    wire_put64(into + 40, message.log_term)
    wire_put64(into + 48, message.commit)
    wire_put64(into + 56, message.reject_hint)
    wire_put64(into + 64, message.round)
    wire_put64(into + 72, message.read_id)
    wire_put64(into + 80, message.release_term)
    wire_put64(into + 88, <uint64_t>message.stamp_ns)
    wire_put64(into + 96, <uint64_t>message.promise_ns)
    wire_put64(into + 104, <uint64_t>message.promised_ns)
    wire_put64(into + 112, <uint64_t>message.peer_clock_ns)
    wire_put64(into + 120, <uint64_t>message.remaining_ns)
    for i in range(message.entries.size):
        entry = &message.entries.data[i]
        payload_bytes = entry_bytes(entry)
        wire_put64(at, entry.term)
        wire_put64(at + 8, entry.index)
        wire_put32(at + 16, payload_bytes)
        wire_put32(at + 20, entry.kind)
        at += ENTRY_HEADER_BYTES
        if payload_bytes:
            memcpy(at, entry.data.bytes(), payload_bytes)
            at += payload_bytes
    if message.snapshot != NULL:
        at = put_snapshot(at, message.snapshot)
    return at


cdef const char* get_ids(const char* at, uint64_t* ids, int32_t count) noexcept nogil:
    """Sorted, without duplicates, none of them 0; null otherwise."""
    cdef uint64_t last = NO_MEMBER
    cdef int32_t i
    for i in range(count):
        ids[i] = wire_get64(at + 8 * i)
        if ids[i] <= last:
            return NULL
        last = ids[i]
    return at + 8 * count


cdef const char* get_snapshot(const char* at, const char* end, Snapshot* into) noexcept nogil:
    """The end of the snapshot, or null."""
    cdef Configuration* c = &into.configuration
    if end - at < SNAPSHOT_HEADER_BYTES:
        return NULL
    into.index = wire_get64(at)
    into.term = wire_get64(at + 8)
    c.auto_leave = at[16] == 1
    c.voters_count = <uint8_t>at[17]
    c.outgoing_count = <uint8_t>at[18]
    c.learners_count = <uint8_t>at[19]
    c.learners_next_count = <uint8_t>at[20]
    if <uint8_t>at[16] > 1 or at[21] != 0 or wire_get16(at + 22) != 0:
        return NULL
    if max(max(c.voters_count, c.outgoing_count), max(c.learners_count, c.learners_next_count)) > MAX_MEMBERS:
        return NULL
    at += SNAPSHOT_HEADER_BYTES
    if end - at < 8 * (c.voters_count + c.outgoing_count + c.learners_count + c.learners_next_count):
        return NULL
    at = get_ids(at, c.voters, c.voters_count)
    if at != NULL:
        at = get_ids(at, c.outgoing, c.outgoing_count)
    if at != NULL:
        at = get_ids(at, c.learners, c.learners_count)
    if at != NULL:
        at = get_ids(at, c.learners_next, c.learners_next_count)
    return at


cdef CodecResult get_entries(const char** at, const char* end, uint32_t count, Vec[Entry]* into) noexcept nogil:
    cdef BlobBlock* block = NULL
    cdef CodecResult result
    if count > <uint64_t>(end - at[0]) // ENTRY_HEADER_BYTES:
        return CODEC_MALFORMED
    if count and not into.reserve(count):
        return CODEC_NO_MEMORY
    if count > 1:
        # an entry's header on the wire is longer than what its payload needs beside itself in a block
        block = blob_block_new(end - at[0])
        if block == NULL:
            return CODEC_NO_MEMORY
    result = fill_entries(at, end, count, block, into)
    blob_block_release(block)
    return result


cdef CodecResult fill_entries(
        const char** at, const char* end, uint32_t count, BlobBlock* block, Vec[Entry]* into) noexcept nogil:
    """All payloads into one block, where there is one."""
    cdef uint32_t payload_bytes, kind, i
    cdef Entry* entry
    for i in range(count):
        if end - at[0] < ENTRY_HEADER_BYTES:
            return CODEC_MALFORMED
        payload_bytes = wire_get32(at[0] + 16)
        kind = wire_get32(at[0] + 20)
        if kind > ENTRY_CONF_CHANGE_V2 or end - at[0] - ENTRY_HEADER_BYTES < payload_bytes:
            return CODEC_MALFORMED
        entry = &into.data[i]
        entry.term = wire_get64(at[0])
        entry.index = wire_get64(at[0] + 8)
        entry.kind = <uint8_t>kind
        entry.data = NULL
        if payload_bytes and block != NULL:
            entry.data = blob_block_add(block, at[0] + ENTRY_HEADER_BYTES, payload_bytes)
        elif payload_bytes:
            entry.data = blob_new(at[0] + ENTRY_HEADER_BYTES, payload_bytes)
            if entry.data == NULL:
                return CODEC_NO_MEMORY
        into.size = i + 1
        at[0] += ENTRY_HEADER_BYTES + payload_bytes
    return CODEC_OK


cdef CodecResult message_decode(const char* data, size_t size, Message* into) noexcept nogil:
    cdef const char* at = data + SCALARS_BYTES
    cdef const char* end = data + size
    cdef CodecResult result
    memset(into, 0, sizeof(Message))
    if size < SCALARS_BYTES:
        return CODEC_MALFORMED
    into.type = <uint8_t>data[0]
    into.reject = data[1] == 1
    if into.type < MSG_APP or into.type > MSG_READ_INDEX_RESP or <uint8_t>data[1] > 1 or data[3] != 0:
        return CODEC_MALFORMED
    if <uint8_t>data[2] != (1 if into.type == MSG_SNAP else 0):
        return CODEC_MALFORMED
    into.from_ = wire_get64(data + 8)
    into.to = wire_get64(data + 16)
    into.term = wire_get64(data + 24)
    into.index = wire_get64(data + 32)
    into.log_term = wire_get64(data + 40)
    into.commit = wire_get64(data + 48)
    into.reject_hint = wire_get64(data + 56)
    into.round = wire_get64(data + 64)
    into.read_id = wire_get64(data + 72)
    into.release_term = wire_get64(data + 80)
    into.stamp_ns = <int64_t>wire_get64(data + 88)
    into.promise_ns = <int64_t>wire_get64(data + 96)
    into.promised_ns = <int64_t>wire_get64(data + 104)
    into.peer_clock_ns = <int64_t>wire_get64(data + 112)
    into.remaining_ns = <int64_t>wire_get64(data + 120)
    result = get_entries(&at, end, wire_get32(data + 4), &into.entries)
    if result == CODEC_OK and into.type == MSG_SNAP:
        into.snapshot = <Snapshot*>calloc(1, sizeof(Snapshot))
        if into.snapshot == NULL:
            result = CODEC_NO_MEMORY
        else:
            at = get_snapshot(at, end, into.snapshot)
    if result == CODEC_OK and at != end:
        result = CODEC_MALFORMED
    if result != CODEC_OK:
        message_release(into)
    return result
