"""Targets: what one host reads from another.

`frame`      a stream of frames, taken apart as the transport does, with every payload decoded by its type. A frame is the only
             encoding of what it says; what is not yet whole is never taken for whole nor for broken in another way
             than in the end.
`message`    one message. What decodes encodes to the same bytes again, and cost at most about twice its size in memory.
`handshake`  two hosts' hellos and a refusal: each decodes to what it was, both sides judge versions alike, and of two processes
             with one identity at most one is let in.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memset

from tenure._fuzz.kit cimport Cursor, exact_copy, left, next_random, take8
from tenure._net.frame cimport (
    FRAME_BAD_CHECKSUM, FRAME_HEADER_BYTES, FRAME_HELLO, FRAME_INCOMPLETE, FRAME_MESSAGE, FRAME_REFUSED, FRAME_WELCOME,
    FRAME_WHOLE, Frame, FrameResult, frame_parse, frame_seal,
)
from tenure._net.handshake cimport (
    HELLO_BYTES, REFUSAL_CLUSTER, REFUSAL_CODES, REFUSAL_NONE, REFUSAL_VERSION, REFUSED_BYTES, Hello,
    Incarnation, Refusal, hello_decode, hello_encode, hello_judge, incarnation_judge, refused_decode, refused_encode,
)
from tenure._net.message_codec cimport (
    CODEC_NO_MEMORY, CODEC_OK, CodecResult, message_bytes, message_decode, message_encode,
)
from tenure._net.wire cimport wire_get32
from tenure._raft.types cimport MAX_MEMBERS, Configuration, Message, entry_bytes, message_release

cdef enum:
    MAX_FRAME_BYTES = 65536
    PREFIXES = 24               # of a frame, that are parsed as well


# ---- messages

cdef bint sorted_ids(const uint64_t* ids, int count) noexcept nogil:
    cdef uint64_t last = 0
    cdef int i
    for i in range(count):
        if ids[i] <= last:
            return False
        last = ids[i]
    return True


cdef const char* judge_message(const Message* message, const char* data, size_t size) noexcept nogil:
    cdef const Configuration* c
    cdef char* encoded
    cdef size_t i
    cdef uint64_t memory = 0
    cdef const char* verdict = NULL
    if message_bytes(message) != size:
        return b"a decoded message is measured differently from what it was decoded from"
    encoded = <char*> malloc(size)
    if encoded == NULL:
        return NULL
    if message_encode(message, encoded) != encoded + size:
        verdict = b"a message is encoded in another number of bytes than was measured"
    elif memcmp(encoded, data, size) != 0:
        verdict = b"a decoded message encodes to other bytes"
    free(encoded)
    for i in range(message.entries.size):
        memory += entry_bytes(&message.entries.data[i])
    if memory > size or message.entries.capacity > max(message.entries.size, <size_t> 8):
        verdict = b"a message holds more than came with it"
    if message.snapshot != NULL:
        c = &message.snapshot.configuration
        if (
                max(max(c.voters_count, c.outgoing_count), max(c.learners_count, c.learners_next_count)) > MAX_MEMBERS
                or not sorted_ids(c.voters, c.voters_count) or not sorted_ids(c.outgoing, c.outgoing_count)
                or not sorted_ids(c.learners, c.learners_count) or not sorted_ids(c.learners_next, c.learners_next_count)):
            verdict = b"a decoded configuration is not in order"
    return verdict


cdef const char* fuzz_message(const char* data, size_t size, uint64_t* accepted) noexcept nogil:
    cdef Message message
    cdef const char* verdict = NULL
    cdef char* copy = exact_copy(data, size)
    cdef CodecResult result
    if copy == NULL:
        return NULL
    result = message_decode(copy, size, &message)
    if result == CODEC_OK:
        accepted[0] += 1
        verdict = judge_message(&message, copy, size)
        message_release(&message)
    elif result == CODEC_NO_MEMORY:
        verdict = b"decoding a small message asked for too much memory"
    elif message.entries.data != NULL or message.snapshot != NULL:
        verdict = b"a message that was refused still owns something"
    free(copy)
    return verdict


# ---- handshake

cdef const char* judge_hello(const char* payload, size_t size, Hello* hello, bint* good) noexcept nogil:
    cdef char encoded[HELLO_BYTES]
    good[0] = hello_decode(payload, size, hello)
    if not good[0]:
        return NULL
    hello_encode(hello, encoded)
    if memcmp(encoded, payload, HELLO_BYTES) != 0:
        return b"a decoded hello encodes to other bytes"
    return NULL


cdef const char* judge_refused(const char* payload, size_t size) noexcept nogil:
    cdef char encoded[REFUSED_BYTES]
    cdef Refusal refusal = refused_decode(payload, size)
    if <int> refusal < 0 or refusal >= REFUSAL_CODES:
        return b"a refusal that does not exist"
    if refusal != REFUSAL_NONE:
        refused_encode(refusal, encoded)
        if size != REFUSED_BYTES or memcmp(encoded, payload, REFUSED_BYTES) != 0:
            return b"a decoded refusal encodes to other bytes"
    return NULL


cdef const char* judge_pair(const Hello* one, const Hello* other) noexcept nogil:
    cdef Refusal there = hello_judge(one, other), back = hello_judge(other, one)
    cdef bint overlap = one.version_min <= other.version_max and other.version_min <= one.version_max
    cdef Incarnation known
    cdef Refusal first, second
    if (there == REFUSAL_VERSION) != (not overlap) or (back == REFUSAL_VERSION) != (not overlap):
        return b"two hosts judge their versions differently"
    if overlap and (there == REFUSAL_CLUSTER) != (back == REFUSAL_CLUSTER):
        return b"two hosts judge their clusters differently"
    if there == REFUSAL_NONE and other.to != one.from_:
        return b"a hello for another host was taken"
    known.known = True
    known.start_counter = one.start_counter
    known.nonce = one.nonce
    first = incarnation_judge(&known, other.start_counter, other.nonce)
    known.start_counter = other.start_counter
    known.nonce = other.nonce
    second = incarnation_judge(&known, one.start_counter, one.nonce)
    if first == REFUSAL_NONE and second == REFUSAL_NONE and (
            one.start_counter != other.start_counter or one.nonce != other.nonce):
        return b"two processes with one identity are both let in, in either order"
    if first != REFUSAL_NONE and second != REFUSAL_NONE and one.start_counter != other.start_counter:
        return b"neither of two starts of a host is let in"
    return NULL


cdef const char* fuzz_handshake(const char* data, size_t size, uint64_t* accepted) noexcept nogil:
    """Two hellos, and what is left is a refusal; the first byte says how much the first is cut by."""
    cdef Cursor cursor
    cdef Hello one, other
    cdef bint first = False, second = False
    cdef const char* verdict
    cdef char* copy
    cdef size_t cut, count
    cursor.at = data
    cursor.end = data + size
    cut = take8(&cursor)
    count = min(left(&cursor), HELLO_BYTES - min(cut, <size_t> HELLO_BYTES))
    copy = exact_copy(cursor.at, count)
    if copy == NULL:
        return NULL
    verdict = judge_hello(copy, count, &one, &first)
    free(copy)
    cursor.at += count
    count = min(left(&cursor), <size_t> HELLO_BYTES)
    if verdict == NULL:
        verdict = judge_hello(cursor.at, count, &other, &second)
    cursor.at += count
    if verdict == NULL and first and second:
        accepted[0] += 1
        verdict = judge_pair(&one, &other)
    if verdict == NULL:
        verdict = judge_refused(cursor.at, left(&cursor))
    return verdict


# ---- frames

cdef const char* judge_payload(const Frame* frame, uint64_t* accepted) noexcept nogil:
    cdef Hello hello
    cdef bint good = False
    cdef const char* verdict = NULL
    if frame.type == FRAME_MESSAGE:
        return fuzz_message(frame.payload, frame.payload_bytes, accepted)
    if frame.type == FRAME_HELLO or frame.type == FRAME_WELCOME:
        verdict = judge_hello(frame.payload, frame.payload_bytes, &hello, &good)
    elif frame.type == FRAME_REFUSED:
        verdict = judge_refused(frame.payload, frame.payload_bytes)
    return verdict


cdef const char* judge_prefix(const char* data, size_t size, FrameResult whole, uint64_t bytes) noexcept nogil:
    """What a shorter piece of the same stream says may not contradict what `whole` says of all of it."""
    cdef char* copy = exact_copy(data, size)
    cdef Frame frame
    cdef FrameResult result
    if copy == NULL:
        return NULL
    result = frame_parse(copy, size, MAX_FRAME_BYTES, &frame)
    free(copy)
    if result == FRAME_INCOMPLETE:
        if size >= FRAME_HEADER_BYTES and frame.bytes <= size:
            return b"an incomplete frame that is no longer than what is there"
        if bytes != 0 and size >= bytes:
            return b"a frame is incomplete though all of it is there"
        return NULL
    if result != whole:
        return b"the same bytes are judged differently when fewer of them are there"
    if (result == FRAME_WHOLE or result == FRAME_BAD_CHECKSUM) and frame.bytes > size:
        return b"a frame is judged before all of it is there"
    return NULL


cdef const char* judge_frame(const char* data, size_t size, const Frame* frame) noexcept nogil:
    cdef char* copy
    cdef bint same
    if frame.bytes != <uint64_t> frame.payload_bytes + FRAME_HEADER_BYTES or frame.bytes > min(size, <size_t> MAX_FRAME_BYTES):
        return b"a whole frame is longer than allowed, or than what is there"
    copy = exact_copy(data, frame.bytes)
    if copy == NULL:
        return NULL
    memset(copy, 0, FRAME_HEADER_BYTES)
    frame_seal(copy, frame.type, frame.group, frame.payload_bytes)
    same = memcmp(copy, data, frame.bytes) == 0
    free(copy)
    if not same:
        return b"a parsed frame is sealed to other bytes"
    return NULL


cdef const char* fuzz_frame(const char* data, size_t size, uint64_t* accepted) noexcept nogil:
    cdef Frame frame
    cdef FrameResult result
    cdef char* copy = exact_copy(data, size)
    cdef const char* verdict = NULL
    cdef size_t at = 0, k
    if copy == NULL:
        return NULL
    while verdict == NULL:
        result = frame_parse(copy + at, size - at, MAX_FRAME_BYTES, &frame)
        for k in range(min(size - at, <size_t> PREFIXES) + 1):
            if verdict == NULL:
                verdict = judge_prefix(copy + at, k, result, frame.bytes)
        if verdict == NULL and frame.bytes != 0 and frame.bytes <= size - at:
            verdict = judge_prefix(copy + at, frame.bytes - 1, result, frame.bytes)
            if verdict == NULL:
                verdict = judge_prefix(copy + at, frame.bytes, result, frame.bytes)
        if result != FRAME_WHOLE or verdict != NULL:
            break
        verdict = judge_frame(copy + at, size - at, &frame)
        if verdict == NULL:
            accepted[0] += 1
            verdict = judge_payload(&frame, accepted)
        at += frame.bytes
    free(copy)
    return verdict


cdef size_t reseal_frames(char* data, size_t size, size_t limit, uint32_t seed) noexcept nogil:
    """Seals one frame after the other, where lengths are nonsense with what is left; now and then leaves one broken."""
    cdef size_t at = 0
    cdef uint32_t payload_bytes
    while size - at >= FRAME_HEADER_BYTES:
        payload_bytes = wire_get32(data + at + 12)
        if payload_bytes > size - at - FRAME_HEADER_BYTES:
            payload_bytes = <uint32_t> (size - at - FRAME_HEADER_BYTES)
        if next_random(&seed) % 16 != 0:
            frame_seal(data + at, <uint8_t> data[at + 5], wire_get32(data + at + 8), payload_bytes)
        at += FRAME_HEADER_BYTES + payload_bytes
    return size
