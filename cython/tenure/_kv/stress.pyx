"""Tight loops over the store, without the GIL, for tests, sanitizers and benchmarks. Nothing in production calls them.

A `CommandLog` is encoded commands in a row, as they would come out of a log. Each function is run by one Python thread, so
that several really run at once, and returns what it counted: nanoseconds, or violations of the invariant it watches.
"""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from cpython.bytes cimport PyBytes_FromStringAndSize

from tenure._core.blob cimport Blob, blob_release
from tenure._core.clock cimport clock_monotonic_ns
from tenure._core.vec cimport Vec
from tenure._kv.codec cimport (
    COMMAND_HEAD_BYTES, COUNTER_BITS, OP_MSET, OP_SET, Opcode, Slice, command_size, command_write, integer_format
)
from tenure._kv.machine cimport KeyValueMachine
from tenure._kv.read cimport Instant, store_get, store_look_many
from tenure._kv.store cimport STORE_FOUND, Store, StoreCode, store_apply, store_prefetch
from tenure._kv.table cimport hash_mix

cdef extern from "<time.h>" nogil:
    const int CLOCK_THREAD_CPUTIME_ID

cdef extern from "tenure/_core/clock.hpp" namespace "tenure" nogil:
    int64_t clock_read_ns(int source) noexcept


cdef uint32_t spell_key(uint64_t number, char* into) noexcept nogil:
    memcpy(into, b"key:", 4)
    return 4 + integer_format(<int64_t> number, into + 4)


