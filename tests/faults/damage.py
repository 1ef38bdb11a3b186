"""A member's log as bytes: where its batches stand, and how to damage it the way disks and power cuts do.

It knows the layout from the outside, as somebody with a hex editor would; see `format.hpp`.
"""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

HEADER_BYTES = 128
BATCH_BYTES = 64
MAGIC = b"BTCH"


def newest_segment(directory: Path) -> Path:
    return max(directory.glob("wal-*.log"))


def batches(data: bytes) -> list[tuple[int, int]]:
    """Begin and end of every batch of a segment."""
    at, found = HEADER_BYTES, []
    while data[at : at + 4] == MAGIC:
        (body_bytes,) = struct.unpack_from("<Q", data, at + 32)
        found.append((at, at + BATCH_BYTES + body_bytes))
        at = found[-1][1]
    return found


def synced_below(data: bytes) -> int:
    """The last batch records that everything below this offset was synced."""
    return struct.unpack_from("<Q", data, batches(data)[-1][0] + 24)[0]


def flip_a_byte(path: Path) -> int:
    """Damage a record in the middle of what was synced; the offset of the byte."""
    data = bytearray(path.read_bytes())
    found = [(begin, end) for begin, end in batches(data) if end <= synced_below(data) and end - begin > BATCH_BYTES]
    begin, end = found[len(found) // 2]
    offset = begin + BATCH_BYTES + (end - begin - BATCH_BYTES) // 2
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(bytes([data[offset] ^ 0x10]))
    return offset


def tear(path: Path) -> int:
    """A batch of which a power cut let half reach the disk, behind all that was synced; where it begins."""
    data = path.read_bytes()
    begin, end = batches(data)[-1]
    torn = bytearray(data[begin:end])
    struct.pack_into("<QQ", torn, 16, end, end)
    with path.open("r+b") as file:
        file.seek(end)
        file.write(torn[: len(torn) // 2])
    return end


def fingerprint(directory: Path, *, but: set[str]) -> dict[str, str]:
    """What every file holds."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name not in but
    }
