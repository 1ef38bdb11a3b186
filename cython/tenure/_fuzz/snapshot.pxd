"""Target: a snapshot file. One at a time: the folder in memory stands behind the whole process's file seam."""

from libc.stdint cimport uint32_t, uint64_t

cdef const char* fuzz_snapshot(const char* data, size_t size, uint64_t* accepted) noexcept nogil
cdef size_t reseal_snapshot(char* data, size_t size, size_t limit, uint32_t seed) noexcept nogil
