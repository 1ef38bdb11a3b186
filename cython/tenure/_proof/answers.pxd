"""What a member owes its callers: the outcomes of proposals, and reads that wait for an index to be applied."""

from libc.stdint cimport int64_t, uint64_t

from tenure._proof.raft.types cimport Entry, ReadState
from tenure._proof.world cimport Member, World

cdef void answer_proposals(World* w, Member* m, const Entry* entry, int64_t result) noexcept nogil  # `entry` was applied
cdef void answer_lost_proposals(World* w, Member* m, uint64_t up_to) noexcept nogil     # nobody knows what became of them
cdef void answer_read(World* w, Member* m, int64_t operation) noexcept nogil
cdef void answer_read_state(World* w, Member* m, const ReadState* state) noexcept nogil
cdef void answer_reads(World* w, Member* m) noexcept nogil         # those whose index is applied
cdef void answer_nobody(World* w, Member* m) noexcept nogil        # the process is about to die
