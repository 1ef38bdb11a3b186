"""The hash table of the store: 64 shards, chained buckets, growth a few buckets at a time.

The apply thread calls everything here, except where a function says otherwise. What changes a shard is called with its
lock held. Memory that runs out is a return value.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libcpp.atomic cimport atomic


cdef extern from "tenure/_kv/hash.hpp" namespace "tenure" nogil:
    uint64_t sip_hash(uint64_t key0, uint64_t key1, const char* bytes, size_t size) noexcept
    uint64_t digest_of(
        const char* key, uint32_t key_size, const char* value, uint32_t value_size, int64_t expires_ms) noexcept
    uint64_t hash_mix(uint64_t sum, uint64_t word) noexcept


cdef extern from "tenure/_kv/table.hpp" namespace "tenure" nogil:
    cdef cppclass Item:
        Item* next
        uint32_t hash
        uint32_t dumped
        uint32_t key_size
        uint32_t value_size
        int64_t expires_ms
        uint64_t commit_ts
        uint64_t digest
        char* key() noexcept
        char* value() noexcept

    cdef struct Table:
        Item** buckets
        uint64_t mask

    cdef cppclass ShardLock:
        void lock() noexcept
        void unlock() noexcept

    cdef cppclass Shard:
        ShardLock lock
        uint32_t dump_number
        Table live
        Table old
        uint64_t moved
        uint64_t count
        uint64_t cut
        bint dump_open
        bint walking
        bint detached
        Table detached_live
        Table detached_old
        Item* retained

    const size_t ITEM_HEAD_BYTES
    atomic[int64_t] allocations_left
    void* kv_allocate(size_t bytes, bint zeroed) noexcept

cdef extern from "tenure/_kv/pool.hpp" namespace "tenure" nogil:
    cdef cppclass Pool:
        pass

    size_t pool_room(size_t bytes) noexcept               # what an item of so many bytes really takes
    bint pool_merge(Pool* pool, Pool* source) noexcept
    void pool_swap(Pool* pool, Pool* other) noexcept
    void pool_release(Pool* pool) noexcept
    Item* pool_take(Pool* pool, size_t bytes) noexcept
    void pool_free(Pool* pool, Item* item) noexcept       # the apply thread
    void pool_return(Pool* pool, Item* item) noexcept     # any other


cdef enum:
    SHARD_BITS = 6
    SHARDS = 64
    FIRST_BUCKETS = 16
    MOVED_AT_ONCE = 4                                     # buckets of a growing shard moved by one write to it


# A new item without a value yet; null without memory.
cdef Item* item_new(Pool* pool, const char* key, uint32_t key_size, uint32_t value_size) noexcept nogil

# The item of a key or null. The apply thread, or whoever holds the lock.
cdef Item* shard_find(const Shard* shard, uint32_t hash, const char* key, uint32_t key_size) noexcept nogil
# Fetches the key's bucket (stage 0) or the first item in it (stage 1) into the cache. The apply thread.
cdef void shard_prefetch(const Shard* shard, uint32_t hash, int stage) noexcept nogil
# Before items are inserted: tables for one more. False without memory. Grows, and moves a few buckets along.
cdef bint shard_prepare(Shard* shard, Table* freed) noexcept nogil
cdef void shard_insert(Shard* shard, Item* item) noexcept nogil
# Puts `item` (of the same key; null: nothing) in the place of `gone`.
cdef void shard_replace(Shard* shard, Item* gone, Item* item) noexcept nogil
# Whether a dump still needs this item as it is.
cdef bint shard_pins(const Shard* shard, const Item* item) noexcept nogil

# Frees items and buckets of a table out of use, at most `left` of them, which it counts down, and the table when nothing is
# left of it (then True). Any thread; one that is not the apply thread's says `elsewhere`.
cdef bint table_free_some(Pool* pool, Table* table, uint64_t* left, bint elsewhere) noexcept nogil
cdef void table_free(Pool* pool, Table* table, bint elsewhere) noexcept nogil    # all of it; none is fine
