// The store's layout and its aligned allocation. What it means is in `store.pxd` and `store.pyx`.
#pragma once
#include <atomic>
#include <cstdint>
#include <new>

#include "tenure/_core/blob.hpp"
#include "tenure/_core/vec.hpp"
#include "tenure/_kv/pool.hpp"
#include "tenure/_kv/table.hpp"

namespace tenure {

struct Store {
    Shard shards[64];
    // Published at the end of every entry, for readers on any thread:
    alignas(64) std::atomic<uint64_t> last_commit_ts;
    std::atomic<uint64_t> ceiling_ts;      // the greatest timestamp that may be served or assigned; 0: none was agreed
    std::atomic<uint64_t> state_hash;
    std::atomic<uint64_t> size;
    std::atomic<uint64_t> expiring;        // keys that will end
    std::atomic<uint32_t> failed;          // memory ran out inside an entry: nothing here can be believed any more
    // How reads are judged against time; `read.pyx` says what it means. Any thread:
    alignas(64) std::atomic<int64_t> reached_ms;   // of the entry that is being applied, before any of it can be seen
    std::atomic<int64_t> served_ms;    // the greatest instant at which a read may have been judged here
    std::atomic<int64_t> led_ms;           // the ceiling as it stood when this member last led; moves on the apply thread
    std::atomic<int64_t> pending_ms;       // commands proposed here and not applied yet have this hint or a later one
    std::atomic<uint32_t> ceiling_wanted;  // a reader's clock is about to pass the ceiling
    // Set once:
    alignas(64) uint64_t seed0;
    uint64_t seed1;
    std::atomic<int64_t> references;
    // Of the apply thread alone:
    alignas(64) uint64_t commit_ts;        // of the entry being applied, then the last assigned
    uint64_t count;
    uint64_t expiring_count;
    uint64_t digest_sum;
    uint64_t led_term;                     // the last term in which this member led
    bool holding;                          // the shards that the entry touches are locked until its end
    uint32_t dumps;                        // how many were begun
    Pool pool;                             // of all items, also of those that a dump keeps
    Vec<char> out;                         // the result being built
    Vec<Table> flushed;                    // tables out of use, freed a little with every entry
    Vec<Item*> dropped;                    // items taken out under a lock that is still held
    Blob* common[4];                       // results that need no memory of their own: ok, nil, 0 and 1
    std::atomic<uint32_t> dumping;         // a dump exists; set by the apply thread, cleared by whoever closes the dump
};

inline Store* store_allocate() noexcept {
    void* memory = ::operator new(sizeof(Store), std::align_val_t{alignof(Store)}, std::nothrow);
    return memory == nullptr ? nullptr : new (memory) Store{};
}

inline void store_deallocate(Store* store) noexcept {
    store->~Store();
    ::operator delete(static_cast<void*>(store), std::align_val_t{alignof(Store)});
}

}  // namespace tenure
