"""Commands as bytes in the log, and results as bytes on the way back. Pure functions, any thread.

A command: version (1 byte), opcode (1), flags (2), number of arguments (4), the proposer's hint (8), an instant (8), then each
argument as its size (4) and its bytes; everything little-endian. What a version's opcodes and flags once meant they mean for
ever, for logs outlive programs: what is added gets a number or a bit that was refused before. A member that does not know it
refuses the command and so parts from those that do, hence additions are used only once all members know them:

    version 1: opcodes 1 to 15; EXPIRE_* of OP_EXPIREAT came later

`command_check` is what stands between the log and the
store: it accepts exactly the commands below, so that nothing behind it meets a surprise. The instants were computed by the
proposer; apply never looks at a clock.

A result: its kind (1 byte), then nothing (nil, ok), 8 bytes (integer), the bytes themselves, an error code (1 byte), or for an
array the number of results (4) and each as its size (4) and its bytes. The empty result is that of an empty command.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from tenure._core.blob cimport Blob
from tenure._core.vec cimport Vec


cdef enum:
    COMMAND_VERSION = 1
    COMMAND_HEAD_BYTES = 24
    VALUE_LIMIT_BYTES = 67108864                          # of a key or value; far above what a message may carry

# What a command may ask for. `key` and so on are arguments; `until` is the instant in the head (milliseconds of the wall
# clock, 0 for none). An instant that is not after the commit timestamp ends the key at once.
cdef enum Opcode:
    OP_SET = 1          # key value; until; SET_* -> ok, or nil when NX or XX forbids it; with SET_GET the old value or nil
    OP_GETSET = 2       # key value -> the old value or nil
    OP_SETNX = 3        # key value -> 1 when set, 0 when the key existed
    OP_GETDEL = 4       # key -> the old value or nil
    OP_DEL = 5          # key... -> how many existed
    OP_MSET = 6         # (key value)... -> ok
    OP_APPEND = 7       # key value -> the size now
    OP_INCRBY = 8       # key delta (8 bytes, signed) -> the number now, or NOT_AN_INTEGER or OVERFLOW
    OP_CAS = 9          # key expected value; until; SET_KEEPTTL, CAS_ABSENT -> 1 when it matched and was set, else 0
    OP_EXPIREAT = 10    # key; until; EXPIRE_* -> 1, or 0 without such a key or when the flags forbid it
    OP_PERSIST = 11     # key -> 1 when an expiry was taken away, else 0
    OP_FLUSHALL = 12    # -> ok
    OP_COLLECT = 13     # key... -> how many had expired at this command's timestamp, and are removed
    OP_CEILING = 14     # until -> ok; raises the ceiling of timestamps, never lowers it
    OP_BATCH = 15       # command... (not a batch) -> their results; one timestamp, seen by readers together

cdef enum:
    SET_NX = 1
    SET_XX = 2
    SET_GET = 4
    SET_KEEPTTL = 8
    CAS_ABSENT = 16     # `expected` (empty) stands for no key

# Of OP_EXPIREAT. A key that never ends counts as ending after every other. NX goes with no other, GT not with LT.
cdef enum:
    EXPIRE_NX = 32      # only a key that never ends
    EXPIRE_XX = 64      # only a key that ends
    EXPIRE_GT = 128     # only when it ends later than before
    EXPIRE_LT = 256     # only when it ends earlier than before

# Hints are hybrid timestamps: milliseconds << 16 | counter, below 2^63, so that the next one always exists.
cdef enum:
    COUNTER_BITS = 16

cdef enum ResultKind:
    RESULT_NONE = 0     # the empty result
    RESULT_NIL = 1
    RESULT_OK = 2
    RESULT_INTEGER = 3
    RESULT_BYTES = 4
    RESULT_ERROR = 5
    RESULT_ARRAY = 6

cdef enum ErrorCode:
    ERROR_MALFORMED = 1         # not a command that this version knows; nothing happened, not even a timestamp
    ERROR_NOT_AN_INTEGER = 2
    ERROR_OVERFLOW = 3
    ERROR_TOO_LARGE = 4
    ERROR_FAILED = 5            # the store ran out of memory before: it applies nothing any more

cdef struct Slice:
    const char* data
    uint32_t size

cdef struct Command:
    uint8_t opcode
    uint16_t flags
    uint32_t count
    uint64_t hint_ts
    int64_t until_ms
    const char* at              # the next argument
    const char* end

cdef struct Result:
    ResultKind kind
    ErrorCode error
    int64_t integer             # of RESULT_INTEGER; of RESULT_ARRAY the number of results
    Slice bytes                 # of RESULT_BYTES; of RESULT_ARRAY what result_next takes from

# How many bytes the command takes: 0 when they are more than 32 bits count.
cdef uint32_t command_size(const Slice* arguments, uint32_t count) noexcept nogil
# Writes command_size(...) bytes. It does not check: command_check does, on every member alike.
cdef void command_write(
    char* into, Opcode opcode, uint16_t flags, uint64_t hint_ts, int64_t until_ms, const Slice* arguments,
    uint32_t count) noexcept nogil
# The same as a new blob; null without memory or when it is too large.
cdef Blob* command_new(
    Opcode opcode, uint16_t flags, uint64_t hint_ts, int64_t until_ms, const Slice* arguments, uint32_t count
) noexcept nogil
# Puts the true hint over the one in the bytes, for commands encoded before their timestamp was known.
cdef void command_stamp(char* command, uint64_t hint_ts) noexcept nogil

# True for a whole, valid command, of which `command` then gives the head; its arguments follow by `command_next`.
cdef bint command_check(const char* bytes, uint32_t size, Command* command) noexcept nogil
# Only for what command_check has accepted: the next argument, as often as `count` says.
cdef Slice command_next(Command* command) noexcept nogil
cdef int64_t slice_integer(Slice slice) noexcept nogil      # the 8 bytes of a delta

# Results append to an array; False without memory.
cdef bint put_kind(Vec[char]* out, ResultKind kind) noexcept nogil
cdef bint put_integer(Vec[char]* out, int64_t value) noexcept nogil
cdef bint put_bytes(Vec[char]* out, const char* bytes, uint32_t size) noexcept nogil
cdef bint put_error(Vec[char]* out, ErrorCode error) noexcept nogil
cdef bint put_array(Vec[char]* out, uint32_t count) noexcept nogil
# Around each result of an array: begin gives the place that end fills in.
cdef bint put_item_begin(Vec[char]* out, size_t* place) noexcept nogil
cdef void put_item_end(Vec[char]* out, size_t place) noexcept nogil

# False when the bytes are no result.
cdef bint result_read(const char* bytes, uint32_t size, Result* result) noexcept nogil
# The next result of an array; False at its end or when the bytes are no result.
cdef bint result_next(Result* array, Result* result) noexcept nogil

# The number that `text` spells as INCR understands it: decimal, signed, 64 bits, no spaces or leading zeros.
cdef bint integer_parse(const char* text, uint32_t size, int64_t* value) noexcept nogil
cdef uint32_t integer_format(int64_t value, char* into) noexcept nogil      # at most 20 characters; how many
