"""The key-value store of one group: commands are applied by one thread, keys are read by any.

A reader calls `store_get` after its fence (and samples `store_last_commit_ts` after the fence as well). It waits at most for
the lock of one shard, which the apply thread holds for one splice; an entry of several keys holds the locks of all of them
until it is done, so that every reader sees all of it or nothing, and `store_get_many` sees many keys at one instant.

The instant at which a read judges expiry comes from the reader: `store_read_ms` gives the one to use. Whoever proposes must
never give a hint below an instant at which its member has served reads; the ceiling holds this across leaders.

Versions at older snapshots are not kept yet. Their place is a chain from each item to its predecessors, by `commit_ts`.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libcpp.atomic cimport atomic

from tenure._core.blob cimport Blob
from tenure._core.vec cimport Vec
from tenure._kv.codec cimport Slice
from tenure._kv.table cimport Item, Pool, Shard, Table


cdef extern from "tenure/_kv/store.hpp" namespace "tenure" nogil:
    cdef cppclass Store:
        Shard* shards
        atomic[uint64_t] last_commit_ts
        atomic[uint64_t] ceiling_ts
        atomic[uint64_t] state_hash
        atomic[uint64_t] size
        atomic[uint32_t] failed
        uint64_t seed0
        uint64_t seed1
        atomic[int64_t] references
        uint64_t commit_ts
        uint64_t count
        uint64_t digest_sum
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
# Replaces everything in `store` by what `source` holds (not shared with anyone, same seed); `source` is left empty.
cdef bint store_adopt(Store* store, Store* source) noexcept nogil
# For loading into a store that nobody else has: STORE_ABSENT when the key was inserted, STORE_FOUND when it was there before,
# STORE_FAILED without memory. The loader sets `commit_ts` when it is done.
cdef StoreCode store_insert(
    Store* store, const char* key, uint32_t key_size, const char* value, uint32_t value_size, int64_t expires_ms,
    uint64_t commit_ts) noexcept nogil
# Makes timestamps, size and state hash visible to readers.
cdef void store_publish(Store* store) noexcept nogil

# ---- any thread

# The callback runs under the shard's lock: it copies and returns, it must not wait, nor touch the store.
ctypedef void (*Found)(void* context, const char* value, uint32_t size, int64_t expires_ms) noexcept nogil
cdef StoreCode store_get(
    Store* store, const char* key, uint32_t key_size, int64_t now_ms, Found found, void* context) noexcept nogil
# Copies the value into `buffer`; `size` is the value's in any case but STORE_ABSENT and STORE_FAILED.
cdef StoreCode store_get_copy(
    Store* store, const char* key, uint32_t key_size, int64_t now_ms, char* buffer, uint32_t capacity, uint32_t* size,
    int64_t* expires_ms) noexcept nogil
# Many keys at one instant: the callback's context is contexts[i]; codes[i] says what became of key i.
cdef StoreCode store_get_many(
    Store* store, const Slice* keys, uint32_t count, int64_t now_ms, Found found, void** contexts, StoreCode* codes
) noexcept nogil
# Keys that have expired at `now_ms`, for a command that collects them: looks at buckets from `cursor` (0 at the start) on,
# until `limit` keys are found (or a few more) or `steps` buckets were seen. The new cursor; 0 at the end.
cdef uint64_t store_find_expired(
    Store* store, uint64_t cursor, int64_t now_ms, uint32_t limit, uint32_t steps, Found found, void* context
) noexcept nogil
cdef uint64_t store_size(Store* store) noexcept nogil             # keys held, expired ones until they are removed
cdef uint64_t store_last_commit_ts(Store* store) noexcept nogil
cdef uint64_t store_ceiling_ts(Store* store) noexcept nogil
cdef uint64_t store_state_hash(Store* store) noexcept nogil
cdef bint store_failed(Store* store) noexcept nogil
# The instant at which a read that begins now judges expiry: the wall clock, but neither before the last commit nor above
# the ceiling. Without a ceiling time moves with commits only.
cdef int64_t store_read_ms(Store* store, int64_t wall_ms) noexcept nogil
