// A growable array for code that runs without exceptions: growth uses nothrow allocation and reports failure by its
// return value. Elements are trivially copyable (plain structs whose owned pointers their owner releases), so an array
// may itself be a member of a plain struct and moves by copying its bytes. It never runs constructors or destructors.
#pragma once
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <type_traits>

namespace tenure {

template <class T>
struct Vec {
    T* data;
    std::size_t size;
    std::size_t capacity;

    T& operator[](std::size_t i) noexcept { return data[i]; }
    const T& operator[](std::size_t i) const noexcept { return data[i]; }

    bool reserve(std::size_t wanted) noexcept {
        static_assert(std::is_trivially_copyable<T>::value, "Vec moves its elements by copying bytes");
        if (wanted <= capacity) return true;
        std::size_t grown = capacity ? capacity * 2 : 8;
        if (grown < wanted) grown = wanted;
        if (grown > static_cast<std::size_t>(-1) / sizeof(T)) return false;
        void* moved = std::realloc(static_cast<void*>(data), grown * sizeof(T));
        if (moved == nullptr) return false;
        data = static_cast<T*>(moved);
        capacity = grown;
        return true;
    }

    bool push(const T& value) noexcept {
        T copy = value;  // `value` may live inside this array, which reserve() can move
        if (!reserve(size + 1)) return false;
        data[size++] = copy;
        return true;
    }

    bool insert(std::size_t at, const T& value) noexcept {
        T copy = value;
        if (!reserve(size + 1)) return false;
        if (size != at)
            std::memmove(static_cast<void*>(data + at + 1), static_cast<void*>(data + at), (size - at) * sizeof(T));
        data[at] = copy;
        size++;
        return true;
    }

    void remove(std::size_t at, std::size_t count = 1) noexcept {
        if (size != at + count)  // an empty array has no memory to move within
            std::memmove(static_cast<void*>(data + at), static_cast<void*>(data + at + count),
                         (size - at - count) * sizeof(T));
        size -= count;
    }

    void clear() noexcept { size = 0; }

    void release() noexcept {
        std::free(static_cast<void*>(data));
        data = nullptr;
        size = capacity = 0;
    }
};

}  // namespace tenure
