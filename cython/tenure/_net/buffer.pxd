"""A growable run of bytes that is written at its end and consumed at its front. A zeroed struct is an empty one.

Consuming moves an index, never bytes. What is left moves to the start of the memory only when room is needed and at least as
much has been consumed as is left, so that every byte is moved at most once for a byte consumed. One thread at a time. Nothing
here throws: no room (a bound, or no memory) is a null pointer.
"""


cdef struct Buffer:
    char* data
    size_t begin                # first byte not consumed
    size_t end                  # behind the last byte written
    size_t capacity             # begin <= end <= capacity


# Room for `count` (not 0) more bytes at the end, or null: they would make more than `limit`, or there is no memory.
cdef char* buffer_reserve(Buffer* buffer, size_t count, size_t limit) noexcept nogil
# Gives the memory back.
cdef void buffer_release(Buffer* buffer) noexcept nogil


cdef inline size_t buffer_size(const Buffer* buffer) noexcept nogil:
    return buffer.end - buffer.begin


cdef inline size_t buffer_room(const Buffer* buffer) noexcept nogil:
    """How many bytes fit at the end as it stands."""
    return buffer.capacity - buffer.end


cdef inline char* buffer_front(const Buffer* buffer) noexcept nogil:
    return buffer.data + buffer.begin


cdef inline void buffer_commit(Buffer* buffer, size_t count) noexcept nogil:
    """`count` of the reserved bytes have been written."""
    buffer.end += count


cdef inline void buffer_consume(Buffer* buffer, size_t count) noexcept nogil:
    buffer.begin += count
    if buffer.begin == buffer.end:
        buffer.begin = buffer.end = 0
