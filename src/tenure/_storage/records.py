"""What the log stores, as Python sees it: for tests and tools."""

from __future__ import annotations

from typing import NamedTuple


class HardState(NamedTuple):
    """What a member may not forget: its term, its vote, how far it committed, its longest promise."""

    term: int = 0
    vote: int = 0
    commit: int = 0
    promise_bound_ns: int = 0


class Entry(NamedTuple):
    """One entry of a group's log."""

    term: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody asks an entry for
    data: bytes = b""
    kind: int = 0


class Snapshot(NamedTuple):
    """Where a group's log starts, and who its members were there."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody asks an entry for
    term: int
    voters: tuple[int, ...] = ()
    outgoing: tuple[int, ...] = ()
    learners: tuple[int, ...] = ()
    learners_next: tuple[int, ...] = ()
    auto_leave: bool = False


class RecoveredGroup(NamedTuple):
    """A group as the log knows it: entries follow the snapshot."""

    hard: HardState
    snapshot: Snapshot | None
    entries: list[Entry]
