"""The hash table of the store; see `table.pxd` for the interface and `table.hpp` for the layout.

Each of the 64 shards grows by itself: when it has more items than buckets it gets a table of twice the size, and from then
on every write to the shard moves a few buckets over, so that no step is long. A key is always in exactly one chain: the
old table's if its old bucket was not moved yet, the new table's otherwise; lookups and inserts ask the same question.
A shard stands still, chains growing longer, while a dump's cursor is inside it: a sixty-fourth of the store at a time.
Tables never shrink; a flush starts again with small ones.
"""

from libc.stdlib cimport free
from libc.string cimport memcmp, memcpy
from libcpp.atomic cimport memory_order_relaxed

cdef extern from * nogil:
    void prefetch "__builtin_prefetch"(const void* address) noexcept


cdef Item* item_new(Pool* pool, const char* key, uint32_t key_size, uint32_t value_size) noexcept nogil:
    cdef Item* item = pool_take(pool, ITEM_HEAD_BYTES + key_size + value_size)
    if item == NULL:
        return NULL
    item.next = NULL
    item.hash = 0
    item.dumped = 0
    item.key_size = key_size
    item.value_size = value_size
    item.expires_ms = 0
    item.commit_ts = 0
    item.digest = 0
    memcpy(item.key(), key, key_size)
    return item


cdef inline Item** chain_of(const Shard* shard, uint32_t hash) noexcept nogil:
    if shard.old.buckets != NULL and (hash & shard.old.mask) >= shard.moved:
        return &shard.old.buckets[hash & shard.old.mask]
    return &shard.live.buckets[hash & shard.live.mask]


cdef void shard_prefetch(const Shard* shard, uint32_t hash, int stage) noexcept nogil:
    cdef Item** chain = chain_of(shard, hash)
    if stage == 0:
        prefetch(chain)
    else:
        prefetch(chain[0])
        prefetch(<char*> chain[0] + 64)


cdef Item* shard_find(const Shard* shard, uint32_t hash, const char* key, uint32_t key_size) noexcept nogil:
    if shard.live.buckets == NULL:
        return NULL
    cdef Item* item = chain_of(shard, hash)[0]
    while item != NULL:
        if item.hash == hash and item.key_size == key_size and memcmp(item.key(), key, key_size) == 0:
            return item
        item = item.next
    return NULL


cdef void move_some(Shard* shard, Table* freed) noexcept nogil:
    cdef Item* item
    cdef Item* following
    cdef Item** bucket
    cdef int _i
    cdef uint64_t i
    for _i in range(MOVED_AT_ONCE):
        item = shard.old.buckets[shard.moved]
        shard.old.buckets[shard.moved] = NULL
        shard.moved += 1
        while item != NULL:
            following = item.next
            bucket = &shard.live.buckets[item.hash & shard.live.mask]
            item.next = bucket[0]
            bucket[0] = item
            item = following
        if shard.moved > shard.old.mask:
            freed[0] = shard.old
            shard.old.buckets = NULL
            shard.old.mask = 0
            shard.moved = 0
            return
    # the next buckets are moved by the next write to this shard: their items are on the way by then, and where they go to
    for i in range(shard.moved, min(shard.moved + MOVED_AT_ONCE, shard.old.mask + 1)):
        prefetch(shard.old.buckets[i])
    prefetch(&shard.live.buckets[shard.moved])
    prefetch(&shard.live.buckets[shard.moved + shard.old.mask + 1])


cdef bint shard_prepare(Shard* shard, Table* freed) noexcept nogil:
    cdef Item** buckets
    cdef uint64_t count
    freed.buckets = NULL
    if shard.old.buckets != NULL:
        if not shard.walking:
            move_some(shard, freed)
        return True
    if shard.live.buckets != NULL and (
            shard.count <= shard.live.mask or shard.walking or shard.live.mask >= (<uint64_t> 1 << 32) - 1):
        return True
    count = FIRST_BUCKETS if shard.live.buckets == NULL else (shard.live.mask + 1) * 2
    buckets = <Item**> kv_allocate(count * sizeof(Item*), True)
    if buckets == NULL:
        return False
    shard.old = shard.live                                # none, for the first table
    shard.moved = 0
    shard.live.buckets = buckets
    shard.live.mask = count - 1
    return True


cdef void shard_insert(Shard* shard, Item* item) noexcept nogil:
    cdef Item** chain = chain_of(shard, item.hash)
    item.next = chain[0]
    chain[0] = item
    shard.count += 1


cdef void shard_replace(Shard* shard, Item* gone, Item* item) noexcept nogil:
    cdef Item** link = chain_of(shard, gone.hash)
    while link[0] != gone:
        link = &link[0].next
    if item == NULL:
        link[0] = gone.next
        shard.count -= 1
    else:
        item.next = gone.next
        link[0] = item


cdef bint shard_pins(const Shard* shard, const Item* item) noexcept nogil:
    # tables that were detached are the dump's own: what came into the shard after them, old as it may be, is none of its
    return (
        shard.dump_open and not shard.detached and item.commit_ts <= shard.cut and item.dumped != shard.dump_number)


cdef bint table_free_some(Pool* pool, Table* table, uint64_t* left, bint elsewhere) noexcept nogil:
    cdef Item* item
    while left[0] != 0:
        left[0] -= 1
        item = table.buckets[table.mask]                  # from the last bucket down: the mask is the place in the work
        if item != NULL:
            table.buckets[table.mask] = item.next
            if elsewhere:
                pool_return(pool, item)
            else:
                pool_free(pool, item)
        elif table.mask == 0:
            free(table.buckets)
            table.buckets = NULL
            return True
        else:
            table.mask -= 1
    return False


cdef void table_free(Pool* pool, Table* table, bint elsewhere) noexcept nogil:
    cdef uint64_t left = <uint64_t> -1
    if table.buckets != NULL:
        table_free_some(pool, table, &left, elsewhere)


def _limit_allocations(int64_t left) -> None:
    """Test seam: after `left` more allocations every further one fails; a negative number lifts the limit."""
    # relaxed: the seam orders nothing
    allocations_left.store(left, memory_order_relaxed)
