"""Dumps beside writes: what is loaded is the state at the cut, whatever happened to it meanwhile."""

from __future__ import annotations

import random
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure._kv import codec, stress
from tenure._kv.machine import KeyValueMachine

from .commands import KEYS, sequences
from .model import encode


def loaded(pieces) -> KeyValueMachine:
    machine = KeyValueMachine()
    machine.load(pieces)
    return machine


def contents(machine: KeyValueMachine, keys, now_ms=0):
    return [(machine.get(key, now_ms=now_ms), machine.expiry(key, now_ms=now_ms)) for key in keys]


@settings(max_examples=150, deadline=None)
@given(sequences, sequences, st.integers(0, 7), st.booleans())
def test_a_dump_in_the_middle_of_writes_holds_the_state_at_the_cut(before, after, every, to_the_end):
    machine = KeyValueMachine()
    for hint_ts, (name, arguments, options) in before:
        machine.apply(encode(hint_ts, name, *arguments, **options))
    wanted = machine.state_hash, machine.size, machine.last_commit_ts, machine.ceiling_ts, contents(machine, KEYS)
    machine.begin_dump()
    pieces = [machine.read_dump(1)]
    for i, (hint_ts, (name, arguments, options)) in enumerate(after):
        machine.apply(encode(hint_ts, name, *arguments, **options))
        if every and i % every == 0:
            pieces.append(machine.read_dump(1))
            if not pieces[-1]:
                break
    else:
        if not to_the_end:
            machine.close_dump()  # given up half-way: the store goes on, and another dump is possible
            pieces = []
        while to_the_end and (piece := machine.read_dump(1)):
            pieces.append(piece)
    if to_the_end:
        copy = loaded(pieces)
        found = copy.state_hash, copy.size, copy.last_commit_ts, copy.ceiling_ts, contents(copy, KEYS)
        assert found == wanted
    again = loaded([machine.dump()]) if machine_is_free(machine) else machine
    assert again.state_hash == machine.state_hash
    assert contents(again, KEYS) == contents(machine, KEYS)


def machine_is_free(machine: KeyValueMachine) -> bool:
    try:
        machine.read_dump()
    except RuntimeError:
        return True
    machine.close_dump()
    return False


def test_a_dump_is_the_state_at_the_cut_although_another_state_is_adopted_meanwhile():
    """The adopted items are older than the cut, and none of it."""
    machine, other = KeyValueMachine(), KeyValueMachine()
    for i in range(300):
        other.apply(codec.encode_set(b"%d" % i, b"of the other", hint_ts=0))
        machine.apply(codec.encode_set(b"%d" % i, b"at the cut", hint_ts=0))
    machine.apply(codec.encode_set(b"more", b"", hint_ts=0))
    wanted, whole = machine.state_hash, other.dump()
    machine.begin_dump()
    pieces = [machine.read_dump(100)]
    machine.load([whole])
    for i in range(0, 300, 2):
        machine.apply(codec.encode_set(b"%d" % i, b"longer than before" * 100, hint_ts=0))
        machine.apply(codec.encode_del([b"%d" % (i + 1)], hint_ts=0))
    while piece := machine.read_dump(100):
        pieces.append(piece)
    copy = loaded(pieces)
    assert (copy.state_hash, copy.size) == (wanted, 301)
    assert machine.size == 150
    assert loaded([machine.dump()]).state_hash == machine.state_hash


@pytest.mark.parametrize("flush", [False, True])
def test_growth_overwrites_deletions_and_flushes_beside_a_dump_are_not_in_it(flush):
    rng = random.Random(7)
    machine = KeyValueMachine()
    for i in range(20_000):
        machine.apply(codec.encode_set(b"%d" % i, b"old%d" % i, hint_ts=0, until_ms=5000 + i))
    wanted = machine.state_hash
    machine.begin_dump()
    pieces = []
    for i in range(60_000):
        key = b"%d" % rng.randrange(100_000)
        kind = rng.randrange(4)
        if kind == 0:
            machine.apply(codec.encode_del([key], hint_ts=0))
        elif kind == 1:
            machine.apply(codec.encode_append(key, b"+", hint_ts=0))
        else:
            machine.apply(codec.encode_set(key, b"new%d" % rng.randrange(99_999), hint_ts=0))
        if i % 50 == 0 and (not pieces or pieces[-1]):
            pieces.append(machine.read_dump(400))
        if flush and i in (9_000, 11_000, 30_000):
            machine.apply(codec.encode_flushall(hint_ts=0))
    while pieces[-1]:
        pieces.append(machine.read_dump(400))
    assert len(pieces) > 500  # the dump went on during many of the writes
    copy = loaded(pieces)
    assert (copy.state_hash, copy.size) == (wanted, 20_000)
    assert all(copy.get(b"%d" % i) == b"old%d" % i for i in range(0, 20_000, 7))
    assert loaded([machine.dump()]).state_hash == machine.state_hash


