from enum import IntEnum
from typing import final

class WaitResult(IntEnum):
    WAIT_REACHED = 0
    WAIT_TIMED_OUT = 1
    WAIT_FAILED = 2
    WAIT_INTERRUPTED = 3


@final
class AppliedIndex:
    def __init__(self) -> None: ...
    @property
    def index(self) -> int: ...
    @property
    def failure(self) -> int: ...
    def publish(self, index: int) -> None: ...
    def fail(self, code: int) -> None: ...
    def wait(self, index: int, timeout_ns: int | None = None) -> WaitResult: ...
