"""Changes of membership as bytes in the log. All numbers are little-endian.

    change   version u8 = 1 | transition u8 | count u16 | count times:
             id u64 | kind u8 | 0 u8 | context_bytes u16 | context

An empty payload (of kind ENTRY_CONF_CHANGE_V2) leaves the joint configuration: it can never be refused for its size.
Decoding trusts nothing and allocates nothing. Every member must read the same change out of the same bytes, so what a member
cannot read (a later version, a damaged payload) fails it: it must not guess, and must not go on without.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from tenure._core.blob cimport Blob, blob_new
from tenure._raft.types cimport (
    CHANGE_ADD_LEARNER,
    ENTRY_CONF_CHANGE,
    ENTRY_CONF_CHANGE_V2,
    ERR_BAD_CHANGE,
    ERR_MEMORY,
    MAX_CHANGES,
    MAX_CHANGE_CONTEXT_BYTES,
    NO_MEMBER,
    OK,
    TRANSITION_AUTO,
    TRANSITION_EXPLICIT,
    ConfChange,
    Entry,
    MemberChange,
)

cdef enum:
    VERSION = 1
    HEADER_BYTES = 4
    CHANGE_BYTES = 12


cdef void put_number(char* at, uint64_t number, int32_t width) noexcept nogil:
    cdef int32_t i
    for i in range(width):
        at[i] = <char>(number >> (8 * i))


cdef uint64_t get_number(const char* at, int32_t width) noexcept nogil:
    cdef uint64_t number = 0
    cdef int32_t i
    for i in range(width):
        number |= <uint64_t><uint8_t>at[i] << (8 * i)
    return number


cdef int conf_change_check(const ConfChange* change) noexcept nogil:
    cdef int32_t i
    if change.count < 0 or change.count > MAX_CHANGES or change.transition > TRANSITION_EXPLICIT:
        return ERR_BAD_CHANGE
    if change.transition != TRANSITION_AUTO and (change.is_v1 or change.count == 0):
        return ERR_BAD_CHANGE
    if change.is_v1 and change.count != 1:
        return ERR_BAD_CHANGE
    for i in range(change.count):
        if change.changes[i].id == NO_MEMBER or change.changes[i].kind > CHANGE_ADD_LEARNER:
            return ERR_BAD_CHANGE
        if change.changes[i].context_bytes > MAX_CHANGE_CONTEXT_BYTES:
            return ERR_BAD_CHANGE
    return OK


cdef Blob* conf_change_encode(const ConfChange* change, int* code) noexcept nogil:
    cdef const MemberChange* each
    cdef uint32_t size = HEADER_BYTES
    cdef Blob* blob
    cdef char* at
    cdef int32_t i
    code[0] = OK
    if change.count == 0:
        return NULL
    for i in range(change.count):
        size += CHANGE_BYTES + change.changes[i].context_bytes
    blob = blob_new(NULL, size)
    if blob == NULL:
        code[0] = ERR_MEMORY
        return NULL
    at = blob.bytes()
    at[0] = VERSION
    at[1] = <char>change.transition
    put_number(at + 2, <uint64_t>change.count, 2)
    at += HEADER_BYTES
    for i in range(change.count):
        each = &change.changes[i]
        put_number(at, each.id, 8)
        at[8] = <char>each.kind
        at[9] = 0
        put_number(at + 10, each.context_bytes, 2)
        at += CHANGE_BYTES
        if each.context_bytes:
            memcpy(at, each.context, each.context_bytes)
            at += each.context_bytes
    return blob


cdef int conf_change_decode(const Entry* entry, ConfChange* into) noexcept nogil:
    cdef MemberChange* each
    cdef const char* at
    cdef const char* end
    cdef int32_t i
    memset(into, 0, sizeof(ConfChange))
    if entry.kind != ENTRY_CONF_CHANGE and entry.kind != ENTRY_CONF_CHANGE_V2:
        return ERR_BAD_CHANGE
    into.is_v1 = entry.kind == ENTRY_CONF_CHANGE
    if entry.data == NULL or entry.data.size == 0:
        return conf_change_check(into)
    at = entry.data.bytes()
    end = at + entry.data.size
    if end - at < HEADER_BYTES or at[0] != VERSION:
        return ERR_BAD_CHANGE
    into.transition = <uint8_t>at[1]
    into.count = <int32_t>get_number(at + 2, 2)
    if into.count == 0 or into.count > MAX_CHANGES:
        return ERR_BAD_CHANGE
    at += HEADER_BYTES
    for i in range(into.count):
        if end - at < CHANGE_BYTES or at[9] != 0:
            return ERR_BAD_CHANGE
        each = &into.changes[i]
        each.id = get_number(at, 8)
        each.kind = <uint8_t>at[8]
        each.context_bytes = <uint32_t>get_number(at + 10, 2)
        at += CHANGE_BYTES
        if end - at < <ptrdiff_t>each.context_bytes:
            return ERR_BAD_CHANGE
        each.context = at
        at += each.context_bytes
    return ERR_BAD_CHANGE if at != end else conf_change_check(into)
