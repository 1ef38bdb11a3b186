"""Targets: what the key-value store reads from the log and from dumps. Pure; any thread."""

from libc.stdint cimport uint64_t

cdef const char* fuzz_command(const char* data, size_t size, uint64_t* accepted) noexcept nogil
cdef const char* fuzz_dump(const char* data, size_t size, uint64_t* accepted) noexcept nogil
