"""CRC-32C over bytes, by the processor's instruction where it has one. Any thread; the seed of a fresh checksum is 0."""

from libc.stdint cimport uint32_t


cdef extern from "tenure/_core/crc32c.hpp" namespace "tenure" nogil:
    # crc32c(crc32c(seed, a), b) == crc32c(seed, a + b)
    uint32_t crc32c(uint32_t seed, const void* data, size_t size) noexcept
    uint32_t crc32c_portable(uint32_t seed, const void* data, size_t size) noexcept
    bint crc32c_has_instruction() noexcept
