"""The input of the target `log`: a folder's segments in one run of bytes, without most of the zeros at their ends."""

from __future__ import annotations

import struct
from pathlib import Path

HEAD = struct.Struct("<BHII")  # kind (0 a segment, 1 the unfinished one), sequence, size, bytes that follow
ALIGNMENT = 64


def pack(folder: Path) -> bytes:
    pieces = []
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        stored = content.rstrip(b"\0")
        stored = content[: len(stored) + -len(stored) % ALIGNMENT]  # the last record is padded with zeros
        if path.name == "wal.new":
            pieces.append(HEAD.pack(1, 0, len(content), len(stored)) + stored)
        elif path.name.startswith("wal-"):
            pieces.append(HEAD.pack(0, int(path.stem[4:], 16), len(content), len(stored)) + stored)
    return b"".join(pieces)
