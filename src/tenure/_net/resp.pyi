from typing import Any, final

class ProtocolError(Exception):
    requests: list[list[bytes]]

@final
class RequestParser:
    def __init__(
        self,
        *,
        arguments: int = 1048576,
        argument_bytes: int = 536870912,
        request_bytes: int = 1073741824,
        authenticated: bool = True,
    ) -> None: ...
    def feed(self, data: bytes) -> list[list[bytes]]: ...

def encode_reply(value: Any, protocol: int = 2) -> bytes: ...
def parse_integer(text: bytes) -> int | None: ...
def format_integer(value: int) -> bytes: ...
