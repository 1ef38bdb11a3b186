"""Immutable, reference-counted bytes: an entry's payload. Null is the empty payload. Thread-safe."""

from libc.stdint cimport uint32_t


cdef extern from "tenure/_core/blob.hpp" namespace "tenure" nogil:
    cdef cppclass Blob:
        const uint32_t size
        char* bytes() noexcept

    Blob* blob_new(const char* bytes, uint32_t size) noexcept
    Blob* blob_retain(Blob* blob) noexcept
    void blob_release(Blob* blob) noexcept

    # Blobs that come together in one allocation. Each is released by itself; the block goes with the last of them.
    const size_t BLOB_ROOM_BYTES
    cdef cppclass BlobBlock:
        pass
    BlobBlock* blob_block_new(size_t room) noexcept             # for BLOB_ROOM_BYTES and its bytes a blob; null: no memory
    Blob* blob_block_add(BlobBlock* block, const char* bytes, uint32_t size) noexcept
    void blob_block_release(BlobBlock* block) noexcept          # the maker is done with it; null is fine
