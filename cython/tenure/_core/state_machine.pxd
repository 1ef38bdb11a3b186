"""What a host asks of a compiled state machine.

The functions run on the thread that applies, one at a time, except where it says otherwise. `lead` is optional (null). Those of
the last group are optional, all or none of them: a machine without them takes no snapshots, so the log of its group is never
compacted and grows for ever. State machines written in Python are such machines.
"""

from libc.stdint cimport uint32_t, uint64_t

from tenure._core.blob cimport Blob
from tenure._core.vec cimport Vec


cdef enum MachineCode:
    MACHINE_OK = 0              # of dump_read: there is more
    MACHINE_END = 1             # of dump_read: that was all
    MACHINE_NO_MEMORY = 2
    MACHINE_MALFORMED = 3       # of load_feed and load_end: not the bytes of a dump


cdef enum:
    # How many commands ahead of the one that is applied next the two stages of `prefetch` are asked for.
    PREFETCH_FAR = 16
    PREFETCH_NEAR = 8


cdef struct StateMachine:
    void* self
    # One committed command. `result` (never null) receives a new blob or null; the caller releases it. Deterministic. False
    # when the machine cannot go on (no memory): the member fails, and this entry counts as not applied.
    bint (*apply)(void* self, uint64_t index, uint64_t term, const char* command, uint32_t size, Blob** result) noexcept nogil
    # Optional (null): a hint that this command follows soon. Stage 0 comes PREFETCH_FAR commands before `apply`, stage 1, which
    # may look at what stage 0 fetched, PREFETCH_NEAR before it; either may be left out. It changes nothing.
    void (*prefetch)(void* self, const char* command, uint32_t size, int stage) noexcept nogil
    uint64_t (*hash)(void* self) noexcept nogil         # of everything applied so far; equal on all members at one index
    void (*release)(void* self) noexcept nogil
    # This member leads in `term`, and everything that it inherited is applied. Called after every batch, before the member may
    # serve a read behind it. Not a part of the replicated state.
    void (*lead)(void* self, uint64_t term) noexcept nogil

    # A dump is the state between two entries, as bytes. It stays what it was while apply goes on, and keeps what it needs
    # alive. Null without memory, or while another dump of this machine is open.
    void* (*dump_begin)(void* self) noexcept nogil
    # Appends about `goal_bytes` to `out`. A MachineCode; after any but MACHINE_OK the dump is over. `dump_read`, `dump_close`
    # may run on any one thread, beside apply.
    int (*dump_read)(void* dump, Vec[char]* out, size_t goal_bytes) noexcept nogil
    void (*dump_close)(void* dump) noexcept nogil
    # A load builds the state of a dump beside the machine, on any one thread; pieces come in order, cut anywhere. Null without
    # memory.
    void* (*load_begin)(void* self) noexcept nogil
    int (*load_feed)(void* load, const char* bytes, size_t size) noexcept nogil
    int (*load_end)(void* load) noexcept nogil          # whether all of it came and is sound; nothing is adopted yet
    # The thread that applies, or before there is one: replaces everything the machine holds. Bounded work: what it held before
    # may be left in the load, to go with it.
    int (*load_adopt)(void* self, void* load) noexcept nogil
    void (*load_close)(void* load) noexcept nogil       # on any one thread; may take long


cdef class NativeMachine:
    """A compiled state machine on its way into a host; see `state_machine.pyx`."""
    cdef StateMachine machine       # self null once a host has taken it over
    cdef bint is_taken(self) noexcept
    cdef StateMachine take(self)    # the taker calls release; `self` null: somebody has taken it before
