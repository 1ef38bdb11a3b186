"""The key-value store behind the functions that the apply loop calls, and its edge for Python.

A machine is made in Python and handed to a host, which applies; from then on `get`, `read`, `size` and the rest are reads beside
it, from any thread, after a fence. Before that (in tests and tools) `apply`, `dump` and `load` work on it directly, one
thread at a time.
"""

import enum

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from tenure._core.blob cimport Blob, blob_release
from tenure._core.clock cimport clock_wall_ms
from tenure._core.state_machine cimport MACHINE_END, MACHINE_MALFORMED, MACHINE_NO_MEMORY, MACHINE_OK
from tenure._core.vec cimport Vec
from tenure._kv.codec cimport Slice
from tenure._kv.dump cimport (
    DUMP_END, DUMP_NO_MEMORY, LOAD_MALFORMED, LOAD_NO_MEMORY, LOAD_OK, DumpCode, Load, LoadCode, dump_begin, dump_close,
    dump_read, load_begin, load_close, load_end, load_feed
)
from tenure._kv.read cimport (
    READ_CONFIRMED, READ_LED, READ_SETTLED, Instant, ReadBasis, store_ceiling_ts, store_copy, store_expiring, store_failed,
    store_find_expired, store_instant, store_last_commit_ts, store_look_many, store_read_ms, store_size, store_state_hash
)
from tenure._kv.store cimport (
    STORE_ABSENT, STORE_FAILED, STORE_FOUND, STORE_SHORT, STORE_UNDECIDED, StoreCode, store_adopt, store_apply, store_lead,
    store_new, store_new_here, store_pend, store_prefetch, store_release, store_retain
)

from tenure.errors import MemberFailed

cdef enum:
    STACK_BYTES = 4096          # values up to this size are copied without asking for memory


# ---- the functions of the state machine

cdef bint machine_apply(
        void* self, uint64_t index, uint64_t term, const char* command, uint32_t size, Blob** result) noexcept nogil:
    return store_apply(<Store*> self, command, size, result)


cdef void machine_prefetch(void* self, const char* command, uint32_t size, int stage) noexcept nogil:
    store_prefetch(<Store*> self, command, size, stage)


cdef uint64_t machine_hash(void* self) noexcept nogil:
    return store_state_hash(<Store*> self)


cdef void machine_lead(void* self, uint64_t term) noexcept nogil:
    store_lead(<Store*> self, term)


cdef void machine_release(void* self) noexcept nogil:
    store_release(<Store*> self)


cdef void* machine_dump_begin(void* self) noexcept nogil:
    return dump_begin(<Store*> self)


cdef int machine_dump_read(void* dump, Vec[char]* out, size_t goal_bytes) noexcept nogil:
    cdef DumpCode code = dump_read(<Dump*> dump, out, goal_bytes)
    if code == DUMP_NO_MEMORY:
        return MACHINE_NO_MEMORY
    return MACHINE_END if code == DUMP_END else MACHINE_OK


cdef void machine_dump_close(void* dump) noexcept nogil:
    dump_close(<Dump*> dump)


cdef void* machine_load_begin(void* self) noexcept nogil:
    return load_begin(<Store*> self)


cdef int machine_code(LoadCode code) noexcept nogil:
    if code == LOAD_OK:
        return MACHINE_OK
    return MACHINE_NO_MEMORY if code == LOAD_NO_MEMORY else MACHINE_MALFORMED


cdef int machine_load_feed(void* load, const char* bytes, size_t size) noexcept nogil:
    return machine_code(load_feed(<Load*> load, bytes, size))


cdef int machine_load_end(void* load) noexcept nogil:
    return machine_code(load_end(<Load*> load))


cdef int machine_load_adopt(void* self, void* load) noexcept nogil:
    return MACHINE_OK if store_adopt(<Store*> self, (<Load*> load).store) else MACHINE_NO_MEMORY


cdef void machine_load_close(void* load) noexcept nogil:
    load_close(<Load*> load)


# ---- Python

class Answer(enum.Enum):
    """What a read comes to that is no value."""

    UNDECIDED = "undecided"


UNDECIDED = Answer.UNDECIDED
LED = READ_LED
CONFIRMED = READ_CONFIRMED
SETTLED = READ_SETTLED


cdef struct Copy:
    char* data
    uint32_t size


cdef void copy_whole(void* context, const char* value, uint32_t size, int64_t expires_ms) noexcept nogil:
    cdef Copy* copy = <Copy*> context
    copy.data = <char*> malloc(size + 1)
    copy.size = size
    if copy.data != NULL:
        memcpy_bytes(copy.data, value, size)


