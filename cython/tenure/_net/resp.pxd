"""The Redis protocol: requests are found in a client's input, replies are appended to its output. One thread at a time.

Nothing here knows what a command means. A request's arguments are places in the input, never copies; the input may move
between two calls, since a place counts from the start of the request.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from tenure._core.vec cimport Vec


cdef enum RespState:
    RESP_MORE = 0               # the request is not whole yet
    RESP_REQUEST = 1            # a whole request stands in `arguments` and takes `at` bytes; at least one argument
    RESP_ERROR = 2              # `error` says why; the stream cannot be read on
    RESP_MEMORY = 3

cdef enum:
    RESP_MAX_INLINE_BYTES = 65536
    # Before a client has shown its password
    RESP_UNAUTHENTICATED_ARGUMENTS = 10
    RESP_UNAUTHENTICATED_BYTES = 16384

cdef struct RespLimits:
    uint32_t arguments          # of one request
    uint32_t argument_bytes
    uint64_t request_bytes      # all arguments of one request with what stands between them

cdef struct RespArgument:
    size_t offset               # from the start of the request
    uint32_t size

cdef struct RespParser:
    # Zeroed: at the start of a request.
    size_t at                   # bytes of the request that were understood
    size_t looked               # bytes behind `at` in which no line end was found
    int64_t arguments_left      # 0 between requests
    int64_t argument_bytes      # announced size of the next argument; negative = its line has not come
    bint inline_request         # it came as a line of words
    Vec[RespArgument] arguments
    char error[96]


# Reads on in the request that starts at `data`. After RESP_REQUEST: take `at` bytes from the front, then resp_next.
# An inline request is unquoted where it stands, so `data` is written to.
cdef RespState resp_parse(
    RespParser* parser, char* data, size_t size, const RespLimits* limits, bint authenticated) noexcept nogil
cdef void resp_next(RespParser* parser) noexcept nogil
cdef void resp_release(RespParser* parser) noexcept nogil
# How many bytes the input must still grow by, as far as is known: 0 = unknown. A hint for whoever makes room.
cdef size_t resp_wanted(const RespParser* parser, size_t size) noexcept nogil

# Replies. `protocol` is 2 or 3. False without memory.
cdef bint reply_raw(Vec[char]* out, const char* bytes, size_t size) noexcept nogil
cdef bint reply_simple(Vec[char]* out, const char* text) noexcept nogil
# `text` begins with the error's name; line ends in it become spaces.
cdef bint reply_error(Vec[char]* out, const char* text, size_t size) noexcept nogil
cdef bint reply_integer(Vec[char]* out, int64_t value) noexcept nogil
cdef bint reply_bulk(Vec[char]* out, const char* bytes, size_t size) noexcept nogil
cdef bint reply_nil(Vec[char]* out, int32_t protocol) noexcept nogil
cdef bint reply_array(Vec[char]* out, int64_t count) noexcept nogil
cdef bint reply_map(Vec[char]* out, int64_t pairs, int32_t protocol) noexcept nogil
cdef bint reply_set(Vec[char]* out, int64_t count, int32_t protocol) noexcept nogil
# A text for people: RESP3 says that it is one.
cdef bint reply_text(Vec[char]* out, const char* bytes, size_t size, int32_t protocol) noexcept nogil

# The number that `text` spells as Redis reads one: decimal, 64 bits, no plus sign, spaces, leading zeros or minus zero.
cdef bint resp_integer(const char* text, size_t size, int64_t* value) noexcept nogil
# At most 20 characters; how many.
cdef uint32_t resp_format(int64_t value, char* into) noexcept nogil
# Whether `text` is `word` (in lower case), in any case of its own.
cdef bint resp_is(const char* text, size_t size, const char* word) noexcept nogil
