"""Codes of the storage package, and where it went wrong."""

from libc.stdint cimport int32_t, uint64_t

cdef enum StorageCode:
    # Above every Code of `_raft.types`, so that a member's failure code says which it was.
    STORAGE_OK = 0
    STORAGE_IO = 201            # a file operation failed; errno and path say which. Nothing more is accepted
    STORAGE_FULL = 202          # no space left
    STORAGE_CORRUPT = 203       # damage below the last recorded synced offset; `offset` says where
    STORAGE_NEWER_FORMAT = 204
    STORAGE_FOREIGN = 205       # another cluster's or another host's directory
    STORAGE_LOCKED = 206        # another process holds the directory
    STORAGE_MEMORY = 207
    STORAGE_BAD_DIRECTORY = 208 # not a tenure directory, or parts are missing
    STORAGE_MISUSE = 209        # the caller's entries leave a gap, or are larger than a record: nothing was written

cdef struct StorageError:
    int32_t code                # StorageCode
    int32_t errno_value
    uint64_t offset
    char path[512]

cdef void storage_error_set(
    StorageError* error, int32_t code, int32_t errno_value, uint64_t offset, const char* path) noexcept nogil
# STORAGE_FULL for an errno that says so, STORAGE_IO for another
cdef int32_t storage_code_of(int32_t errno_value) noexcept nogil
cdef object storage_exception(const StorageError* error)    # the Python edge: of the StorageError family
