"""Quorum arithmetic (Raft, section 5.3 and, for joint configurations, section 6).

A majority is more than half of a half's voters; a joint decision needs both halves. Indexes, ReadIndex rounds and lease ends
are all selections: the greatest value that a quorum reaches. Pure functions, no state, any thread.
"""

from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint64_t

from tenure._raft.state cimport Vote
from tenure._raft.types cimport VOTE_LOST, VOTE_PENDING, VOTE_WON, VoteResult


cdef int64_t quorum_selection(int64_t* values, int32_t count) noexcept nogil:
    cdef int32_t i, j
    cdef int64_t value
    if count == 0:
        return INT64_MAX
    for i in range(1, count):  # insertion sort: a handful of members
        value = values[i]
        j = i - 1
        while j >= 0 and values[j] > value:
            values[j + 1] = values[j]
            j -= 1
        values[j + 1] = value
    # ascending: count - position members reach values[position]; a majority is count // 2 + 1
    return values[count - (count // 2 + 1)]


cdef VoteResult quorum_vote(const uint64_t* voters, int32_t count, const Vote* votes, size_t votes_count) noexcept nogil:
    cdef int32_t granted = 0, missing = 0, i
    cdef size_t k
    cdef bint found
    if count == 0:
        return VOTE_WON
    for i in range(count):
        found = False
        for k in range(votes_count):
            if votes[k].id == voters[i]:
                found = True
                granted += votes[k].granted
                break
        missing += not found
    if granted > count // 2:
        return VOTE_WON
    return VOTE_PENDING if granted + missing > count // 2 else VOTE_LOST


cdef VoteResult quorum_joint_vote(VoteResult incoming, VoteResult outgoing) noexcept nogil:
    if incoming == outgoing:
        return incoming
    if incoming == VOTE_LOST or outgoing == VOTE_LOST:
        return VOTE_LOST
    return VOTE_PENDING
