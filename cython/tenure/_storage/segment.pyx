"""Segments: their names, the batch at their tail, and how they end.

A batch is sealed (its header filled in, both checksums) and written by one pwrite and one fdatasync. Each batch names the
checksum of the one before, so none can be left out, and repeats its own offset and the segment's salt, so none that is
found can be of another life of the file.

A preallocated block that is written for the first time costs its sync an update of the file's metadata; one that was written
before does not. So a small batch that reaches new blocks takes zeros for the next ones along, under the same sync: most
syncs find their blocks written (`benchmarks/segments.py`), and what stands behind the tail are zeros as before. The log's
thread only.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memset, strlen, strncmp

from tenure._core.crc32c cimport crc32c
from tenure._storage.error cimport STORAGE_FULL, storage_code_of, storage_error_set
from tenure._storage.file_seam cimport file_sync, file_write, path_join
from tenure._storage.format cimport BATCH_CLOSES, BATCH_MAGIC, BatchHeader, batch_header_checksum

cdef enum:
    ZERO_AHEAD_BYTES = 256 << 10
    SMALL_BATCH_BYTES = 64 << 10    # a larger one costs more than its metadata, and zeros would double its bytes

cdef char zeros[ZERO_AHEAD_BYTES]   # never written


cdef uint64_t segment_reserve(uint64_t capacity) noexcept nogil:
    return min(<uint64_t> RESERVE_BYTES, capacity // 8)


cdef void segment_path(const Wal* wal, uint64_t sequence, char* into) noexcept nogil:
    cdef char name[32]
    snprintf(name, sizeof(name), b"wal-%016llx.log", <unsigned long long> sequence)
    path_join(into, wal.directory.path, name)


cdef bint segment_sequence(const char* name, uint64_t* sequence) noexcept nogil:
    cdef size_t i
    cdef uint64_t value = 0
    if strlen(name) != 24 or strncmp(name, b"wal-", 4) != 0 or strncmp(name + 20, b".log", 4) != 0:
        return False
    for i in range(4, 20):
        if c"0" <= name[i] <= c"9":
            value = value * 16 + <uint64_t> (name[i] - c"0")
        elif c"a" <= name[i] <= c"f":
            value = value * 16 + <uint64_t> (name[i] - c"a" + 10)
        else:
            return False
    sequence[0] = value
    return True


cdef int wal_fail(Wal* wal, int code, int errno_value, uint64_t offset, const char* path) noexcept nogil:
    if wal.error.code == 0:
        storage_error_set(&wal.error, code, errno_value, offset, path)
    return wal.error.code


cdef int wal_fail_errno(Wal* wal, int errno_value, uint64_t offset, const char* path) noexcept nogil:
    return wal_fail(wal, storage_code_of(errno_value), errno_value, offset, path)


cdef void batch_seal(
        const Wal* wal, BatchHeader* batch, uint64_t body_bytes, uint32_t record_count, uint32_t flags) noexcept nogil:
    memset(batch, 0, sizeof(BatchHeader))
    batch.magic = BATCH_MAGIC
    batch.salt = wal.salt
    batch.offset = wal.tail
    batch.synced = wal.synced
    batch.body_bytes = body_bytes
    batch.number = wal.number
    batch.previous = wal.previous
    batch.body_checksum = crc32c(wal.previous, batch + 1, body_bytes)
    batch.record_count = record_count
    batch.flags = flags
    batch.checksum = batch_header_checksum(batch)


cdef int zero_ahead(Wal* wal, uint64_t size, uint64_t end) noexcept nogil:
    cdef int result = 0
    cdef uint64_t until
    if end <= wal.zeroed:
        return 0
    wal.zeroed = end
    if wal.sync and size <= SMALL_BATCH_BYTES and end < wal.capacity:
        until = min((end + ZERO_AHEAD_BYTES) & ~<uint64_t> 4095, wal.capacity)
        result = file_write(wal.fd, zeros, until - end, end)
        wal.zeroed = until
    # no room for what nobody asked for (a file system that copies on write) is no failure of the log
    return 0 if storage_code_of(result) == STORAGE_FULL else result


cdef int batch_write(Wal* wal, BatchHeader* batch) noexcept nogil:
    cdef uint64_t size = sizeof(BatchHeader) + batch.body_bytes
    cdef int result = file_write(wal.fd, batch, size, wal.tail)
    if result == 0 and not batch.flags & BATCH_CLOSES:
        result = zero_ahead(wal, size, wal.tail + size)
    if result == 0 and wal.sync:
        result = file_sync(wal.fd)
        wal.syncs += 1
    if result != 0:
        return result
    wal.tail += size
    wal.bytes += size
    if wal.sync:
        wal.synced = wal.tail
    wal.number += 1
    wal.previous = batch.checksum
    return 0


cdef int segment_close(Wal* wal) noexcept nogil:
    cdef BatchHeader closing
    batch_seal(wal, &closing, 0, 0, BATCH_CLOSES)
    return batch_write(wal, &closing)
