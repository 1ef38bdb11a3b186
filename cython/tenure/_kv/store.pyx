"""The key-value store as the thread that applies uses it; `store.pxd` says who may call what, `table.hpp` how items lie in
memory, and `read.pyx` is what everybody else does with it.

Apply is a pure function of the log. A command's timestamp is max(its hint, the last assigned + 1), fixed here, and expiry is
judged at it: a key whose instant has come is treated as absent and removed by the write that meets it, on every member alike.
Keys that nobody touches any more are found by a local walk and removed by a command (OP_COLLECT), so that even this is a
matter of the log.

The state hash is the sum of one digest for every key held, mixed with timestamps and count. A sum knows no order, so seeds
and table sizes do not show in it, and a write changes it by two digests.

Memory that runs out in the middle of an entry leaves the store half changed. It says so by `failed`, forever: it applies
nothing more, every read is refused, and the member must stop.
"""

from libc.stdint cimport INT64_MAX, INT64_MIN
from libc.stdlib cimport free
from libc.string cimport memcmp, memcpy
from libcpp.atomic cimport (
    memory_order_acq_rel, memory_order_acquire, memory_order_relaxed, memory_order_release, memory_order_seq_cst
)

from tenure._core.blob cimport blob_new, blob_release, blob_retain
from tenure._kv.codec cimport (
    CAS_ABSENT, COMMAND_HEAD_BYTES, COUNTER_BITS,
    ERROR_FAILED, ERROR_MALFORMED, ERROR_NOT_AN_INTEGER, ERROR_OVERFLOW, ERROR_TOO_LARGE,
    EXPIRE_GT, EXPIRE_LT, EXPIRE_NX, EXPIRE_XX,
    OP_APPEND, OP_BATCH, OP_CAS, OP_CEILING, OP_COLLECT, OP_DEL, OP_EXPIREAT, OP_FLUSHALL, OP_GETDEL, OP_GETSET, OP_INCRBY,
    OP_MSET, OP_PERSIST, OP_SET, OP_SETNX, RESULT_NIL, RESULT_OK, SET_GET, SET_KEEPTTL, SET_NX, SET_XX,
    Command, command_check, command_next, integer_format, integer_parse, put_array, put_bytes,
    put_error, put_integer, put_item_begin, put_item_end, put_kind, slice_integer
)
from tenure._kv.table cimport (
    FIRST_BUCKETS, ITEM_HEAD_BYTES, SHARD_BITS, SHARDS, digest_of, hash_mix, item_new, pool_free, pool_merge, pool_release,
    pool_room, pool_swap, shard_find, shard_insert, shard_pins, shard_prefetch, shard_prepare, shard_replace, sip_hash,
    table_free, table_free_some
)

cdef extern from *:
    """
    #include <sys/random.h>
    #include "tenure/_core/clock.hpp"
    // The seed of this process: secret, and the same for all its stores, so that a loaded one can be adopted.
    struct KvSeed {
        uint64_t word[2];
        KvSeed() noexcept {
            if (getrandom(word, sizeof(word), 0) != sizeof(word)) {
                word[0] = reinterpret_cast<uintptr_t>(this);
                word[1] = static_cast<uint64_t>(tenure::clock_now_ns());
            }
        }
    };
    static const KvSeed kv_seed;
    static inline uint64_t seed_word(int i) noexcept { return kv_seed.word[i]; }
    """
    uint64_t seed_word(int i) noexcept nogil

cdef extern from "tenure/_kv/store.hpp" namespace "tenure" nogil:
    Store* store_allocate() noexcept
    void store_deallocate(Store* store) noexcept

cdef enum:
    COMMON_OK = 0
    COMMON_NIL = 1
    COMMON_ZERO = 2
    COMMON_ONE = 3
    IN_PLACE_BYTES = 1024       # longer values are copied before the lock is taken, not under it
    FREED_AT_ONCE = 32          # items and buckets of flushed tables freed with every entry
    FREED_A_KEY = 4             # and as many more for every key that it names
    PREFETCHED_KEY_BYTES = 256  # longer keys are hashed once only
    KEPT_OUT_BYTES = 65536      # a result buffer that has grown beyond this is given back


