"""Quorum arithmetic over a majority or joint configuration. Pure functions on stack arrays."""

from libc.stdint cimport int32_t, int64_t, uint64_t

from tenure._raft.state cimport Vote
from tenure._raft.types cimport VoteResult

# The greatest value that a majority of `count` values reaches; the greatest integer for an empty half, so that the minimum
# over both halves of a joint configuration is right. Sorts `values` in place.
cdef int64_t quorum_selection(int64_t* values, int32_t count) noexcept nogil
# Votes of one half. Ids are looked up in the sorted `votes`.
cdef VoteResult quorum_vote(const uint64_t* voters, int32_t count, const Vote* votes, size_t votes_count) noexcept nogil
cdef VoteResult quorum_joint_vote(VoteResult incoming, VoteResult outgoing) noexcept nogil
