"""Dumps and loads; see `dump.pxd`.

The invariant of a dump: an item belongs to the cut when its `commit_ts` is not after the cut's, and it is emitted exactly
once, as it was at the cut. An item bears the number of the last dump that has emitted it. As long as its shard is not
finished, an unemitted item of the cut is never written in place; when a write replaces or removes it, it goes from its
chain to the shard's list of retained items, and a flush hands the dump the shard's tables as they are. So at every moment
an unemitted item of the cut is in exactly one of: the shard's tables, the tables that were detached, the retained list. The
cursor goes through the tables, then through the list, then calls the shard finished, under the shard's lock each time.
Buckets must not move under the cursor: growth of the shard that it is in waits until it has left. What is written after
the cut has a later timestamp and is passed over.

The price: values overwritten before the cursor comes live until then. Nothing is copied for the dump's sake.

The format: eight bytes of name, version (4), zero (4), commit timestamp, ceiling, number of items, state hash (8 each); then
for each item size of key (4), size of value (4), expiry (8), commit timestamp (8), key, value. Little-endian. Order means
nothing.
"""

from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memmove
from libcpp.atomic cimport memory_order_acquire, memory_order_relaxed, memory_order_release

from tenure._kv.codec cimport VALUE_LIMIT_BYTES
from tenure._kv.read cimport store_ceiling_ts, store_state_hash
from tenure._kv.store cimport (
    STORE_FAILED, STORE_FOUND, StoreCode, store_insert, store_new, store_publish, store_release, store_retain
)
from tenure._kv.table cimport SHARDS, Pool, Shard, Table, pool_return, table_free

cdef enum:
    DUMP_VERSION = 1
    HEAD_BYTES = 48
    ITEM_BYTES = 24
    LOCKED_BUCKETS = 64         # what is gone through under one hold of a shard's lock
    LOCKED_BYTES = 65536
    STAGE_LIVE = 0
    STAGE_OLD = 1
    STAGE_RETAINED = 2

cdef const char* DUMP_NAME = "TENUREKV"


cdef Dump* dump_begin(Store* store) noexcept nogil:
    cdef Dump* dump
    cdef Shard* shard
    cdef int i
    # acquire: what the last dump did to the shards is done
    if store.dumping.load(memory_order_acquire):
        return NULL
    dump = <Dump*> calloc(1, sizeof(Dump))
    if dump == NULL:
        return NULL
    # relaxed: only this thread sets it; the shards' locks order what matters
    store.dumping.store(1, memory_order_relaxed)
    store.dumps += 1
    if store.dumps == 0:                                  # 0 is the number of no dump
        store.dumps = 1
    dump.store = store_retain(store)
    dump.number = store.dumps
    dump.commit_ts = store.commit_ts
    dump.ceiling_ts = store_ceiling_ts(store)
    dump.count = store.count
    dump.state_hash = store_state_hash(store)
    for i in range(SHARDS):
        shard = &store.shards[i]
        shard.lock.lock()
        shard.dump_number = dump.number
        shard.cut = store.commit_ts
        shard.dump_open = True
        shard.lock.unlock()
    return dump


cdef bint emit(Dump* dump, Item* item, Vec[char]* out) noexcept nogil:
    cdef char* at
    if not out.reserve(out.size + ITEM_BYTES + item.key_size + item.value_size):
        return False
    at = out.data + out.size
    memcpy(at, &item.key_size, 4)
    memcpy(at + 4, &item.value_size, 4)
    memcpy(at + 8, &item.expires_ms, 8)
    memcpy(at + 16, &item.commit_ts, 8)
    memcpy(at + ITEM_BYTES, item.key(), <size_t> item.key_size + item.value_size)
    out.size += ITEM_BYTES + <size_t> item.key_size + item.value_size
    dump.written += 1
    return True


