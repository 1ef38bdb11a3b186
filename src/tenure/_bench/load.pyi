from array import array
from typing import Any, final

from tenure._core.state_machine import NativeMachine
from tenure._host.core import HostCore

READ: int
WRITE: int

@final
class Commands:
    def __init__(
        self, count: int, *, value_bytes: int, key_space: int, seed: int = 1, distinct: bool = False, hint_ms: int = 0
    ) -> None: ...
    def __len__(self) -> int: ...

def one_by_one(core: HostCore, kind: int, commands: Commands | None, count: int) -> array[int]: ...
def together(
    core: HostCore, kind: int, commands: Commands | None, callers: int, duration_ns: int
) -> dict[str, Any]: ...
def apply_all(machine: NativeMachine, commands: Commands) -> int: ...
