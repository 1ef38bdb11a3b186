"""Frames: how one message stands in the byte stream between two hosts. Pure functions over memory; any thread.

    offset  bytes
    0       4       magic "TNRE"
    4       1       version of this layout (1)
    5       1       type
    6       2       flags, none of them known yet: 0
    8       4       group
    12      4       length of the payload
    16      4       CRC-32C of bytes 0 to 15 and the payload
    20              payload

Numbers are little-endian. The length is judged before anything is allocated for it, the checksum before the payload is read.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum:
    FRAME_HEADER_BYTES = 20
    FRAME_VERSION = 1

cdef enum FrameType:
    FRAME_HELLO = 1             # handshake.pxd
    FRAME_WELCOME = 2
    FRAME_REFUSED = 3
    FRAME_MESSAGE = 4           # message_codec.pxd
    FRAME_DATA = 5              # bytes of the host's own; the group says of which kind

cdef enum FrameResult:
    FRAME_WHOLE = 0
    FRAME_INCOMPLETE = 1
    FRAME_BAD_MAGIC = 2
    FRAME_BAD_VERSION = 3
    FRAME_BAD_TYPE = 4
    FRAME_BAD_FLAGS = 5
    FRAME_BAD_LENGTH = 6        # longer than allowed
    FRAME_BAD_CHECKSUM = 7

cdef struct Frame:
    uint64_t bytes              # of the whole frame; 0 while the header is incomplete
    const char* payload         # into the parsed memory
    uint32_t payload_bytes
    uint32_t group
    uint8_t type


# Looks for one frame at the start of `data`. FRAME_INCOMPLETE fills in `bytes` as soon as the header is there.
cdef FrameResult frame_parse(const char* data, size_t size, uint64_t max_frame_bytes, Frame* into) noexcept nogil
# Writes the header in front of a payload that already stands at `frame + FRAME_HEADER_BYTES`.
cdef void frame_seal(char* frame, uint8_t type, uint32_t group, uint32_t payload_bytes) noexcept nogil
