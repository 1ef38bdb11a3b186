from typing import final

from tenure._core.applied_index import AppliedIndex
from tenure._core.lease import Lease

@final
class Fence:
    def __init__(self, lease: Lease, applied: AppliedIndex) -> None: ...
    def try_lease_read(self) -> int | None: ...

def _set_clock_source(clock_id: int) -> None: ...
