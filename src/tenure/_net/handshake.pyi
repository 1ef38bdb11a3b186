from typing import Any

PROTOCOL_VERSION: int
REFUSAL_NAMES: dict[int, str]

def build_hello(
    *,
    cluster_id: bytes,
    from_: int,
    to: int,
    start_counter: int,
    nonce: int,
    version_min: int = ...,
    version_max: int = ...,
) -> bytes: ...
def parse_hello(payload: bytes) -> dict[str, Any] | None: ...
def parse_refused(payload: bytes) -> str | None: ...
