from collections.abc import Iterable
from typing import final

from tenure.sim.model_trace import Trace

GAPS: tuple[str, ...]
CHANGES: tuple[str, ...]
ACTIONS: tuple[str, ...]
INVARIANTS: tuple[str, ...]
ROLES: tuple[str, ...]

@final
class Search:
    def __init__(
        self,
        world: dict[str, object],
        gaps: Iterable[str] = (),
        judged: Iterable[str] | None = None,
        symmetry: bool = True,
    ) -> None: ...
    def advance(self, states: int) -> bool: ...
    @property
    def depth(self) -> int: ...
    @property
    def states(self) -> int: ...
    @property
    def transitions(self) -> dict[str, int]: ...
    @property
    def leased_states(self) -> int: ...
    @property
    def violation(self) -> str | None: ...
    @property
    def collision_probability(self) -> float: ...
    def trace(self) -> Trace: ...
