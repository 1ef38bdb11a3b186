from array import array
from typing import final

READ: int
WRITE: int

@final
class SkeletonHost:
    def __init__(
        self, peers: list[tuple[int, int]], log_fd: int, log_bytes: int, read_bytes: int, write_bytes: int
    ) -> None: ...
    def start(self) -> None: ...
    def measure(self, kind: int, count: int) -> array[int]: ...
    def close(self) -> None: ...
