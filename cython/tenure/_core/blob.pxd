"""Immutable, reference-counted bytes: an entry's payload. Null is the empty payload. Thread-safe."""

from libc.stdint cimport uint32_t


cdef extern from "tenure/_core/blob.hpp" namespace "tenure" nogil:
    cdef cppclass Blob:
        const uint32_t size
        char* bytes() noexcept

    Blob* blob_new(const char* bytes, uint32_t size) noexcept
    Blob* blob_retain(Blob* blob) noexcept
    void blob_release(Blob* blob) noexcept
