# ruff: noqa: A002 - arguments are named after the fields of the protocol
HEADER_BYTES: int
TYPES: dict[str, int]
RESULT_NAMES: dict[int, str]

def build(type: int, group: int, payload: bytes) -> bytes: ...
def parse(data: bytes, max_frame_bytes: int) -> tuple[str, int, int | None, int | None, bytes | None]: ...