# ---- life

cdef Store* store_new(uint64_t seed0, uint64_t seed1) noexcept nogil:
    cdef Store* store = store_allocate()
    cdef int i
    cdef bint whole = True
    if store == NULL:
        return NULL
    store.seed0 = seed0
    store.seed1 = seed1
    # relaxed, both: not shared yet
    store.references.store(1, memory_order_relaxed)
    store.pending_ms.store(INT64_MAX, memory_order_relaxed)
    for i in range(4):
        store.out.clear()
        if i == COMMON_OK or i == COMMON_NIL:
            whole = whole and put_kind(&store.out, RESULT_OK if i == COMMON_OK else RESULT_NIL)
        else:
            whole = whole and put_integer(&store.out, i - COMMON_ZERO)
        if whole:
            store.common[i] = blob_new(store.out.data, <uint32_t> store.out.size)
        whole = whole and store.common[i] != NULL
    if not whole:
        store_release(store)
        return NULL
    store_publish(store)
    return store


cdef Store* store_new_here() noexcept nogil:
    return store_new(seed_word(0), seed_word(1))


cdef Store* store_retain(Store* store) noexcept nogil:
    # relaxed: the caller already holds a reference
    store.references.fetch_add(1, memory_order_relaxed)
    return store


cdef void store_release(Store* store) noexcept nogil:
    cdef int i
    cdef size_t k
    # acq_rel: every use before any release happens before the memory is freed
    if store == NULL or store.references.fetch_sub(1, memory_order_acq_rel) != 1:
        return
    for i in range(SHARDS):
        table_free(&store.pool, &store.shards[i].live, False)
        table_free(&store.pool, &store.shards[i].old, False)
    for k in range(store.flushed.size):
        table_free(&store.pool, &store.flushed[k], False)
    for i in range(4):
        blob_release(store.common[i])
    store.out.release()
    store.flushed.release()
    store.dropped.release()
    pool_release(&store.pool)
    store_deallocate(store)


# ---- places and locks

cdef void lock_mask(Store* store, uint64_t mask) noexcept nogil:
    """In ascending order, so that two who lock several never wait for each other."""
    cdef int i
    for i in range(SHARDS):
        if mask >> i & 1:
            store.shards[i].lock.lock()


cdef void unlock_mask(Store* store, uint64_t mask) noexcept nogil:
    cdef int i
    for i in range(SHARDS):
        if mask >> i & 1:
            store.shards[i].lock.unlock()


cdef inline void begin_change(Store* store, Shard* shard) noexcept nogil:
    if not store.holding:
        shard.lock.lock()


cdef inline void end_change(Store* store, Shard* shard) noexcept nogil:
    if not store.holding:
        shard.lock.unlock()


# ---- changes of one key

cdef struct Place:                                        # where a key is, or would be
    Slice key
    Shard* shard
    uint32_t hash
    Item* item                                            # null when the key is absent at the command's timestamp
    Item* expired                                         # what lies there although it has expired


cdef void locate(Store* store, Slice key, Place* place) noexcept nogil:
    cdef uint64_t hash = hash_of(store, key)
    place.key = key
    place.shard = shard_of(store, hash)
    place.hash = <uint32_t> (hash >> SHARD_BITS)
    place.item = shard_find(place.shard, place.hash, key.data, key.size)
    place.expired = NULL
    if place.item != NULL and has_expired(place.item, ms_of(store.commit_ts)):
        place.expired = place.item
        place.item = NULL