cdef void collect_key(void* context, const char* key, uint32_t size, int64_t expires_ms) noexcept nogil:
    cdef Vec[Copy]* keys = <Vec[Copy]*> context
    cdef Copy copy
    copy_whole(&copy, key, size, expires_ms)
    if copy.data != NULL and not keys.push(copy):
        free(copy.data)


cdef extern from "<string.h>" nogil:
    void* memcpy_bytes "memcpy"(void* into, const void* source, size_t size) noexcept


@cython.final
cdef class KeyValueMachine(NativeMachine):
    """The native key-value store of one group."""

    def __cinit__(self, *, seed: tuple[int, int] | None = None):
        cdef uint64_t seed0, seed1
        if seed is None:
            self.store = store_new_here()
        else:
            seed0, seed1 = seed
            self.store = store_new(seed0, seed1)
        if self.store == NULL:
            raise MemoryError("no memory for a store")
        self.machine.self = store_retain(self.store)
        self.machine.apply = machine_apply
        self.machine.prefetch = machine_prefetch
        self.machine.hash = machine_hash
        self.machine.release = machine_release
        self.machine.lead = machine_lead
        self.machine.dump_begin = machine_dump_begin
        self.machine.dump_read = machine_dump_read
        self.machine.dump_close = machine_dump_close
        self.machine.load_begin = machine_load_begin
        self.machine.load_feed = machine_load_feed
        self.machine.load_end = machine_load_end
        self.machine.load_adopt = machine_load_adopt
        self.machine.load_close = machine_load_close

    def __dealloc__(self):
        dump_close(self.open_dump)
        store_release(self.store)

    # ---- any thread

    def get(self, bytes key not None, *, now_ms: int | None = None) -> bytes | None:
        """The value of a key, None without one. Linearizable after a fence by the lease; `read` tells of other fences.

        Expiry is judged at `now_ms`; when it is not given, at the wall clock's time, but not before the last commit nor
        above the ceiling that the group has agreed on.
        """
        cdef Instant instant = self.instant_at(now_ms)
        return self.value_of(key, &instant)

    def get_many(self, keys: list[bytes], *, now_ms: int | None = None) -> list[bytes | None]:
        """The values of several keys at one instant: never a part of an entry."""
        cdef Instant instant = self.instant_at(now_ms)
        return self.values_of(keys, &instant)

    def expiry(self, bytes key not None, *, now_ms: int | None = None) -> int | None:
        """The instant in milliseconds at which the key ends, 0 for never, None without the key."""
        cdef Instant instant = self.instant_at(now_ms)
        cdef int64_t expires_ms = 0
        cdef StoreCode code = self.expiry_of(key, &instant, &expires_ms)
        return None if code == STORE_ABSENT else expires_ms

    def read(self, bytes key not None, int basis, *, wall_ms: int | None = None):
        """The value of a key after a fence, None without one, UNDECIDED when the group must settle first whether it has ended.

        `basis` says what stands behind the read: LED, a lease; CONFIRMED, a quorum; SETTLED, a command that was proposed
        after the read began and is applied here, so that nothing is undecided.
        """
        cdef Instant instant = self.instant_of(basis, wall_ms)
        return self.value_of(key, &instant)

    def read_many(self, keys: list[bytes], int basis, *, wall_ms: int | None = None):
        """As `read`, several keys at one instant; UNDECIDED when one of them is."""
        cdef Instant instant = self.instant_of(basis, wall_ms)
        return self.values_of(keys, &instant)

    def read_life(self, bytes key not None, int basis, *, wall_ms: int | None = None):
        """As `read`: the milliseconds that are left of a key's life, -1 when it never ends, None without the key."""
        cdef Instant instant = self.instant_of(basis, wall_ms)
        cdef int64_t expires_ms = 0
        cdef StoreCode code = self.expiry_of(key, &instant, &expires_ms)
        if code == STORE_UNDECIDED:
            return UNDECIDED
        if code == STORE_ABSENT:
            return None
        return max(expires_ms - instant.now_ms, 0) if expires_ms else -1

    cdef Instant instant_at(self, object now_ms) except *:
        cdef Instant instant
        instant.judged_ms = store_read_ms(self.store, clock_wall_ms()) if now_ms is None else now_ms
        instant.now_ms = instant.judged_ms
        instant.open_ms = 0
        return instant

    cdef Instant instant_of(self, int basis, object wall_ms) except *:
        cdef int64_t wall = clock_wall_ms() if wall_ms is None else wall_ms
        if not READ_LED <= basis <= READ_SETTLED:
            raise ValueError("no basis of a read")
        return store_instant(self.store, <ReadBasis> basis, wall)

    cdef object value_of(self, bytes key, const Instant* instant):
        cdef char buffer[STACK_BYTES]
        cdef uint32_t size = 0
        cdef int64_t expires_ms = 0
        cdef const char* name = PyBytes_AS_STRING(key)
        cdef uint32_t name_size = checked_size(key)
        cdef bytes value
        cdef StoreCode code = store_copy(self.store, name, name_size, instant, buffer, STACK_BYTES, &size, &expires_ms)
        if code == STORE_FOUND:
            return PyBytes_FromStringAndSize(buffer, size)
        while code == STORE_SHORT:                        # again when it has grown in between
            value = PyBytes_FromStringAndSize(NULL, size)
            code = store_copy(
                self.store, name, name_size, instant, PyBytes_AS_STRING(value), <uint32_t> PyBytes_GET_SIZE(value), &size,
                &expires_ms)
            if code == STORE_FOUND:
                return value if <size_t> PyBytes_GET_SIZE(value) == size else value[:size]
        if code == STORE_FAILED:
            raise MemberFailed(cause="out_of_memory")
        return UNDECIDED if code == STORE_UNDECIDED else None

    cdef StoreCode expiry_of(self, bytes key, const Instant* instant, int64_t* expires_ms) except *:
        cdef uint32_t size = 0
        cdef StoreCode code = store_copy(
            self.store, PyBytes_AS_STRING(key), checked_size(key), instant, NULL, 0, &size, expires_ms)
        if code == STORE_FAILED:
            raise MemberFailed(cause="out_of_memory")
        return code

    cdef object values_of(self, list keys, Instant* instant):
        cdef uint32_t count = <uint32_t> len(keys), i
        cdef Slice* slices = <Slice*> malloc((count + 1) * sizeof(Slice))
        cdef Copy* copies = <Copy*> malloc((count + 1) * sizeof(Copy))
        cdef void** contexts = <void**> malloc((count + 1) * sizeof(void*))
        cdef StoreCode* codes = <StoreCode*> malloc((count + 1) * sizeof(StoreCode))
        cdef bytes key
        cdef StoreCode code
        cdef bint copied = False
        keys = list(keys)                                 # keeps them alive while the GIL is away
        try:
            if slices == NULL or copies == NULL or contexts == NULL or codes == NULL:
                raise MemoryError()
            if len(keys) != count:
                raise ValueError("too many keys")
            memset(copies, 0, (count + 1) * sizeof(Copy))
            copied = True
            for i in range(count):
                key = keys[i]
                slices[i].data = PyBytes_AS_STRING(key)
                slices[i].size = checked_size(key)
                contexts[i] = &copies[i]
            with nogil:
                code = store_look_many(self.store, slices, count, instant, copy_whole, contexts, codes)
            if code == STORE_FAILED:
                raise MemberFailed(cause="out_of_memory")
            if code == STORE_UNDECIDED:
                return UNDECIDED
            found = []
            for i in range(count):
                if codes[i] == STORE_ABSENT:
                    found.append(None)
                elif copies[i].data == NULL:
                    raise MemoryError()
                else:
                    found.append(PyBytes_FromStringAndSize(copies[i].data, copies[i].size))
            return found
        finally:
            if copied:
                for i in range(count):
                    free(copies[i].data)
            free(slices)
            free(copies)
            free(contexts)
            free(codes)

    def find_expired(self, now_ms: int, *, limit: int = 100, cursor: int = 0, steps: int = 10_000) -> tuple[int, list[bytes]]:
        """Some keys that have expired, for a command that collects them, and where to go on (0: the end). Any thread."""
        cdef Vec[Copy] keys
        cdef int64_t now = now_ms
        cdef uint64_t at = cursor
        cdef uint32_t most = limit, buckets = steps
        cdef size_t i
        memset(&keys, 0, sizeof(keys))
        with nogil:
            at = store_find_expired(self.store, at, now, most, buckets, collect_key, &keys)
        try:
            return at, [PyBytes_FromStringAndSize(keys[i].data, keys[i].size) for i in range(keys.size)]
        finally:
            for i in range(keys.size):
                free(keys[i].data)
            keys.release()

    @property
    def size(self) -> int:
        """How many keys the store holds; expired ones count until a command removes them. Any thread."""
        return store_size(self.store)

    @property
    def expiring(self) -> int:
        """How many of them will end, or have ended and are not removed yet. Any thread."""
        return store_expiring(self.store)

    @property
    def state_hash(self) -> int:
        """Equal on all members that have applied the same entries. Any thread."""
        return store_state_hash(self.store)

    @property
    def last_commit_ts(self) -> int:
        """The last timestamp assigned; sample it after the fence. Any thread."""
        return store_last_commit_ts(self.store)

    @property
    def ceiling_ts(self) -> int:
        """The greatest timestamp that may be served or assigned, 0 when the group has agreed on none. Any thread."""
        return store_ceiling_ts(self.store)

    @property
    def failed(self) -> bool:
        """Whether memory has run out in the middle of an entry."""
        return store_failed(self.store)

    # ---- while no host has it

    cdef int require_ours(self) except -1:
        if self.machine.self == NULL:
            raise RuntimeError("a host runs this machine")
        return 0

    def apply(self, bytes command not None) -> bytes:
        """Carry one encoded command out; its encoded result."""
        cdef Blob* result = NULL
        cdef const char* data = PyBytes_AS_STRING(command)
        cdef uint32_t size = checked_size(command)
        self.require_ours()
        with nogil:
            store_apply(self.store, data, size, &result)
        try:
            return PyBytes_FromStringAndSize(result.bytes(), result.size) if result != NULL else b""
        finally:
            blob_release(result)

    def lead(self, uint64_t term) -> None:
        """What a host says after each batch while its member leads."""
        self.require_ours()
        store_lead(self.store, term)

    def pend(self, int64_t hint_ms) -> int:
        """What a host says before it proposes; the instant that the command's hint must not fall below."""
        self.require_ours()
        return store_pend(self.store, hint_ms)

    def begin_dump(self) -> None:
        """Fix the state to be dumped: that of this moment."""
        self.require_ours()
        if self.open_dump != NULL:
            raise RuntimeError("a dump is open")
        self.open_dump = dump_begin(self.store)
        if self.open_dump == NULL:
            raise MemoryError("no memory for a dump")

    def read_dump(self, size_t goal_bytes=65536) -> bytes:
        """The next piece of the dump; empty at its end, which closes it. Beside `apply`, on one thread."""
        cdef Vec[char] out
        cdef DumpCode code = DUMP_END
        if self.open_dump == NULL:
            raise RuntimeError("no dump is open")
        memset(&out, 0, sizeof(out))
        with nogil:
            code = dump_read(self.open_dump, &out, goal_bytes or 1)
        try:
            if code == DUMP_NO_MEMORY:
                self.close_dump()
                raise MemoryError("no memory for a dump")
            if out.size == 0:
                self.close_dump()
            return PyBytes_FromStringAndSize(out.data, out.size)
        finally:
            out.release()

    def close_dump(self) -> None:
        """Give up the dump, if one is open."""
        cdef Dump* dump = self.open_dump
        self.open_dump = NULL
        with nogil:
            dump_close(dump)

    def dump(self) -> bytes:
        """The whole store at this moment."""
        self.begin_dump()
        pieces = []
        while piece := self.read_dump():
            pieces.append(piece)
        return b"".join(pieces)

    def load(self, pieces) -> None:
        """Replace everything by a dump, given as pieces; ValueError, and no change, when it is not whole and sound."""
        cdef Load* load
        cdef bytes piece
        cdef const char* data
        cdef size_t size
        cdef LoadCode code = LOAD_OK
        cdef bint adopted = True
        self.require_ours()
        load = load_begin(self.store)
        if load == NULL:
            raise MemoryError("no memory for a store")
        try:
            for piece in pieces:
                data = PyBytes_AS_STRING(piece)
                size = PyBytes_GET_SIZE(piece)
                with nogil:
                    code = load_feed(load, data, size)
                if code != LOAD_OK:
                    break
            if code == LOAD_OK:
                code = load_end(load)
            if code == LOAD_OK:
                with nogil:
                    adopted = store_adopt(self.store, load.store)
            if code == LOAD_NO_MEMORY or not adopted:
                raise MemoryError("no memory for a store")
            if code != LOAD_OK:
                raise ValueError("not a dump" if code == LOAD_MALFORMED else "not a whole and sound dump")
        finally:
            load_close(load)


cdef uint32_t checked_size(bytes key) except? 0xFFFFFFFF:
    if PyBytes_GET_SIZE(key) >= 0xFFFFFFFF:
        raise ValueError("too many bytes")
    return <uint32_t> PyBytes_GET_SIZE(key)