@cython.final
cdef class CommandLog:
    """Commands one behind the other, each with its size in front."""

    cdef Vec[char] bytes
    cdef readonly uint64_t count
    cdef readonly uint64_t payload_bytes                  # of all arguments

    def __dealloc__(self):
        self.bytes.release()

    cdef int add(self, Opcode opcode, uint64_t hint_ts, const Slice* arguments, uint32_t count) except -1 nogil:
        cdef uint32_t size = command_size(arguments, count)
        if not self.bytes.reserve(self.bytes.size + 4 + size):
            with gil:
                raise MemoryError("no memory for commands")
        memcpy(self.bytes.data + self.bytes.size, &size, 4)
        command_write(self.bytes.data + self.bytes.size + 4, opcode, 0, hint_ts, 0, arguments, count)
        self.bytes.size += 4 + size
        self.count += 1
        self.payload_bytes += size - COMMAND_HEAD_BYTES - 4 * count
        return 0

    def add_sets(self, uint64_t count, uint64_t first, uint32_t value_bytes, uint64_t key_space=0) -> None:
        """Sets of distinct keys in a random order, or of `key_space` keys drawn at random."""
        cdef uint64_t i, number
        cdef char name[32]
        cdef char* value = <char*> malloc(value_bytes + 1)
        cdef Slice arguments[2]
        if value == NULL:
            raise MemoryError()
        memset(value, c"v", value_bytes)
        try:
            for i in range(first, first + count):
                number = hash_mix(1, i)
                number = number % key_space if key_space else number >> 1
                arguments[0].data = name
                arguments[0].size = spell_key(number, name)
                arguments[1].data = value
                arguments[1].size = value_bytes
                self.add(OP_SET, i << COUNTER_BITS, arguments, 2)
        finally:
            free(value)

    def keys(self, uint64_t limit) -> list[bytes]:
        """The first key of each of the first commands."""
        cdef uint64_t _i, at = 0
        cdef uint32_t size
        found = []
        for _i in range(min(limit, self.count)):
            memcpy(&size, self.bytes.data + at + 4 + COMMAND_HEAD_BYTES, 4)
            found.append(PyBytes_FromStringAndSize(self.bytes.data + at + 8 + COMMAND_HEAD_BYTES, size))
            memcpy(&size, self.bytes.data + at, 4)
            at += 4 + size
        return found

    def add_rounds(self, uint64_t rounds, uint64_t first, uint32_t keys, uint32_t value_bytes) -> None:
        """Each round sets all the keys in one command, to values that carry the round's number in every eight bytes."""
        cdef uint64_t turn
        cdef uint32_t i, k, words = value_bytes // 8
        cdef Slice* arguments = <Slice*> malloc(2 * (keys + 1) * sizeof(Slice))
        cdef char* names = <char*> malloc(32 * (keys + 1))
        cdef uint64_t* value = <uint64_t*> malloc(8 * (words + 1))
        try:
            if arguments == NULL or names == NULL or value == NULL:
                raise MemoryError()
            for turn in range(first, first + rounds):
                for k in range(words):
                    value[k] = turn
                for i in range(keys):
                    arguments[2 * i].data = names + 32 * i
                    arguments[2 * i].size = spell_key(i, names + 32 * i)
                    arguments[2 * i + 1].data = <char*> value
                    arguments[2 * i + 1].size = 8 * (words - (turn & 1) * (words // 2))
                self.add(OP_MSET, turn << COUNTER_BITS, arguments, 2 * keys)
        finally:
            free(arguments)
            free(names)
            free(value)


def apply_loop(KeyValueMachine machine not None, CommandLog log not None) -> tuple[int, int]:
    """Apply every command of the log; (nanoseconds in all, nanoseconds of the longest one), of this thread's processor time."""
    cdef Store* store = machine.store
    cdef const char* at = log.bytes.data
    cdef const char* end = at + log.bytes.size
    cdef Blob* result = NULL
    cdef uint32_t size
    cdef int64_t begin, before, now, longest = 0
    machine.require_ours()
    with nogil:
        begin = clock_read_ns(CLOCK_THREAD_CPUTIME_ID)
        before = begin
        while at != end:
            memcpy(&size, at, 4)
            store_apply(store, at + 4, size, &result)
            blob_release(result)
            at += 4 + size
            now = clock_read_ns(CLOCK_THREAD_CPUTIME_ID)
            longest = max(longest, now - before)
            before = now
    return before - begin, longest


def apply_loop_ns(KeyValueMachine machine not None, CommandLog log not None) -> int:
    """Apply every command of the log through the functions that a host calls; nanoseconds."""
    cdef const char* at = log.bytes.data
    cdef const char* end = at + log.bytes.size
    cdef Blob* result = NULL
    cdef uint32_t size
    cdef uint64_t index = 0
    cdef int64_t begin
    machine.require_ours()
    with nogil:
        begin = clock_monotonic_ns()
        while at != end:
            memcpy(&size, at, 4)
            index += 1
            machine.machine.apply(machine.machine.self, index, 1, at + 4, size, &result)
            blob_release(result)
            at += 4 + size
        begin = clock_monotonic_ns() - begin
    return begin


def apply_ahead_ns(KeyValueMachine machine not None, CommandLog log not None) -> int:
    """As `apply_loop_ns`, with what a batch makes possible: fetching ahead what later commands will meet."""
    cdef const char* at = log.bytes.data
    cdef const char* end = at + log.bytes.size
    cdef const char* ahead[2]
    cdef Blob* result = NULL
    cdef uint32_t size
    cdef uint64_t turn = 0
    cdef uint64_t fetched[2]
    cdef int64_t begin
    cdef int stage
    fetched[0] = 0
    fetched[1] = 0
    machine.require_ours()
    with nogil:
        begin = clock_monotonic_ns()
        ahead[0] = at
        ahead[1] = at
        while at != end:
            for stage in range(2):
                while ahead[stage] != end and fetched[stage] < turn + (16 if stage == 0 else 8):
                    memcpy(&size, ahead[stage], 4)
                    store_prefetch(machine.store, ahead[stage] + 4, size, stage)
                    ahead[stage] += 4 + size
                    fetched[stage] += 1
            memcpy(&size, at, 4)
            store_apply(machine.store, at + 4, size, &result)
            blob_release(result)
            at += 4 + size
            turn += 1
        begin = clock_monotonic_ns() - begin
    return begin


cdef void sum_found(void* context, const char* value, uint32_t size, int64_t expires_ms) noexcept nogil:
    (<uint64_t*> context)[0] += size


def get_loop(KeyValueMachine machine not None, uint64_t count, uint64_t first, uint64_t distinct) -> tuple[int, int]:
    """Look up random ones of the `distinct` keys that `add_sets` wrote from `first` on; (nanoseconds, how many were found)."""
    cdef char name[32]
    cdef uint64_t i, found = 0, sum = 0
    cdef int64_t begin
    cdef uint32_t size
    with nogil:
        begin = clock_monotonic_ns()
        for i in range(count):
            size = spell_key(hash_mix(1, first + hash_mix(2, i) % distinct) >> 1, name)
            if store_get(machine.store, name, size, 0, sum_found, &sum) == STORE_FOUND:
                found += 1
        begin = clock_monotonic_ns() - begin
    return begin, found


cdef struct Seen:
    uint64_t turn
    bint torn


cdef void see_value(void* context, const char* value, uint32_t size, int64_t expires_ms) noexcept nogil:
    cdef Seen* seen = <Seen*> context
    cdef uint64_t word
    cdef uint32_t i
    memcpy(&seen.turn, value, 8)
    seen.torn = size % 8 != 0
    for i in range(size // 8):
        memcpy(&word, value + 8 * i, 8)
        seen.torn = seen.torn or word != seen.turn


def watch_rounds(KeyValueMachine machine not None, uint32_t keys, uint64_t last) -> tuple[int, int, int, int]:
    """Read what `add_rounds` writes until the round `last` is seen, key by key and all keys at one instant.

    Returns how many values were read, how many were torn, how often a key read later was of an earlier round, and how
    often one look at all keys showed two rounds.
    """
    cdef Seen seen[64]
    cdef Instant instant
    cdef Slice slices[64]
    cdef void* contexts[64]
    cdef StoreCode codes[64]
    cdef char names[64][32]
    cdef uint64_t high = 0, reads = 0, torn = 0, back = 0, mixed = 0
    cdef uint32_t i
    if not 0 < keys <= 64:
        raise ValueError("1 to 64 keys")
    instant.judged_ms = instant.open_ms = instant.now_ms = 0
    with nogil:
        for i in range(keys):
            slices[i].data = names[i]
            slices[i].size = spell_key(i, names[i])
            contexts[i] = &seen[i]
        while high < last:
            for i in range(keys):
                if store_get(machine.store, slices[i].data, slices[i].size, 0, see_value, &seen[0]) == STORE_FOUND:
                    reads += 1
                    torn += seen[0].torn
                    back += seen[0].turn < high
                    high = max(high, seen[0].turn)
                else:
                    back += high != 0
            store_look_many(machine.store, slices, keys, &instant, see_value, contexts, codes)
            for i in range(keys):
                if codes[i] != codes[0] or (codes[0] == STORE_FOUND and seen[i].turn != seen[0].turn):
                    mixed += 1
                elif codes[i] == STORE_FOUND:
                    reads += 1
                    torn += seen[i].torn
                    back += seen[i].turn < high
            if codes[0] == STORE_FOUND:
                high = max(high, seen[0].turn)
    return reads, torn, back, mixed
