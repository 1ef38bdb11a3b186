// The layout of the store: items, their buckets, and the 64 shards that the keys fall into. The logic is in `table.pyx`.
//
// An item is one allocation: this head, the key, the value. Its room is rounded up (`pool.hpp`), so that a value of about
// the same length is written in place. For versions at older snapshots there will be a chain from the newest item
// of a key to its predecessors: `commit_ts` is already the order of that chain, and the link takes the 8 bytes that the
// limit of 100 bytes of overhead a key still leaves.
//
// A shard has a lock of its own, held while a reader copies a value out or the apply thread splices one in. Only the apply
// thread changes tables, chains and items; it therefore reads them without the lock. The fields of a dump are the only
// ones that another thread (the dumper) writes, and everyone reads and writes those under the lock.
#pragma once
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "tenure/_core/posix.hpp"

namespace tenure {

struct Item {
    Item* next;            // in its bucket, or in a list of retained items
    uint32_t hash;         // of the key, without the bits that chose the shard
    uint32_t dumped;       // the number of the last dump that has emitted this item
    uint32_t key_size;
    uint32_t value_size;
    int64_t expires_ms;    // 0: never
    uint64_t commit_ts;    // of the write that made it what it is: the order of timestamps is the order of the log
    uint64_t digest;       // its part of the state hash
    char* key() noexcept { return reinterpret_cast<char*>(this + 1); }
    char* value() noexcept { return key() + key_size; }
};

constexpr std::size_t ITEM_HEAD_BYTES = sizeof(Item);
static_assert(sizeof(Item) == 48, "the head of an item is counted in the memory promised for a key");

struct Table {
    Item** buckets;        // null: no table
    uint64_t mask;
};

// One waiter at most spins, briefly, then all sleep in the kernel: a reader may lose its core while it holds the lock.
struct ShardLock {
    std::atomic<uint32_t> word;   // 0 free, 1 held, 2 held and somebody may sleep

    void lock() noexcept {
        uint32_t seen = 0;
        // acquire: what the last holder did is visible
        if (__builtin_expect(word.compare_exchange_strong(seen, 1, std::memory_order_acquire), 1)) return;
        lock_slowly();
    }
    void lock_slowly() noexcept {
        for (int tries = 0; tries < 64; tries++) {
            uint32_t seen = 0;
            cpu_pause();
            // relaxed look first, so that a spinning thread does not pull the line from the holder; acquire as above
            if (word.load(std::memory_order_relaxed) == 0 &&
                word.compare_exchange_weak(seen, 1, std::memory_order_acquire)) return;
        }
        // acquire: as above
        while (word.exchange(2, std::memory_order_acquire) != 0) futex_wait(&word, 2, WAIT_FOREVER);
    }
    void unlock() noexcept {
        // release: what this holder did is visible to the next
        if (__builtin_expect(word.exchange(0, std::memory_order_release) == 2, 0)) futex_wake(&word, 1);
    }
};

struct alignas(64) Shard {
    ShardLock lock;
    uint32_t dump_number;  // of the dump below
    Table live;
    Table old;             // while growing: the table that is moved, bucket by bucket, into `live`
    uint64_t moved;        // buckets of `old` below this one are empty
    uint64_t count;
    // A dump in progress (under the lock):
    uint64_t cut;          // items up to this commit timestamp belong to it
    bool dump_open;        // not everything of this shard is emitted yet
    bool walking;          // the dump's cursor is in `live` and `old`: their items must stay in their buckets
    bool detached;         // a flush has taken the tables away: the cut's items are in the next two
    Table detached_live;
    Table detached_old;
    Item* retained;        // items of the cut that were replaced or removed before the dump reached them
};

// The test seam for memory that runs out: the allocations left before every further one fails; negative: no limit.
inline std::atomic<int64_t> allocations_left{-1};

inline bool kv_may_allocate() noexcept {
    // relaxed: the seam orders nothing; in production the value never changes
    if (__builtin_expect(allocations_left.load(std::memory_order_relaxed) < 0, 1)) return true;
    if (allocations_left.load(std::memory_order_relaxed) == 0) return false;
    allocations_left.fetch_sub(1, std::memory_order_relaxed);
    return true;
}

inline void* kv_allocate(std::size_t bytes, bool zeroed) noexcept {
    if (!kv_may_allocate()) return nullptr;
    return zeroed ? std::calloc(1, bytes) : std::malloc(bytes);
}

inline std::size_t item_room(std::size_t bytes) noexcept { return ((bytes + 23) & ~std::size_t{15}) - 8; }

}  // namespace tenure
