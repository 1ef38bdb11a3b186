"""RESP2 and RESP3 as a server speaks them: an incremental parser of requests, and builders of replies.

A request is an array of byte strings (`*2\\r\\n$3\\r\\nGET\\r\\n$1\\r\\nk\\r\\n`) or a line of words (`GET k\\r\\n`).
The parser keeps what it has understood and never looks at those bytes again, so that input which arrives byte by byte
costs no more than input which arrives whole. Every announced number is judged before anything is stored or awaited for
it, and what is stored grows with the bytes that came, never with the bytes that were announced. Input that breaks the
protocol ends in one error text and cannot be read on: where the next request would begin is unknown.

The texts of the errors are those that clients know from Redis.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy, memset, strlen

from tenure._core.vec cimport Vec

cdef enum:
    MAX_NUMBER_LINE = 65536     # how long an announced number may be before it is given up


cdef extern from *:
    """
    static inline int hex_digit(char c) noexcept {
        if (c >= '0' && c <= '9') return c - '0';
        if (c >= 'a' && c <= 'f') return c - 'a' + 10;
        if (c >= 'A' && c <= 'F') return c - 'A' + 10;
        return -1;
    }
    static inline bool is_space(char c) noexcept { return c == ' ' || (c >= '\\t' && c <= '\\r'); }
    """
    int hex_digit(char c) noexcept nogil
    bint is_space(char c) noexcept nogil


# ----------------------------------------------------------------------------------------------------------- numbers

cdef bint resp_integer(const char* text, size_t size, int64_t* value) noexcept nogil:
    cdef uint64_t number = 0, digit
    cdef bint negative = False
    cdef size_t i = 0
    if size == 1 and text[0] == b"0":
        value[0] = 0
        return True
    if size and text[0] == b"-":
        negative = True
        i = 1
    if i == size or size - i > 19 or text[i] < b"1" or text[i] > b"9":
        return False
    while i < size:
        if text[i] < b"0" or text[i] > b"9":
            return False
        digit = <uint64_t>(text[i] - c"0")
        number = number * 10 + digit                      # at most 19 digits: below 2^64
        i += 1
    if negative:
        if number > <uint64_t>1 << 63:
            return False
        value[0] = <int64_t>(0 - number)
        return True
    if number > (<uint64_t>1 << 63) - 1:
        return False
    value[0] = <int64_t>number
    return True


cdef uint32_t resp_format(int64_t value, char* into) noexcept nogil:
    cdef char backwards[20]
    cdef uint64_t number = <uint64_t>value
    cdef uint32_t count = 0, size = 0
    if value < 0:
        number = 0 - number
        into[0] = c"-"
        size = 1
    while True:
        backwards[count] = <char>(c"0" + <char>(number % 10))
        count += 1
        number //= 10
        if number == 0:
            break
    while count:
        count -= 1
        into[size] = backwards[count]
        size += 1
    return size


cdef bint resp_is(const char* text, size_t size, const char* word) noexcept nogil:
    cdef size_t i
    cdef char c
    for i in range(size):
        c = text[i]
        if c"A" <= c <= c"Z":
            c = c + 32
        if c != word[i] or c == 0:
            return False
    return word[size] == 0


# ---------------------------------------------------------------------------------------------------------- requests

cdef RespState fail(RespParser* p, const char* text) noexcept nogil:
    memcpy(p.error, text, strlen(text) + 1)               # every text below is shorter than the room
    return RESP_ERROR


cdef void resp_next(RespParser* p) noexcept nogil:
    p.at = 0
    p.looked = 0
    p.arguments_left = 0
    p.argument_bytes = -1
    p.inline_request = False
    p.arguments.clear()


cdef void resp_release(RespParser* p) noexcept nogil:
    p.arguments.release()


cdef size_t resp_wanted(const RespParser* p, size_t size) noexcept nogil:
    if p.arguments_left > 0 and p.argument_bytes >= 0 and p.at + <size_t>p.argument_bytes + 2 > size:
        return p.at + <size_t>p.argument_bytes + 2 - size
    return 0


cdef bint push(RespParser* p, size_t offset, size_t size) noexcept nogil:
    cdef RespArgument argument
    argument.offset = offset
    argument.size = <uint32_t>size
    return p.arguments.push(argument)


cdef const char* line_end(RespParser* p, const char* data, size_t size, char mark) noexcept nogil:
    """The `mark` that ends the line at `at`, or null; what was searched is not searched again."""
    cdef const char* end = <const char*>memchr(data + p.at + p.looked, mark, size - p.at - p.looked)
    if end == NULL:
        p.looked = size - p.at
    return end


cdef RespState number_line(
        RespParser* p, const char* data, size_t size, int64_t* number, const char* too_long, const char* invalid
) noexcept nogil:
    """The number behind the mark at `at`, with its line end. RESP_REQUEST: `number` is set and the line is behind `at`."""
    cdef const char* end = line_end(p, data, size, c"\r")
    cdef size_t length
    if end == NULL:
        return fail(p, too_long) if size - p.at > MAX_NUMBER_LINE else RESP_MORE
    length = <size_t>(end - data) - p.at
    if length > MAX_NUMBER_LINE:                          # as if the line's end had not come yet
        return fail(p, too_long)
    if <size_t>(end - data) + 1 >= size:
        p.looked = length                                 # the second half of the line end has not come
        return RESP_MORE
    if not resp_integer(data + p.at + 1, length - 1, number):
        return fail(p, invalid)
    p.at += length + 2
    p.looked = 0
    return RESP_REQUEST


cdef RespState unquote(RespParser* p, char* data, size_t end, const RespLimits* limits) noexcept nogil:
    """Split the line of words in data[0 .. end) where it stands: an unquoted word is never longer than its source."""
    cdef size_t i = 0, begin, into
    cdef char quote
    cdef bint closed
    while True:
        while i < end and is_space(data[i]):
            i += 1
        if i == end:
            return RESP_REQUEST
        begin = into = i
        while i < end and not is_space(data[i]) and data[i] != 0:
            if data[i] != c'"' and data[i] != c"'":
                data[into] = data[i]
                into += 1
                i += 1
                continue
            quote = data[i]
            closed = False
            i += 1
            while i < end:
                if quote == c'"' and data[i] == c"\\" and i + 3 < end and data[i + 1] == c"x" \
                        and hex_digit(data[i + 2]) >= 0 and hex_digit(data[i + 3]) >= 0:
                    data[into] = <char>(hex_digit(data[i + 2]) * 16 + hex_digit(data[i + 3]))
                    i += 4
                elif quote == c'"' and data[i] == c"\\" and i + 1 < end:
                    data[into] = escaped(data[i + 1])
                    i += 2
                elif quote == c"'" and data[i] == c"\\" and i + 1 < end and data[i + 1] == c"'":
                    data[into] = c"'"
                    i += 2
                elif data[i] == quote:
                    closed = True
                    i += 1
                    break
                else:
                    data[into] = data[i]
                    i += 1
                into += 1
            if not closed or (i < end and not is_space(data[i])):
                return fail(p, b"Protocol error: unbalanced quotes in request")
            break
        if p.arguments.size >= limits.arguments:
            return fail(p, b"Protocol error: invalid multibulk length")
        if not push(p, begin, into - begin):
            return RESP_MEMORY
        if i < end and data[i] == 0:
            return RESP_REQUEST                           # a zero byte ends a line of words early


cdef char escaped(char c) noexcept nogil:
    if c == c"n":
        return c"\n"
    if c == c"r":
        return c"\r"
    if c == c"t":
        return c"\t"
    if c == c"b":
        return <char>8
    if c == c"a":
        return <char>7
    return c


cdef RespState parse_inline(RespParser* p, char* data, size_t size, const RespLimits* limits) noexcept nogil:
    cdef const char* end = line_end(p, data, size, c"\n")
    cdef size_t length
    cdef RespState state
    if end == NULL:
        return fail(p, b"Protocol error: too big inline request") if size > RESP_MAX_INLINE_BYTES else RESP_MORE
    length = <size_t>(end - data)
    if length > RESP_MAX_INLINE_BYTES:                     # as if the line's end had not come yet
        return fail(p, b"Protocol error: too big inline request")
    p.at = length + 1
    p.looked = 0
    p.inline_request = True
    if length and data[length - 1] == c"\r":
        length -= 1
    state = unquote(p, data, length, limits)
    return state


cdef RespState parse_argument(
        RespParser* p, const char* data, size_t size, const RespLimits* limits, bint authenticated) noexcept nogil:
    cdef int64_t number = 0
    cdef RespState state
    if p.argument_bytes < 0:
        if p.at >= size:
            return RESP_MORE
        if data[p.at] != c"$":
            return expected_dollar(p, data[p.at])
        state = number_line(
            p, data, size, &number, b"Protocol error: too big bulk count string", b"Protocol error: invalid bulk length")
        if state != RESP_REQUEST:
            return state
        if number < 0 or number > <int64_t>limits.argument_bytes:
            return fail(p, b"Protocol error: invalid bulk length")
        if not authenticated and number > RESP_UNAUTHENTICATED_BYTES:
            return fail(p, b"Protocol error: unauthenticated bulk length")
        if p.at + <uint64_t>number + 2 > limits.request_bytes:
            return fail(p, b"Protocol error: the request is too large")
        p.argument_bytes = number
    if size - p.at < <size_t>p.argument_bytes + 2:
        return RESP_MORE
    if not push(p, p.at, <size_t>p.argument_bytes):
        return RESP_MEMORY
    p.at += <size_t>p.argument_bytes + 2
    p.argument_bytes = -1
    p.arguments_left -= 1
    return RESP_REQUEST


cdef RespState expected_dollar(RespParser* p, char got) noexcept nogil:
    cdef const char* text = b"Protocol error: expected '$', got '?'"
    fail(p, text)
    # What would end the reply's line is shown as a space.
    p.error[strlen(text) - 2] = c" " if got == c"\r" or got == c"\n" or got == 0 else got
    return RESP_ERROR


cdef RespState resp_parse(
        RespParser* p, char* data, size_t size, const RespLimits* limits, bint authenticated) noexcept nogil:
    cdef int64_t number = 0
    cdef RespState state
    if p.arguments_left == 0:
        if size == 0:
            return RESP_MORE
        if data[0] != c"*":
            return parse_inline(p, data, size, limits)
        state = number_line(
            p, data, size, &number, b"Protocol error: too big mbulk count string", b"Protocol error: invalid multibulk length")
        if state != RESP_REQUEST:
            return state
        if number > <int64_t>limits.arguments:
            return fail(p, b"Protocol error: invalid multibulk length")
        if not authenticated and number > RESP_UNAUTHENTICATED_ARGUMENTS:
            return fail(p, b"Protocol error: unauthenticated multibulk length")
        p.argument_bytes = -1
        if number <= 0:
            return RESP_REQUEST                           # an empty request: nothing to do, nothing to say
        p.arguments_left = number
    while p.arguments_left:
        state = parse_argument(p, data, size, limits, authenticated)
        if state != RESP_REQUEST:
            return state
    return RESP_REQUEST


# ----------------------------------------------------------------------------------------------------------- replies

cdef bint put(Vec[char]* out, const char* bytes, size_t size) noexcept nogil:
    """Only where room was made."""
    if size:
        memcpy(out.data + out.size, bytes, size)
    out.size += size
    return True


cdef bint put_head(Vec[char]* out, char mark, int64_t number, size_t room) noexcept nogil:
    """A mark, a number and a line end, with room for `room` more bytes behind them."""
    if not out.reserve(out.size + room + 24):
        return False
    out.data[out.size] = mark
    out.size += 1
    out.size += resp_format(number, out.data + out.size)
    return put(out, b"\r\n", 2)


cdef bint reply_raw(Vec[char]* out, const char* bytes, size_t size) noexcept nogil:
    return out.reserve(out.size + size) and put(out, bytes, size)


cdef bint reply_simple(Vec[char]* out, const char* text) noexcept nogil:
    cdef size_t size = strlen(text)
    return out.reserve(out.size + size + 3) and put(out, b"+", 1) and put(out, text, size) and put(out, b"\r\n", 2)


cdef bint reply_error(Vec[char]* out, const char* text, size_t size) noexcept nogil:
    cdef size_t i
    if not out.reserve(out.size + size + 3):
        return False
    put(out, b"-", 1)
    for i in range(size):
        out.data[out.size] = c" " if text[i] == c"\r" or text[i] == c"\n" else text[i]
        out.size += 1
    return put(out, b"\r\n", 2)


cdef bint reply_integer(Vec[char]* out, int64_t value) noexcept nogil:
    return put_head(out, c":", value, 0)


cdef bint reply_bulk(Vec[char]* out, const char* bytes, size_t size) noexcept nogil:
    return put_head(out, c"$", <int64_t>size, size + 2) and put(out, bytes, size) and put(out, b"\r\n", 2)


cdef bint reply_nil(Vec[char]* out, int32_t protocol) noexcept nogil:
    if protocol == 3:
        return reply_raw(out, b"_\r\n", 3)
    return reply_raw(out, b"$-1\r\n", 5)


cdef bint reply_array(Vec[char]* out, int64_t count) noexcept nogil:
    return put_head(out, c"*", count, 0)


cdef bint reply_map(Vec[char]* out, int64_t pairs, int32_t protocol) noexcept nogil:
    return put_head(out, c"%", pairs, 0) if protocol == 3 else put_head(out, c"*", pairs * 2, 0)


cdef bint reply_set(Vec[char]* out, int64_t count, int32_t protocol) noexcept nogil:
    return put_head(out, c"~" if protocol == 3 else c"*", count, 0)


cdef bint reply_text(Vec[char]* out, const char* bytes, size_t size, int32_t protocol) noexcept nogil:
    if protocol != 3:
        return reply_bulk(out, bytes, size)
    return (
        put_head(out, c"=", <int64_t>size + 4, size + 6) and put(out, b"txt:", 4) and put(out, bytes, size)
        and put(out, b"\r\n", 2)
    )


# ------------------------------------------------------------------------------------------------------- Python edge

class ProtocolError(Exception):
    """Input that is not the Redis protocol; the text is what a client is told."""


@cython.final
cdef class RequestParser:
    """The parser over a buffer of its own, for tests and tools. One thread at a time."""

    cdef RespParser parser
    cdef RespLimits limits
    cdef Vec[char] input
    cdef bint authenticated

    def __cinit__(self, *, uint32_t arguments=1048576, uint32_t argument_bytes=536870912,
                  uint64_t request_bytes=1073741824, bint authenticated=True):
        memset(&self.parser, 0, sizeof(self.parser))
        memset(&self.input, 0, sizeof(self.input))
        resp_next(&self.parser)
        self.limits.arguments = arguments
        self.limits.argument_bytes = argument_bytes
        self.limits.request_bytes = request_bytes
        self.authenticated = authenticated

    def __dealloc__(self):
        resp_release(&self.parser)
        self.input.release()

    def feed(self, bytes data not None) -> list:
        """The requests that are whole with `data`, each a list of its arguments; an empty request is an empty list.

        Raises:
            ProtocolError: the requests before the fault are its `requests`.
        """
        cdef RespState state = RESP_MORE
        cdef size_t begin = 0, i
        cdef list requests = []
        if not reply_raw(&self.input, data, len(data)):
            raise MemoryError("no memory for input")
        while True:
            state = resp_parse(
                &self.parser, self.input.data + begin, self.input.size - begin, &self.limits, self.authenticated)
            if state != RESP_REQUEST:
                break
            requests.append([
                PyBytes_FromStringAndSize(
                    self.input.data + begin + self.parser.arguments[i].offset, self.parser.arguments[i].size)
                for i in range(self.parser.arguments.size)
            ])
            begin += self.parser.at
            resp_next(&self.parser)
        self.input.remove(0, begin)
        if state == RESP_MEMORY:
            raise MemoryError("no memory for a request")
        if state == RESP_ERROR:
            error = ProtocolError((<bytes>self.parser.error).decode("latin-1"))
            error.requests = requests
            raise error
        return requests


def encode_reply(value, int protocol=2) -> bytes:
    """A reply as a client gets it, for tests: None, int, bytes (bulk), str (simple, or an error with a leading "-"),
    list, dict, set."""
    cdef Vec[char] out
    memset(&out, 0, sizeof(out))
    try:
        append_reply(&out, value, protocol)
        return out.data[:out.size]
    finally:
        out.release()


cdef int append_reply(Vec[char]* out, object value, int protocol) except -1:
    cdef bytes text
    cdef bint enough
    if value is None:
        enough = reply_nil(out, protocol)
    elif isinstance(value, int):
        enough = reply_integer(out, value)
    elif isinstance(value, bytes):
        text = value
        enough = reply_bulk(out, text, len(text))
    elif isinstance(value, str):
        text = value.encode()
        if value.startswith("-"):
            enough = reply_error(out, <const char*>text + 1, len(text) - 1)
        else:
            enough = reply_simple(out, text)
    elif isinstance(value, dict):
        enough = reply_map(out, len(value), protocol)
        for key, item in value.items():
            append_reply(out, key, protocol)
            append_reply(out, item, protocol)
    elif isinstance(value, (set, frozenset)):
        enough = reply_set(out, len(value), protocol)
        for item in value:
            append_reply(out, item, protocol)
    else:
        enough = reply_array(out, len(value))
        for item in value:
            append_reply(out, item, protocol)
    if not enough:
        raise MemoryError("no memory for a reply")
    return 0


def parse_integer(bytes text not None) -> int | None:
    """The number that `text` spells, as commands read one."""
    cdef int64_t value = 0
    return value if resp_integer(text, len(text), &value) else None


def format_integer(int64_t value) -> bytes:
    cdef char text[20]
    cdef uint32_t size = resp_format(value, text)
    return text[:size]
