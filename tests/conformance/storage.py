"""What one member of a test cluster has on its disk: the state that survives a crash."""

from __future__ import annotations

from dataclasses import dataclass, field

from tenure._raft.node import Configuration, Entry, HardState, Ready, Snapshot


@dataclass
class Storage:
    hard_state: HardState = field(default_factory=HardState)
    snapshot: Snapshot | None = None
    entries: list[Entry] = field(default_factory=list)

    @property
    def first_index(self) -> int:
        return (self.snapshot.index if self.snapshot else 0) + 1

    @property
    def last_index(self) -> int:
        return self.first_index + len(self.entries) - 1

    def write(self, ready: Ready) -> None:
        """Make one Ready durable, whole."""
        if ready.snapshot is not None:
            self.snapshot = ready.snapshot
            self.entries = []
        if ready.hard_state is not None:
            self.hard_state = ready.hard_state
        if ready.entries:
            keep = ready.entries[0].index - self.first_index
            assert 0 <= keep <= len(self.entries), "entries were handed out with a gap"
            self.entries = [*self.entries[:keep], *ready.entries]

    def compact(self, index: int, configuration: Configuration) -> None:
        assert self.first_index <= index <= self.last_index
        drop = index - self.first_index + 1
        self.snapshot = Snapshot(index, self.entries[drop - 1].term, configuration)
        self.entries = self.entries[drop:]
