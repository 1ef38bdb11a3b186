"""Targets: what a client sends. Pure; any thread."""

from libc.stdint cimport uint64_t

cdef const char* fuzz_resp(const char* data, size_t size, uint64_t* accepted) noexcept nogil
cdef const char* fuzz_redis(const char* data, size_t size, uint64_t* accepted) noexcept nogil
