"""Little-endian numbers at any address; see `wire.hpp`."""

from libc.stdint cimport uint16_t, uint32_t, uint64_t


cdef extern from "tenure/_net/wire.hpp" namespace "tenure" nogil:
    void wire_put16(char* at, uint16_t value) noexcept
    void wire_put32(char* at, uint32_t value) noexcept
    void wire_put64(char* at, uint64_t value) noexcept
    uint16_t wire_get16(const char* at) noexcept
    uint32_t wire_get32(const char* at) noexcept
    uint64_t wire_get64(const char* at) noexcept
