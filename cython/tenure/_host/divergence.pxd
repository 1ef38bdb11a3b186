"""Whether a member's state is still the leader's. The loop's thread."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from tenure._host.member cimport Member

cdef enum:
    DATA_HASHES = 18            # the kind of data frame that carries the leader's recent hashes

# Something was applied: remember the hash of the state at this index.
cdef void divergence_note(Member* m) noexcept nogil
# As leader, about once a second: tell everybody the last hashes.
cdef void divergence_tick(Member* m, int64_t monotonic_ns) noexcept nogil
# The group that a frame is for. Any bytes; 0xFFFFFFFF for those that are no such frame.
cdef uint32_t divergence_group(const char* bytes, uint32_t size) noexcept nogil
# Hashes of a peer. False: this member's state differs from the leader's, and it must fail.
cdef bint divergence_agrees(Member* m, uint64_t peer, const char* bytes, uint32_t size) noexcept nogil