cdef bint drop(Store* store, Shard* shard, Item* item, bint pinned) noexcept nogil:
    """An item that is in no chain any more: freed, or kept for the dump. The shard is locked; False without memory."""
    if pinned:
        item.next = shard.retained
        shard.retained = item
        return True
    # large blocks go back to the kernel, which takes its time: not under a lock
    return store.dropped.push(item)


cdef void free_dropped(Store* store) noexcept nogil:
    cdef size_t i
    for i in range(store.dropped.size):
        pool_free(&store.pool, store.dropped[i])
    store.dropped.clear()


cdef bint remove(Store* store, Place* place) noexcept nogil:
    cdef Item* gone = place.item if place.item != NULL else place.expired
    cdef bint kept
    if gone == NULL:
        return True
    store.digest_sum -= gone.digest
    store.count -= 1
    store.expiring_count -= gone.expires_ms != 0
    begin_change(store, place.shard)
    shard_replace(place.shard, gone, NULL)
    kept = drop(store, place.shard, gone, shard_pins(place.shard, gone))
    end_change(store, place.shard)
    place.item = NULL
    place.expired = NULL
    return kept


cdef bint keep_value(Store* store, Place* place, int64_t expires_ms) noexcept nogil:
    """Write the present value again with another expiry: nothing is copied. False when a dump needs the item as it is."""
    cdef Item* item = place.item
    cdef uint64_t digest = digest_of(item.key(), item.key_size, item.value(), item.value_size, expires_ms)
    cdef bint pinned
    begin_change(store, place.shard)
    pinned = shard_pins(place.shard, item)
    if not pinned:
        store.digest_sum += digest - item.digest
        store.expiring_count += (expires_ms != 0) - <uint64_t> (item.expires_ms != 0)
        item.expires_ms = expires_ms
        item.commit_ts = store.commit_ts
        item.digest = digest
    end_change(store, place.shard)
    return not pinned


cdef bint put(
        Store* store, Place* place, const char* head, uint32_t head_size, const char* tail, uint32_t tail_size,
        int64_t expires_ms) noexcept nogil:
    """Set the key to the two parts in a row. `head` may be the present value. False without memory."""
    cdef Item* before = place.item if place.item != NULL else place.expired
    cdef Item* item
    cdef Shard* shard = place.shard
    cdef uint32_t size = head_size + tail_size
    cdef Table freed
    cdef bint enough
    if expires_ms != 0 and expires_ms <= ms_of(store.commit_ts):
        return remove(store, place)
    if before != NULL and head == before.value() and size == before.value_size and keep_value(store, place, expires_ms):
        return True
    if before != NULL and size <= IN_PLACE_BYTES and (
            pool_room(ITEM_HEAD_BYTES + before.key_size + before.value_size)
            == pool_room(ITEM_HEAD_BYTES + before.key_size + size)):
        begin_change(store, shard)
        if not shard_pins(shard, before):
            store.digest_sum -= before.digest
            store.expiring_count += (expires_ms != 0) - <uint64_t> (before.expires_ms != 0)
            if head != before.value():
                memcpy(before.value(), head, head_size)
            if tail_size != 0:                            # there may be no tail at all
                memcpy(before.value() + head_size, tail, tail_size)
            before.value_size = size
            before.expires_ms = expires_ms
            before.commit_ts = store.commit_ts
            before.digest = digest_of(before.key(), before.key_size, before.value(), size, expires_ms)
            store.digest_sum += before.digest
            place.item = before
            place.expired = NULL
            end_change(store, shard)
            return True
        end_change(store, shard)
    item = item_new(&store.pool, place.key.data, place.key.size, size)
    if item == NULL:
        return False
    memcpy(item.value(), head, head_size)
    if tail_size != 0:
        memcpy(item.value() + head_size, tail, tail_size)
    item.hash = place.hash
    item.expires_ms = expires_ms
    item.commit_ts = store.commit_ts
    item.digest = digest_of(item.key(), item.key_size, item.value(), size, expires_ms)
    if before != NULL:
        store.digest_sum -= before.digest
        store.expiring_count -= before.expires_ms != 0
    store.digest_sum += item.digest
    store.expiring_count += expires_ms != 0
    begin_change(store, shard)
    enough = shard_prepare(shard, &freed)
    if not enough:
        pool_free(&store.pool, item)
    elif before != NULL:
        shard_replace(shard, before, item)
        enough = drop(store, shard, before, shard_pins(shard, before))
    else:
        shard_insert(shard, item)
        store.count += 1
    end_change(store, shard)
    free(freed.buckets)
    place.item = item
    place.expired = NULL
    return enough


