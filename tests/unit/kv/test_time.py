"""Time: once a read has said that a key has ended, nobody shows or finds it again, whatever clocks and leaders do."""

from __future__ import annotations

import random

import pytest

from tenure._kv import codec
from tenure._kv.codec import decode_result, hint
from tenure._kv.machine import CONFIRMED, LED, SETTLED, UNDECIDED, KeyValueMachine

INT64_MAX = 2**63 - 1
NOW = 1_000_000


def lead(machine: KeyValueMachine, ceiling_ms: int) -> KeyValueMachine:
    """As a leader that has inherited no ceiling and set this one."""
    machine.lead(1)
    machine.apply(codec.encode_ceiling(ceiling_ms, hint_ts=0))
    machine.lead(1)
    return machine


def with_key(until_ms: int, written_ms: int = NOW) -> KeyValueMachine:
    machine = KeyValueMachine()
    machine.apply(codec.encode_set(b"k", b"v", hint_ts=hint(written_ms), until_ms=until_ms))
    return machine


def test_a_leader_judges_by_its_clock_up_to_the_ceiling():
    machine = lead(with_key(NOW + 100), NOW + 200)
    assert machine.read(b"k", LED, wall_ms=NOW + 99) == b"v"
    assert machine.read(b"k", LED, wall_ms=NOW + 100) is None


def test_above_the_ceiling_the_group_must_settle_it():
    machine = lead(with_key(NOW + 100), NOW + 50)
    assert machine.read(b"k", LED, wall_ms=NOW + 99) == b"v"
    for read in (machine.read, machine.read_life):
        assert read(b"k", LED, wall_ms=NOW + 100) is UNDECIDED
    assert machine.read_many([b"none", b"k"], LED, wall_ms=NOW + 100) is UNDECIDED
    assert machine.read(b"k", SETTLED, wall_ms=NOW + 100) == b"v"  # nothing that was agreed on has come so far
    machine.apply(codec.encode_ceiling(1, hint_ts=hint(NOW + 100)))
    assert machine.read(b"k", SETTLED, wall_ms=0) is None


def test_who_does_not_lead_knows_what_apply_has_come_to_and_no_more():
    machine = with_key(NOW + 100)
    machine.apply(codec.encode_ceiling(NOW + 500, hint_ts=0))
    assert machine.read(b"k", CONFIRMED, wall_ms=0) is UNDECIDED  # the leader may have said that it ended
    assert machine.read(b"k", CONFIRMED, wall_ms=NOW + 1000) is UNDECIDED
    machine.apply(codec.encode_expireat(b"k", NOW + 600, hint_ts=0))
    assert machine.read(b"k", CONFIRMED, wall_ms=0) == b"v"
    assert machine.read(b"k", CONFIRMED, wall_ms=NOW + 600) is UNDECIDED
    machine.apply(codec.encode_setnx(b"other", b"", hint_ts=hint(NOW + 600)))
    assert machine.read(b"k", CONFIRMED, wall_ms=0) is None


def test_a_clock_that_steps_back_brings_nothing_back():
    machine = lead(with_key(NOW + 100), NOW + 900)
    assert machine.read(b"k", LED, wall_ms=NOW + 150) is None
    assert machine.read(b"k", LED, wall_ms=NOW - 5000) is None
    assert machine.read_many([b"k"], LED, wall_ms=0) == [None]
    assert machine.pend(NOW) >= NOW + 100  # what is proposed now is no earlier


def test_a_new_leader_begins_at_the_ceiling_that_it_inherits():
    machine = with_key(NOW + 100)
    machine.apply(codec.encode_ceiling(NOW + 500, hint_ts=0))
    machine.lead(7)  # an earlier leader may have said that the key has ended
    assert machine.read(b"k", LED, wall_ms=NOW) is None
    assert machine.pend(NOW) == NOW + 500


