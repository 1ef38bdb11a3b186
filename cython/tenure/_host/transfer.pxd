"""Sending a snapshot to a member that is behind, and being that member. The loop's thread."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from tenure._host.member cimport Member
from tenure._host.snapshotter cimport SnapshotJob
from tenure._raft.types cimport Message, Snapshot

cdef enum:
    DATA_SNAPSHOT = 16          # the kind of data frame that carries the following, and a piece of a file behind it

cdef enum SnapshotDataKind:
    # The sender wants `size` bytes from `offset`; 0: it is still at it. A SnapshotBytes follows: what it has the beginning of.
    # Members of an older build send none, and are answered by DATA_PIECE.
    DATA_ASK = 1
    DATA_PIECE = 2              # bytes from `offset` of a file of `size` bytes
    DATA_GONE = 3               # there is no such file, or it is of no use any more
    DATA_PIECE_OF = 4           # the same as DATA_PIECE, but a SnapshotBytes stands before the bytes and says which file it is

cdef struct SnapshotData:
    uint32_t what               # SnapshotDataKind
    uint32_t group
    uint64_t index
    uint64_t term
    uint64_t offset
    uint64_t size

# The snapshot thread is done with a job of this module. Takes it over. 0, or the code that the member must fail with.
cdef int transfer_done(Member* m, SnapshotJob* job, int64_t now_ns, int64_t monotonic_ns) noexcept nogil
cdef void transfer_tick(Member* m, int64_t now_ns, int64_t monotonic_ns) noexcept nogil
# Whether a tick would do nothing as things stand.
cdef bint transfer_rest(const Member* m) noexcept nogil
# A leader says that it has a snapshot for this member. True: the message waits here until a file has come.
cdef bint transfer_hold(Member* m, const Message* message, int64_t monotonic_ns) noexcept nogil
cdef uint32_t transfer_data_group(const char* bytes) noexcept nogil
cdef void transfer_data(Member* m, uint64_t peer, const char* bytes, uint32_t size, int64_t monotonic_ns) noexcept nogil
# The state machine becomes what was loaded for this snapshot. False: nothing was.
cdef bint transfer_adopt(Member* m, const Snapshot* snapshot) noexcept nogil
cdef void transfer_release(Member* m) noexcept nogil