cdef bint walk_table(Dump* dump, Shard* shard, const Table* table, Vec[char]* out) noexcept nogil:
    """Some buckets of a table; the next stage after the last. The shard is locked. False without memory."""
    cdef Item* item
    cdef size_t before = out.size
    cdef int _i
    for _i in range(LOCKED_BUCKETS):
        if table.buckets == NULL or dump.bucket > table.mask:
            dump.stage += 1
            dump.bucket = 0
            return True
        item = table.buckets[dump.bucket]
        while item != NULL:
            if item.commit_ts <= dump.commit_ts and item.dumped != dump.number:
                if not emit(dump, item, out):
                    return False
                item.dumped = dump.number
            item = item.next
        dump.bucket += 1
        if out.size - before >= LOCKED_BYTES:
            break
    return True


cdef void take_away(Shard* shard, Item** retained, Table* live, Table* old) noexcept nogil:
    """End the dump of a shard; what was kept for it is the caller's to free. The shard is locked."""
    retained[0] = shard.retained
    live[0] = shard.detached_live
    old[0] = shard.detached_old
    shard.retained = NULL
    shard.detached_live.buckets = NULL
    shard.detached_live.mask = 0
    shard.detached_old = shard.detached_live
    shard.detached = False
    shard.walking = False
    shard.dump_open = False


cdef void free_kept(Pool* pool, Item* retained, Table* live, Table* old) noexcept nogil:
    cdef Item* following
    while retained != NULL:
        following = retained.next
        pool_return(pool, retained)
        retained = following
    table_free(pool, live, True)
    table_free(pool, old, True)


cdef bint step(Dump* dump, Vec[char]* out) noexcept nogil:
    cdef Shard* shard = &dump.store.shards[dump.shard]
    cdef Item* retained = NULL
    cdef Item* emitted = NULL
    cdef Item* item
    cdef Table live, old
    cdef size_t before = out.size
    cdef bint enough = True, finished = False
    live.buckets = NULL
    old.buckets = NULL
    shard.lock.lock()
    if not shard.detached:
        shard.walking = True
    if dump.stage == STAGE_LIVE:
        enough = walk_table(dump, shard, &shard.detached_live if shard.detached else &shard.live, out)
    elif dump.stage == STAGE_OLD:
        enough = walk_table(dump, shard, &shard.detached_old if shard.detached else &shard.old, out)
    else:
        while shard.retained != NULL and out.size - before < LOCKED_BYTES:
            item = shard.retained
            enough = emit(dump, item, out)
            if not enough:
                break
            shard.retained = item.next
            item.next = emitted
            emitted = item
        finished = shard.retained == NULL
        if finished:
            take_away(shard, &retained, &live, &old)
    shard.lock.unlock()
    free_kept(&dump.store.pool, emitted, &live, &old)
    if finished:
        dump.shard += 1
        dump.stage = STAGE_LIVE
        dump.bucket = 0
    return enough


cdef DumpCode dump_read(Dump* dump, Vec[char]* out, size_t goal_bytes) noexcept nogil:
    cdef size_t before = out.size
    cdef uint32_t version = DUMP_VERSION, zero = 0
    cdef char* at
    if not dump.head_written:
        if not out.reserve(out.size + HEAD_BYTES):
            return DUMP_NO_MEMORY
        at = out.data + out.size
        memcpy(at, DUMP_NAME, 8)
        memcpy(at + 8, &version, 4)
        memcpy(at + 12, &zero, 4)
        memcpy(at + 16, &dump.commit_ts, 8)
        memcpy(at + 24, &dump.ceiling_ts, 8)
        memcpy(at + 32, &dump.count, 8)
        memcpy(at + 40, &dump.state_hash, 8)
        out.size += HEAD_BYTES
        dump.head_written = True
    while dump.shard < SHARDS:
        if out.size - before >= goal_bytes:
            return DUMP_MORE
        if not step(dump, out):
            return DUMP_NO_MEMORY
    return DUMP_END