def test_no_read_overtakes_a_command_under_way():
    """A command that was given its hint before the key ended will still find it."""
    machine = lead(with_key(NOW + 100), NOW + 900)
    given = max(NOW + 50, machine.pend(NOW + 50))
    assert machine.read(b"k", LED, wall_ms=NOW + 150) is UNDECIDED
    assert machine.read(b"k", LED, wall_ms=NOW + 99) == b"v"
    assert decode_result(machine.apply(codec.encode_getset(b"k", b"w", hint_ts=hint(given)))) == b"v"
    machine.pend(INT64_MAX)
    assert machine.read(b"k", LED, wall_ms=NOW + 150) == b"w"


def test_what_is_left_of_a_life():
    machine = lead(with_key(NOW + 5000), NOW + 9000)
    machine.apply(codec.encode_set(b"ever", b"v", hint_ts=0))
    assert machine.read_life(b"k", LED, wall_ms=NOW + 1000) == 4000
    assert machine.read_life(b"ever", LED, wall_ms=NOW + 1000) == -1
    assert machine.read_life(b"none", LED, wall_ms=NOW + 1000) is None
    with pytest.raises(ValueError, match="basis"):
        machine.read(b"k", 3)


def test_keys_that_end_are_counted():
    machine, now_ms = KeyValueMachine(), NOW
    rng = random.Random(5)
    ends: dict[bytes, bool] = {}
    for _ in range(2000):
        key = b"%d" % rng.randrange(20)
        now_ms += 1
        kind = rng.randrange(6)
        life = rng.choice([0, 10**6])
        if kind == 0:
            machine.apply(
                codec.encode_set(key, b"v" * rng.randrange(40), hint_ts=hint(now_ms), until_ms=life and now_ms + life)
            )
            ends[key] = bool(life)
        elif kind == 1 and key in ends:
            machine.apply(codec.encode_expireat(key, now_ms + 10**6, hint_ts=hint(now_ms)))
            ends[key] = True
        elif kind == 2 and key in ends:
            machine.apply(codec.encode_persist(key, hint_ts=hint(now_ms)))
            ends[key] = False
        elif kind == 3:
            machine.apply(codec.encode_del([key], hint_ts=hint(now_ms)))
            ends.pop(key, None)
        elif kind == 4 and rng.random() < 0.05:
            machine.apply(codec.encode_flushall(hint_ts=hint(now_ms)))
            ends.clear()
        elif kind == 5 and rng.random() < 0.05:
            machine.load([machine.dump()])
        assert machine.expiring == sum(ends.values())
        assert machine.size == len(ends)


# ------------------------------------------------------------------------------------------------- a group of members


class Member:
    def __init__(self, now_ms: int) -> None:
        self.machine = KeyValueMachine()
        self.clock_ms = now_ms
        self.applied = 0
        self.now_ms = 0
        self.led_term = 0
        self.pending: list[tuple[int, int]] = []


