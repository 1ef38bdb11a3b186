"""The whole store as bytes at one commit timestamp, while writes go on, and back again.

`dump_begin` runs on the apply thread, between two entries: that is the cut. `dump_read` and `dump_close` may then run on any
one thread, beside apply. A load builds a store of its own on any thread; the apply thread adopts it (`store_adopt`).
"""

from libc.stdint cimport uint32_t, uint64_t

from tenure._core.vec cimport Vec
from tenure._kv.store cimport Store
from tenure._kv.table cimport Item


cdef struct Dump:
    Store* store
    uint32_t number
    uint64_t commit_ts
    uint64_t ceiling_ts
    uint64_t count
    uint64_t state_hash
    bint head_written
    int shard
    int stage
    uint64_t bucket
    uint64_t written            # items so far

cdef enum DumpCode:
    DUMP_MORE = 0
    DUMP_END = 1
    DUMP_NO_MEMORY = 2          # the dump is over and must be closed; the store is unharmed

# Null without memory, or while another dump of this store is open.
cdef Dump* dump_begin(Store* store) noexcept nogil
# Appends the next piece to `out`, about `goal_bytes` long (an item is never cut in two).
cdef DumpCode dump_read(Dump* dump, Vec[char]* out, size_t goal_bytes) noexcept nogil
cdef void dump_close(Dump* dump) noexcept nogil

cdef struct Load:
    Store* store
    Vec[char] pending
    bint head_read
    uint64_t commit_ts
    uint64_t ceiling_ts
    uint64_t count
    uint64_t state_hash

cdef enum LoadCode:
    LOAD_OK = 0
    LOAD_MALFORMED = 1
    LOAD_NO_MEMORY = 2
    LOAD_SHORT = 3              # at the end: bytes are missing
    LOAD_DIFFERS = 4            # at the end: the state hash is not the dump's

# A store with the seed of `like`, to be filled; null without memory.
cdef Load* load_begin(const Store* like) noexcept nogil
# Pieces in order, cut anywhere. After any answer but LOAD_OK the load is over and must be closed.
cdef LoadCode load_feed(Load* load, const char* bytes, size_t size) noexcept nogil
# Whether all of it came and is what was dumped; then `load.store` may be adopted.
cdef LoadCode load_end(Load* load) noexcept nogil
cdef void load_close(Load* load) noexcept nogil
