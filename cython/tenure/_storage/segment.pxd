"""Names and writing of segments: what both the writer and the recovery do to them. The log's thread."""

from libc.stdint cimport uint32_t, uint64_t

from tenure._storage.error cimport StorageError
from tenure._storage.format cimport BatchHeader
from tenure._storage.wal cimport Wal

cdef enum:
    RESERVE_BYTES = 32768       # of each segment, at most an eighth: for all but entries on a full disk

cdef uint64_t segment_reserve(uint64_t capacity) noexcept nogil
cdef void segment_path(const Wal* wal, uint64_t sequence, char* into) noexcept nogil
cdef bint segment_sequence(const char* name, uint64_t* sequence) noexcept nogil     # False: not the name of a segment

# Stops the log: the first error stays. Returns its code.
cdef int wal_fail(Wal* wal, int code, int errno_value, uint64_t offset, const char* path) noexcept nogil
cdef int wal_fail_errno(Wal* wal, int errno_value, uint64_t offset, const char* path) noexcept nogil

# Fills in the header that stands before a body of `body_bytes`, for the batch that comes next at `offset`.
cdef void batch_seal(
    const Wal* wal, BatchHeader* batch, uint64_t body_bytes, uint32_t record_count, uint32_t flags) noexcept nogil
# What follows a small batch that ends at `end` is written as zeros with it, some way ahead. 0 or an errno.
cdef int zero_ahead(Wal* wal, uint64_t size, uint64_t end) noexcept nogil
# Writes the sealed batch at the tail and syncs. 0 or an errno; the tail moves only when all of it is durable.
cdef int batch_write(Wal* wal, BatchHeader* batch) noexcept nogil
# The last batch of the current segment, which says that there is a next one.
cdef int segment_close(Wal* wal) noexcept nogil
