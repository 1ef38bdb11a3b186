from collections.abc import Callable
from typing import final

from tenure._core.fence import Fence

@final
class FencedRead:
    def __init__(self, fence: Fence, fallback: Callable[..., int]) -> None: ...
    def lease_read(self, timeout: float | None = None) -> int: ...
