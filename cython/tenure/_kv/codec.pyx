"""The encoding of commands and results; see `codec.pxd`. Pure functions, any thread, plus an edge for Python.

Nothing here trusts its input: sizes are compared with what is left before anything is read, and a command is checked as a
whole, with every command inside a batch, before the first of it takes effect.
"""

from libc.stdint cimport INT64_MAX, UINT32_MAX
from libc.string cimport memcpy

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from tenure._core.blob cimport blob_new

cdef extern from *:
    """
    #include <cstring>
    // Integers in the log are little-endian; every machine that tenure is built for is.
    static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the encoding is copied from memory");
    template <class T> static inline T kv_load(const char* at) noexcept { T v; std::memcpy(&v, at, sizeof(T)); return v; }
    template <class T> static inline void kv_store(char* at, T v) noexcept { std::memcpy(at, &v, sizeof(T)); }
    """
    T load "kv_load"[T](const char* at) noexcept nogil
    void save "kv_store"[T](char* at, T value) noexcept nogil


# ---- commands

cdef uint32_t command_size(const Slice* arguments, uint32_t count) noexcept nogil:
    cdef uint64_t size = COMMAND_HEAD_BYTES
    cdef uint32_t i
    for i in range(count):
        size += 4 + <uint64_t> arguments[i].size
    return <uint32_t> size if size <= UINT32_MAX else 0


cdef void command_write(
        char* into, Opcode opcode, uint16_t flags, uint64_t hint_ts, int64_t until_ms, const Slice* arguments,
        uint32_t count) noexcept nogil:
    cdef uint32_t i
    into[0] = COMMAND_VERSION
    into[1] = <char> opcode
    save[uint16_t](into + 2, flags)
    save[uint32_t](into + 4, count)
    save[uint64_t](into + 8, hint_ts)
    save[int64_t](into + 16, until_ms)
    into += COMMAND_HEAD_BYTES
    for i in range(count):
        save[uint32_t](into, arguments[i].size)
        if arguments[i].size != 0:
            memcpy(into + 4, arguments[i].data, arguments[i].size)
        into += 4 + arguments[i].size


cdef Blob* command_new(
        Opcode opcode, uint16_t flags, uint64_t hint_ts, int64_t until_ms, const Slice* arguments, uint32_t count
) noexcept nogil:
    cdef uint32_t size = command_size(arguments, count)
    cdef Blob* blob = blob_new(NULL, size) if size != 0 else NULL
    if blob != NULL:
        command_write(blob.bytes(), opcode, flags, hint_ts, until_ms, arguments, count)
    return blob


cdef void command_stamp(char* command, uint64_t hint_ts) noexcept nogil:
    save[uint64_t](command + 8, hint_ts)


cdef bint expiry_flags_agree(uint16_t flags) noexcept nogil:
    if flags & ~(EXPIRE_NX | EXPIRE_XX | EXPIRE_GT | EXPIRE_LT):
        return False
    return not (flags & EXPIRE_NX and flags != EXPIRE_NX) and flags & (EXPIRE_GT | EXPIRE_LT) != (EXPIRE_GT | EXPIRE_LT)


cdef bint shape_fits(const Command* command) noexcept nogil:
    """Whether number of arguments, flags and instant are what the opcode allows."""
    cdef uint32_t n = command.count
    cdef uint16_t flags = command.flags
    cdef bint has_until = command.until_ms != 0
    if command.opcode == OP_SET:
        return (n == 2 and (flags & ~(SET_NX | SET_XX | SET_GET | SET_KEEPTTL)) == 0
                and (flags & (SET_NX | SET_XX)) != (SET_NX | SET_XX) and not (has_until and flags & SET_KEEPTTL))
    if command.opcode == OP_CAS:
        return n == 3 and (flags & ~(SET_KEEPTTL | CAS_ABSENT)) == 0 and not (has_until and flags & SET_KEEPTTL)
    if command.opcode == OP_EXPIREAT:
        return n == 1 and has_until and expiry_flags_agree(flags)
    if flags != 0:
        return False
    if command.opcode == OP_CEILING:
        return n == 0 and has_until
    if has_until:
        return False
    if command.opcode in (OP_GETSET, OP_SETNX, OP_APPEND, OP_INCRBY):
        return n == 2
    if command.opcode in (OP_GETDEL, OP_PERSIST):
        return n == 1
    if command.opcode in (OP_DEL, OP_COLLECT, OP_BATCH):
        return n >= 1
    if command.opcode == OP_MSET:
        return n >= 2 and n % 2 == 0
    return command.opcode == OP_FLUSHALL and n == 0


