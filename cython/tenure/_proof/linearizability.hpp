// The records of the linearizability checker and their sort orders. Only what Cython cannot say is here: comparison by
// lambda and bit scanning. Nothing allocates and nothing throws (std::sort works in place on plain structs).
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace tenure {

// One operation as a client saw it: eight plain 64-bit integers, so that an array of them is an array of int64.
struct Operation {
    std::int64_t key, kind, arg1, arg2, out, call, ret, status;
};

// An operation of the key under search, in the form that the inner loop wants.
struct Item {
    std::int64_t arg1, arg2, out, call, ret;
    std::int64_t horizon;   // unknown operations: the last instant at which anyone can see their effect
    std::uint32_t source;   // index into the caller's array
    std::int32_t slot;      // bit that says "placed" while the operation is live
    std::int32_t twin;      // unknown operations: the equal one called before, -1 when none
    std::uint8_t kind;
    bool unknown;
    bool observer;          // definite, and never changes the state where it is legal
    bool blind;             // legal in every state, and what it leaves does not depend on the state
};

struct Event {
    std::int64_t time;
    std::uint32_t type;  // 0 call, 1 return, 2 retire: at one instant calls come first, so touching means concurrent
    std::uint32_t item;
};

struct Seen {
    std::int64_t value, last;
};

struct Frame {
    std::uint32_t config;
    std::uint32_t path_size;
    std::int32_t item;
};

inline void sort_by_key_and_call(std::uint32_t* order, std::size_t count, const Operation* ops) noexcept {
    std::sort(order, order + count, [ops](std::uint32_t a, std::uint32_t b) {
        if (ops[a].key != ops[b].key) return ops[a].key < ops[b].key;
        if (ops[a].call != ops[b].call) return ops[a].call < ops[b].call;
        return a < b;
    });
}

inline void sort_events(Event* events, std::size_t count) noexcept {
    std::sort(events, events + count, [](const Event& a, const Event& b) {
        if (a.time != b.time) return a.time < b.time;
        if (a.type != b.type) return a.type < b.type;
        return a.item < b.item;
    });
}

inline void sort_seen(Seen* seen, std::size_t count) noexcept {
    std::sort(seen, seen + count, [](const Seen& a, const Seen& b) {
        if (a.value != b.value) return a.value < b.value;
        return a.last > b.last;
    });
}

// The first entry of a value carries its greatest instant; null when the value is never mentioned.
inline const Seen* find_seen(const Seen* seen, std::size_t count, std::int64_t value) noexcept {
    const Seen* at = std::lower_bound(seen, seen + count, value,
                                      [](const Seen& entry, std::int64_t wanted) { return entry.value < wanted; });
    return at != seen + count && at->value == value ? at : nullptr;
}

// Equal operations become neighbours, in order of their calls (items are numbered by call).
inline void sort_by_effect(std::uint32_t* order, std::size_t count, const Item* items) noexcept {
    std::sort(order, order + count, [items](std::uint32_t a, std::uint32_t b) {
        if (items[a].kind != items[b].kind) return items[a].kind < items[b].kind;
        if (items[a].arg1 != items[b].arg1) return items[a].arg1 < items[b].arg1;
        if (items[a].arg2 != items[b].arg2) return items[a].arg2 < items[b].arg2;
        return a < b;
    });
}

inline int lowest_bit(std::uint64_t word) noexcept { return __builtin_ctzll(word); }

}  // namespace tenure
