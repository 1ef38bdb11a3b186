"""When a member takes a snapshot, and what its log may forget afterwards. The loop's thread; the opener before it."""

from libc.stdint cimport int64_t, uint64_t

from tenure._host.member cimport Member
from tenure._host.snapshotter cimport SnapshotJob
from tenure._raft.types cimport Snapshot
from tenure._storage.directory cimport Directory
from tenure._storage.error cimport StorageError
from tenure._storage.wal cimport RecoveredGroup

# Begins a dump when one is due, and drops a bounded number of entries that may go. True when there is more to drop.
cdef bint snapshots_step(Member* m, int64_t monotonic_ns) noexcept nogil
# Asks for a snapshot of all that is applied. Returns the index that a durable one will cover; 0 when none can be taken.
cdef uint64_t snapshots_request(Member* m) noexcept nogil
# The snapshot thread is done with a JOB_WRITE. Takes it over. 0, or the code that the member must fail with.
cdef int snapshots_done(Member* m, SnapshotJob* job, int64_t monotonic_ns) noexcept nogil
# Looks anew at how much of the log in memory is kept for members that are behind.
cdef void snapshots_forget(Member* m) noexcept nogil
cdef void snapshots_tick(Member* m, int64_t monotonic_ns) noexcept nogil    # the same, where it is time
cdef void snapshots_count_failure(Member* m, int64_t monotonic_ns) noexcept nogil
cdef bint snapshots_is_harmless(int code) noexcept nogil    # failures that cost a snapshot and nothing else
# Before the member starts: loads the newest snapshot that the log joins into the machine. `chosen` is that one, or the start
# of the log (index 0) when there is none and the log is whole. `damaged` counts the files passed over. A StorageCode.
cdef int snapshots_load(
    Member* m, const Directory* directory, const RecoveredGroup* found, Snapshot* chosen, size_t* damaged,
    StorageError* error) noexcept nogil
