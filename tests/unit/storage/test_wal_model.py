"""The log against a model: random batches of several groups, reopened, closed, or cut off from power at any point."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tenure._storage import file_faults
from tenure._storage.records import Entry, HardState, RecoveredGroup, Snapshot
from tenure._storage.wal import WriteAheadLog

CLUSTER = b"0123456789abcdef"
GROUPS = st.integers(1, 3)
U64 = st.integers(0, 2**64 - 1)


class Model:
    """What a group's log holds."""

    def __init__(self):
        self.hard = HardState()
        self.snapshot = None
        self.entries = []

    def copy(self):
        other = Model()
        other.hard, other.snapshot, other.entries = self.hard, self.snapshot, list(self.entries)
        return other

    @property
    def base(self):
        return self.snapshot.index if self.snapshot else 0

    @property
    def last(self):
        return self.base + len(self.entries)

    @property
    def last_term(self):
        return self.entries[-1].term if self.entries else (self.snapshot.term if self.snapshot else 0)

    def append(self, entries):
        if entries:
            keep = max(entries[0].index - self.base - 1, 0)
            self.entries = self.entries[:keep] + [e for e in entries if e.index > self.base]

    def compact(self, snapshot):
        at = snapshot.index - self.base
        continues = at <= 0 or (at <= len(self.entries) and self.entries[at - 1].term == snapshot.term)
        self.entries = self.entries[max(at, 0) :] if continues else []
        self.snapshot = snapshot

    def recovered(self):
        return RecoveredGroup(self.hard, self.snapshot, self.entries)


class LogMachine(RuleBasedStateMachine):
    """Every rule does the same to the log and to the model; `durable` is the model as of the last flush."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        file_faults.configure("hold_unsynced")
        self.now, self.durable = {}, {}
        self.open()

    def open(self):
        self.log = WriteAheadLog(self.folder / "host", CLUSTER, 1, segment_bytes=16384)
        self.check(self.durable)
        self.now = {group: model.copy() for group, model in self.durable.items()}

    def check(self, models):
        found = self.log.recovered()
        assert found == {group: model.recovered() for group, model in models.items()}
        assert self.log.torn_offset == 0

    def teardown(self):
        self.log.close()
        file_faults.clear()
        shutil.rmtree(self.folder)

    def group(self, number):
        return self.now.setdefault(number, Model())

    @rule(group=GROUPS, term=U64, vote=U64, commit=U64, bound=st.integers(-(2**63), 2**63 - 1))
    def hard_state(self, group, term, vote, commit, bound):
        self.group(group).hard = HardState(term, vote, commit, bound)
        self.log.add(group, hard=(term, vote, commit, bound))

    @rule(
        group=GROUPS,
        back=st.integers(0, 5),
        grow=st.integers(0, 2),
        payloads=st.lists(st.binary(max_size=3000), min_size=1, max_size=6),
        kind=st.integers(0, 2),
    )
    def append(self, group, back, grow, payloads, kind):
        model = self.group(group)
        first = max(model.last + 1 - back, model.base + 1)
        before = model.entries[: first - model.base - 1]
        term = (before[-1].term if before else (model.snapshot.term if model.snapshot else 1)) + grow
        entries = [Entry(term, first + i, data, kind) for i, data in enumerate(payloads)]
        model.append(entries)
        self.log.add(group, entries=entries)

    @rule(group=GROUPS, ahead=st.integers(-8, 3), voters=st.lists(U64, max_size=32), joint=st.booleans())
    def snapshot(self, group, ahead, voters, joint):
        model = self.group(group)
        index = max(model.last + ahead, model.base)
        known = model.base < index <= model.last
        term = model.entries[index - model.base - 1].term if known and ahead % 2 else model.last_term + 1
        if index == model.base and model.snapshot:
            term = model.snapshot.term
        snapshot = Snapshot(index, term, tuple(voters), tuple(voters[:2]), (9,), (), joint)
        model.compact(snapshot)
        self.log.add_snapshot(group, *snapshot)

    @rule()
    def flush(self):
        self.log.flush()
        self.durable = {group: model.copy() for group, model in self.now.items()}

    @rule()
    def compact(self):
        self.log.compact()
        self.durable = {group: model.copy() for group, model in self.now.items()}

    @rule()
    def reopen(self):
        self.log.close()
        self.open()

    @rule()
    def lose_power(self):
        file_faults.lose_power()
        self.log.close()
        self.open()

    @precondition(lambda self: self.durable)
    @rule()
    def lose_power_twice(self):
        for _ in range(2):
            file_faults.lose_power()
            self.log.close()
            self.open()

    @invariant()
    def old_segments_are_let_go(self):
        present = sum(path.name.startswith("wal-") for path in (self.folder / "host").iterdir())
        assert present >= 1
        if self.log.segments > 1:
            assert self.log.pinned_by is not None or present >= self.log.segments


# a group the model has heard of but that never reached the log is not in it
TestLogMachine = LogMachine.TestCase
TestLogMachine.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
