"""When a member takes a snapshot, and what its log may forget afterwards. The loop's thread; the opener before it."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from tenure._host.member cimport Member
from tenure._host.snapshotter cimport SnapshotJob
from tenure._raft.types cimport Message, Snapshot
from tenure._storage.directory cimport Directory
from tenure._storage.error cimport StorageError
from tenure._storage.wal cimport RecoveredGroup

cdef enum:
    DATA_SNAPSHOT = 16          # the kind of data frame that carries the following, and a piece of a file behind it

cdef enum SnapshotDataKind:
    DATA_ASK = 1                # the sender wants `size` bytes from `offset`; 0: it is still at it
    DATA_PIECE = 2              # bytes from `offset` of a file of `size` bytes
    DATA_GONE = 3               # there is no such file

cdef struct SnapshotData:
    uint32_t what               # SnapshotDataKind
    uint32_t group
    uint64_t index
    uint64_t term
    uint64_t offset
    uint64_t size

# Begins a dump when one is due, and drops a bounded number of entries that may go. True when there is more to drop.
cdef bint snapshots_step(Member* m, int64_t monotonic_ns) noexcept nogil
# Asks for a snapshot of all that is applied. Returns the index that a durable one will cover, or does; 0 when none can be taken.
cdef uint64_t snapshots_request(Member* m) noexcept nogil
# The snapshot thread is done with a job. Takes it over. 0, or the code that the member must fail with.
cdef int snapshots_done(Member* m, SnapshotJob* job, int64_t now_ns, int64_t monotonic_ns) noexcept nogil
cdef void snapshots_tick(Member* m, int64_t now_ns, int64_t monotonic_ns) noexcept nogil
# Whether a tick would do nothing as things stand.
cdef bint snapshots_rest(const Member* m) noexcept nogil
# A leader says that it has a snapshot for this member. True: the message waits here until the file has come.
cdef bint snapshots_hold(Member* m, const Message* message, int64_t monotonic_ns) noexcept nogil
cdef uint32_t snapshots_data_group(const char* bytes) noexcept nogil
cdef void snapshots_data(Member* m, uint64_t peer, const char* bytes, uint32_t size, int64_t monotonic_ns) noexcept nogil
# The state machine becomes what was loaded for this snapshot. False: nothing was.
cdef bint snapshots_adopt(Member* m, const Snapshot* snapshot) noexcept nogil
cdef void snapshots_release(Member* m) noexcept nogil
# Before the member starts: loads the newest snapshot that the log joins into the machine. `chosen` is that one, or the start
# of the log (index 0) when there is none and the log is whole. `damaged` counts the files passed over. A StorageCode.
cdef int snapshots_load(
    Member* m, const Directory* directory, const RecoveredGroup* found, Snapshot* chosen, size_t* damaged,
    StorageError* error) noexcept nogil
