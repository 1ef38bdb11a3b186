"""The time of a group's key-value store, as its leader keeps it. Only the loop thread.

Every command that goes to the store goes through here, whoever it comes from: it gets its hint, and waits while a new leader
does not know yet where its predecessors' time ended. As leader the timekeeper also raises the ceiling of timestamps when
readers are about to pass it, and has removed what has expired and nobody asks for. `tenure/_kv/read.pyx` says what hints and
ceiling are good for.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from tenure._core.blob cimport Blob
from tenure._core.vec cimport Vec
from tenure._host.member cimport Member
from tenure._host.waiter cimport Caller, Completion
from tenure._kv.store cimport Store

cdef enum:
    CEILING_AHEAD_MS = 1000     # how far ahead a leader moves the ceiling: what its successor may have to skip

cdef struct Held:
    Blob* command
    Caller caller

cdef struct Pending:
    uint64_t index              # the last entry with this hint
    int64_t hint_ms

cdef struct Errand:
    # A command of the timekeeper's own: one of a kind at a time.
    Completion completion
    bint under_way

cdef struct Expired:
    Vec[char] keys              # each with its size in front
    uint32_t seen
    uint32_t taken

cdef struct Timekeeper:
    Member* member
    Store* store                # a reference of its own
    int64_t now_ms              # the wall clock, monotone, above everything that this group has served
    uint64_t led_term           # the term whose inherited ceiling `now_ms` has passed
    Vec[Held] held              # commands that wait until this member leads with all that it inherited
    uint64_t held_bytes
    Vec[Pending] pending        # proposed in this term and not applied: indexes and hints rise
    size_t pending_head
    Vec[Blob*] payloads         # scratch
    Vec[Caller] callers
    Errand ceiling
    Errand collection
    Expired expired
    uint64_t collect_cursor
    int64_t collect_at_ns
    bint collect_on             # the last look found more than one command takes: no waiting

# Null without memory.
cdef Timekeeper* keeper_new(Member* member, Store* store) noexcept nogil
# Nobody waits for anything any more; null is fine.
cdef void keeper_free(Timekeeper* k) noexcept nogil

# Leader, with the entry that opened its term applied: it knows what it inherited.
cdef bint keeper_leads(const Timekeeper* k) noexcept nogil
# The wall clock in milliseconds, as this member may show it to anybody; sets `now_ms`.
cdef int64_t keeper_now(Timekeeper* k) noexcept nogil
# Proposes commands, or holds them back for a moment; each caller is answered. Takes over the payloads.
cdef void keeper_propose(
    Timekeeper* k, Blob** payloads, Caller* callers, size_t count, int64_t now_ns) noexcept nogil
# After apply. True: something was proposed.
cdef bint keeper_step(Timekeeper* k, int64_t now_ns) noexcept nogil
cdef void keeper_tick(Timekeeper* k, int64_t now_ns, int64_t monotonic_ns) noexcept nogil
# The instant of CLOCK_MONOTONIC at which a tick is wanted next; INT64_MAX: none as things stand. A reader that wants the
# ceiling raised wakes nobody: it is half of CEILING_AHEAD_MS early.
cdef int64_t keeper_due_ns(const Timekeeper* k) noexcept nogil
# The member has stopped: whoever is still held is told.
cdef void keeper_end(Timekeeper* k) noexcept nogil