cdef bint put_value(Store* store, Place* place, Slice value, int64_t expires_ms) noexcept nogil:
    return put(store, place, value.data, value.size, NULL, 0, expires_ms)


cdef bint set_expiry(Store* store, Place* place, int64_t expires_ms) noexcept nogil:
    return put(store, place, place.item.value(), place.item.value_size, NULL, 0, expires_ms)


# ---- commands: each appends its result to `out`; False without memory

cdef bint answer_value(Store* store, const Place* place) noexcept nogil:
    if place.item == NULL:
        return put_kind(&store.out, RESULT_NIL)
    return put_bytes(&store.out, place.item.value(), place.item.value_size)


cdef bint apply_set(Store* store, Command* command) noexcept nogil:
    cdef Place place
    locate(store, command_next(command), &place)
    cdef Slice value = command_next(command)
    cdef int64_t until_ms = command.until_ms
    cdef bint allowed = not (
        command.flags & SET_NX and place.item != NULL or command.flags & SET_XX and place.item == NULL)
    if command.flags & SET_KEEPTTL and place.item != NULL:
        until_ms = place.item.expires_ms
    if command.flags & SET_GET:
        if not answer_value(store, &place):
            return False
    elif not put_kind(&store.out, RESULT_OK if allowed else RESULT_NIL):
        return False
    return put_value(store, &place, value, until_ms) if allowed else True


cdef bint apply_getset(Store* store, Command* command) noexcept nogil:
    cdef Place place
    locate(store, command_next(command), &place)
    return answer_value(store, &place) and put_value(store, &place, command_next(command), 0)


cdef bint apply_setnx(Store* store, Command* command) noexcept nogil:
    cdef Place place
    locate(store, command_next(command), &place)
    if place.item != NULL:
        return put_integer(&store.out, 0)
    return put_integer(&store.out, 1) and put_value(store, &place, command_next(command), 0)


cdef bint apply_getdel(Store* store, Command* command) noexcept nogil:
    cdef Place place
    locate(store, command_next(command), &place)
    return answer_value(store, &place) and remove(store, &place)


cdef bint apply_del(Store* store, Command* command) noexcept nogil:
    cdef Place place
    cdef uint32_t _i
    cdef int64_t removed = 0
    for _i in range(command.count):
        locate(store, command_next(command), &place)
        if place.item != NULL:
            removed += 1
        if not remove(store, &place):
            return False
    return put_integer(&store.out, removed)


cdef bint apply_collect(Store* store, Command* command) noexcept nogil:
    cdef Place place
    cdef uint32_t _i
    cdef int64_t removed = 0
    for _i in range(command.count):
        locate(store, command_next(command), &place)
        if place.expired != NULL:
            removed += 1
            if not remove(store, &place):
                return False
    return put_integer(&store.out, removed)


