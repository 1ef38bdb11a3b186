"""Frames between hosts: see `frame.pxd`. Nothing here keeps state; hostile bytes are the expected input."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from tenure._core.crc32c cimport crc32c
from tenure._net.wire cimport wire_get16, wire_get32, wire_put16, wire_put32

cdef enum:
    CHECKSUM_OFFSET = 16

cdef const char* MAGIC = b"TNRE"

RESULT_NAMES = {
    FRAME_WHOLE: "whole",
    FRAME_INCOMPLETE: "incomplete",
    FRAME_BAD_MAGIC: "bad_magic",
    FRAME_BAD_VERSION: "bad_version",
    FRAME_BAD_TYPE: "bad_type",
    FRAME_BAD_FLAGS: "bad_flags",
    FRAME_BAD_LENGTH: "bad_length",
    FRAME_BAD_CHECKSUM: "bad_checksum",
}
TYPES = {"hello": int(FRAME_HELLO), "welcome": int(FRAME_WELCOME), "refused": int(FRAME_REFUSED), "message": int(FRAME_MESSAGE),
         "data": int(FRAME_DATA)}
HEADER_BYTES = int(FRAME_HEADER_BYTES)


cdef uint32_t checksum(const char* frame, uint32_t payload_bytes) noexcept nogil:
    return crc32c(crc32c(0, frame, CHECKSUM_OFFSET), frame + FRAME_HEADER_BYTES, payload_bytes)


cdef FrameResult frame_parse(const char* data, size_t size, uint64_t max_frame_bytes, Frame* into) noexcept nogil:
    into.bytes = 0
    if memcmp(data, MAGIC, min(size, <size_t>4)) != 0:
        return FRAME_BAD_MAGIC
    if size < FRAME_HEADER_BYTES:
        return FRAME_INCOMPLETE
    if <uint8_t>data[4] != FRAME_VERSION:
        return FRAME_BAD_VERSION
    into.type = <uint8_t>data[5]
    if into.type < FRAME_HELLO or into.type > FRAME_DATA:
        return FRAME_BAD_TYPE
    if wire_get16(data + 6) != 0:
        return FRAME_BAD_FLAGS
    into.group = wire_get32(data + 8)
    into.payload_bytes = wire_get32(data + 12)
    into.payload = data + FRAME_HEADER_BYTES
    if <uint64_t>into.payload_bytes + FRAME_HEADER_BYTES > max_frame_bytes:
        return FRAME_BAD_LENGTH
    into.bytes = <uint64_t>into.payload_bytes + FRAME_HEADER_BYTES
    if size < into.bytes:
        return FRAME_INCOMPLETE
    if wire_get32(data + CHECKSUM_OFFSET) != checksum(data, into.payload_bytes):
        return FRAME_BAD_CHECKSUM
    return FRAME_WHOLE


cdef void frame_seal(char* frame, uint8_t type, uint32_t group, uint32_t payload_bytes) noexcept nogil:
    memcpy(frame, MAGIC, 4)
    frame[4] = FRAME_VERSION
    frame[5] = <char>type
    wire_put16(frame + 6, 0)
    wire_put32(frame + 8, group)
    wire_put32(frame + 12, payload_bytes)
    wire_put32(frame + CHECKSUM_OFFSET, checksum(frame, payload_bytes))


def build(uint8_t type, uint32_t group, bytes payload not None) -> bytes:
    """A whole frame. The type may be one that no host knows: tests send those too."""
    cdef bytes frame = bytes(FRAME_HEADER_BYTES) + payload  # a fresh object that nobody else sees yet
    frame_seal(<char*>frame, type, group, <uint32_t>len(payload))
    return frame


def parse(bytes data not None, uint64_t max_frame_bytes) -> tuple:
    """(result, frame bytes, type, group, payload); the last three are None unless the result is "whole"."""
    cdef Frame frame
    cdef FrameResult result = frame_parse(data, <size_t>len(data), max_frame_bytes, &frame)
    if result != FRAME_WHOLE:
        return RESULT_NAMES[result], frame.bytes, None, None, None
    return RESULT_NAMES[result], frame.bytes, frame.type, frame.group, frame.payload[:frame.payload_bytes]
