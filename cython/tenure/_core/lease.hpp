// The lease word: one aligned 64-bit atomic that says until when its holder may answer reads by itself.
//
//     word = generation (24 bits, high) | expiry (40 bits, low, units of 2^20 ns, rounded down); expiry 0 = no lease
//
// Any thread may call anything here on a word that it holds a reference to. A reader needs one load; every change is one
// compare-and-swap of the whole word (or one store of zero), so there is no state between two states and nothing to undo.
//
// Closed is the value zero, for ever. Generation 0 is reserved for it: a new word starts at generation 1 and the
// generation after 2^24 - 1 is 1. Hence "closed" needs no second field that a swap could miss: whoever swaps has seen the
// value it replaces, and nobody replaces zero. A generation recurs after 2^24 - 1 invalidations; a completion would have
// to sleep through exactly that many of them to be mistaken for a current one.
//
// The memory is counted and outlives the last reader. All living words stand in a registry, through which a forked child
// closes its copies before fork() returns there: a child is not the member whose promises back the lease. The registry
// belongs to the extension module in which the word was made, and a word remembers its registry, so any module may drop
// the last reference. This file never reads a clock.
#pragma once
#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <new>

namespace tenure {

constexpr int LEASE_EXPIRY_BITS = 40;
constexpr int LEASE_UNIT_SHIFT = 20;
constexpr uint64_t LEASE_EXPIRY_MASK = (uint64_t{1} << LEASE_EXPIRY_BITS) - 1;
constexpr uint32_t LEASE_LAST_GENERATION = (uint32_t{1} << 24) - 1;
constexpr uint64_t LEASE_CLOSED = 0;

struct LeaseRegistry;

struct LeaseWord {
    alignas(64) std::atomic<uint64_t> word;         // a cache line of its own: readers share it, writers are rare
    alignas(64) std::atomic<int64_t> references;    // what follows is touched only by owners
    LeaseRegistry* registry;
    LeaseWord* previous;                            // the list is guarded by registry->lock
    LeaseWord* next;
};

// The words made by this extension module. It is never freed: the handlers of fork outlive every owner.
struct LeaseRegistry {
    pthread_mutex_t lock;
    LeaseWord* first;
};

inline LeaseRegistry* lease_registry_instance = nullptr;

// fork() runs `prepare` before it copies the process and one of the other two after it, all on the forking thread. With
// the lock held across the copy the child finds a whole list and a lock that it owns.
inline void lease_before_fork() { pthread_mutex_lock(&lease_registry_instance->lock); }
inline void lease_after_fork_in_parent() { pthread_mutex_unlock(&lease_registry_instance->lock); }
inline void lease_after_fork_in_child() {
    for (LeaseWord* word = lease_registry_instance->first; word != nullptr; word = word->next)
        // relaxed: the child has one thread, and threads it starts later are ordered by their start
        word->word.store(LEASE_CLOSED, std::memory_order_relaxed);
    pthread_mutex_unlock(&lease_registry_instance->lock);
}

inline LeaseRegistry* lease_registry_make() noexcept {
    auto* registry = new (std::nothrow) LeaseRegistry{PTHREAD_MUTEX_INITIALIZER, nullptr};
    if (registry == nullptr) return nullptr;
    lease_registry_instance = registry;
    if (pthread_atfork(lease_before_fork, lease_after_fork_in_parent, lease_after_fork_in_child) != 0) return nullptr;
    return registry;
}

// Null when fork could not be guarded against; then no word is made either.
inline LeaseRegistry* lease_registry() noexcept {
    static LeaseRegistry* const registry = lease_registry_make();
    return registry;
}

// A word of generation 1 without a lease, with one reference; null without memory.
inline LeaseWord* lease_new() noexcept {
    LeaseRegistry* registry = lease_registry();
    if (registry == nullptr) return nullptr;
    void* memory = ::operator new(sizeof(LeaseWord), std::align_val_t{alignof(LeaseWord)}, std::nothrow);
    if (memory == nullptr) return nullptr;
    auto* lease = new (memory) LeaseWord{{uint64_t{1} << LEASE_EXPIRY_BITS}, {1}, registry, nullptr, nullptr};
    pthread_mutex_lock(&registry->lock);
    lease->next = registry->first;
    if (lease->next != nullptr) lease->next->previous = lease;
    registry->first = lease;
    pthread_mutex_unlock(&registry->lock);
    return lease;
}

inline LeaseWord* lease_retain(LeaseWord* lease) noexcept {
    // relaxed: the caller already holds a reference, so nothing has to be ordered by taking another
    if (lease != nullptr) lease->references.fetch_add(1, std::memory_order_relaxed);
    return lease;
}

inline void lease_release(LeaseWord* lease) noexcept {
    // acq_rel: every use before any release happens before the memory is freed
    if (lease == nullptr || lease->references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    LeaseRegistry* registry = lease->registry;
    pthread_mutex_lock(&registry->lock);
    if (lease->previous != nullptr) lease->previous->next = lease->next;
    else registry->first = lease->next;
    if (lease->next != nullptr) lease->next->previous = lease->previous;
    pthread_mutex_unlock(&registry->lock);
    lease->~LeaseWord();
    ::operator delete(static_cast<void*>(lease), std::align_val_t{alignof(LeaseWord)});
}

constexpr uint64_t lease_pack(uint32_t generation, uint64_t expiry) noexcept {
    return (static_cast<uint64_t>(generation) << LEASE_EXPIRY_BITS) | expiry;
}
constexpr uint64_t lease_expiry_of(uint64_t word) noexcept { return word & LEASE_EXPIRY_MASK; }
constexpr uint32_t lease_generation_of(uint64_t word) noexcept { return static_cast<uint32_t>(word >> LEASE_EXPIRY_BITS); }
constexpr uint32_t lease_next_generation(uint32_t generation) noexcept {
    return generation == LEASE_LAST_GENERATION ? 1 : generation + 1;
}
// Rounded down, and cut to 40 bits: an end that comes too early is safe, one that comes too late is not.
constexpr uint64_t lease_expiry_units(int64_t until_ns) noexcept {
    const uint64_t units = until_ns <= 0 ? 0 : static_cast<uint64_t>(until_ns) >> LEASE_UNIT_SHIFT;
    return units > LEASE_EXPIRY_MASK ? LEASE_EXPIRY_MASK : units;
}

// Whether a word that was read as `word` covers the instant `now_ns`. A clock that failed reads 0 and is never covered.
#ifdef TENURE_WITHOUT_EXPIRY_CHECK
// UNSAFE, and only ever built by the test that must find stale reads without the check (tests/faults/): a lease, once
// given, lasts until somebody withdraws it. setup.py keeps such a build out of every package.
constexpr bool lease_covers(uint64_t word, int64_t now_ns) noexcept { return now_ns > 0 && lease_expiry_of(word) != 0; }
#else
constexpr bool lease_covers(uint64_t word, int64_t now_ns) noexcept {
    return now_ns > 0 && now_ns < static_cast<int64_t>(lease_expiry_of(word) << LEASE_UNIT_SHIFT);
}
#endif

inline uint64_t lease_load(const LeaseWord* lease) noexcept {
    // acquire: what the extender did before it published this lease (own-term entry applied) is visible after the load
    return lease->word.load(std::memory_order_acquire);
}

inline bool lease_valid(LeaseWord* lease, int64_t now_ns) noexcept { return lease_covers(lease_load(lease), now_ns); }

// Sampled before the operation that will prove the quorum; 0 once closed.
inline uint32_t lease_generation(LeaseWord* lease) noexcept { return lease_generation_of(lease_load(lease)); }

// The end of the lease as it stands, rounded; 0 = no lease.
inline int64_t lease_expiry_ns(LeaseWord* lease) noexcept {
    return static_cast<int64_t>(lease_expiry_of(lease_load(lease)) << LEASE_UNIT_SHIFT);
}

// True when this call moved the end to `until_ns` (rounded down). False, and nothing changed, when the generation is no
// longer `generation`, when the word is closed, or when an end at least as late already stands.
inline bool lease_extend(LeaseWord* lease, int64_t until_ns, uint32_t generation) noexcept {
    const uint64_t expiry = lease_expiry_units(until_ns);
    if (generation == 0) return false;  // the closed word's generation: nothing can be proved under it
    // relaxed: only a guess; the swap below decides on the value it really replaces
    uint64_t seen = lease->word.load(std::memory_order_relaxed);
    while (lease_generation_of(seen) == generation && lease_expiry_of(seen) < expiry) {
        // release: what made the lease true is visible to whoever reads it; relaxed on failure: the loop looks again
        if (lease->word.compare_exchange_weak(seen, lease_pack(generation, expiry), std::memory_order_release,
                                              std::memory_order_relaxed))
            return true;
    }
    return false;
}

// The next generation without a lease, whatever stands; a closed word stays closed.
inline void lease_invalidate(LeaseWord* lease) noexcept {
    // relaxed: only a guess, as in lease_extend
    uint64_t seen = lease->word.load(std::memory_order_relaxed);
    while (seen != LEASE_CLOSED) {
        // acq_rel: a reader of the new generation sees what came before it; the role change and the replies that
        // follow are published by release stores, which cannot pass this swap. relaxed on failure: the loop looks again
        if (lease->word.compare_exchange_weak(seen, lease_pack(lease_next_generation(lease_generation_of(seen)), 0),
                                              std::memory_order_acq_rel, std::memory_order_relaxed))
            return;
    }
}

inline void lease_close(LeaseWord* lease) noexcept {
    // acq_rel exchange: as an invalidation, and nothing ever replaces the zero it leaves
    lease->word.exchange(LEASE_CLOSED, std::memory_order_acq_rel);
}

}  // namespace tenure