cdef bint apply_mset(Store* store, Command* command) noexcept nogil:
    cdef Place place
    cdef uint32_t _i
    for _i in range(command.count // 2):
        locate(store, command_next(command), &place)
        if not put_value(store, &place, command_next(command), 0):
            return False
    return put_kind(&store.out, RESULT_OK)


cdef enum:
    # An append copies the whole value and hashes it again, on the loop, in one piece: where it may grow for long, each byte
    # more makes heartbeats late. What is set at once is bounded by the size of a message.
    APPEND_LIMIT_BYTES = 4 << 20


cdef bint apply_append(Store* store, Command* command) noexcept nogil:
    cdef Place place
    locate(store, command_next(command), &place)
    cdef Slice tail = command_next(command)
    cdef uint64_t size = tail.size + (<uint64_t> place.item.value_size if place.item != NULL else 0)
    if size > APPEND_LIMIT_BYTES:
        return put_error(&store.out, ERROR_TOO_LARGE)
    if not put_integer(&store.out, <int64_t> size):
        return False
    if place.item == NULL:
        return put_value(store, &place, tail, 0)
    return put(
        store, &place, place.item.value(), place.item.value_size, tail.data, tail.size, place.item.expires_ms)


cdef bint apply_incrby(Store* store, Command* command) noexcept nogil:
    cdef Place place
    locate(store, command_next(command), &place)
    cdef int64_t delta = slice_integer(command_next(command)), number = 0
    cdef char text[20]
    cdef uint32_t size
    if place.item != NULL and not integer_parse(place.item.value(), place.item.value_size, &number):
        return put_error(&store.out, ERROR_NOT_AN_INTEGER)
    if number > INT64_MAX - delta if delta > 0 else number < INT64_MIN - delta:
        return put_error(&store.out, ERROR_OVERFLOW)
    number += delta
    size = integer_format(number, text)
    return put_integer(&store.out, number) and put(
        store, &place, text, size, NULL, 0, place.item.expires_ms if place.item != NULL else 0)


cdef bint apply_cas(Store* store, Command* command) noexcept nogil:
    cdef Place place
    cdef int64_t until_ms = command.until_ms
    cdef bint matches
    locate(store, command_next(command), &place)
    cdef Slice expected = command_next(command)
    if command.flags & CAS_ABSENT:
        matches = place.item == NULL
    else:
        matches = (place.item != NULL and place.item.value_size == expected.size
                   and memcmp(place.item.value(), expected.data, expected.size) == 0)
    if not matches:
        return put_integer(&store.out, 0)
    if command.flags & SET_KEEPTTL and place.item != NULL:
        until_ms = place.item.expires_ms
    return put_integer(&store.out, 1) and put_value(store, &place, command_next(command), until_ms)


cdef bint may_expire(const Command* command, int64_t expires_ms) noexcept nogil:
    if command.opcode == OP_PERSIST or command.flags & EXPIRE_XX:
        if expires_ms == 0:
            return False
    if command.flags & EXPIRE_NX:
        return expires_ms == 0
    if command.flags & EXPIRE_GT:
        return expires_ms != 0 and command.until_ms > expires_ms
    if command.flags & EXPIRE_LT:
        return expires_ms == 0 or command.until_ms < expires_ms
    return True


cdef bint apply_expiry(Store* store, Command* command) noexcept nogil:
    """EXPIREAT and PERSIST. A key that never ends counts as one that ends after every other."""
    cdef Place place
    locate(store, command_next(command), &place)
    if place.item == NULL or not may_expire(command, place.item.expires_ms):
        return put_integer(&store.out, 0)
    return put_integer(&store.out, 1) and set_expiry(store, &place, command.until_ms)


cdef bint retire_tables(Store* store) noexcept nogil:
    """Leave every shard empty; the tables go to the dump that needs them, or to be freed. All shards are locked."""
    cdef Shard* shard
    cdef int i
    if not store.flushed.reserve(store.flushed.size + 2 * SHARDS):
        return False
    for i in range(SHARDS):
        shard = &store.shards[i]
        if shard.dump_open and not shard.detached:
            shard.detached = True
            shard.walking = False
            shard.detached_live = shard.live
            shard.detached_old = shard.old
        else:
            if shard.live.buckets != NULL:
                store.flushed.push(shard.live)
            if shard.old.buckets != NULL:
                store.flushed.push(shard.old)
        shard.live.buckets = NULL
        shard.live.mask = 0
        shard.old = shard.live
        shard.moved = 0
        shard.count = 0
    store.count = 0
    store.expiring_count = 0
    store.digest_sum = 0
    return True


cdef bint apply_flushall(Store* store) noexcept nogil:
    """Whoever calls holds all the locks."""
    return retire_tables(store) and put_kind(&store.out, RESULT_OK)


cdef uint64_t shards_of(Store* store, Command command, uint64_t* keys) noexcept nogil:
    """The shards of every key that a command names, and how many keys these are."""
    cdef uint64_t mask = 0
    cdef Command nested
    cdef Slice argument
    cdef uint32_t i
    if command.opcode == OP_FLUSHALL:
        keys[0] += SHARDS * FIRST_BUCKETS // FREED_A_KEY
        return <uint64_t> -1
    for i in range(command.count):
        argument = command_next(&command)
        if command.opcode == OP_BATCH:
            command_check(argument.data, argument.size, &nested)
            mask |= shards_of(store, nested, keys)
        elif i == 0 or command.opcode == OP_DEL or command.opcode == OP_COLLECT or (
                command.opcode == OP_MSET and i % 2 == 0):
            mask |= <uint64_t> 1 << (hash_of(store, argument) & (SHARDS - 1))
            keys[0] += 1
    return mask


cdef bint apply_batch(Store* store, Command* command) noexcept nogil:
    cdef Command nested
    cdef Slice argument
    cdef uint32_t _i
    cdef size_t place
    if not put_array(&store.out, command.count):
        return False
    for _i in range(command.count):
        argument = command_next(command)
        command_check(argument.data, argument.size, &nested)
        if not put_item_begin(&store.out, &place) or not apply_one(store, &nested):
            return False
        put_item_end(&store.out, place)
    return True


cdef bint apply_ceiling(Store* store, Command* command) noexcept nogil:
    cdef uint64_t ceiling_ts
    if command.until_ms > INT64_MAX >> COUNTER_BITS:
        return put_error(&store.out, ERROR_TOO_LARGE)
    ceiling_ts = <uint64_t> command.until_ms << COUNTER_BITS | ((1 << COUNTER_BITS) - 1)
    # relaxed: this thread is the only writer
    if ceiling_ts > store.ceiling_ts.load(memory_order_relaxed):
        # release: as the other words that store_publish makes visible
        store.ceiling_ts.store(ceiling_ts, memory_order_release)
    return put_kind(&store.out, RESULT_OK)


cdef bint apply_one(Store* store, Command* command) noexcept nogil:
    if command.opcode == OP_SET:
        return apply_set(store, command)
    if command.opcode == OP_INCRBY:
        return apply_incrby(store, command)
    if command.opcode == OP_MSET:
        return apply_mset(store, command)
    if command.opcode == OP_DEL:
        return apply_del(store, command)
    if command.opcode == OP_GETSET:
        return apply_getset(store, command)
    if command.opcode == OP_SETNX:
        return apply_setnx(store, command)
    if command.opcode == OP_GETDEL:
        return apply_getdel(store, command)
    if command.opcode == OP_APPEND:
        return apply_append(store, command)
    if command.opcode == OP_CAS:
        return apply_cas(store, command)
    if command.opcode == OP_EXPIREAT or command.opcode == OP_PERSIST:
        return apply_expiry(store, command)
    if command.opcode == OP_COLLECT:
        return apply_collect(store, command)
    if command.opcode == OP_FLUSHALL:
        return apply_flushall(store)
    if command.opcode == OP_CEILING:
        return apply_ceiling(store, command)
    return apply_batch(store, command)


cdef Blob* finished_result(Store* store) noexcept nogil:
    cdef Blob* common
    cdef Blob* result
    cdef int i
    for i in range(4):
        common = store.common[i]
        if common.size == store.out.size and memcmp(common.bytes(), store.out.data, common.size) == 0:
            return blob_retain(common)
    result = blob_new(store.out.data, <uint32_t> store.out.size)
    if store.out.capacity > KEPT_OUT_BYTES:
        store.out.release()
    return result


cdef bint store_apply(Store* store, const char* bytes, uint32_t size, Blob** result) noexcept nogil:
    cdef Command command
    cdef uint64_t mask = 0, keys = 0
    cdef bint enough, several
    result[0] = NULL
    store.out.clear()
    # relaxed: only this thread sets it
    if store.failed.load(memory_order_relaxed):
        if put_error(&store.out, ERROR_FAILED):
            result[0] = finished_result(store)
        return False
    if size == 0:
        return True
    if not command_check(bytes, size, &command):
        enough = put_error(&store.out, ERROR_MALFORMED)
    else:
        store.commit_ts = max(command.hint_ts, store.commit_ts + 1)
        # release, with the locks that come: who sees a part of this entry judges at its instant or later
        store.reached_ms.store(ms_of(store.commit_ts), memory_order_release)
        several = command.opcode in (OP_BATCH, OP_FLUSHALL) or (
            command.count > 1 and command.opcode in (OP_DEL, OP_MSET, OP_COLLECT))
        if several:
            mask = shards_of(store, command, &keys)
            lock_mask(store, mask)
            store.holding = True
        enough = apply_one(store, &command)
        if not enough:
            # relaxed: before the locks are given back, under which readers look; half an entry is never seen
            store.failed.store(1, memory_order_relaxed)
        if several:
            store.holding = False
            unlock_mask(store, mask)
        if store.dropped.size != 0:
            free_dropped(store)
        if store.flushed.size != 0:
            # in the long run never less than what entries add to tables that are flushed one day
            store_free_some(store, FREED_AT_ONCE + FREED_A_KEY * keys)
        store_publish(store)
    if enough:
        result[0] = finished_result(store)
        enough = result[0] != NULL
    if not enough:
        # relaxed: what is in the store is whole, or readers were told under its locks; the member stops
        store.failed.store(1, memory_order_relaxed)
    return enough


cdef void store_prefetch(Store* store, const char* bytes, uint32_t size, int stage) noexcept nogil:
    cdef uint32_t key_size
    cdef uint64_t hash
    cdef Shard* shard
    if size < COMMAND_HEAD_BYTES + 4:
        return
    memcpy(&key_size, bytes + COMMAND_HEAD_BYTES, 4)
    if key_size > size - COMMAND_HEAD_BYTES - 4 or key_size > PREFETCHED_KEY_BYTES:
        return
    hash = sip_hash(store.seed0, store.seed1, bytes + COMMAND_HEAD_BYTES + 4, key_size)
    shard = shard_of(store, hash)
    if shard.live.buckets != NULL:
        shard_prefetch(shard, <uint32_t> (hash >> SHARD_BITS), stage)


cdef void store_publish(Store* store) noexcept nogil:
    # relaxed: this thread is the only writer
    cdef uint64_t ceiling_ts = store.ceiling_ts.load(memory_order_relaxed)
    cdef uint64_t hash = hash_mix(store.digest_sum, store.commit_ts)
    # release, all of them: who reads a word finds the entry's effects, and the host publishes `applied` after this
    store.state_hash.store(hash_mix(hash_mix(hash, store.count), ceiling_ts), memory_order_release)
    store.size.store(store.count, memory_order_release)
    store.expiring.store(store.expiring_count, memory_order_release)
    store.last_commit_ts.store(store.commit_ts, memory_order_release)
    store.reached_ms.store(ms_of(store.commit_ts), memory_order_release)


cdef bint store_free_some(Store* store, uint64_t limit) noexcept nogil:
    while store.flushed.size != 0 and limit != 0:
        if table_free_some(&store.pool, &store.flushed[store.flushed.size - 1], &limit, False):
            store.flushed.size -= 1
    return store.flushed.size != 0


# ---- loading

cdef StoreCode store_insert(
        Store* store, const char* key, uint32_t key_size, const char* value, uint32_t value_size, int64_t expires_ms,
        uint64_t commit_ts) noexcept nogil:
    cdef Place place
    cdef Slice slice
    slice.data = key
    slice.size = key_size
    store.commit_ts = 0                                   # nothing has expired: the dump's state is taken as it was
    locate(store, slice, &place)
    if place.item != NULL:
        return STORE_FOUND
    if not put(store, &place, value, value_size, NULL, 0, expires_ms):
        return STORE_FAILED
    place.item.commit_ts = commit_ts
    return STORE_ABSENT


cdef void swap_tables(Shard* shard, Shard* other) noexcept nogil:
    cdef Table live = shard.live, old = shard.old
    cdef uint64_t moved = shard.moved, count = shard.count
    shard.live = other.live
    shard.old = other.old
    shard.moved = other.moved
    shard.count = other.count
    other.live = live
    other.old = old
    other.moved = moved
    other.count = count


cdef void swap_contents(Store* store, Store* source) noexcept nogil:
    """Tables and memory. The shards of `store` are locked."""
    cdef Vec[Table] flushed = store.flushed
    cdef int i
    for i in range(SHARDS):
        swap_tables(&store.shards[i], &source.shards[i])
    store.flushed = source.flushed
    source.flushed = flushed
    pool_swap(&store.pool, &source.pool)


cdef bint take_contents(Store* store, Store* source) noexcept nogil:
    """As swap_contents, while a dump keeps a part of what `store` holds, and with it all its memory. False without memory."""
    cdef int i
    if not pool_merge(&store.pool, &source.pool) or not retire_tables(store):
        return False
    for i in range(SHARDS):
        swap_tables(&store.shards[i], &source.shards[i])
    return True


cdef bint store_adopt(Store* store, Store* source) noexcept nogil:
    cdef bint enough = True
    lock_mask(store, <uint64_t> -1)
    # acquire: pairs with the release of dump_close, after which the dump has given everything back
    if store.dumping.load(memory_order_acquire):
        enough = take_contents(store, source)
    else:
        swap_contents(store, source)
    if enough:
        store.count = source.count
        store.expiring_count = source.expiring_count
        store.digest_sum = source.digest_sum
        store.commit_ts = source.commit_ts
        # relaxed, then release: `source` is not shared; readers of `store` see the word with what belongs to it
        store.ceiling_ts.store(source.ceiling_ts.load(memory_order_relaxed), memory_order_release)
    unlock_mask(store, <uint64_t> -1)
    if enough:
        store_publish(store)
    return enough


# ---- leading

cdef void store_lead(Store* store, uint64_t term) noexcept nogil:
    # relaxed: this thread is the only writer of both
    cdef int64_t ceiling_ms = ms_of(store.ceiling_ts.load(memory_order_relaxed))
    if store.led_term != term:
        store.led_term = term
        store_serve_from(store, ceiling_ms)               # as late as an earlier leader may have served reads
    if ceiling_ms > store.led_ms.load(memory_order_relaxed):
        # release: who sees it finds the entry that raised the ceiling
        store.led_ms.store(ceiling_ms, memory_order_release)


cdef void store_serve_from(Store* store, int64_t instant_ms) noexcept nogil:
    # sequentially consistent, all of them: see read.pyx
    cdef int64_t served_ms = store.served_ms.load(memory_order_seq_cst)
    while served_ms < instant_ms and not store.served_ms.compare_exchange_weak(
            served_ms, instant_ms, memory_order_seq_cst):
        pass


cdef int64_t store_pend(Store* store, int64_t hint_ms) noexcept nogil:
    # sequentially consistent, both: see read.pyx
    store.pending_ms.store(hint_ms, memory_order_seq_cst)
    return store.served_ms.load(memory_order_seq_cst)