cdef bint check(const char* bytes, uint32_t size, Command* command, bint inside) noexcept nogil:
    cdef const char* at
    cdef const char* end
    cdef uint32_t i, length
    cdef Command nested
    if size < COMMAND_HEAD_BYTES or bytes[0] != COMMAND_VERSION:
        return False
    command.opcode = <uint8_t> bytes[1]
    command.flags = load[uint16_t](bytes + 2)
    command.count = load[uint32_t](bytes + 4)
    command.hint_ts = load[uint64_t](bytes + 8)
    command.until_ms = load[int64_t](bytes + 16)
    command.at = bytes + COMMAND_HEAD_BYTES
    command.end = bytes + size
    if command.hint_ts > <uint64_t> INT64_MAX or command.until_ms < 0 or not shape_fits(command):
        return False
    if inside and command.opcode in (OP_BATCH, OP_CEILING):
        return False
    at = command.at
    end = command.end
    for i in range(command.count):
        if end - at < 4:
            return False
        length = load[uint32_t](at)
        at += 4
        if length > <uint64_t> (end - at):
            return False
        if length > VALUE_LIMIT_BYTES and command.opcode != OP_BATCH:
            return False
        if command.opcode == OP_BATCH and not check(at, length, &nested, True):
            return False
        if command.opcode == OP_INCRBY and i == 1 and length != 8:
            return False
        if command.opcode == OP_CAS and i == 1 and length != 0 and command.flags & CAS_ABSENT:
            return False
        at += length
    return at == end


cdef bint command_check(const char* bytes, uint32_t size, Command* command) noexcept nogil:
    return check(bytes, size, command, False)


cdef Slice command_next(Command* command) noexcept nogil:
    cdef Slice argument
    argument.size = load[uint32_t](command.at)
    argument.data = command.at + 4
    command.at += 4 + argument.size
    return argument


cdef int64_t slice_integer(Slice slice) noexcept nogil:
    return load[int64_t](slice.data)


# ---- results

cdef bint put_raw(Vec[char]* out, ResultKind kind, const void* bytes, size_t size) noexcept nogil:
    if not out.reserve(out.size + 1 + size):
        return False
    out.data[out.size] = <char> kind
    if size != 0:
        memcpy(out.data + out.size + 1, bytes, size)
    out.size += 1 + size
    return True


cdef bint put_kind(Vec[char]* out, ResultKind kind) noexcept nogil:
    return put_raw(out, kind, NULL, 0)


cdef bint put_integer(Vec[char]* out, int64_t value) noexcept nogil:
    return put_raw(out, RESULT_INTEGER, &value, 8)


cdef bint put_bytes(Vec[char]* out, const char* bytes, uint32_t size) noexcept nogil:
    return put_raw(out, RESULT_BYTES, bytes, size)


cdef bint put_error(Vec[char]* out, ErrorCode error) noexcept nogil:
    cdef char code = <char> error
    return put_raw(out, RESULT_ERROR, &code, 1)


cdef bint put_array(Vec[char]* out, uint32_t count) noexcept nogil:
    return put_raw(out, RESULT_ARRAY, &count, 4)


cdef bint put_item_begin(Vec[char]* out, size_t* place) noexcept nogil:
    if not out.reserve(out.size + 4):
        return False
    place[0] = out.size
    out.size += 4
    return True


cdef void put_item_end(Vec[char]* out, size_t place) noexcept nogil:
    save[uint32_t](out.data + place, <uint32_t> (out.size - place - 4))


cdef bint result_read(const char* bytes, uint32_t size, Result* result) noexcept nogil:
    cdef uint8_t kind
    result.error = <ErrorCode> 0
    result.integer = 0
    result.bytes.data = NULL
    result.bytes.size = 0
    if size == 0:
        result.kind = RESULT_NONE
        return True
    kind = <uint8_t> bytes[0]
    result.kind = <ResultKind> kind
    bytes += 1
    size -= 1
    if kind == RESULT_NIL or kind == RESULT_OK:
        return size == 0
    if kind == RESULT_INTEGER:
        if size != 8:
            return False
        result.integer = load[int64_t](bytes)
        return True
    if kind == RESULT_BYTES:
        result.bytes.data = bytes
        result.bytes.size = size
        return True
    if kind == RESULT_ERROR:
        if size != 1 or not ERROR_MALFORMED <= bytes[0] <= ERROR_FAILED:
            return False
        result.error = <ErrorCode> bytes[0]
        return True
    if kind != RESULT_ARRAY or size < 4:
        return False
    result.integer = load[uint32_t](bytes)
    result.bytes.data = bytes + 4
    result.bytes.size = size - 4
    return True


cdef bint result_next(Result* array, Result* result) noexcept nogil:
    cdef uint32_t size
    if array.bytes.size < 4:
        return False
    size = load[uint32_t](array.bytes.data)
    if size > array.bytes.size - 4 or not result_read(array.bytes.data + 4, size, result):
        return False
    array.bytes.data += 4 + <size_t> size
    array.bytes.size -= 4 + size
    return True


