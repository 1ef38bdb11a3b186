"""Target: what the messages of peers make of a member of the core. Pure; any thread."""

from libc.stdint cimport uint64_t

cdef const char* fuzz_core(const char* data, size_t size, uint64_t* accepted) noexcept nogil
