"""Reading a log back: what `wal_open` does before it writes, and what tools do that only look. The opener's thread."""

from libc.stdint cimport uint32_t, uint64_t

from tenure._core.vec cimport Vec
from tenure._storage.file_seam cimport PATH_BYTES
from tenure._storage.format cimport BatchHeader
from tenure._storage.wal cimport Wal

cdef struct Scan:
    # One segment while it is read.
    int fd
    uint64_t size
    uint64_t sequence
    uint64_t salt
    uint64_t capacity
    uint64_t at                 # the end of the valid batches so far
    uint64_t number             # of the next batch
    uint64_t batches
    uint64_t synced             # the highest synced offset that any header records
    uint32_t previous
    bint closed
    bint dirty                  # something other than zeros stands behind the end
    uint64_t dirty_end
    char path[PATH_BYTES]

# The sequence numbers of the segments that the directory holds, sorted. False with the error filled in.
cdef bint recovery_list(Wal* wal, Vec[uint64_t]* sequences) noexcept nogil

# Reads the segments, checks everything, and only then repairs the tail, unless the log is read-only; leaves the last segment
# open for writing. False with the error filled in, and nothing changed unless the repair itself failed.
cdef bint recovery_run(Wal* wal, const Vec[uint64_t]* sequences) noexcept nogil

# Batch by batch; each False with the error filled in. `scan.fd` is the caller's to close, where it is not negative.
cdef bint scan_open(Wal* wal, Scan* scan, uint64_t sequence) noexcept nogil
cdef bint scan_read(Wal* wal, Scan* scan, BatchHeader* header, Vec[char]* body, bint* found) noexcept nogil
cdef void scan_step(Scan* scan, const BatchHeader* header) noexcept nogil      # over the batch that was read
cdef bint scan_rest(Wal* wal, Scan* scan) noexcept nogil                       # behind the last batch: torn, or damaged
