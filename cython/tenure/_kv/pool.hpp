// Where items live. Small ones are cut from large pieces of memory, which the kernel is asked to back with huge pages: a
// store is read and written at random, so the pages of a plain heap cost more (faults at first, translation for ever) than
// the store's own work, and a heap gives memory back in steps that take milliseconds. The sizes are multiples of 16; what is
// freed serves the next item of its size. Larger items come from malloc. Pieces are given back with the whole pool.
//
// One thread (the store's apply thread) takes and frees. Any other hands items back by a list that the owner empties.
#pragma once
#include <sys/mman.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "tenure/_core/vec.hpp"
#include "tenure/_kv/table.hpp"

namespace tenure {

constexpr std::size_t POOLED_BYTES = 1024;              // larger items are malloc's
constexpr std::size_t FIRST_PIECE_BYTES = 1 << 14;      // a store with few keys is small: pieces grow up to the largest
constexpr std::size_t LARGEST_PIECE_BYTES = 1 << 21;    // a huge page

struct Piece {
    char* memory;
    std::size_t bytes;
};

struct Pool {
    Item* unused[POOLED_BYTES / 16 + 1];                // by size / 16
    char* at;                                           // the rest of the newest piece
    char* end;
    Vec<Piece> pieces;
    std::atomic<Item*> returned;                        // freed on other threads
};

inline std::size_t pool_room(std::size_t bytes) noexcept {
    return bytes <= POOLED_BYTES ? (bytes + 15) & ~std::size_t{15} : item_room(bytes);
}

inline std::size_t item_bytes(const Item* item) noexcept {
    return sizeof(Item) + std::size_t{item->key_size} + item->value_size;
}

// Owner. The item's sizes must be what they were when it was taken, up to rounding.
inline void pool_free(Pool* pool, Item* item) noexcept {
    const std::size_t room = pool_room(item_bytes(item));
    if (room > POOLED_BYTES) {
        std::free(item);
        return;
    }
    item->next = pool->unused[room / 16];
    pool->unused[room / 16] = item;
}

// Any thread.
inline void pool_return(Pool* pool, Item* item) noexcept {
    if (pool_room(item_bytes(item)) > POOLED_BYTES) {
        std::free(item);
        return;
    }
    // relaxed: a guess that the swap verifies
    Item* first = pool->returned.load(std::memory_order_relaxed);
    do {
        item->next = first;
        // release: our use of the item, and its link, come before the owner's use
    } while (!pool->returned.compare_exchange_weak(first, item, std::memory_order_release, std::memory_order_relaxed));
}

inline void pool_keep_rest(Pool* pool) noexcept {
    // a piece is cut in multiples of 16: what is left of it is an item of some size, or too small for any
    while (pool->end - pool->at >= static_cast<std::ptrdiff_t>(sizeof(Item))) {
        std::size_t room = static_cast<std::size_t>(pool->end - pool->at);
        if (room > POOLED_BYTES) room = POOLED_BYTES;
        auto* item = reinterpret_cast<Item*>(pool->at);
        pool->at += room;
        item->next = pool->unused[room / 16];
        pool->unused[room / 16] = item;
    }
    pool->at = pool->end = nullptr;
}

inline bool pool_grow(Pool* pool) noexcept {
    std::size_t bytes = FIRST_PIECE_BYTES;
    if (pool->pieces.size != 0) bytes = pool->pieces[pool->pieces.size - 1].bytes * 2;
    if (bytes > LARGEST_PIECE_BYTES) bytes = LARGEST_PIECE_BYTES;
    if (!pool->pieces.reserve(pool->pieces.size + 1) || !kv_may_allocate()) return false;
    // twice the size, then cut: a huge page must begin at a multiple of its size
    const bool huge = bytes == LARGEST_PIECE_BYTES;
    const std::size_t asked = huge ? bytes * 2 : bytes;
    void* memory = mmap(nullptr, asked, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return false;
    char* begin = static_cast<char*>(memory);
    if (huge) {
        const auto address = reinterpret_cast<uintptr_t>(memory);
        char* aligned = begin + ((bytes - address % bytes) % bytes);
        if (aligned != begin) munmap(begin, static_cast<std::size_t>(aligned - begin));
        munmap(aligned + bytes, static_cast<std::size_t>(begin + asked - (aligned + bytes)));
        begin = aligned;
    }
#if defined(MADV_HUGEPAGE)
    // Only once a piece is in use: the kernel then makes huge pages of it in the background. To fault a huge page in takes
    // milliseconds that the apply thread has not got. A wish: without huge pages everything works, slower.
    if (pool->pieces.size != 0) {
        const Piece& full = pool->pieces[pool->pieces.size - 1];
        if (full.bytes == LARGEST_PIECE_BYTES) madvise(full.memory, full.bytes, MADV_HUGEPAGE);
    }
#endif
    pool_keep_rest(pool);
    pool->pieces.push(Piece{begin, bytes});
    pool->at = begin;
    pool->end = begin + bytes;
    return true;
}

// Owner. Memory for an item of `bytes` in all; null without.
inline Item* pool_take(Pool* pool, std::size_t bytes) noexcept {
    const std::size_t room = pool_room(bytes);
    if (room > POOLED_BYTES) return static_cast<Item*>(kv_allocate(room, false));
    Item* item = pool->unused[room / 16];
    // relaxed look: an item that is returned this moment serves the next call
    if (item == nullptr && pool->returned.load(std::memory_order_relaxed) != nullptr) {
        // acquire: pairs with the release of pool_return
        Item* returned = pool->returned.exchange(nullptr, std::memory_order_acquire);
        while (returned != nullptr) {
            Item* following = returned->next;
            pool_free(pool, returned);
            returned = following;
        }
        item = pool->unused[room / 16];
    }
    if (item != nullptr) {
        if (!kv_may_allocate()) return nullptr;
        pool->unused[room / 16] = item->next;
        return item;
    }
    if (static_cast<std::size_t>(pool->end - pool->at) < room && !pool_grow(pool)) return nullptr;
    if (!kv_may_allocate()) return nullptr;
    item = reinterpret_cast<Item*>(pool->at);
    pool->at += room;
    return item;
}

// Owner of both. Everything that `source` has is `pool`'s afterwards. False, and no change, without memory.
inline bool pool_merge(Pool* pool, Pool* source) noexcept {
    if (!pool->pieces.reserve(pool->pieces.size + source->pieces.size)) return false;
    pool_keep_rest(source);
    // the largest piece stays last: its size tells the size of the next
    if (source->pieces.size != 0) {
        std::memmove(pool->pieces.data + source->pieces.size, pool->pieces.data, pool->pieces.size * sizeof(Piece));
        std::memcpy(pool->pieces.data, source->pieces.data, source->pieces.size * sizeof(Piece));
        pool->pieces.size += source->pieces.size;
    }
    for (std::size_t i = 0; i <= POOLED_BYTES / 16; i++) {
        while (source->unused[i] != nullptr) {
            Item* item = source->unused[i];
            source->unused[i] = item->next;
            item->next = pool->unused[i];
            pool->unused[i] = item;
        }
    }
    source->pieces.clear();
    return true;
}

// Owner of both, and nobody else returns items to either.
inline void pool_swap(Pool* pool, Pool* other) noexcept {
    std::swap(pool->unused, other->unused);
    std::swap(pool->at, other->at);
    std::swap(pool->end, other->end);
    std::swap(pool->pieces, other->pieces);
    // relaxed, all three: whoever returned items before was waited for
    Item* returned = pool->returned.load(std::memory_order_relaxed);
    pool->returned.store(other->returned.load(std::memory_order_relaxed), std::memory_order_relaxed);
    other->returned.store(returned, std::memory_order_relaxed);
}

// When nobody uses an item of it any more; items of malloc's must have been freed one by one.
inline void pool_release(Pool* pool) noexcept {
    for (std::size_t i = 0; i < pool->pieces.size; i++) munmap(pool->pieces[i].memory, pool->pieces[i].bytes);
    pool->pieces.release();
}

}  // namespace tenure
