"""What every fuzz target is made of: see `kit.pxd`."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport malloc
from libc.string cimport memcpy

from tenure._core.crc32c cimport crc32c


cdef void take(Cursor* cursor, void* into, size_t size) noexcept nogil:
    size = min(size, left(cursor))
    if size:
        memcpy(into, cursor.at, size)
    cursor.at += size


cdef uint8_t take8(Cursor* cursor) noexcept nogil:
    cdef uint8_t value = 0
    take(cursor, &value, 1)
    return value


cdef uint16_t take16(Cursor* cursor) noexcept nogil:
    cdef uint16_t value = 0
    take(cursor, &value, 2)
    return value


cdef uint32_t take32(Cursor* cursor) noexcept nogil:
    cdef uint32_t value = 0
    take(cursor, &value, 4)
    return value


cdef uint64_t take64(Cursor* cursor) noexcept nogil:
    cdef uint64_t value = 0
    take(cursor, &value, 8)
    return value


cdef char* exact_copy(const char* data, size_t size) noexcept nogil:
    cdef char* copy = <char*> malloc(size if size else 1)
    if copy != NULL and size:
        memcpy(copy, data, size)
    return copy


cdef uint64_t digest_bytes(uint64_t digest, const void* data, size_t size) noexcept nogil:
    cdef uint32_t low = <uint32_t> digest, high = <uint32_t> (digest >> 32)
    if size:
        low = crc32c(low, data, size)
        high = crc32c(high ^ 0x9E3779B9u, data, size)
    return digest_number((<uint64_t> high << 32) | low, size)


cdef uint64_t digest_number(uint64_t digest, uint64_t number) noexcept nogil:
    digest = (digest ^ number) * <uint64_t> 0x9E3779B97F4A7C15
    return digest ^ (digest >> 29)


cdef uint32_t next_random(uint32_t* state) noexcept nogil:
    cdef uint32_t value = state[0] if state[0] else 1
    value ^= value << 13
    value ^= value >> 17
    value ^= value << 5
    state[0] = value
    return value
