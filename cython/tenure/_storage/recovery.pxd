"""Reading a log back: what `wal_open` does before it writes. The opener's thread."""

from libc.stdint cimport uint64_t

from tenure._core.vec cimport Vec
from tenure._storage.wal cimport Wal

# The sequence numbers of the segments that the directory holds, sorted. False with the error filled in.
cdef bint recovery_list(Wal* wal, Vec[uint64_t]* sequences) noexcept nogil

# Reads the segments, checks everything, and only then repairs the tail; leaves the last segment open for writing. False with
# the error filled in, and nothing changed unless the repair itself failed.
cdef bint recovery_run(Wal* wal, const Vec[uint64_t]* sequences) noexcept nogil
