// The layout of the bounded queue of `queue.pyx`, and its life: allocation is what Cython cannot align by itself.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>

namespace tenure {

struct QueueCell {
    std::atomic<uint64_t> turn;   // position p: free for the push of position p; p + 1: filled by it
    void* item;
};

struct Queue {
    alignas(64) std::atomic<uint64_t> tail;        // the next position to fill; the top bit says closed
    alignas(64) std::atomic<uint64_t> head;        // the next position to take; written by the consumer only
    alignas(64) QueueCell* cells;                  // from here on nothing changes after queue_open
    uint64_t mask;
};

constexpr uint64_t QUEUE_CLOSED_BIT = uint64_t{1} << 63;

// Capacity is rounded up to a power of two, at least 2. False without memory.
inline bool queue_open(Queue* queue, uint64_t capacity) noexcept {
    if (capacity > (uint64_t{1} << 32)) return false;
    uint64_t size = 2;
    while (size < capacity) size *= 2;
    queue->cells = new (std::nothrow) QueueCell[size];
    if (queue->cells == nullptr) return false;
    // relaxed throughout: the queue is not shared yet
    for (uint64_t i = 0; i < size; i++) queue->cells[i].turn.store(i, std::memory_order_relaxed);
    queue->mask = size - 1;
    queue->tail.store(0, std::memory_order_relaxed);
    queue->head.store(0, std::memory_order_relaxed);
    return true;
}

// Frees the cells, not what the items point to; nobody may use the queue any more.
inline void queue_free(Queue* queue) noexcept {
    delete[] queue->cells;
    queue->cells = nullptr;
}

}  // namespace tenure
