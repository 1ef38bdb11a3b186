from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from tenure._raft.describe import CHANGE_LETTERS as CHANGE_LETTERS

KINDS: dict[str, int]
TRANSITIONS: dict[str, int]
TRANSITION_NAMES: dict[int, str]

@dataclass(frozen=True, slots=True)
class Change:
    letter: str
    id: int
    context: bytes = ...

def encode_change(changes: Iterable[Change], *, transition: str = "auto", v1: bool = False) -> bytes: ...
def decode_change(payload: bytes, *, v1: bool = False) -> tuple[list[Change], str]: ...

@final
class Changer:
    def simple(self, changes: Iterable[Change], last_index: int = 0) -> None: ...
    def enter_joint(self, changes: Iterable[Change], last_index: int = 0, *, auto_leave: bool = False) -> None: ...
    def leave_joint(self, last_index: int = 0) -> None: ...
    @property
    def sane(self) -> bool: ...
    def describe(self) -> str: ...