class Group:
    """Members over one log. The leader proposes as a host does; commit, apply, elections and clocks are up to chance.

    `ended` are the values of which some read has said that their key has ended.
    """

    KEYS = (b"a", b"b")

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.members = [Member(NOW + self.rng.randrange(-300, 300)) for _ in range(3)]
        self.log: list[bytes] = []
        self.committed = 0
        self.first = 0  # applied by anybody
        self.term = 0
        self.values = 0
        self.ended: set[bytes] = set()
        self.elect()

    def elect(self) -> None:
        """What is not committed is lost, or not."""
        del self.log[self.rng.randrange(self.committed, len(self.log) + 1) :]
        self.term += 1
        self.leader = self.rng.choice(self.members)
        self.log.append(b"")
        self.commit(len(self.log))
        self.apply(self.leader)

    def commit(self, index: int) -> None:
        self.committed = max(self.committed, index)

    def apply(self, member: Member) -> None:
        while member.applied < self.committed:
            command = self.log[member.applied]
            result = decode_result(member.machine.apply(command))
            member.applied += 1
            if member.applied <= self.first:
                continue  # what came of it was decided before
            self.first = member.applied
            assert result not in self.ended, "a command has found what had ended"
            if command.endswith(b"guard") and result == 0:
                assert member.machine.get(b"a", now_ms=0) not in self.ended, "what had ended stood in the way"
        if member is self.leader:
            member.machine.lead(self.term)
            while member.pending and member.pending[0][0] <= member.applied:
                member.pending.pop(0)
            member.machine.pend(member.pending[0][1] if member.pending else INT64_MAX)

    def now_of(self, member: Member) -> int:
        member.now_ms = max(member.now_ms, member.clock_ms)
        if member.led_term != self.term:
            member.led_term = self.term
            member.now_ms = max(
                member.now_ms, (member.machine.ceiling_ts >> 16) + 1, member.machine.last_commit_ts >> 16
            )
            member.pending.clear()
        return member.now_ms

    def propose(self, encoded) -> None:
        leader = self.leader
        now_ms = self.now_of(leader)
        least = leader.pending[0][1] if leader.pending else now_ms
        leader.now_ms = now_ms = max(now_ms, leader.machine.pend(least))
        self.log.append(encoded(hint(now_ms)))
        leader.pending.append((len(self.log), now_ms))

    def fresh(self) -> bytes:
        self.values += 1
        return b"value %d" % self.values

    def write(self) -> None:
        key, value, until_ms = (
            self.rng.choice(self.KEYS),
            self.fresh(),
            self.leader.clock_ms + self.rng.randrange(1, 60),
        )
        kind = self.rng.choice([1, 1, 1, 2, 3, 4, 5, 5, 5])
        if kind == 1:
            self.propose(lambda h: codec.encode_set(key, value, hint_ts=h, until_ms=until_ms))
        elif kind == 2:
            self.propose(lambda h: codec.encode_getset(key, value, hint_ts=h))
        elif kind == 3:
            self.propose(lambda h: codec.encode_getdel(key, hint_ts=h))
        elif kind == 4:
            self.propose(lambda h: codec.encode_setnx(b"a", b"guard", hint_ts=h))
        else:
            ceiling_ms = self.now_of(self.leader) + self.rng.randrange(1, 400)
            self.propose(lambda h: codec.encode_ceiling(ceiling_ms, hint_ts=h))

    def read(self) -> None:
        member = self.rng.choice([self.leader, self.leader, *self.members])
        keys = self.rng.choice([[key] for key in self.KEYS] + [list(self.KEYS)])
        self.apply(member)
        basis = LED if member is self.leader else CONFIRMED
        values = member.machine.read_many(keys, basis, wall_ms=member.clock_ms)
        if values is UNDECIDED:
            self.propose(lambda h: codec.encode_ceiling(1, hint_ts=h))
            self.commit(len(self.log))
            self.apply(member)
            self.apply(self.leader)
            values = member.machine.read_many(keys, SETTLED, wall_ms=member.clock_ms)
        for key, value in zip(keys, values, strict=True):
            assert value not in self.ended, "a read has shown what had ended"
            there = member.machine.get(key, now_ms=0)
            if value is None and there is not None:
                self.ended.add(there)

    def step(self) -> None:
        chance = self.rng.random()
        if chance < 0.3:
            self.write()
        elif chance < 0.65:
            self.read()
        elif chance < 0.72:
            self.commit(self.rng.randrange(self.committed, len(self.log) + 1))
            self.apply(self.rng.choice(self.members))
        elif chance < 0.96:
            self.rng.choice([self.leader, *self.members]).clock_ms += self.rng.choice([1, 5, 20, 40, 40, 80, -30, -90])
        else:
            self.elect()


@pytest.mark.parametrize("seed", range(4))
def test_what_has_ended_stays_ended_in_a_group(seed):
    ended = 0
    for part in range(250):
        group = Group(250 * seed + part)
        for _ in range(150):
            group.step()
        ended += len(group.ended)
    assert ended > 150