cdef void dump_close(Dump* dump) noexcept nogil:
    cdef Shard* shard
    cdef Item* retained
    cdef Table live, old
    cdef int i
    if dump == NULL:
        return
    for i in range(dump.shard, SHARDS):
        shard = &dump.store.shards[i]
        shard.lock.lock()
        take_away(shard, &retained, &live, &old)
        shard.lock.unlock()
        free_kept(&dump.store.pool, retained, &live, &old)
    # release: the shards are free of this dump before the next begins
    dump.store.dumping.store(0, memory_order_release)
    store_release(dump.store)
    free(dump)


# ---- load

cdef Load* load_begin(const Store* like) noexcept nogil:
    cdef Load* load = <Load*> calloc(1, sizeof(Load))
    if load == NULL:
        return NULL
    load.store = store_new(like.seed0, like.seed1)
    if load.store == NULL:
        free(load)
        return NULL
    return load


cdef LoadCode take_item(Load* load, const char* at, size_t size, size_t* taken) noexcept nogil:
    """One item from the bytes, or none (taken 0) when they do not hold a whole one yet."""
    cdef uint32_t key_size, value_size
    cdef int64_t expires_ms
    cdef uint64_t commit_ts
    cdef StoreCode code
    taken[0] = 0
    if size < ITEM_BYTES:
        return LOAD_OK
    memcpy(&key_size, at, 4)
    memcpy(&value_size, at + 4, 4)
    memcpy(&expires_ms, at + 8, 8)
    memcpy(&commit_ts, at + 16, 8)
    if (value_size > VALUE_LIMIT_BYTES or key_size > VALUE_LIMIT_BYTES or expires_ms < 0 or commit_ts > load.commit_ts
            or load.store.count == load.count):
        return LOAD_MALFORMED
    if size < ITEM_BYTES + <size_t> key_size + value_size:
        return LOAD_OK
    code = store_insert(
        load.store, at + ITEM_BYTES, key_size, at + ITEM_BYTES + key_size, value_size, expires_ms, commit_ts)
    if code == STORE_FOUND:
        return LOAD_MALFORMED
    if code == STORE_FAILED:
        return LOAD_NO_MEMORY
    taken[0] = ITEM_BYTES + <size_t> key_size + value_size
    return LOAD_OK


cdef LoadCode load_feed(Load* load, const char* bytes, size_t size) noexcept nogil:
    cdef size_t offset = 0, taken = 0
    cdef uint32_t version
    cdef LoadCode code
    if not load.pending.reserve(load.pending.size + size):
        return LOAD_NO_MEMORY
    if size != 0:
        memcpy(load.pending.data + load.pending.size, bytes, size)
        load.pending.size += size
    if not load.head_read:
        if load.pending.size < HEAD_BYTES:
            return LOAD_OK
        memcpy(&version, load.pending.data + 8, 4)
        memcpy(&load.commit_ts, load.pending.data + 16, 8)
        memcpy(&load.ceiling_ts, load.pending.data + 24, 8)
        memcpy(&load.count, load.pending.data + 32, 8)
        memcpy(&load.state_hash, load.pending.data + 40, 8)
        if memcmp(load.pending.data, DUMP_NAME, 8) != 0 or version != DUMP_VERSION:
            return LOAD_MALFORMED
        load.head_read = True
        offset = HEAD_BYTES
    while offset < load.pending.size:
        code = take_item(load, load.pending.data + offset, load.pending.size - offset, &taken)
        if code != LOAD_OK:
            return code
        if taken == 0:
            break
        offset += taken
    load.pending.size -= offset
    memmove(load.pending.data, load.pending.data + offset, load.pending.size)
    return LOAD_OK


cdef LoadCode load_end(Load* load) noexcept nogil:
    if not load.head_read or load.pending.size != 0 or load.store.count != load.count:
        return LOAD_SHORT
    load.store.commit_ts = load.commit_ts
    # relaxed: not shared yet
    load.store.ceiling_ts.store(load.ceiling_ts, memory_order_relaxed)
    store_publish(load.store)
    return LOAD_OK if store_state_hash(load.store) == load.state_hash else LOAD_DIFFERS


cdef void load_close(Load* load) noexcept nogil:
    if load == NULL:
        return
    store_release(load.store)
    load.pending.release()
    free(load)
