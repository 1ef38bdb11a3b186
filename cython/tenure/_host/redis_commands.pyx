"""Requests in, encoded commands and replies out: the meaning of each Redis command, apart from who asked and how it is fenced.

Every error text is Redis's own, checked against a real server by a differential test. What a write depends on is
decided in apply (`tenure._kv`), so a translation looks at nothing but its arguments; whatever can be refused without
the store is refused here, before anything is proposed.
"""

from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, int64_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, strlen

from tenure._core.blob cimport Blob
from tenure._core.vec cimport Vec
from tenure._kv.codec cimport (
    ERROR_NOT_AN_INTEGER, ERROR_OVERFLOW, ERROR_TOO_LARGE, EXPIRE_GT, EXPIRE_LT, EXPIRE_NX, EXPIRE_XX, OP_APPEND, OP_DEL,
    OP_EXPIREAT, OP_FLUSHALL, OP_GETDEL, OP_GETSET, OP_INCRBY, OP_MSET, OP_PERSIST, OP_SET, OP_SETNX, RESULT_BYTES,
    RESULT_ERROR, RESULT_INTEGER, RESULT_NIL, RESULT_OK, SET_GET, SET_KEEPTTL, SET_NX, SET_XX, Opcode, Result, Slice,
    command_new, result_read,
)
from tenure._kv.read cimport Instant, store_get, store_look, store_look_many, store_size
from tenure._kv.store cimport STORE_ABSENT, STORE_FOUND, STORE_UNDECIDED, Store, StoreCode
from tenure._net.resp cimport (
    reply_array, reply_bulk, reply_error, reply_integer, reply_nil, reply_raw, resp_integer, resp_is,
)

cdef enum:
    SHOWN_BYTES = 128           # of what was asked for, in an error
    MOST_REPLY_BYTES = 64 << 20 # of several values in one reply


# ------------------------------------------------------------------------------------------------------------ errors

cdef bint error(Vec[char]* out, const char* text) noexcept nogil:
    return reply_error(out, text, strlen(text))


cdef bint arity_fits(const RedisCommand* command, size_t count) noexcept nogil:
    return count == <size_t>command.arity if command.arity > 0 else count >= <size_t>-command.arity


cdef bint unknown_command(Vec[char]* out, const Slice* arguments, uint32_t count) noexcept nogil:
    cdef char text[512]
    cdef size_t size = 0, shown = 0, piece
    cdef const char* opening = b"ERR unknown command '"
    cdef const char* middle = b"', with args beginning with: "
    cdef uint32_t i
    size = append(text, size, opening, strlen(opening))
    size = append(text, size, arguments[0].data, cut(arguments[0].data, min(arguments[0].size, <uint32_t>SHOWN_BYTES)))
    size = append(text, size, middle, strlen(middle))
    for i in range(1, count):
        if shown >= SHOWN_BYTES:
            break
        piece = cut(arguments[i].data, min(<size_t>arguments[i].size, SHOWN_BYTES - shown))
        size = append(text, size, b"'", 1)
        size = append(text, size, arguments[i].data, piece)
        size = append(text, size, b"' ", 2)
        shown += piece + 3
    return reply_error(out, text, size)


cdef size_t append(char* text, size_t size, const char* piece, size_t piece_size) noexcept nogil:
    memcpy(text + size, piece, piece_size)
    return size + piece_size


cdef size_t cut(const char* text, size_t size) noexcept nogil:
    """Up to the first zero byte."""
    cdef size_t i
    for i in range(size):
        if text[i] == 0:
            return i
    return size


cdef bint wrong_arity(Vec[char]* out, const char* name, const char* subcommand, size_t subcommand_size) noexcept nogil:
    cdef char text[256]
    cdef size_t size = 0, i
    cdef const char* opening = b"ERR wrong number of arguments for '"
    size = append(text, size, opening, strlen(opening))
    size = append(text, size, name, strlen(name))
    if subcommand != NULL:
        size = append(text, size, b"|", 1)
        for i in range(min(subcommand_size, <size_t>SHOWN_BYTES)):
            text[size] = subcommand[i] + 32 if c"A" <= subcommand[i] <= c"Z" else subcommand[i]
            size += 1
    size = append(text, size, b"' command", 9)
    return reply_error(out, text, size)


