"""Who is where: the addresses of a cluster's members as one host knows them. The loop's thread; the opener before it."""

from libc.stdint cimport uint16_t, uint32_t, uint64_t

from tenure._core.vec cimport Vec

cdef enum:
    ROSTER_ADDRESS_BYTES = 64   # "host:port" and "[host]:port", the end marked by a zero
    ROSTER_MEMBERS = 256        # more are refused
    DATA_ROSTER = 17            # the kind of data frame that carries an encoded roster

cdef enum RosterCode:
    ROSTER_SAME = 0
    ROSTER_CHANGED = 1
    ROSTER_MALFORMED = 2
    ROSTER_FULL = 3             # too many members, or no memory

cdef struct RosterEntry:
    uint64_t id
    uint64_t index              # of the log entry that said so; 0 = known from the start
    char address[ROSTER_ADDRESS_BYTES]

cdef struct Roster:
    Vec[RosterEntry] entries    # sorted by id
    uint64_t revision           # grows with every change

cdef const RosterEntry* roster_find(const Roster* roster, uint64_t id) noexcept nogil
# What a later entry of the log says replaces what an earlier one said; of one index the first stays.
cdef RosterCode roster_set(Roster* roster, uint64_t id, uint64_t index, const char* address, size_t size) noexcept nogil
# Splits an address that `roster_set` took. `host` has room for ROSTER_ADDRESS_BYTES.
cdef void roster_split(const RosterEntry* entry, char* host, uint16_t* port) noexcept nogil
cdef bint roster_encode(const Roster* roster, Vec[char]* out) noexcept nogil
# Takes over what is newer in the bytes of another host's roster. Malformed ones change nothing.
cdef RosterCode roster_merge(Roster* roster, const char* bytes, uint32_t size) noexcept nogil
cdef void roster_release(Roster* roster) noexcept nogil


cdef class RosterView:
    cdef Roster roster
    cdef bint check(self, RosterCode code) except? -1
