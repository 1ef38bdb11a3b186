"""The growth of `Buffer` (see `buffer.pxd`), and a Python view of one for tests."""

cimport cython
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove

cdef enum:
    SMALLEST_BYTES = 4096


cdef char* buffer_reserve(Buffer* buffer, size_t count, size_t limit) noexcept nogil:
    cdef size_t size = buffer_size(buffer), grown
    cdef char* moved
    if count > limit or size > limit - count:
        return NULL
    if buffer_room(buffer) >= count:
        return buffer.data + buffer.end
    if size + count <= buffer.capacity and buffer.begin >= size:
        memmove(buffer.data, buffer.data + buffer.begin, size)
    else:
        # at twice the limit the branch above always holds, so the memory never grows beyond that
        grown = max(buffer.capacity * 2, <size_t>SMALLEST_BYTES)
        if grown > limit * 2:
            grown = limit * 2
        if grown < size + count:
            grown = size + count
        moved = <char*>malloc(grown)
        if moved == NULL:
            return NULL
        if size:
            memcpy(moved, buffer.data + buffer.begin, size)
        free(buffer.data)
        buffer.data = moved
        buffer.capacity = grown
    buffer.begin = 0
    buffer.end = size
    return buffer.data + size


cdef void buffer_release(Buffer* buffer) noexcept nogil:
    free(buffer.data)
    buffer.data = NULL
    buffer.begin = buffer.end = buffer.capacity = 0


@cython.final
cdef class ByteBuffer:
    """One buffer, for tests of it."""

    cdef Buffer c
    cdef readonly size_t limit

    def __cinit__(self, size_t limit):
        self.limit = limit

    def __dealloc__(self):
        buffer_release(&self.c)

    def append(self, bytes data not None) -> bool:
        """False when the bytes do not fit below the limit; then nothing has changed."""
        cdef size_t count = <size_t>len(data)
        cdef char* into = buffer_reserve(&self.c, count, self.limit)
        if into == NULL:
            return False
        memcpy(into, <const char*>data, count)
        buffer_commit(&self.c, count)
        return True

    def consume(self, size_t count) -> bytes:
        """Take bytes from the front."""
        if count > buffer_size(&self.c):
            raise ValueError(f"only {buffer_size(&self.c)} bytes are there")
        taken = buffer_front(&self.c)[:count]
        buffer_consume(&self.c, count)
        return taken

    @property
    def capacity(self) -> int: return self.c.capacity

    def __len__(self) -> int:
        return <Py_ssize_t>buffer_size(&self.c)
