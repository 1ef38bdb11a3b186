"""The key-value store of one group: commands are applied by one thread, keys are read by any (`read.pxd`).

A reader waits at most for the lock of one shard, which the apply thread holds for one splice; an entry of several keys holds
the locks of all of them until it is done, so that every reader sees all of it or nothing.

Versions at older snapshots are not kept yet. Their place is a chain from each item to its predecessors, by `commit_ts`.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libcpp.atomic cimport atomic

from tenure._core.blob cimport Blob
from tenure._core.vec cimport Vec
from tenure._kv.codec cimport COUNTER_BITS, Slice
from tenure._kv.table cimport SHARDS, Item, Pool, Shard, Table, sip_hash


cdef extern from "tenure/_kv/store.hpp" namespace "tenure" nogil:
    cdef cppclass Store:
        Shard* shards
        atomic[uint64_t] last_commit_ts
        atomic[uint64_t] ceiling_ts
        atomic[uint64_t] state_hash
        atomic[uint64_t] size
        atomic[uint64_t] expiring
        atomic[uint32_t] failed
        atomic[int64_t] reached_ms
        atomic[int64_t] served_ms
        atomic[int64_t] led_ms
        atomic[int64_t] pending_ms
        atomic[uint32_t] ceiling_wanted
        uint64_t seed0
        uint64_t seed1
        atomic[int64_t] references
        uint64_t commit_ts
        uint64_t count
        uint64_t expiring_count
        uint64_t digest_sum
        uint64_t led_term
        bint holding
        uint32_t dumps
        Pool pool
        Vec[char] out
        Vec[Table] flushed
        Vec[Item*] dropped
        Blob** common
        atomic[uint32_t] dumping


cdef enum StoreCode:
    STORE_FOUND = 0
    STORE_ABSENT = 1
    STORE_FAILED = 2            # memory ran out before, here or in apply: the member is lost
    STORE_SHORT = 3             # the caller's buffer is too small; the size is filled in
    STORE_UNDECIDED = 4         # a key may have ended, and nothing that the group has agreed on says whether

# A new, empty store with one reference; null without memory. The seed places keys and shows in no result.
cdef Store* store_new(uint64_t seed0, uint64_t seed1) noexcept nogil
# With the seed of this process.
cdef Store* store_new_here() noexcept nogil
cdef Store* store_retain(Store* store) noexcept nogil
cdef void store_release(Store* store) noexcept nogil

# ---- the apply thread

# One committed command. The result is a new reference, null for the empty result. Pure: the same commands in the same
# order give the same results, contents and state hash in every store. False once memory ran out: the member must fail.
cdef bint store_apply(Store* store, const char* command, uint32_t size, Blob** result) noexcept nogil
# A hint, a few commands ahead of store_apply: fetches what it will meet first. `stage` 0 fetches the bucket of the command's
# first key; 1, some commands later, the first item in it. Reads only; the bytes need not be a command.
cdef void store_prefetch(Store* store, const char* command, uint32_t size, int stage) noexcept nogil
# Frees up to `limit` items of flushed tables; every entry does a little of it. True when there is more.
cdef bint store_free_some(Store* store, uint64_t limit) noexcept nogil
# Replaces everything in `store` by what `source` holds (not shared with anyone, same seed). `source` is left with what is not
# wanted any more: to release it may take long, and belongs on another thread.
cdef bint store_adopt(Store* store, Store* source) noexcept nogil
# For loading into a store that nobody else has: STORE_ABSENT when the key was inserted, STORE_FOUND when it was there before,
# STORE_FAILED without memory. The loader sets `commit_ts` when it is done.
cdef StoreCode store_insert(
    Store* store, const char* key, uint32_t key_size, const char* value, uint32_t value_size, int64_t expires_ms,
    uint64_t commit_ts) noexcept nogil
# Makes timestamps, size and state hash visible to readers.
cdef void store_publish(Store* store) noexcept nogil

# Only while no host applies, or on its thread: this member leads in `term`, and everything that it inherited is applied.
# Called after every batch and before the member may serve a read behind it, so that reads know the ceiling of their leader.
cdef void store_lead(Store* store, uint64_t term) noexcept nogil
# Any thread. No read and no hint of this member falls behind this instant any more.
cdef void store_serve_from(Store* store, int64_t instant_ms) noexcept nogil
# Before a command is proposed: from now on no read is judged behind `hint_ms`, the least hint of all that is under way
# (INT64_MAX: nothing is). The result: as late as reads may have been judged; the command's hint must not be below it.
cdef int64_t store_pend(Store* store, int64_t hint_ms) noexcept nogil

# ---- places and locks

cdef inline uint64_t hash_of(const Store* store, Slice key) noexcept nogil:
    return sip_hash(store.seed0, store.seed1, key.data, key.size)


cdef inline Shard* shard_of(Store* store, uint64_t hash) noexcept nogil:
    return &store.shards[hash & (SHARDS - 1)]


cdef inline bint has_expired(const Item* item, int64_t now_ms) noexcept nogil:
    return item.expires_ms != 0 and item.expires_ms <= now_ms


cdef inline int64_t ms_of(uint64_t ts) noexcept nogil:
    return <int64_t> (ts >> COUNTER_BITS)

# In ascending order, so that two who lock several never wait for each other.
cdef void lock_mask(Store* store, uint64_t mask) noexcept nogil
cdef void unlock_mask(Store* store, uint64_t mask) noexcept nogil
