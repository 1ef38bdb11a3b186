"""Target: what other hosts say about who is where. Pure; any thread."""

from libc.stdint cimport uint64_t

cdef const char* fuzz_roster(const char* data, size_t size, uint64_t* accepted) noexcept nogil
