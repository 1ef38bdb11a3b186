"""Target `roster`: two rosters as they come from peers, and from strangers, which may say nothing else.

The input is the length of the first one, two bytes, the first one and the second one. What is malformed changes nothing; what
is not encodes to the same bytes again, merges once, and both ways to the same book wherever the two say nothing different
about one index of the log; every address in it is one that can be split.
"""

from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcmp, memset, strlen

from tenure._core.vec cimport Vec
from tenure._fuzz.kit cimport Cursor, exact_copy, left, take16
from tenure._host.roster cimport (
    ROSTER_ADDRESS_BYTES, ROSTER_CHANGED, ROSTER_FULL, ROSTER_MALFORMED, ROSTER_MEMBERS, ROSTER_SAME, Roster, RosterCode,
    RosterEntry, roster_encode, roster_find, roster_merge, roster_release, roster_split,
)


cdef bint same_book(const Roster* one, const Roster* other) noexcept nogil:
    return one.entries.size == other.entries.size and (one.entries.size == 0 or memcmp(
        one.entries.data, other.entries.data, one.entries.size * sizeof(RosterEntry)) == 0)


cdef bint differ_at_one_index(const Roster* one, const Roster* other) noexcept nogil:
    cdef const RosterEntry* found
    cdef size_t i
    for i in range(one.entries.size):
        found = roster_find(other, one.entries.data[i].id)
        if found != NULL and found.index == one.entries.data[i].index and memcmp(
                found.address, one.entries.data[i].address, ROSTER_ADDRESS_BYTES) != 0:
            return True
    return False


cdef const char* judge_book(const Roster* roster) noexcept nogil:
    cdef char host[ROSTER_ADDRESS_BYTES]
    cdef uint16_t port
    cdef uint64_t before = 0
    cdef size_t i
    if roster.entries.size > ROSTER_MEMBERS:
        return b"more members than a roster has"
    for i in range(roster.entries.size):
        if roster.entries.data[i].id <= before:
            return b"a roster out of order"
        before = roster.entries.data[i].id
        if roster.entries.data[i].address[0] != 0:
            port = 0
            roster_split(&roster.entries.data[i], host, &port)
            if port == 0 or strlen(host) == 0:
                return b"an address without host or port"
    return NULL


cdef const char* judge_alone(Roster* roster, const char* data, uint32_t size, RosterCode code) noexcept nogil:
    """One roster, merged into an empty one."""
    cdef Vec[char] out
    cdef const char* verdict = NULL
    if code == ROSTER_FULL:
        return NULL
    if code == ROSTER_MALFORMED or code == ROSTER_SAME:
        if roster.entries.size != 0 or roster.revision != 0:
            return b"what was refused, or said nothing, changed something"
        return NULL
    verdict = judge_book(roster)
    if verdict != NULL:
        return verdict
    memset(&out, 0, sizeof(out))
    if roster_encode(roster, &out) and (out.size != size or memcmp(out.data, data, size) != 0):
        verdict = b"a roster has two encodings"
    out.release()
    if verdict == NULL and roster_merge(roster, data, size) != ROSTER_SAME:
        verdict = b"the same roster is news twice"
    return verdict


cdef const char* judge_both(
        Roster* one, Roster* other, const char* first, uint32_t first_size, const char* second, uint32_t second_size
) noexcept nogil:
    cdef bint conflict = differ_at_one_index(one, other)
    cdef const char* verdict
    if roster_merge(one, second, second_size) == ROSTER_FULL or roster_merge(other, first, first_size) == ROSTER_FULL:
        return NULL
    verdict = judge_book(one)
    if verdict == NULL:
        verdict = judge_book(other)
    if verdict == NULL and not conflict and not same_book(one, other):
        verdict = b"two hosts that exchanged rosters disagree"
    return verdict


cdef const char* fuzz_roster(const char* data, size_t size, uint64_t* accepted) noexcept nogil:
    cdef Cursor cursor
    cdef Roster one, other
    cdef RosterCode code_one, code_other
    cdef uint32_t first_size, second_size
    cdef char* first
    cdef char* second
    cdef const char* verdict = NULL
    cursor.at, cursor.end = data, data + size
    first_size = take16(&cursor)
    first_size = min(first_size, <uint32_t>left(&cursor))
    second_size = <uint32_t>left(&cursor) - first_size
    first = exact_copy(cursor.at, first_size)
    second = exact_copy(cursor.at + first_size, second_size)
    memset(&one, 0, sizeof(one))
    memset(&other, 0, sizeof(other))
    if first != NULL and second != NULL:
        code_one = roster_merge(&one, first, first_size)
        code_other = roster_merge(&other, second, second_size)
        accepted[0] += (code_one == ROSTER_CHANGED) + (code_other == ROSTER_CHANGED)
        verdict = judge_alone(&one, first, first_size, code_one)
        if verdict == NULL:
            verdict = judge_alone(&other, second, second_size, code_other)
        if verdict == NULL and code_one == ROSTER_CHANGED and code_other == ROSTER_CHANGED:
            verdict = judge_both(&one, &other, first, first_size, second, second_size)
    roster_release(&one)
    roster_release(&other)
    free(first)
    free(second)
    return verdict
