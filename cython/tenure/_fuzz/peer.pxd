"""Targets: what one host reads from another. Pure; any thread."""

from libc.stdint cimport uint32_t, uint64_t

cdef const char* fuzz_frame(const char* data, size_t size, uint64_t* accepted) noexcept nogil
cdef const char* fuzz_message(const char* data, size_t size, uint64_t* accepted) noexcept nogil
cdef const char* fuzz_handshake(const char* data, size_t size, uint64_t* accepted) noexcept nogil
cdef size_t reseal_frames(char* data, size_t size, size_t limit, uint32_t seed) noexcept nogil
