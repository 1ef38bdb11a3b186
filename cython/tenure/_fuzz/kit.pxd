"""What every fuzz target is made of. Pure; any thread.

A target is a function of bytes. It feeds them to decoders, parsers or recovery and checks what must hold whatever the bytes
are; its answer is null, or the invariant that did not hold. It gives back all memory that it took. `accepted` counts what the
code under test took for good (frames, requests, entries, ...), so that a test can tell a deep run from a refusal at the door.

A resealer makes mutated bytes plausible again where checksums would stop them all at the door; it answers the new size.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from tenure._core.vec cimport Vec

ctypedef const char* (*Target)(const char* data, size_t size, uint64_t* accepted) noexcept nogil
ctypedef size_t (*Resealer)(char* data, size_t size, size_t limit, uint32_t seed) noexcept nogil

cdef enum:
    DIGEST_START = 0x1F0D3A7

# Reads numbers off the front; what is not there reads as zero.
cdef struct Cursor:
    const char* at
    const char* end

cdef uint8_t take8(Cursor* cursor) noexcept nogil
cdef uint16_t take16(Cursor* cursor) noexcept nogil
cdef uint32_t take32(Cursor* cursor) noexcept nogil
cdef uint64_t take64(Cursor* cursor) noexcept nogil
cdef inline size_t left(const Cursor* cursor) noexcept nogil:
    return <size_t> (cursor.end - cursor.at)

# A copy in memory of exactly this size, so that a sanitizer sees a step beyond it. Null without memory, never for size 0.
cdef char* exact_copy(const char* data, size_t size) noexcept nogil

# Both halves of the result depend on every byte. For comparing states, not against malice.
cdef uint64_t digest_bytes(uint64_t digest, const void* data, size_t size) noexcept nogil
cdef uint64_t digest_number(uint64_t digest, uint64_t number) noexcept nogil

# A small generator of our own: the same numbers for the same seed everywhere.
cdef uint32_t next_random(uint32_t* state) noexcept nogil
