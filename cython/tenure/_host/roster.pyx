"""The roster: which address each member of the cluster has.

An address enters with the change of membership that adds its member, as the change's context, and is replaced only by what a
later entry of the log says, so hosts that exchange rosters agree whatever the order:

    merge is commutative, associative and idempotent: per member the entry with the greatest index wins

Hosts send theirs to their peers now and then, so that one which missed changes (it got a snapshot that covers them) learns
where everybody is. A roster decides nothing about membership: who is asked and counted is the configuration's business.

    bytes    version u8 = 1, count u16, count times: id u64, index u64, length u8, address; little-endian, sorted by id
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy, memset

cdef enum:
    VERSION = 1
    HEAD_BYTES = 3
    ENTRY_BYTES = 17            # and the address


cdef size_t place_of(const Roster* roster, uint64_t id) noexcept nogil:
    cdef size_t at = 0
    while at < roster.entries.size and roster.entries.data[at].id < id:
        at += 1
    return at


cdef const RosterEntry* roster_find(const Roster* roster, uint64_t id) noexcept nogil:
    cdef size_t at = place_of(roster, id)
    return &roster.entries.data[at] if at < roster.entries.size and roster.entries.data[at].id == id else NULL


cdef size_t colon_of(const char* address, size_t size) noexcept nogil:
    """Where the last colon is; 0 without one that splits a host from a port."""
    cdef size_t at = size
    while at > 0:
        at -= 1
        if address[at] == c":":
            return at
    return 0


cdef bint is_address(const char* address, size_t size) noexcept nogil:
    cdef size_t colon = colon_of(address, size), i
    cdef uint32_t port = 0
    if size >= ROSTER_ADDRESS_BYTES or colon == 0 or colon + 1 == size or size - colon > 6 or memchr(address, 0, size):
        return False
    if address[0] == c"[" and (colon < 3 or address[colon - 1] != c"]"):
        return False
    for i in range(colon + 1, size):
        if not c"0" <= address[i] <= c"9":
            return False
        port = port * 10 + <uint32_t>(address[i] - c"0")
    return 0 < port < 65536


cdef void roster_split(const RosterEntry* entry, char* host, uint16_t* port) noexcept nogil:
    cdef size_t size = 0, colon, i, begin = 0, end
    cdef uint32_t number = 0
    while entry.address[size] != 0:
        size += 1
    colon = end = colon_of(entry.address, size)
    if entry.address[0] == c"[":
        begin, end = 1, colon - 1
    memcpy(host, entry.address + begin, end - begin)
    host[end - begin] = 0
    for i in range(colon + 1, size):
        number = number * 10 + <uint32_t>(entry.address[i] - c"0")
    port[0] = <uint16_t>number


cdef RosterCode roster_set(Roster* roster, uint64_t id, uint64_t index, const char* address, size_t size) noexcept nogil:
    cdef RosterEntry entry
    cdef RosterEntry* known = NULL
    cdef size_t at = place_of(roster, id)
    if id == 0 or not is_address(address, size):
        return ROSTER_MALFORMED
    memset(&entry, 0, sizeof(entry))
    entry.id = id
    entry.index = index
    memcpy(entry.address, address, size)
    if at < roster.entries.size and roster.entries.data[at].id == id:
        known = &roster.entries.data[at]
        if known.index >= index:
            return ROSTER_SAME
        known[0] = entry
    elif roster.entries.size >= ROSTER_MEMBERS or not roster.entries.insert(at, entry):
        return ROSTER_FULL
    roster.revision += 1
    return ROSTER_CHANGED


cdef bint roster_encode(const Roster* roster, Vec[char]* out) noexcept nogil:
    cdef const RosterEntry* entry
    cdef uint8_t version = VERSION, length
    cdef uint16_t count = <uint16_t>roster.entries.size
    cdef size_t i, at = out.size
    if not out.reserve(at + HEAD_BYTES + count * (ENTRY_BYTES + ROSTER_ADDRESS_BYTES)):
        return False
    memcpy(out.data + at, &version, 1)
    memcpy(out.data + at + 1, &count, 2)
    at += HEAD_BYTES
    for i in range(count):
        entry = &roster.entries.data[i]
        length = 0
        while entry.address[length] != 0:
            length += 1
        memcpy(out.data + at, &entry.id, 8)
        memcpy(out.data + at + 8, &entry.index, 8)
        memcpy(out.data + at + 16, &length, 1)
        memcpy(out.data + at + ENTRY_BYTES, entry.address, length)
        at += ENTRY_BYTES + length
    out.size = at
    return True


cdef bint next_entry(
        const char* bytes, uint32_t size, uint32_t* at, RosterEntry* entry, uint8_t* length) noexcept nogil:
    """The entry at `at`, which is moved behind it. False when it is not whole or not an address."""
    if size - at[0] < ENTRY_BYTES:
        return False
    memcpy(&entry.id, bytes + at[0], 8)
    memcpy(&entry.index, bytes + at[0] + 8, 8)
    memcpy(length, bytes + at[0] + 16, 1)
    at[0] += ENTRY_BYTES
    if size - at[0] < length[0] or entry.id == 0 or not is_address(bytes + at[0], length[0]):
        return False
    memcpy(entry.address, bytes + at[0], length[0])
    at[0] += length[0]
    return True


cdef RosterCode roster_merge(Roster* roster, const char* bytes, uint32_t size) noexcept nogil:
    cdef RosterEntry entry
    cdef RosterCode code, worst = ROSTER_SAME
    cdef uint32_t at = HEAD_BYTES
    cdef uint64_t before = 0
    cdef uint16_t count = 0, i
    cdef uint8_t length = 0
    if size < HEAD_BYTES or bytes[0] != VERSION:
        return ROSTER_MALFORMED
    memcpy(&count, bytes + 1, 2)
    if count > ROSTER_MEMBERS:
        return ROSTER_MALFORMED
    for i in range(count):     # all of it is looked at before any of it is taken
        if not next_entry(bytes, size, &at, &entry, &length) or entry.id <= before:
            return ROSTER_MALFORMED
        before = entry.id
    if at != size:
        return ROSTER_MALFORMED
    at = HEAD_BYTES
    for i in range(count):
        next_entry(bytes, size, &at, &entry, &length)
        code = roster_set(roster, entry.id, entry.index, entry.address, length)
        worst = max(worst, code)
    return worst


cdef void roster_release(Roster* roster) noexcept nogil:
    roster.entries.release()


# ---- edge (tests, and the files that Python keeps)

class RosterError(ValueError):
    """Bytes or an address that no roster has."""


cdef class RosterView:
    """A roster of its own, by hand."""

    def __dealloc__(self):
        roster_release(&self.roster)

    def set(self, uint64_t id, uint64_t index, bytes address not None) -> bool:
        """Whether it changed anything."""
        return self.check(roster_set(&self.roster, id, index, address, len(address)))

    def merge(self, bytes data not None) -> bool:
        """Whether it changed anything."""
        if len(data) > 0xFFFFFFFF:
            raise RosterError("too long")
        return self.check(roster_merge(&self.roster, data, <uint32_t>len(data)))

    cdef bint check(self, RosterCode code) except? -1:
        if code == ROSTER_MALFORMED:
            raise RosterError("malformed")
        if code == ROSTER_FULL:
            raise RosterError("too many members")
        return code == ROSTER_CHANGED

    def encode(self) -> bytes:
        cdef Vec[char] out
        memset(&out, 0, sizeof(out))
        try:
            if not roster_encode(&self.roster, &out):
                raise MemoryError("no memory for a roster")
            return out.data[:out.size]
        finally:
            out.release()

    def entries(self) -> list[tuple[int, int, str]]:
        """(member, index, address), by member."""
        return [
            (self.roster.entries.data[i].id, self.roster.entries.data[i].index,
             (<bytes>self.roster.entries.data[i].address).decode("ascii", "replace"))
            for i in range(self.roster.entries.size)
        ]

    def split(self, uint64_t id) -> tuple[str, int]:
        """Host and port of a member."""
        cdef char host[ROSTER_ADDRESS_BYTES]
        cdef uint16_t port = 0
        cdef const RosterEntry* entry = roster_find(&self.roster, id)
        if entry == NULL:
            raise KeyError(id)
        roster_split(entry, host, &port)
        return (<bytes>host).decode("ascii", "replace"), port