cdef bint invalid_expire(Vec[char]* out, const RedisCommand* command) noexcept nogil:
    cdef char text[128]
    cdef size_t size = 0
    cdef const char* opening = b"ERR invalid expire time in '"
    size = append(text, size, opening, strlen(opening))
    size = append(text, size, command.name, strlen(command.name))
    size = append(text, size, b"' command", 9)
    return reply_error(out, text, size)


cdef Translation replied(bint enough) noexcept nogil:
    return TRANSLATION_REPLIED if enough else TRANSLATION_MEMORY


# ------------------------------------------------------------------------------------------------------------ writes

cdef Translation encode(
        Opcode opcode, uint16_t flags, int64_t until_ms, const Slice* arguments, uint32_t count, Blob** encoded) noexcept nogil:
    """The hint comes when it is proposed."""
    encoded[0] = command_new(opcode, flags, 0, until_ms, arguments, count)
    return TRANSLATED if encoded[0] != NULL else TRANSLATION_MEMORY


cdef bint is_word(const Slice* argument, const char* word) noexcept nogil:
    return resp_is(argument.data, argument.size, word)


cdef bint life_to_instant(int64_t amount, bint seconds, bint relative, int64_t now_ms, int64_t* until_ms) noexcept nogil:
    """False when it is no instant that SET accepts: not positive, or out of range."""
    if amount <= 0 or (seconds and amount > INT64_MAX // 1000):
        return False
    if seconds:
        amount *= 1000
    if relative:
        if amount > INT64_MAX - now_ms:
            return False
        amount += now_ms
    until_ms[0] = amount
    return True


cdef bint word_is_seconds(const Slice* word) noexcept nogil:
    return word.data[0] == c"e" or word.data[0] == c"E"


cdef Translation translate_set(
        const RedisCommand* command, const Slice* arguments, uint32_t count, int64_t now_ms, Vec[char]* out,
        Blob** encoded) noexcept nogil:
    cdef uint16_t flags = 0
    cdef const Slice* life = NULL
    cdef bint seconds = False, relative = False
    cdef int64_t until_ms = 0, amount = 0
    cdef const Slice* word
    cdef uint32_t i = 3
    while i < count:
        word = &arguments[i]
        if is_word(word, b"nx") and not flags & SET_XX:
            flags |= SET_NX
        elif is_word(word, b"xx") and not flags & SET_NX:
            flags |= SET_XX
        elif is_word(word, b"get"):
            flags |= SET_GET
        elif is_word(word, b"keepttl") and life == NULL:
            flags |= SET_KEEPTTL
        elif i + 1 < count and not flags & SET_KEEPTTL and (
                is_word(word, b"ex") or is_word(word, b"px") or is_word(word, b"exat") or is_word(word, b"pxat")):
            if life != NULL and (seconds != word_is_seconds(word) or relative != (word.size == 2)):
                return replied(error(out, b"ERR syntax error"))
            seconds = word_is_seconds(word)
            relative = word.size == 2
            i += 1                                        # the same word again: the last one counts
            life = &arguments[i]
        else:
            return replied(error(out, b"ERR syntax error"))
        i += 1
    if life != NULL:
        if not resp_integer(life.data, life.size, &amount):
            return replied(error(out, b"ERR value is not an integer or out of range"))
        if not life_to_instant(amount, seconds, relative, now_ms, &until_ms):
            return replied(invalid_expire(out, command))
    return encode(OP_SET, flags, until_ms, arguments + 1, 2, encoded)


cdef Translation translate_setex(
        const RedisCommand* command, const Slice* arguments, int64_t now_ms, Vec[char]* out, Blob** encoded) noexcept nogil:
    cdef Slice pair[2]
    cdef int64_t amount = 0, until_ms = 0
    if not resp_integer(arguments[2].data, arguments[2].size, &amount):
        return replied(error(out, b"ERR value is not an integer or out of range"))
    if not life_to_instant(amount, command.id == CMD_SETEX, True, now_ms, &until_ms):
        return replied(invalid_expire(out, command))
    pair[0] = arguments[1]
    pair[1] = arguments[3]
    return encode(OP_SET, 0, until_ms, pair, 2, encoded)


cdef Translation expire_flags(
        const Slice* arguments, uint32_t count, uint16_t* flags, Vec[char]* out) noexcept nogil:
    """TRANSLATED: `flags` are those of the words behind the instant."""
    cdef char text[192]
    cdef size_t size
    cdef uint32_t i
    flags[0] = 0
    for i in range(3, count):
        if is_word(&arguments[i], b"nx"):
            flags[0] |= EXPIRE_NX
        elif is_word(&arguments[i], b"xx"):
            flags[0] |= EXPIRE_XX
        elif is_word(&arguments[i], b"gt"):
            flags[0] |= EXPIRE_GT
        elif is_word(&arguments[i], b"lt"):
            flags[0] |= EXPIRE_LT
        else:
            size = append(text, 0, b"ERR Unsupported option ", 23)
            size = append(
                text, size, arguments[i].data, cut(arguments[i].data, min(arguments[i].size, <uint32_t>SHOWN_BYTES)))
            return replied(reply_error(out, text, size))
    if flags[0] & EXPIRE_NX and flags[0] != EXPIRE_NX:
        return replied(error(out, b"ERR NX and XX, GT or LT options at the same time are not compatible"))
    if flags[0] & EXPIRE_GT and flags[0] & EXPIRE_LT:
        return replied(error(out, b"ERR GT and LT options at the same time are not compatible"))
    return TRANSLATED


cdef Translation translate_expire(
        const RedisCommand* command, const Slice* arguments, uint32_t count, int64_t now_ms, Vec[char]* out,
        Blob** encoded) noexcept nogil:
    cdef bint seconds = command.id == CMD_EXPIRE or command.id == CMD_EXPIREAT
    cdef int64_t base_ms = now_ms if command.id == CMD_EXPIRE or command.id == CMD_PEXPIRE else 0
    cdef int64_t amount = 0
    cdef uint16_t flags = 0
    cdef Translation translation = expire_flags(arguments, count, &flags, out)
    if translation != TRANSLATED:
        return translation
    if not resp_integer(arguments[2].data, arguments[2].size, &amount):
        return replied(error(out, b"ERR value is not an integer or out of range"))
    if seconds:
        if amount > INT64_MAX // 1000 or amount < -(INT64_MAX // 1000):
            return replied(invalid_expire(out, command))
        amount *= 1000
    if amount > INT64_MAX - base_ms:
        return replied(invalid_expire(out, command))
    # An instant in the past ends the key at once; zero would mean that it never ends.
    return encode(OP_EXPIREAT, flags, max(amount + base_ms, <int64_t>1), arguments + 1, 1, encoded)


cdef Translation translate_number(
        const RedisCommand* command, const Slice* arguments, Vec[char]* out, Blob** encoded) noexcept nogil:
    cdef Slice pair[2]
    cdef int64_t delta = 1
    if command.id == CMD_INCRBY or command.id == CMD_DECRBY:
        if not resp_integer(arguments[2].data, arguments[2].size, &delta):
            return replied(error(out, b"ERR value is not an integer or out of range"))
    if command.id == CMD_DECR or command.id == CMD_DECRBY:
        if delta == INT64_MIN:
            return replied(error(out, b"ERR decrement would overflow"))
        delta = -delta
    pair[0] = arguments[1]
    pair[1].data = <const char*>&delta
    pair[1].size = sizeof(delta)
    return encode(OP_INCRBY, 0, 0, pair, 2, encoded)


cdef Translation translate_write(
        const RedisCommand* command, const Slice* arguments, uint32_t count, int64_t now_ms, Vec[char]* out,
        Blob** encoded) noexcept nogil:
    cdef RedisCommandId id = command.id
    if id == CMD_SET:
        return translate_set(command, arguments, count, now_ms, out, encoded)
    if id == CMD_INCR or id == CMD_DECR or id == CMD_INCRBY or id == CMD_DECRBY:
        return translate_number(command, arguments, out, encoded)
    if id == CMD_SETEX or id == CMD_PSETEX:
        return translate_setex(command, arguments, now_ms, out, encoded)
    if id == CMD_EXPIRE or id == CMD_PEXPIRE or id == CMD_EXPIREAT or id == CMD_PEXPIREAT:
        return translate_expire(command, arguments, count, now_ms, out, encoded)
    if id == CMD_MSET:
        if count % 2 == 0:
            return replied(wrong_arity(out, command.name, NULL, 0))
        return encode(OP_MSET, 0, 0, arguments + 1, count - 1, encoded)
    if id == CMD_FLUSHALL or id == CMD_FLUSHDB:
        if count > 2 or (count == 2 and not is_word(&arguments[1], b"sync") and not is_word(&arguments[1], b"async")):
            return replied(error(out, b"ERR syntax error"))
        return encode(OP_FLUSHALL, 0, 0, NULL, 0, encoded)
    if id == CMD_DEL or id == CMD_UNLINK:
        return encode(OP_DEL, 0, 0, arguments + 1, count - 1, encoded)
    if id == CMD_APPEND:
        return encode(OP_APPEND, 0, 0, arguments + 1, 2, encoded)
    if id == CMD_GETSET:
        return encode(OP_GETSET, 0, 0, arguments + 1, 2, encoded)
    if id == CMD_SETNX:
        return encode(OP_SETNX, 0, 0, arguments + 1, 2, encoded)
    if id == CMD_GETDEL:
        return encode(OP_GETDEL, 0, 0, arguments + 1, 1, encoded)
    return encode(OP_PERSIST, 0, 0, arguments + 1, 1, encoded)


cdef bint reply_result(Vec[char]* out, Blob* blob, int32_t protocol) noexcept nogil:
    cdef Result result
    if blob == NULL or not result_read(blob.bytes(), blob.size, &result):
        return error(out, b"ERR the store did not understand the command")
    if result.kind == RESULT_OK:
        return reply_raw(out, b"+OK\r\n", 5)
    if result.kind == RESULT_INTEGER:
        return reply_integer(out, result.integer)
    if result.kind == RESULT_NIL:
        return reply_nil(out, protocol)
    if result.kind == RESULT_BYTES:
        return reply_bulk(out, result.bytes.data, result.bytes.size)
    if result.kind == RESULT_ERROR:
        if result.error == ERROR_NOT_AN_INTEGER:
            return error(out, b"ERR value is not an integer or out of range")
        if result.error == ERROR_OVERFLOW:
            return error(out, b"ERR increment or decrement would overflow")
        if result.error == ERROR_TOO_LARGE:
            return error(out, b"ERR string exceeds maximum allowed size (proto-max-bulk-len)")
        return error(out, b"ERR the store refused the command")
    return error(out, b"ERR the store did not understand the command")


# ------------------------------------------------------------------------------------------------------------- reads

cdef struct Reading:
    # Of one key: what to do with the value, and what came of it.
    RedisCommandId id
    Vec[char]* out
    const Slice* arguments
    const Instant* instant
    int32_t protocol
    bint enough
    int64_t start
    int64_t end


cdef void found(void* context, const char* value, uint32_t size, int64_t expires_ms) noexcept nogil:
    """Under the shard's lock: append the reply."""
    cdef Reading* r = <Reading*>context
    if r.id == CMD_GET or r.id == CMD_MGET:
        r.enough = reply_bulk(r.out, value, size)
    elif r.id == CMD_STRLEN:
        r.enough = reply_integer(r.out, size)
    elif r.id == CMD_TTL or r.id == CMD_PTTL:
        r.enough = reply_integer(r.out, left_of(r, expires_ms))
    elif r.id == CMD_EXPIRETIME:
        r.enough = reply_integer(r.out, -1 if expires_ms == 0 else rounded_seconds(expires_ms))
    elif r.id == CMD_PEXPIRETIME:
        r.enough = reply_integer(r.out, -1 if expires_ms == 0 else expires_ms)
    elif r.id == CMD_TYPE:
        r.enough = reply_raw(r.out, b"+string\r\n", 9)
    elif r.id == CMD_GETRANGE:
        reply_range(r, value, size)


cdef int64_t rounded_seconds(int64_t ms) noexcept nogil:
    return ms // 1000 + (1 if ms % 1000 >= 500 else 0)


cdef int64_t left_of(Reading* r, int64_t expires_ms) noexcept nogil:
    cdef int64_t left_ms
    if expires_ms == 0:
        return -1
    left_ms = max(expires_ms - r.instant.now_ms, <int64_t>0)
    return left_ms if r.id == CMD_PTTL else rounded_seconds(left_ms)


cdef void reply_range(Reading* r, const char* value, uint32_t size) noexcept nogil:
    cdef int64_t start = r.start, end = r.end
    if start < 0:
        start = max(start + <int64_t>size, <int64_t>0)
    if end < 0:
        end = max(end + <int64_t>size, <int64_t>0)
    end = min(end, <int64_t>size - 1)
    if (r.start < 0 and r.end < 0 and r.start > r.end) or start > end or size == 0:
        r.enough = reply_bulk(r.out, b"", 0)
    else:
        r.enough = reply_bulk(r.out, value + start, <size_t>(end - start + 1))


cdef bint absent(Reading* r) noexcept nogil:
    cdef RedisCommandId id = r.id
    if id == CMD_GET or id == CMD_MGET:
        return reply_nil(r.out, r.protocol)
    if id == CMD_STRLEN:
        return reply_integer(r.out, 0)
    if id == CMD_TTL or id == CMD_PTTL or id == CMD_EXPIRETIME or id == CMD_PEXPIRETIME:
        return reply_integer(r.out, -2)
    if id == CMD_TYPE:
        return reply_raw(r.out, b"+none\r\n", 7)
    if id == CMD_GETRANGE:
        return reply_bulk(r.out, b"", 0)
    return True


cdef struct KeyRead:
    # One key of several that are read at one instant.
    KeysRead* all
    uint32_t number

cdef struct KeysRead:
    Reading* reading
    uint32_t answered           # keys that have their reply, in order
    uint32_t found
    uint32_t count
    size_t size_before
    bint too_large


cdef void absent_until(KeysRead* r, uint32_t number) noexcept nogil:
    while r.answered < number:
        r.reading.enough = r.reading.enough and absent(r.reading)
        r.answered += 1


cdef void found_of_many(void* context, const char* value, uint32_t size, int64_t expires_ms) noexcept nogil:
    """Under the locks of all shards that the keys are in."""
    cdef KeyRead* key = <KeyRead*>context
    cdef KeysRead* r = key.all
    absent_until(r, key.number)
    if r.reading.enough and not r.too_large:
        found(r.reading, value, size, expires_ms)
        r.too_large = r.reading.out.size - r.size_before > MOST_REPLY_BYTES and key.number + 1 < r.count
    r.answered += 1
    r.found += 1


cdef Judgement read_many(
        Reading* reading, const Slice* keys, uint32_t count, Store* store, size_t size_before, ReadCounts* counts,
        int64_t* existing) noexcept nogil:
    """All at one instant, although another thread applies: no half of an entry is seen."""
    cdef KeysRead all
    cdef KeyRead* each = <KeyRead*>malloc(count * (sizeof(KeyRead) + sizeof(void*) + sizeof(StoreCode)))
    cdef void** contexts
    cdef StoreCode code
    cdef Instant instant = reading.instant[0]
    cdef uint32_t i
    if each == NULL:
        return READ_MEMORY
    contexts = <void**>(each + count)
    all.reading = reading
    all.answered = all.found = 0
    all.count = count
    all.size_before = size_before
    all.too_large = False
    for i in range(count):
        each[i].all = &all
        each[i].number = i
        contexts[i] = &each[i]
    code = store_look_many(store, keys, count, &instant, found_of_many, contexts, <StoreCode*>(contexts + count))
    free(each)
    if code != STORE_FOUND:
        return READ_UNDECIDED if code == STORE_UNDECIDED else READ_FAILED
    absent_until(&all, count)
    counts.found += all.found
    counts.absent += count - all.found
    existing[0] = all.found
    if not reading.enough:
        return READ_MEMORY
    if all.too_large:
        reading.out.size = size_before
        return READ_DONE if refuse_reply(reading.out) else READ_MEMORY
    return READ_DONE


cdef bint refuse_reply(Vec[char]* out) noexcept nogil:
    return error(out, b"ERR the reply would be too large: ask for fewer keys at once")


cdef void see_size(void* context, const char* value, uint32_t size, int64_t expires_ms) noexcept nogil:
    (<uint32_t*>context)[0] = size


cdef uint32_t value_returned_bytes(
        const RedisCommand* command, const Slice* arguments, uint32_t count, Store* store) noexcept nogil:
    cdef uint32_t size = 0, i
    cdef bint returned = command.id == CMD_GETSET or command.id == CMD_GETDEL
    if command.id == CMD_SET:
        for i in range(3, count):
            returned = returned or is_word(&arguments[i], b"get")
    if returned:
        # expired or not: an estimate
        store_get(store, arguments[1].data, arguments[1].size, 0, see_size, &size)
    return size


cdef Judgement execute_read(
        const RedisCommand* command, const Slice* arguments, uint32_t count, Store* store, bint alone, const Instant* instant,
        int32_t protocol, Vec[char]* out, ReadCounts* counts) noexcept nogil:
    cdef Reading reading
    cdef StoreCode code
    cdef size_t size_before = out.size
    cdef int64_t existing = 0
    cdef Judgement judgement
    cdef uint32_t i, keys = 1
    reading.id = command.id
    reading.out = out
    reading.arguments = arguments
    reading.instant = instant
    reading.protocol = protocol
    reading.enough = True
    if command.id == CMD_DBSIZE:
        return READ_DONE if reply_integer(out, <int64_t>store_size(store)) else READ_MEMORY
    if command.id == CMD_GETRANGE:
        if not resp_integer(arguments[2].data, arguments[2].size, &reading.start) or not resp_integer(
                arguments[3].data, arguments[3].size, &reading.end):
            return READ_DONE if error(out, b"ERR value is not an integer or out of range") else READ_MEMORY
    if command.id == CMD_MGET or command.id == CMD_EXISTS:
        keys = count - 1
    if command.id == CMD_MGET and not reply_array(out, keys):
        return READ_MEMORY
    if keys > 1 and not alone:
        judgement = read_many(&reading, arguments + 1, keys, store, size_before, counts, &existing)
        if judgement != READ_DONE:
            out.size = size_before
            return judgement
        keys = 0
    for i in range(1, keys + 1):
        code = store_look(store, arguments[i].data, arguments[i].size, instant, found, &reading)
        if code == STORE_FOUND:
            counts.found += 1
            existing += 1
        elif code == STORE_ABSENT:
            counts.absent += 1
            reading.enough = reading.enough and absent(&reading)
        else:
            out.size = size_before
            return READ_UNDECIDED if code == STORE_UNDECIDED else READ_FAILED
        if not reading.enough:
            out.size = size_before
            return READ_MEMORY
        if out.size - size_before > MOST_REPLY_BYTES and i < keys:
            out.size = size_before
            return READ_DONE if refuse_reply(out) else READ_MEMORY
    if command.id == CMD_EXISTS and not reply_integer(out, existing):
        return READ_MEMORY
    return READ_DONE
