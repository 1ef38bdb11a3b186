"""Targets: what a client sends.

`resp`   the first byte says whether the client is known, how tight the limits are and how the rest of the input is cut into
         pieces. The same requests and the same end come out whatever the pieces; what is incomplete is not written to;
         what came out, sent again as arrays, comes out again; numbers mean the same to both parsers of numbers.
`redis`  a stream of requests, each carried out on a store: what a request is translated to is a valid command, and the
         answer is one whole reply.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcmp, memcpy, memset, strcmp

from tenure._core.blob cimport Blob, blob_release
from tenure._core.vec cimport Vec
from tenure._fuzz.kit cimport digest_bytes, digest_number, exact_copy, next_random
from tenure._host.redis_commands cimport (
    KIND_READ, KIND_WRITE, READ_DONE, READ_FAILED, TRANSLATED, Judgement, ReadCounts, RedisCommand,
    Translation, arity_fits, execute_read, redis_command_find, reply_result, translate_write, unknown_command, wrong_arity,
)
from tenure._kv.codec cimport Command, Slice, command_check, integer_format, integer_parse
from tenure._kv.read cimport Instant
from tenure._kv.store cimport Store, store_apply, store_new, store_release
from tenure._net.resp cimport (
    RESP_ERROR, RESP_MEMORY, RESP_MORE, RESP_REQUEST, RespArgument, RespLimits, RespParser, RespState, reply_array, reply_bulk,
    resp_format, resp_integer, resp_next, resp_parse, resp_release, resp_wanted,
)

cdef enum:
    BYTE_BY_BYTE = 512          # no longer input comes in single bytes
    DIGITS = 20

# How a stream ended and what came before, as one number each.
cdef struct Outcome:
    RespState state
    uint64_t requests
    uint64_t digest             # of the requests, their arguments and how each came
    uint64_t taken              # bytes
    char error[96]


cdef void set_limits(RespLimits* limits, uint8_t choice) noexcept nogil:
    limits.arguments = 8 if choice & 1 else 1048576
    limits.argument_bytes = 64 if choice & 2 else 536870912
    limits.request_bytes = 200 if choice & 4 else 1073741824


cdef const char* judge_number(const char* text, size_t size) noexcept nogil:
    cdef int64_t one = 0, other = 0
    cdef char written[DIGITS]
    cdef char again[DIGITS]
    cdef uint32_t count
    if resp_integer(text, size, &one) != integer_parse(text, <uint32_t> size, &other) or one != other:
        return b"a request and the store read a number differently"
    if size and resp_integer(text, size, &one):
        count = resp_format(one, written)
        if count != size or memcmp(written, text, size) != 0 or integer_format(one, again) != count:
            return b"a number is not written as it was read"
    return NULL


cdef const char* take_request(RespParser* p, const char* data, size_t size, Outcome* outcome, Vec[char]* again) noexcept nogil:
    cdef size_t i, behind = 0
    cdef RespArgument* argument
    cdef const char* verdict = NULL
    if p.at == 0 or p.at > size:
        return b"a request takes nothing, or more than there is"
    outcome.requests += 1
    outcome.digest = digest_number(outcome.digest, p.arguments.size * 2 + (1 if p.inline_request else 0))
    if again != NULL and p.arguments.size:
        reply_array(again, <int64_t> p.arguments.size)
    for i in range(p.arguments.size):
        argument = &p.arguments.data[i]
        if argument.offset < behind or argument.offset > p.at or argument.size > p.at - argument.offset:
            return b"an argument stands outside of its request, or overlaps another"
        behind = argument.offset + argument.size
        outcome.digest = digest_bytes(outcome.digest, data + argument.offset, argument.size)
        if again != NULL:
            reply_bulk(again, data + argument.offset, argument.size)
            if verdict == NULL:
                verdict = judge_number(data + argument.offset, argument.size)
    return verdict


cdef const char* run_parser(
        const char* data, size_t size, const RespLimits* limits, bint authenticated, uint32_t pieces, Outcome* outcome,
        Vec[char]* again) noexcept nogil:
    """Feed the input in pieces: 0 all at once, 1 byte by byte, any other number is the seed of their lengths."""
    cdef RespParser p
    cdef Vec[char] kept
    cdef const char* verdict = NULL
    cdef char* copy
    cdef size_t fed = 0, piece, wanted = 0, count
    cdef uint32_t random = pieces
    cdef RespState state = RESP_MORE
    memset(&p, 0, sizeof(p))
    memset(&kept, 0, sizeof(kept))
    memset(outcome, 0, sizeof(Outcome))
    resp_next(&p)
    while verdict == NULL and state == RESP_MORE and fed < size:
        piece = size - fed if pieces == 0 else 1 if pieces == 1 else 1 + next_random(&random) % 24
        piece = min(piece, size - fed)
        if not kept.reserve(kept.size + piece):
            break
        memcpy(kept.data + kept.size, data + fed, piece)
        kept.size += piece
        fed += piece
        while verdict == NULL:
            count = kept.size
            copy = exact_copy(kept.data, count)
            if copy == NULL:
                break
            state = resp_parse(&p, copy, count, limits, authenticated)
            if state == RESP_REQUEST:
                if wanted > piece:
                    verdict = b"a request is whole though the parser asked for more"
                else:
                    verdict = take_request(&p, copy, count, outcome, again)
                    outcome.taken += p.at
                    kept.remove(0, p.at)
                    resp_next(&p)
            elif state == RESP_MORE and memcmp(copy, kept.data, count) != 0:
                verdict = b"input was changed before the request was whole"
            if state == RESP_MORE:
                if p.at > count or p.looked > count - p.at:
                    verdict = b"the parser is ahead of its input"
                wanted = resp_wanted(&p, count)
            else:
                wanted = 0
            free(copy)
            if state != RESP_REQUEST:
                break
            piece = 0
    outcome.state = state
    if state == RESP_ERROR:
        memcpy(outcome.error, p.error, sizeof(p.error))
        if p.error[0] == 0 or p.error[sizeof(p.error) - 1] != 0:
            verdict = b"an error without a text"
    resp_release(&p)
    kept.release()
    return verdict


cdef bint same(const Outcome* one, const Outcome* other) noexcept nogil:
    return (
        one.state == other.state and one.requests == other.requests and one.digest == other.digest
        and one.taken == other.taken and strcmp(one.error, other.error) == 0
    )


cdef const char* judge_again(const Vec[char]* again, uint64_t requests) noexcept nogil:
    """What came out, sent as arrays under no limits."""
    cdef RespLimits limits
    cdef Outcome once, twice
    cdef Vec[char] more
    cdef const char* verdict
    set_limits(&limits, 0)
    memset(&more, 0, sizeof(more))
    verdict = run_parser(again.data, again.size, &limits, True, 0, &once, &more)
    if verdict == NULL and (once.state != RESP_MORE or once.taken != again.size):
        verdict = b"requests written as arrays do not parse"
    if verdict == NULL and (more.size != again.size or (more.size and memcmp(more.data, again.data, more.size) != 0)):
        verdict = b"requests written as arrays come out as others"
    if verdict == NULL:
        verdict = run_parser(again.data, again.size, &limits, True, 7, &twice, NULL)
        if verdict == NULL and not same(&once, &twice):
            verdict = b"requests written as arrays depend on how they are cut"
    more.release()
    return verdict


cdef const char* fuzz_resp(const char* data, size_t size, uint64_t* accepted) noexcept nogil:
    cdef RespLimits limits
    cdef Outcome whole, cut
    cdef Vec[char] again
    cdef const char* verdict
    cdef uint8_t choice
    cdef bint authenticated
    if size == 0:
        return NULL
    choice = <uint8_t> data[0]
    authenticated = (choice & 8) == 0
    set_limits(&limits, choice & 7)
    data += 1
    size -= 1
    memset(&again, 0, sizeof(again))
    verdict = run_parser(data, size, &limits, authenticated, 0, &whole, &again)
    if verdict == NULL:
        verdict = run_parser(data, size, &limits, authenticated, 2 + (choice >> 4), &cut, NULL)
        if verdict == NULL and not same(&whole, &cut):
            verdict = b"requests depend on how the input is cut"
    if verdict == NULL and size <= BYTE_BY_BYTE:
        verdict = run_parser(data, size, &limits, authenticated, 1, &cut, NULL)
        if verdict == NULL and not same(&whole, &cut):
            verdict = b"requests depend on whether the input comes byte by byte"
    if verdict == NULL and whole.state == RESP_MEMORY:
        verdict = b"a small input asked for too much memory"
    if verdict == NULL and again.size:
        verdict = judge_again(&again, whole.requests)
    accepted[0] += whole.requests
    again.release()
    return verdict


# ---- commands

cdef bint reply_at(const char* data, size_t size, size_t* at, int depth) noexcept nogil:
    """Steps over one reply. False where none stands."""
    cdef size_t begin = at[0], end = at[0]
    cdef int64_t number = 0, items
    cdef char mark
    if begin >= size or depth > 8:
        return False
    mark = data[begin]
    while end + 1 < size and not (data[end] == c"\r" and data[end + 1] == c"\n"):
        if data[end] == c"\n":
            return False
        end += 1
    if end + 1 >= size:
        return False
    at[0] = end + 2
    if mark == c"+" or mark == c"-" or mark == c"_":
        return True
    if not resp_integer(data + begin + 1, end - begin - 1, &number):
        return False
    if mark == c":":
        return True
    if number < 0:
        return number == -1 and (mark == c"$" or mark == c"*")
    if mark == c"$" or mark == c"=":
        if <uint64_t> number + 2 > size - at[0] or memcmp(data + at[0] + number, b"\r\n", 2) != 0:
            return False
        at[0] += <size_t> number + 2
        return True
    if mark != c"*" and mark != c"%" and mark != c"~":
        return False
    items = number * 2 if mark == c"%" else number
    while items > 0:
        if not reply_at(data, size, at, depth + 1):
            return False
        items -= 1
    return True


cdef const char* carry_out(
        Store* store, const Slice* arguments, uint32_t count, int64_t now_ms, int32_t protocol, Vec[char]* out
) noexcept nogil:
    cdef const RedisCommand* command = redis_command_find(arguments[0].data, arguments[0].size)
    cdef Command head
    cdef Instant instant
    cdef ReadCounts counts
    cdef Translation translation
    cdef Judgement judgement
    cdef Blob* encoded = NULL
    cdef Blob* result = NULL
    cdef const char* verdict = NULL
    cdef size_t before = out.size
    if command == NULL:
        unknown_command(out, arguments, count)
    elif not arity_fits(command, count):
        wrong_arity(out, command.name, NULL, 0)
    elif command.kind == KIND_WRITE:
        translation = translate_write(command, arguments, count, now_ms, out, &encoded)
        if translation == TRANSLATED:
            if out.size != before:
                verdict = b"a request that was translated has a reply already"
            elif encoded == NULL or not command_check(encoded.bytes(), encoded.size, &head):
                verdict = b"a request was translated to a command that the store refuses"
            else:
                store_apply(store, encoded.bytes(), encoded.size, &result)
                reply_result(out, result, protocol)
                blob_release(result)
        blob_release(encoded)
    elif command.kind == KIND_READ:
        instant.judged_ms = instant.now_ms = now_ms
        instant.open_ms = now_ms + 2
        memset(&counts, 0, sizeof(counts))
        judgement = execute_read(
            command, arguments, count, store, count % 2 == 0, &instant, protocol, out, &counts)
        if judgement == READ_FAILED:
            verdict = b"the store failed"
        elif judgement != READ_DONE:
            if out.size != before:
                verdict = b"a read that was not decided has left a part of a reply"
            reply_array(out, 0)
    else:
        reply_array(out, 0)     # of the session, which there is none of here
    return verdict


cdef const char* fuzz_redis(const char* data, size_t size, uint64_t* accepted) noexcept nogil:
    cdef RespParser p
    cdef RespLimits limits
    cdef Vec[Slice] arguments
    cdef Vec[char] out
    cdef Slice slice
    cdef Store* store
    cdef char* copy
    cdef const char* verdict = NULL
    cdef size_t at = 0, i, end
    cdef int64_t now_ms = 1000
    cdef int32_t protocol
    if size == 0:
        return NULL
    protocol = 3 if data[0] & 1 else 2
    copy = exact_copy(data + 1, size - 1)
    size -= 1
    store = store_new(1, 2)
    memset(&p, 0, sizeof(p))
    memset(&arguments, 0, sizeof(arguments))
    memset(&out, 0, sizeof(out))
    set_limits(&limits, 0)
    resp_next(&p)
    while copy != NULL and store != NULL and verdict == NULL:
        if resp_parse(&p, copy + at, size - at, &limits, True) != RESP_REQUEST:
            break
        arguments.clear()
        for i in range(p.arguments.size):
            slice.data = copy + at + p.arguments.data[i].offset
            slice.size = p.arguments.data[i].size
            if not arguments.push(slice):
                break
        if arguments.size and arguments.size == p.arguments.size:
            accepted[0] += 1
            out.clear()
            verdict = carry_out(store, arguments.data, <uint32_t> arguments.size, now_ms, protocol, &out)
            end = 0
            if verdict == NULL and (not reply_at(out.data, out.size, &end, 0) or end != out.size):
                verdict = b"the answer to a request is not one whole reply"
        at += p.at
        now_ms += 1
        resp_next(&p)
    resp_release(&p)
    arguments.release()
    out.release()
    store_release(store)
    free(copy)
    return verdict
