"""The linearizability checker for compiled callers (the simulator's loop): plain integers in, a verdict out.

An operation is eight int64 (`Operation`); an array of them is the history. A value is one int64 word: an integer by
`integer_word`, an interned text by `text_word`, no value by `word_absent`. Per kind (`out` counts only under STATUS_OK):

    OP_SET   arg1 = value written
    OP_GET   out = value or absent
    OP_INCR  arg1 = delta (a plain integer, not a word); out = new value's word, or word_not_integer()
    OP_CAS   arg1 = expected value or absent, arg2 = new value; out = 1 or 0
    OP_DEL   out = number of keys removed, 1 or 0

A `Checker` is zeroed memory plus `checker_init`; it keeps its buffers between calls, belongs to one thread at a time,
and is given back by `checker_release`.
"""

from libc.limits cimport LLONG_MIN
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libcpp cimport bool as cbool

from tenure._core.vec cimport Vec


cdef extern from "tenure/_proof/linearizability.hpp" namespace "tenure" nogil:
    cdef struct Operation:
        int64_t key
        int64_t kind
        int64_t arg1
        int64_t arg2
        int64_t out
        int64_t call
        int64_t ret
        int64_t status

    cdef struct Item:
        int64_t arg1
        int64_t arg2
        int64_t out
        int64_t call
        int64_t ret
        int64_t horizon
        uint32_t source
        int32_t slot
        int32_t twin
        uint8_t kind
        cbool unknown
        cbool observer
        cbool blind

    cdef struct Event:
        int64_t time
        uint32_t type
        uint32_t item

    cdef struct Seen:
        int64_t value
        int64_t last

    cdef struct Frame:
        uint32_t config
        uint32_t path_size
        int32_t item

    void sort_by_key_and_call(uint32_t* order, size_t count, const Operation* ops) noexcept
    void sort_events(Event* events, size_t count) noexcept
    void sort_seen(Seen* seen, size_t count) noexcept
    const Seen* find_seen(const Seen* seen, size_t count, int64_t value) noexcept
    void sort_by_effect(uint32_t* order, size_t count, const Item* items) noexcept
    int lowest_bit(uint64_t word) noexcept


cdef enum Kind:
    OP_SET = 0
    OP_GET = 1
    OP_INCR = 2
    OP_CAS = 3
    OP_DEL = 4

cdef enum Status:
    STATUS_OK = 0
    STATUS_FAIL = 1
    STATUS_UNKNOWN = 2

cdef enum Verdict:
    LINEARIZABLE = 0
    VIOLATION = 1
    UNDECIDED = 2
    BAD_INPUT = -1       # Result.operation names the culprit
    NO_MEMORY = -2

# Words that are no value, or no caller's value. `integer_word` and `text_word` never make them.
cdef inline int64_t word_absent() noexcept nogil:
    return LLONG_MIN

cdef inline int64_t word_not_integer() noexcept nogil:
    return LLONG_MIN + 1

cdef inline int64_t word_unnamed() noexcept nogil:
    """A text that no operation of the key mentions: unknown writes of such texts are all alike."""
    return LLONG_MIN + 3

# Integers must stay within 2^60 on either side, sums of increments included; a history that does not is BAD_INPUT.
cdef inline int64_t integer_word(int64_t value) noexcept nogil:
    return value * 2

cdef inline int64_t text_word(int64_t number) noexcept nogil:
    return number * 2 + 1


cdef struct Result:
    int64_t key           # VIOLATION: the key, else of the last key searched
    int64_t operation     # VIOLATION: index of the operation that cannot be placed; BAD_INPUT: of the bad operation
    int64_t state         # VIOLATION: the word of the key's value after the longest linearizable prefix
    int64_t keys          # keys searched
    int64_t steps         # events passed and configurations entered, over all keys


cdef struct Checker:
    int64_t max_steps     # per key, on top of what one pass without any choice takes
    int64_t max_bytes     # of memoised configurations, per key
    Result result
    Vec[uint32_t] prefix  # VIOLATION: the longest linearizable prefix, as indexes into the history, in a legal order
    Vec[int64_t] undecided  # keys whose bound was hit
    # The rest is the search's own.
    Vec[uint32_t] order
    Vec[uint32_t] scratch
    Vec[Item] items
    Vec[Event] events
    Vec[Seen] seen
    Vec[int32_t] slots
    Vec[uint64_t] live
    Vec[uint64_t] observing
    Vec[uint64_t] placed
    Vec[uint64_t] configs
    Vec[uint32_t] table
    Vec[Frame] stack
    Vec[uint32_t] path
    size_t words
    size_t mask
    size_t position
    size_t furthest
    int64_t spent
    int64_t allowed


cdef void checker_init(Checker* checker, int64_t max_steps, int64_t max_bytes) noexcept nogil
cdef void checker_release(Checker* checker) noexcept nogil
cdef int checker_run(Checker* checker, const Operation* ops, size_t count) noexcept nogil
