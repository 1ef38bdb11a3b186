from collections.abc import Callable
from typing import final

from tenure._core.applied_index import AppliedIndex
from tenure._core.lease import Lease

@final
class Fence:
    def __init__(self, lease: Lease, applied: AppliedIndex) -> None: ...
    def try_lease_read(self) -> int | None: ...

@final
class FencedRead:
    def __init__(self, fence: Fence, fall_back: Callable[..., int]) -> None: ...
    def lease_read(self, *, timeout: float | None = None) -> int: ...

def _set_clock_source(clock_id: int) -> None: ...
