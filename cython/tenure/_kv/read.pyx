"""Reading a store, and the instant at which a read judges whether a key has ended.

**Time.** Apply judges expiry at timestamps, which are in the log and never fall. A reader has no entry of its own, so it must
choose an instant, and what it says of it binds everybody: once a key was said to have ended, no later read may show it and no
later command may find it. With

    reached   the timestamp that apply has come to; no entry behind it is judged earlier
    ceiling   in the log: the next leader begins above it, reads and hints alike
    led       the ceiling as it stood when this member last led: whatever happens since, every other leader began above it
    served    the latest instant at which a read may have been judged here; no hint given here is below it
    pending   the least hint that was given here to a command which is not applied yet

a leader judges at

    judged = max(reached, min(pending, max(served, min(clock, led))))

To say that a key has ended at `judged` is safe: entries to come have hints from `pending` on, or get theirs after `served`, or
come from a leader that began above `led`. Successive reads judge at instants that do not fall, for the same reason. That it
has not ended needs no care: it is so in the state that the read is shown. A key that ends between `judged` and what the
clock shows is undecided: whoever wants to know puts a command into the log and judges by its timestamp (READ_SETTLED).

Who does not lead knows `reached` only; all that a leader may have said lies below the ceiling, so what ends between the two
is undecided (READ_CONFIRMED).

A reader raises `served`, then looks at `pending`; a proposer lowers `pending`, then looks at `served`. All four accesses are
sequentially consistent, so at least one of the two sees the other.
"""

from libc.string cimport memcpy
from libcpp.atomic cimport memory_order_acquire, memory_order_relaxed, memory_order_seq_cst

from tenure._kv.store cimport (
    STORE_ABSENT, STORE_FAILED, STORE_FOUND, STORE_SHORT, STORE_UNDECIDED, has_expired, hash_of, lock_mask, ms_of,
    shard_of, store_serve_from, unlock_mask
)
from tenure._kv.table cimport SHARD_BITS, SHARDS, Item, Shard, shard_find, sip_hash

cdef enum:
    CEILING_LOOKAHEAD_MS = 500  # a ceiling that is nearer than this is asked to be raised


# ---- time

cdef int64_t reached_ms(Store* store) noexcept nogil:
    # acquire: the entries before the one that is being applied are visible
    return store.reached_ms.load(memory_order_acquire)


cdef int64_t store_read_ms(Store* store, int64_t wall_ms) noexcept nogil:
    # acquire: pairs with the release of store_lead
    cdef int64_t led_ms = store.led_ms.load(memory_order_acquire)
    cdef int64_t instant_ms = min(wall_ms, led_ms)
    # relaxed, both: a wish, looked at now and then
    if wall_ms + CEILING_LOOKAHEAD_MS > led_ms and not store.ceiling_wanted.load(memory_order_relaxed):
        store.ceiling_wanted.store(1, memory_order_relaxed)
    # sequentially consistent, all of them: see above
    instant_ms = max(instant_ms, store.served_ms.load(memory_order_seq_cst))
    store_serve_from(store, instant_ms)
    return max(min(instant_ms, store.pending_ms.load(memory_order_seq_cst)), reached_ms(store))


cdef Instant store_instant(Store* store, ReadBasis basis, int64_t wall_ms) noexcept nogil:
    cdef Instant instant
    if basis == READ_LED:
        instant.judged_ms = store_read_ms(store, wall_ms)
        instant.open_ms = wall_ms
    else:
        instant.judged_ms = reached_ms(store)
        instant.open_ms = 0 if basis == READ_SETTLED else max(wall_ms, ms_of(store_ceiling_ts(store)))
    instant.now_ms = instant.judged_ms if basis == READ_SETTLED else max(wall_ms, instant.judged_ms)
    return instant


# ---- looking

cdef inline StoreCode look_locked(
        Store* store, Shard* shard, uint32_t hash, const char* key, uint32_t key_size, const Instant* instant, Found found,
        void* context) noexcept nogil:
    cdef Item* item = shard_find(shard, hash, key, key_size)
    # relaxed: set under this lock where an entry was left half applied
    if store.failed.load(memory_order_relaxed):
        return STORE_FAILED
    if item == NULL or has_expired(item, instant.judged_ms):
        return STORE_ABSENT
    if has_expired(item, instant.open_ms):
        return STORE_UNDECIDED
    found(context, item.value(), item.value_size, item.expires_ms)
    return STORE_FOUND


cdef StoreCode store_look(
        Store* store, const char* key, uint32_t key_size, const Instant* instant, Found found, void* context
) noexcept nogil:
    cdef uint64_t hash = sip_hash(store.seed0, store.seed1, key, key_size)
    cdef Shard* shard = shard_of(store, hash)
    cdef StoreCode code
    shard.lock.lock()
    code = look_locked(store, shard, <uint32_t> (hash >> SHARD_BITS), key, key_size, instant, found, context)
    shard.lock.unlock()
    return code