# ---- numbers as text

cdef bint integer_parse(const char* text, uint32_t size, int64_t* value) noexcept nogil:
    cdef bint negative = size > 0 and text[0] == c"-"
    cdef uint32_t i = 1 if negative else 0
    cdef uint64_t number = 0, limit = <uint64_t> INT64_MAX + (1 if negative else 0)
    cdef uint8_t digit
    if size - i < 1 or size - i > 19:
        return False
    if text[i] == c"0" and (negative or size != 1):
        return False
    while i < size:
        digit = <uint8_t> (text[i] - c"0")
        if digit > 9:
            return False
        number = number * 10 + digit                      # 19 digits fit 64 bits
        i += 1
    if number > limit:
        return False
    value[0] = <int64_t> (0 - number if negative else number)
    return True


cdef uint32_t integer_format(int64_t value, char* into) noexcept nogil:
    cdef char digits[20]
    cdef uint32_t count = 0, size = 0
    cdef uint64_t rest = 0 - <uint64_t> value if value < 0 else <uint64_t> value
    while True:
        digits[count] = <char> (c"0" + rest % 10)
        count += 1
        rest //= 10
        if rest == 0:
            break
    if value < 0:
        into[0] = c"-"
        size = 1
    while count > 0:
        count -= 1
        into[size] = digits[count]
        size += 1
    return size


# ---- Python

class CommandError(Exception):
    """A command was carried out, and this is its result: an error, with its `name`."""

    def __init__(self, name: str) -> None:
        super().__init__(name.replace("_", " "))
        self.name = name

    def __reduce__(self):
        return CommandError, (self.name,)


_ERROR_NAMES = {
    ERROR_MALFORMED: "malformed", ERROR_NOT_AN_INTEGER: "not_an_integer", ERROR_OVERFLOW: "overflow",
    ERROR_TOO_LARGE: "too_large", ERROR_FAILED: "failed",
}


cdef bytes encode(
        Opcode opcode, list arguments, object hint_ts, uint16_t flags=0, object until_ms=0):
    cdef uint64_t hint = hint_ts, size = COMMAND_HEAD_BYTES
    cdef int64_t until = until_ms
    cdef bytes argument, command
    cdef char* at
    cdef Slice slice
    if hint > <uint64_t> INT64_MAX:
        raise ValueError("a timestamp is below 2^63")
    if until < 0:
        raise ValueError("an instant is not negative")
    for argument in arguments:
        size += 4 + <uint64_t> PyBytes_GET_SIZE(argument)
    if size > UINT32_MAX:
        raise ValueError("the command is too large")
    command = PyBytes_FromStringAndSize(NULL, size)
    at = PyBytes_AS_STRING(command)
    command_write(at, opcode, flags, hint, until, NULL, 0)
    save[uint32_t](at + 4, <uint32_t> len(arguments))
    at += COMMAND_HEAD_BYTES
    for argument in arguments:
        slice.data = PyBytes_AS_STRING(argument)
        slice.size = <uint32_t> PyBytes_GET_SIZE(argument)
        save[uint32_t](at, slice.size)
        memcpy(at + 4, slice.data, slice.size)
        at += 4 + slice.size
    return command


def hint(int64_t wall_ms, int64_t counter=0) -> int:
    """The hybrid timestamp of a wall-clock reading in milliseconds."""
    if not 0 <= wall_ms < <int64_t> 1 << 47 or not 0 <= counter < 1 << COUNTER_BITS:
        raise ValueError("milliseconds take 47 bits, the counter 16")
    return wall_ms << COUNTER_BITS | counter


def encode_set(
    bytes key not None, bytes value not None, *, hint_ts: int, until_ms: int = 0, bint nx=False, bint xx=False,
    bint get=False, bint keepttl=False
) -> bytes:
    """Set a key; `until_ms` is the instant at which it ends, 0 for never."""
    if nx and xx:
        raise ValueError("nx and xx exclude each other")
    if keepttl and until_ms:
        raise ValueError("keepttl and an instant exclude each other")
    return encode(OP_SET, [key, value], hint_ts, SET_NX * nx | SET_XX * xx | SET_GET * get | SET_KEEPTTL * keepttl, until_ms)


def encode_getset(bytes key not None, bytes value not None, *, hint_ts: int) -> bytes:
    return encode(OP_GETSET, [key, value], hint_ts)


def encode_setnx(bytes key not None, bytes value not None, *, hint_ts: int) -> bytes:
    return encode(OP_SETNX, [key, value], hint_ts)


def encode_getdel(bytes key not None, *, hint_ts: int) -> bytes:
    return encode(OP_GETDEL, [key], hint_ts)


