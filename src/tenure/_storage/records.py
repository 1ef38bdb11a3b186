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


class Record(NamedTuple):
    """One record of a batch: `what` is "hard_state", "entry", "snapshot", "last_index" or "oldest_needed"."""

    what: str
    group: int
    repeated: bool  # of an older segment: read only where that is gone
    value: HardState | Entry | Snapshot | int
    size: int  # of an entry's payload, whether it was asked for or not


class Batch(NamedTuple):
    """What was written and synced at once."""

    offset: int
    size: int
    number: int
    synced: int  # what was known to be durable then
    closes: bool  # the last one of its segment
    records: list[Record]


class Segment(NamedTuple):
    """One file of the log, as far as it was read."""

    name: str
    sequence: int
    size: int
    capacity: int
    oldest_needed: int
    end: int  # of its last sound batch
    batches: int
    closed: bool
    torn: bool  # something that was never acknowledged stands behind the end
