from typing import final

from tenure.sim.history import OpName, StatusName

COUNTERS: tuple[str, ...]
VIOLATIONS: dict[int, str]
FAULTS: tuple[str, ...]
MESSAGES: tuple[str, ...]
INPUTS: tuple[str, ...]
ROLES: tuple[str, ...]
OPERATIONS: dict[int, OpName]
STATUSES: tuple[StatusName, ...]
VIAS: tuple[str, ...]

@final
class Simulator:
    def __init__(
        self,
        seed: int,
        profile: dict[str, object],
        guards_off: int = 0,
        monitoring: bool = True,
        tracing: bool = False,
        recording: bool = False,
        replay: tuple[list[dict[str, int]], list[dict[str, int]], list[dict[str, int]]] | None = None,
        script: list[dict[str, int]] | None = None,
        machines: object = None,
    ) -> None: ...
    def record(self) -> tuple[list[dict[str, int]], list[dict[str, int]], list[dict[str, int]]]: ...
    def inputs(self) -> list[tuple[int, str, int, int, int]]: ...
    def clocks(self) -> list[int]: ...
    def run(self, operations: int, until_ns: int) -> None: ...
    @property
    def now_ns(self) -> int: ...
    @property
    def open_operations(self) -> int: ...
    def counters(self) -> dict[str, int]: ...
    def violations(self) -> list[tuple[int, int, str, int, int, int, int]]: ...
    def history(
        self,
    ) -> list[tuple[int, OpName, int, int, int | None, int | None, int, int, StatusName, str, int]]: ...
    def check(self, max_steps: int = 5_000_000, max_bytes: int = 1 << 30) -> tuple[int, int, int, int, list[int]]: ...
    def fingerprint(self) -> int: ...
    def trace(self) -> list[str]: ...
