"""Targets: what the key-value store reads from the log and from dumps.

`command`  entries, each behind its size (2 bytes); the first byte says after how many of them the state goes through a dump. A
           command that is accepted encodes to the same bytes again. Two stores with different seeds, one of them
           loaded from the other's dump half way, answer alike and end alike; what is not a command changes nothing.
`dump`     the bytes of a dump, with and without the state hash that its items have. It is refused, or what was loaded dumps to
           a dump of the same length that loads to the same state, however it is cut.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

from tenure._core.blob cimport Blob, blob_release
from tenure._core.vec cimport Vec
from tenure._fuzz.kit cimport Cursor, exact_copy, left, next_random, take8, take16
from tenure._kv.codec cimport (
    ERROR_MALFORMED, RESULT_ARRAY, RESULT_ERROR, Command, Opcode, Result, Slice, command_check, command_next,
    command_size, command_write, result_next, result_read,
)
from tenure._kv.dump cimport (
    DUMP_MORE, DUMP_NO_MEMORY, LOAD_DIFFERS, LOAD_NO_MEMORY, LOAD_OK, Dump, DumpCode,
    Load, LoadCode, dump_begin, dump_close, dump_read, load_begin, load_close, load_end, load_feed,
)
from tenure._kv.read cimport store_ceiling_ts, store_last_commit_ts, store_size, store_state_hash
from tenure._kv.store cimport Store, store_adopt, store_apply, store_new, store_prefetch, store_release

cdef enum:
    HEAD_COMMIT_OFFSET = 16     # in a dump
    HEAD_COUNT_OFFSET = 32
    HEAD_HASH_OFFSET = 40
    HEAD_BYTES = 48


# ---- commands and results

cdef const char* judge_encoding(const char* data, uint32_t size, bint* valid) noexcept nogil:
    cdef Command command
    cdef Vec[Slice] arguments
    cdef char* encoded
    cdef uint32_t _i
    cdef const char* verdict = NULL
    valid[0] = command_check(data, size, &command)
    if not valid[0]:
        return NULL
    memset(&arguments, 0, sizeof(arguments))
    if not arguments.reserve(command.count):
        return b"a small command announces more arguments than memory holds"
    for _i in range(command.count):
        arguments.push(command_next(&command))
    encoded = <char*> malloc(size)
    if encoded != NULL:
        if command_size(arguments.data, command.count) != size:
            verdict = b"a command is measured differently from what it was decoded from"
        else:
            command_write(
                encoded, <Opcode> command.opcode, command.flags, command.hint_ts, command.until_ms, arguments.data,
                command.count)
            if memcmp(encoded, data, size) != 0:
                verdict = b"an accepted command encodes to other bytes"
    free(encoded)
    arguments.release()
    return verdict


cdef bint whole_result(Blob* blob, uint32_t size, bint valid) noexcept nogil:
    """Whether it is one result of an accepted command, the error of one that was not, or nothing for none."""
    cdef Result result, item
    cdef int64_t _i
    if blob == NULL or size == 0:
        return blob == NULL and size == 0
    if not result_read(blob.bytes(), blob.size, &result):
        return False
    if (result.kind == RESULT_ERROR and result.error == ERROR_MALFORMED) != (not valid):
        return False
    if result.kind == RESULT_ARRAY:
        for _i in range(result.integer):
            if not result_next(&result, &item) or item.kind == RESULT_ARRAY:
                return False
        return result.bytes.size == 0
    return True


cdef bint same_blob(Blob* one, Blob* other) noexcept nogil:
    if one == NULL or other == NULL:
        return one == other
    return one.size == other.size and memcmp(one.bytes(), other.bytes(), one.size) == 0


cdef const char* judge_result_bytes(const char* data, size_t size) noexcept nogil:
    """Bytes that may be a result: reading stays inside of them."""
    cdef Result result, item
    cdef uint32_t steps = 0
    if result_read(data, <uint32_t> size, &result) and result.kind == RESULT_ARRAY:
        while result_next(&result, &item):
            steps += 1
            if item.bytes.data != NULL and (item.bytes.data < data or item.bytes.data + item.bytes.size > data + size):
                return b"a result reaches beyond its bytes"
        if steps > size // 4:
            return b"a result has more parts than bytes for them"
    return NULL


cdef const char* dump_all(Store* store, size_t goal, Vec[char]* out) noexcept nogil:
    cdef Dump* dump = dump_begin(store)
    cdef DumpCode code = DUMP_MORE
    if dump == NULL:
        return b"a store without an open dump begins none"
    while code == DUMP_MORE:
        code = dump_read(dump, out, goal)
    dump_close(dump)
    if code == DUMP_NO_MEMORY:
        return b"memory ran out in a small dump"
    return NULL


cdef LoadCode load_all(const Store* like, const char* data, size_t size, uint32_t pieces, Load** loaded) noexcept nogil:
    """0: at once; else the seed of the pieces' lengths. `loaded` is the caller's to close."""
    cdef LoadCode code = LOAD_OK
    cdef size_t at = 0, piece
    cdef char* copy
    loaded[0] = load_begin(like)
    if loaded[0] == NULL:
        return LOAD_NO_MEMORY
    while code == LOAD_OK and at < size:
        piece = size - at if pieces == 0 else min(size - at, <size_t> (1 + next_random(&pieces) % 40))
        copy = exact_copy(data + at, piece)
        if copy == NULL:
            return LOAD_NO_MEMORY
        code = load_feed(loaded[0], copy, piece)
        free(copy)
        at += piece
    return code if code != LOAD_OK else load_end(loaded[0])


cdef bint same_state(Store* one, Store* other) noexcept nogil:
    return (
        store_state_hash(one) == store_state_hash(other) and store_size(one) == store_size(other)
        and store_last_commit_ts(one) == store_last_commit_ts(other) and store_ceiling_ts(one) == store_ceiling_ts(other)
    )


cdef const char* through_a_dump(Store* store, Store* into) noexcept nogil:
    """`into` becomes what `store` is."""
    cdef Vec[char] out
    cdef Load* load = NULL
    cdef const char* verdict
    memset(&out, 0, sizeof(out))
    verdict = dump_all(store, 100, &out)
    if verdict == NULL and load_all(into, out.data, out.size, 3, &load) != LOAD_OK:
        verdict = b"the dump of a store does not load"
    if verdict == NULL and (not store_adopt(into, load.store) or not same_state(store, into)):
        verdict = b"a store that adopted another's dump is not like it"
    load_close(load)
    out.release()
    return verdict


cdef const char* apply_both(Store* one, Store* other, const char* data, uint32_t size, uint64_t* accepted) noexcept nogil:
    cdef Blob* first = NULL
    cdef Blob* second = NULL
    cdef const char* verdict
    cdef bint valid = False
    cdef char* copy = exact_copy(data, size)
    cdef uint64_t before = store_state_hash(one), ts = store_last_commit_ts(one)
    if copy == NULL:
        return NULL
    verdict = judge_encoding(copy, size, &valid)
    if verdict == NULL:
        verdict = judge_result_bytes(copy, size)
    store_prefetch(one, copy, size, 0)
    store_prefetch(one, copy, size, 1)
    if verdict == NULL and (not store_apply(one, copy, size, &first) or not store_apply(other, copy, size, &second)):
        verdict = b"memory ran out in a small command"
    elif verdict == NULL:
        if not same_blob(first, second) or not same_state(one, other):
            verdict = b"two stores differ after the same commands"
        elif not whole_result(first, size, valid):
            verdict = b"the result of a command is not one"
        elif not valid and (store_last_commit_ts(one) != ts or before != store_state_hash(one)):
            verdict = b"what is not a command has changed something"
    if valid:
        accepted[0] += 1
    blob_release(first)
    blob_release(second)
    free(copy)
    return verdict


cdef const char* fuzz_command(const char* data, size_t size, uint64_t* accepted) noexcept nogil:
    cdef Cursor cursor
    cdef Store* one = store_new(1, 2)
    cdef Store* other = store_new(3, 4)
    cdef const char* verdict = NULL
    cdef uint8_t until_dump
    cdef uint32_t length
    cursor.at = data
    cursor.end = data + size
    until_dump = take8(&cursor)
    while one != NULL and other != NULL and verdict == NULL and left(&cursor) >= 2:
        length = take16(&cursor)
        length = <uint32_t> min(<size_t> length, left(&cursor))
        if until_dump == 0:
            verdict = through_a_dump(one, other)
        until_dump -= 1
        if verdict == NULL:
            verdict = apply_both(one, other, cursor.at, length, accepted)
        cursor.at += length
    if one != NULL and other != NULL and verdict == NULL:
        verdict = through_a_dump(one, other)
    store_release(one)
    store_release(other)
    return verdict


# ---- dumps

cdef const char* judge_loaded(Store* store, size_t size) noexcept nogil:
    cdef Vec[char] out
    cdef Load* load = NULL
    cdef const char* verdict
    memset(&out, 0, sizeof(out))
    verdict = dump_all(store, 1, &out)
    if verdict == NULL and out.size != size:
        verdict = b"a dump that was loaded dumps to another length"
    elif verdict == NULL and load_all(store, out.data, out.size, 0, &load) != LOAD_OK:
        verdict = b"a store that was loaded dumps to what does not load"
    elif verdict == NULL and not same_state(store, load.store):
        verdict = b"a dump of a loaded store loads to another state"
    load_close(load)
    out.release()
    return verdict


cdef const char* judge_dump(
        const Store* like, char* data, size_t size, uint64_t* state_hash, uint64_t* accepted) noexcept nogil:
    cdef Load* whole = NULL
    cdef Load* cut = NULL
    cdef LoadCode first = load_all(like, data, size, 0, &whole)
    cdef LoadCode second = load_all(like, data, size, 5, &cut)
    cdef const char* verdict = NULL
    if first == LOAD_NO_MEMORY or second == LOAD_NO_MEMORY:
        verdict = b"a small dump asked for too much memory"
    elif first != second:
        verdict = b"a dump is judged by how it is cut"
    elif first == LOAD_OK:
        accepted[0] += 1 + store_size(whole.store)
        if not same_state(whole.store, cut.store):
            verdict = b"a dump is loaded by how it is cut"
        else:
            verdict = judge_loaded(whole.store, size)
    elif first == LOAD_DIFFERS:
        state_hash[0] = store_state_hash(whole.store)
    load_close(whole)
    load_close(cut)
    return verdict


cdef const char* fuzz_dump(const char* data, size_t size, uint64_t* accepted) noexcept nogil:
    cdef Store* like = store_new(5, 6)
    cdef char* copy = exact_copy(data, size)
    cdef uint64_t state_hash = 0
    cdef const char* verdict = NULL
    if like != NULL and copy != NULL:
        verdict = judge_dump(like, copy, size, &state_hash, accepted)
        if verdict == NULL and state_hash != 0 and size >= HEAD_BYTES:
            memcpy(copy + HEAD_HASH_OFFSET, &state_hash, 8)
            state_hash = 0
            verdict = judge_dump(like, copy, size, &state_hash, accepted)
            if verdict == NULL and state_hash != 0:
                verdict = b"a dump with the hash of its items is refused for its hash"
    free(copy)
    store_release(like)
    return verdict
