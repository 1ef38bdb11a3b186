"""A growable array whose growth returns a code instead of throwing. A zeroed struct holds an empty one."""


cdef extern from "tenure/_core/vec.hpp" namespace "tenure" nogil:
    cdef cppclass Vec[T]:
        T* data
        size_t size
        size_t capacity
        T& operator[](size_t index) noexcept
        bint reserve(size_t wanted) noexcept
        bint push(const T& value) noexcept
        bint insert(size_t at, const T& value) noexcept
        void remove(size_t at) noexcept
        void remove(size_t at, size_t count) noexcept
        void clear() noexcept
        void release() noexcept
