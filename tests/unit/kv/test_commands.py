"""Every command against a model in Python: results, contents, expiry, timestamps and state hash."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from tenure._kv import codec
from tenure._kv.codec import decode_result, hint
from tenure._kv.machine import KeyValueMachine

from .commands import KEYS, sequences
from .model import Model, encode, plain

INT64_MAX = 2**63 - 1


def run(machine, name, *arguments, hint_ts=0, **options):
    return plain(decode_result(machine.apply(encode(hint_ts, name, *arguments, **options))))


def assert_same(machine: KeyValueMachine, model: Model) -> None:
    assert machine.last_commit_ts == model.last_ts
    assert machine.size == len(model.items)
    for key in KEYS:
        assert machine.get(key, now_ms=model.now_ms) == model.value(key)
        found = model.live(key)
        assert machine.expiry(key, now_ms=model.now_ms) == (None if found is None else found[1])
    assert machine.get_many(KEYS, now_ms=model.now_ms) == [model.value(key) for key in KEYS]


@settings(max_examples=200, deadline=None)
@given(sequences)
def test_results_contents_and_timestamps_are_the_models(steps):
    model, machine, other = Model(), KeyValueMachine(seed=(1, 2)), KeyValueMachine(seed=(3, 4))
    for hint_ts, (name, arguments, options) in steps:
        command = encode(hint_ts, name, *arguments, **options)
        result = machine.apply(command)
        assert plain(decode_result(result)) == model.apply(hint_ts, name, *arguments, **options)
        assert other.apply(command) == result
        assert other.state_hash == machine.state_hash
        assert_same(machine, model)


@settings(max_examples=100, deadline=None)
@given(sequences, sequences)
def test_the_state_hash_tells_contents_and_not_history(first, second):
    """Equal contents at equal timestamps hash alike, whatever way led there; unequal ones differ."""
    machines, models = (KeyValueMachine(), KeyValueMachine()), (Model(), Model())
    for machine, model, steps in zip(machines, models, (first, second), strict=True):
        for hint_ts, (name, arguments, options) in [*steps, (99 << 16, ("getdel", (b"none",), {}))]:
            machine.apply(encode(hint_ts, name, *arguments, **options))
            model.apply(hint_ts, name, *arguments, **options)
    same = models[0] == models[1]
    assert (machines[0].state_hash == machines[1].state_hash) == same


@pytest.fixture
def machine() -> KeyValueMachine:
    return KeyValueMachine()


def test_a_timestamp_is_the_hint_or_the_one_after_the_last(machine):
    run(machine, "set", b"k", b"v", hint_ts=hint(1000))
    assert machine.last_commit_ts == hint(1000)
    run(machine, "set", b"k", b"v", hint_ts=hint(999, 9))
    assert machine.last_commit_ts == hint(1000, 1)
    run(machine, "set", b"k", b"v", hint_ts=hint(1000, 7))
    assert machine.last_commit_ts == hint(1000, 7)


def test_the_greatest_hint_leaves_room_for_the_next(machine):
    run(machine, "set", b"k", b"v", hint_ts=INT64_MAX)
    run(machine, "set", b"k", b"w")
    assert machine.last_commit_ts == 2**63


def test_a_key_ends_at_its_instant_and_not_before(machine):
    run(machine, "set", b"k", b"v", until_ms=2000, hint_ts=hint(1000))
    assert machine.get(b"k", now_ms=1999) == b"v"
    assert machine.get(b"k", now_ms=2000) is None
    assert run(machine, "setnx", b"k", b"w", hint_ts=hint(1999, 65535)) == 0
    assert run(machine, "setnx", b"k", b"w", hint_ts=hint(2000)) == 1
    assert machine.expiry(b"k", now_ms=2000) == 0


def test_an_instant_that_has_passed_ends_the_key_at_once(machine):
    run(machine, "set", b"k", b"v", hint_ts=hint(1000))
    assert run(machine, "expireat", b"k", 1000) == 1
    assert machine.size == 0
    assert run(machine, "set", b"k", b"v", until_ms=5) is True
    assert machine.size == 0


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        # for a key that never ends, one that ends at 5000, given an end at 3000 and at 7000
        ({}, [1, 1, 1, 1]),
        ({"nx": True}, [1, 1, 0, 0]),
        ({"xx": True}, [0, 0, 1, 1]),
        ({"gt": True}, [0, 0, 0, 1]),
        ({"lt": True}, [1, 1, 1, 0]),
        ({"xx": True, "gt": True}, [0, 0, 0, 1]),
        ({"xx": True, "lt": True}, [0, 0, 1, 0]),
    ],
)
def test_an_end_may_be_set_on_condition(machine, flags, expected):
    found = []
    for before in (0, 5000):
        for until_ms in (3000, 7000):
            run(machine, "set", b"k", b"v", until_ms=before, hint_ts=hint(1000))
            found.append(run(machine, "expireat", b"k", until_ms, **flags))
            assert machine.expiry(b"k", now_ms=1000) == (until_ms if found[-1] else before)
    assert found == expected


def test_a_dump_after_the_greatest_hint_can_be_loaded(machine):
    run(machine, "set", b"k", b"v", hint_ts=INT64_MAX)
    run(machine, "set", b"k", b"w")
    copy = KeyValueMachine()
    copy.load([machine.dump()])
    assert (copy.state_hash, copy.last_commit_ts) == (machine.state_hash, 2**63)


def test_without_a_ceiling_reads_take_their_time_from_commits(machine):
    run(machine, "set", b"k", b"v", until_ms=2000, hint_ts=hint(1000))
    assert machine.get(b"k") == b"v"  # the wall clock is far beyond
    run(machine, "set", b"other", b"v", hint_ts=hint(2000))
    assert machine.get(b"k") is None


def test_a_leader_takes_time_from_the_wall_clock_up_to_the_ceiling(machine):
    run(machine, "set", b"k", b"v", until_ms=2000, hint_ts=hint(1000))
    machine.lead(1)
    assert run(machine, "ceiling", 1999) is True
    machine.lead(1)
    assert machine.get(b"k") == b"v"  # the wall clock is far beyond
    assert run(machine, "ceiling", 1500) is True
    assert machine.ceiling_ts == hint(1999, 65535)
    run(machine, "ceiling", 2000)
    assert machine.get(b"k") == b"v"  # who does not lead takes no time from it
    machine.lead(1)
    assert machine.get(b"k") is None
    assert plain(decode_result(machine.apply(codec.encode_ceiling(2**48, hint_ts=0)))) == "too_large"


def test_expired_keys_are_found_and_collected(machine):
    for i in range(3000):
        run(machine, "set", b"%d" % i, b"v", until_ms=i % 3 and 2000 + i, hint_ts=hint(1000))
    found, cursor = [], 0
    while True:
        cursor, some = machine.find_expired(3000, limit=50, cursor=cursor, steps=64)
        found += some
        if cursor == 0:
            break
    assert sorted(found) == sorted(b"%d" % i for i in range(1001) if i % 3)
    assert run(machine, "collect", [*found, b"0", b"2999", b"none"], hint_ts=hint(3000)) == len(found)
    assert machine.size == 3000 - len(found)


def test_an_empty_command_changes_nothing(machine):
    before = machine.state_hash
    assert machine.apply(b"") == b""
    assert machine.state_hash == before
    assert machine.last_commit_ts == 0


def test_an_error_inside_a_batch_does_not_stop_it(machine):
    steps = [("set", (b"k", b"x"), {}), ("incrby", (b"k", 1), {}), ("append", (b"k", b"y"), {})]
    assert run(machine, "batch", steps) == [True, "not_an_integer", 2]
    assert machine.get(b"k") == b"xy"


def test_a_value_does_not_grow_by_appends_until_it_holds_the_loop_up(machine):
    """Each append copies the whole value, while nobody else is served."""
    run(machine, "set", b"k", b"x" * ((4 << 20) - 1))
    assert run(machine, "append", b"k", b"y") == 4 << 20
    assert run(machine, "append", b"k", b"y") == "too_large"
    assert machine.get(b"k") == b"x" * ((4 << 20) - 1) + b"y"
    run(machine, "set", b"k", b"x" * (8 << 20))  # at once it may be larger, where messages are
    assert run(machine, "append", b"k", b"y") == "too_large"


def test_values_of_every_size_come_back_whole(machine):
    for size in [0, 1, 4095, 4096, 4097, 1 << 20]:
        value = bytes(i % 251 for i in range(size))
        run(machine, "set", b"k", value)
        assert machine.get(b"k") == value
        assert run(machine, "getset", b"k", b"") == value