def test_a_dump_is_read_by_another_thread_while_entries_are_applied():
    machine = KeyValueMachine()
    log, more = stress.CommandLog(), stress.CommandLog()
    log.add_sets(50_000, 1, 64, 30_000)
    more.add_sets(100_000, 50_001, 40, 60_000)
    stress.apply_loop(machine, log)
    for _ in range(2):
        wanted, size = machine.state_hash, machine.size
        machine.begin_dump()
        writer = threading.Thread(target=stress.apply_loop, args=(machine, more))
        writer.start()
        pieces = []
        while piece := machine.read_dump(4096):
            pieces.append(piece)
        writer.join()
        copy = loaded(pieces)
        assert (copy.state_hash, copy.size) == (wanted, size)


def test_pieces_may_be_cut_anywhere_and_a_copy_goes_on_as_the_original():
    machine = KeyValueMachine()
    for i in range(50):
        machine.apply(codec.encode_set(b"%d" % i, b"v" * i, hint_ts=codec.hint(i), until_ms=i % 2 and 900))
    machine.apply(codec.encode_ceiling(700, hint_ts=0))
    whole = machine.dump()
    copy = loaded(whole[i : i + 7] for i in range(0, len(whole), 7))
    for step in (codec.encode_incrby(b"n", 1, hint_ts=0), codec.encode_del([b"3"], hint_ts=codec.hint(900))):
        assert machine.apply(step) == copy.apply(step)
        assert machine.state_hash == copy.state_hash


def test_what_is_no_whole_and_sound_dump_changes_nothing():
    source, machine = KeyValueMachine(), KeyValueMachine()
    for i in range(20):
        source.apply(codec.encode_set(b"key%d" % i, b"value%d" % i, hint_ts=0, until_ms=500))
    machine.apply(codec.encode_set(b"mine", b"stays", hint_ts=0))
    before, whole = machine.state_hash, source.dump()
    for hostile in [
        b"",
        whole[:-1],
        whole + b"\x00",
        whole[:47],
        b"X" + whole[1:],
        whole[:8] + b"\x02" + whole[9:],
        whole + whole[48:],
        whole[:48] + whole[48:100] * 2,
    ]:
        with pytest.raises(ValueError):
            machine.load([hostile])
    rng = random.Random(3)
    for at in [*range(16, 48), *rng.choices(range(48, len(whole)), k=300)]:
        damaged = bytearray(whole)
        damaged[at] ^= 1 << rng.randrange(8)
        try:
            machine.load([bytes(damaged)])
        except ValueError:
            continue
        # only the timestamps of single items are outside the state hash
        assert at in timestamp_bytes(whole)
        machine = KeyValueMachine()
        machine.apply(codec.encode_set(b"mine", b"stays", hint_ts=0))
    assert machine.state_hash == before
    assert machine.get(b"mine") == b"stays"


def timestamp_bytes(whole: bytes) -> set[int]:
    """Where in a dump the commit timestamps of its items are."""
    at, found = 48, set()
    while at < len(whole):
        sizes = int.from_bytes(whole[at : at + 4], "little") + int.from_bytes(whole[at + 4 : at + 8], "little")
        found |= set(range(at + 16, at + 24))
        at += 24 + sizes
    return found


def test_one_dump_at_a_time():
    machine = KeyValueMachine()
    machine.begin_dump()
    with pytest.raises(RuntimeError):
        machine.begin_dump()
    machine.close_dump()
    machine.close_dump()
    machine.begin_dump()