cdef StoreCode store_look_many(
        Store* store, const Slice* keys, uint32_t count, Instant* instant, Found found, void** contexts, StoreCode* codes
) noexcept nogil:
    cdef uint64_t hash, mask = 0
    cdef uint32_t i
    cdef StoreCode worst = STORE_FOUND
    for i in range(count):
        mask |= <uint64_t> 1 << (hash_of(store, keys[i]) & (SHARDS - 1))
    lock_mask(store, mask)
    # an entry that shows in one key must not be later than the instant at which another key is judged
    instant.judged_ms = max(instant.judged_ms, reached_ms(store))
    for i in range(count):
        hash = hash_of(store, keys[i])
        codes[i] = look_locked(
            store, shard_of(store, hash), <uint32_t> (hash >> SHARD_BITS), keys[i].data, keys[i].size, instant, found,
            contexts[i])
        if codes[i] == STORE_FAILED or codes[i] == STORE_UNDECIDED:
            worst = codes[i]
            break
    unlock_mask(store, mask)
    return worst


cdef StoreCode store_get(
        Store* store, const char* key, uint32_t key_size, int64_t now_ms, Found found, void* context) noexcept nogil:
    cdef Instant instant
    instant.judged_ms = instant.now_ms = now_ms
    instant.open_ms = 0
    return store_look(store, key, key_size, &instant, found, context)


cdef struct CopyTarget:
    char* buffer
    uint32_t capacity
    uint32_t size
    int64_t expires_ms


cdef void copy_found(void* context, const char* value, uint32_t size, int64_t expires_ms) noexcept nogil:
    cdef CopyTarget* target = <CopyTarget*> context
    target.size = size
    target.expires_ms = expires_ms
    if 0 < size <= target.capacity:
        memcpy(target.buffer, value, size)


cdef StoreCode store_copy(
        Store* store, const char* key, uint32_t key_size, const Instant* instant, char* buffer, uint32_t capacity,
        uint32_t* size, int64_t* expires_ms) noexcept nogil:
    cdef CopyTarget target
    target.buffer = buffer
    target.capacity = capacity
    target.size = 0
    target.expires_ms = 0
    cdef StoreCode code = store_look(store, key, key_size, instant, copy_found, &target)
    size[0] = target.size
    expires_ms[0] = target.expires_ms
    return STORE_SHORT if code == STORE_FOUND and target.size > capacity else code


cdef uint32_t report_expired(Item* item, int64_t now_ms, Found found, void* context) noexcept nogil:
    cdef uint32_t taken = 0
    while item != NULL:
        if has_expired(item, now_ms):
            found(context, item.key(), item.key_size, item.expires_ms)
            taken += 1
        item = item.next
    return taken


cdef uint64_t store_find_expired(
        Store* store, uint64_t cursor, int64_t now_ms, uint32_t limit, uint32_t steps, Found found, void* context
) noexcept nogil:
    # the cursor is a shard and a bucket: of its live table, and of the old one while it grows. Keys that are moved behind
    # the cursor are missed; the next walk finds them
    cdef uint64_t bucket = cursor >> SHARD_BITS
    cdef uint32_t i = <uint32_t> (cursor & (SHARDS - 1))
    cdef uint32_t taken = 0
    cdef Shard* shard
    while i < SHARDS and steps > 0 and taken < limit:
        shard = &store.shards[i]
        shard.lock.lock()
        while steps > 0 and taken < limit and shard.live.buckets != NULL and bucket <= shard.live.mask:
            if shard.old.buckets != NULL and bucket <= shard.old.mask:
                taken += report_expired(shard.old.buckets[bucket], now_ms, found, context)
            taken += report_expired(shard.live.buckets[bucket], now_ms, found, context)
            bucket += 1
            steps -= 1
        if shard.live.buckets == NULL or bucket > shard.live.mask:
            i += 1
            bucket = 0
        shard.lock.unlock()
    return 0 if i >= SHARDS else bucket << SHARD_BITS | i


# ---- numbers; acquire, all of them: what was published before the word is visible after it

cdef uint64_t store_size(Store* store) noexcept nogil:
    return store.size.load(memory_order_acquire)


cdef uint64_t store_expiring(Store* store) noexcept nogil:
    return store.expiring.load(memory_order_acquire)


cdef uint64_t store_last_commit_ts(Store* store) noexcept nogil:
    return store.last_commit_ts.load(memory_order_acquire)


cdef uint64_t store_ceiling_ts(Store* store) noexcept nogil:
    return store.ceiling_ts.load(memory_order_acquire)


cdef uint64_t store_state_hash(Store* store) noexcept nogil:
    return store.state_hash.load(memory_order_acquire)


cdef bint store_failed(Store* store) noexcept nogil:
    return store.failed.load(memory_order_acquire) != 0