def encode_del(keys, *, hint_ts: int) -> bytes:
    arguments = list(keys)
    if not arguments:
        raise ValueError("no keys")
    return encode(OP_DEL, arguments, hint_ts)


def encode_mset(pairs, *, hint_ts: int) -> bytes:
    arguments = [part for pair in pairs for part in pair]
    if not arguments or len(arguments) % 2:
        raise ValueError("pairs of a key and a value are wanted")
    return encode(OP_MSET, arguments, hint_ts)


def encode_append(bytes key not None, bytes value not None, *, hint_ts: int) -> bytes:
    return encode(OP_APPEND, [key, value], hint_ts)


def encode_incrby(bytes key not None, int64_t delta, *, hint_ts: int) -> bytes:
    return encode(OP_INCRBY, [key, PyBytes_FromStringAndSize(<char*> &delta, 8)], hint_ts)


def encode_cas(
    bytes key not None, bytes expected, bytes value not None, *, hint_ts: int, until_ms: int = 0, bint keepttl=False
) -> bytes:
    """Set the key if its value is `expected`; None stands for no key."""
    if keepttl and until_ms:
        raise ValueError("keepttl and an instant exclude each other")
    flags = SET_KEEPTTL * keepttl | CAS_ABSENT * (expected is None)
    return encode(OP_CAS, [key, expected or b"", value], hint_ts, flags, until_ms)


def encode_expireat(
    bytes key not None, until_ms: int, *, hint_ts: int, bint nx=False, bint xx=False, bint gt=False, bint lt=False
) -> bytes:
    """End the key at an instant; one that has passed ends it at once.

    Only if it never ends (`nx`), if it does (`xx`), if it ends later (`gt`) or earlier (`lt`) than before.
    """
    cdef uint16_t flags = EXPIRE_NX * nx | EXPIRE_XX * xx | EXPIRE_GT * gt | EXPIRE_LT * lt
    if not expiry_flags_agree(flags):
        raise ValueError("nx goes with none of the others, gt not with lt")
    return encode(OP_EXPIREAT, [key], hint_ts, flags, max(until_ms, 1))


def encode_persist(bytes key not None, *, hint_ts: int) -> bytes:
    return encode(OP_PERSIST, [key], hint_ts)


def encode_flushall(*, hint_ts: int) -> bytes:
    return encode(OP_FLUSHALL, [], hint_ts)


def encode_collect(keys, *, hint_ts: int) -> bytes:
    """Remove those of these keys that have expired."""
    arguments = list(keys)
    if not arguments:
        raise ValueError("no keys")
    return encode(OP_COLLECT, arguments, hint_ts)


def encode_ceiling(until_ms: int, *, hint_ts: int) -> bytes:
    """Raise the ceiling of timestamps to the end of this millisecond."""
    if until_ms < 1:
        raise ValueError("a ceiling is a positive number of milliseconds")
    return encode(OP_CEILING, [], hint_ts, 0, until_ms)


def encode_batch(commands, *, hint_ts: int) -> bytes:
    """Several commands as one entry; the timestamps in them count for nothing."""
    arguments = list(commands)
    if not arguments:
        raise ValueError("no commands")
    return encode(OP_BATCH, arguments, hint_ts)


def is_valid(bytes command not None) -> bool:
    """Whether the store would carry this command out."""
    cdef Command head
    if PyBytes_GET_SIZE(command) > UINT32_MAX:
        return False
    return command_check(PyBytes_AS_STRING(command), <uint32_t> PyBytes_GET_SIZE(command), &head)


cdef object as_python(Result* result):
    cdef Result item
    cdef int64_t _i
    if result.kind == RESULT_NONE or result.kind == RESULT_NIL:
        return None
    if result.kind == RESULT_OK:
        return True
    if result.kind == RESULT_INTEGER:
        return result.integer
    if result.kind == RESULT_BYTES:
        return PyBytes_FromStringAndSize(result.bytes.data, result.bytes.size)
    if result.kind == RESULT_ERROR:
        return CommandError(_ERROR_NAMES[result.error])
    found = []
    for _i in range(result.integer):
        if not result_next(result, &item) or item.kind == RESULT_ARRAY:
            raise ValueError("not a result")
        found.append(as_python(&item))
    if result.bytes.size != 0:
        raise ValueError("not a result")
    return found


def decode_result(bytes encoded not None) -> object:
    """None for nil, True for ok, an int, bytes, a list of these for a batch; a CommandError is returned, not raised."""
    cdef Result result
    if PyBytes_GET_SIZE(encoded) > UINT32_MAX or not result_read(
            PyBytes_AS_STRING(encoded), <uint32_t> PyBytes_GET_SIZE(encoded), &result):
        raise ValueError("not a result")
    return as_python(&result)
