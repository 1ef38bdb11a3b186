"""Hostile bytes: an error result, no effect, no crash. And every encoding comes back as it went in."""

from __future__ import annotations

import pickle
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure._kv import codec
from tenure._kv.codec import CommandError, decode_result, is_valid
from tenure._kv.machine import KeyValueMachine

from .commands import sequences
from .model import encode, plain

HEAD = struct.Struct("<BBHIQq")
BATCH, CEILING, SET, CAS, INCRBY = 15, 14, 1, 9, 8


def command(opcode, *arguments, version=1, flags=0, count=None, hint_ts=0, until_ms=0):
    head = HEAD.pack(version, opcode, flags, len(arguments) if count is None else count, hint_ts, until_ms)
    return head + b"".join(struct.pack("<I", len(part)) + part for part in arguments)


def assert_refused(machine: KeyValueMachine, hostile: bytes) -> None:
    before = machine.state_hash, machine.last_commit_ts, machine.size
    assert not is_valid(hostile)
    assert plain(decode_result(machine.apply(hostile))) == "malformed"
    assert (machine.state_hash, machine.last_commit_ts, machine.size) == before


@pytest.fixture
def machine() -> KeyValueMachine:
    made = KeyValueMachine()
    made.apply(codec.encode_set(b"k", b"v", hint_ts=7))
    return made


@pytest.mark.parametrize(
    "hostile",
    [
        b"\x01",
        command(SET, b"k", b"v")[:23],
        command(SET, b"k", b"v", version=2),
        command(SET, b"k", b"v", version=0),
        command(0),
        command(16),
        command(255, b"k"),
        command(SET, b"k"),
        command(SET, b"k", b"v", b"w"),
        command(SET, b"k", b"v", count=3),
        command(SET, b"k", b"v", count=2**32 - 1),
        command(SET, b"k", b"v") + b"\x00",
        command(SET, b"k", b"v")[:-1],
        command(SET, b"k", b"v", flags=1 | 2),
        command(SET, b"k", b"v", flags=16),
        command(SET, b"k", b"v", flags=8, until_ms=5),
        command(SET, b"k", b"v", until_ms=-1),
        command(SET, b"k", b"v", hint_ts=2**63),
        command(2, b"k", b"v", flags=1),
        command(2, b"k", b"v", until_ms=1),
        command(5),
        command(6),
        command(6, b"k"),
        command(6, b"k", b"v", b"l"),
        command(INCRBY, b"k", b"1234567"),
        command(INCRBY, b"k", b"123456789"),
        command(CAS, b"k", b"expected", b"v", flags=16),
        command(10, b"k", until_ms=0),
        command(10, b"k", until_ms=5, flags=1),
        command(10, b"k", until_ms=5, flags=32 | 64),
        command(10, b"k", until_ms=5, flags=32 | 128),
        command(10, b"k", until_ms=5, flags=128 | 256),
        command(10, b"k", until_ms=5, flags=512),
        command(11, b"k", flags=32),
        command(11),
        command(11, b"k", until_ms=5),
        command(12, b"k"),
        command(CEILING),
        command(BATCH),
        command(BATCH, b""),
        command(BATCH, command(BATCH, command(12))),
        command(BATCH, command(CEILING, until_ms=5)),
        command(BATCH, command(SET, b"k", b"w"), command(SET, b"k")),
        command(BATCH, command(SET, b"k", b"w"), command(SET, b"k", b"w")[:-1]),
    ],
)
def test_what_is_no_command_is_refused_and_does_nothing(machine, hostile):
    assert_refused(machine, hostile)


def test_a_log_of_version_1_means_what_it_has_always_meant():
    """Literal bytes, and what the first build that wrote such logs made of them: never to be changed."""
    expired = 1 << 16 | 5
    log = [
        command(SET, b"a", b"1", hint_ts=1 << 16),
        command(SET, b"a", b"2", flags=1),
        command(SET, b"b", b"x", until_ms=5000),
        command(2, b"b", b"y"),
        command(3, b"c", b"z"),
        command(4, b"c"),
        command(6, b"d", b"1", b"e", b"2"),
        command(5, b"d", b"none"),
        command(7, b"e", b"3"),
        command(INCRBY, b"e", struct.pack("<q", -30)),
        command(CAS, b"a", b"1", b"one", until_ms=900, flags=0),
        command(CAS, b"f", b"", b"new", flags=16),
        command(10, b"f", until_ms=800),
        command(11, b"a"),
        command(SET, b"g", b"v", until_ms=2, hint_ts=expired),
        command(13, b"g", b"a", hint_ts=3 << 16),
        command(CEILING, until_ms=70),
        command(BATCH, command(SET, b"h", b"w", flags=4), command(INCRBY, b"h", struct.pack("<q", 1))),
        command(SET, b"f", b"newer", flags=8 | 2 | 4),
        command(3, b"f", b"", flags=1),
    ]
    machine = KeyValueMachine()
    results = [plain(decode_result(machine.apply(one))) for one in log]
    assert results == [
        True, None, True, b"x", 1, b"z", True, 1, 2, -7, 1, 1, 1, 1, True, 1, True, [None, "not_an_integer"], b"new",
        "malformed",
    ]  # fmt: skip
    assert (machine.state_hash, machine.last_commit_ts) == (11997079090921351606, 196611)
    assert plain(decode_result(machine.apply(command(12)))) is True
    assert machine.size == 0


def test_keys_and_values_have_a_limit(machine):
    largest = b"v" * (64 << 20)
    assert is_valid(command(SET, b"k", largest))
    assert_refused(machine, command(SET, b"k", largest + b"v"))
    assert_refused(machine, command(SET, largest + b"k", b"v"))


def test_the_maker_of_hostile_bytes_can_make_good_ones():
    assert command(SET, b"k", b"v", hint_ts=5, until_ms=9) == codec.encode_set(b"k", b"v", hint_ts=5, until_ms=9)
    assert is_valid(command(BATCH, command(SET, b"k", b"w")))


@settings(max_examples=150, deadline=None)
@given(sequences.filter(bool), st.data())
def test_damaged_commands_never_harm_the_store(steps, data):
    machine = KeyValueMachine()
    for hint_ts, (name, arguments, options) in steps:
        whole = bytearray(encode(hint_ts, name, *arguments, **options))
        for _ in range(data.draw(st.integers(0, 3))):
            whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
        damaged = bytes(whole[: data.draw(st.integers(0, len(whole)))] if data.draw(st.booleans()) else whole)
        if damaged and not is_valid(damaged):
            assert_refused(machine, damaged)
        else:
            machine.apply(damaged)
    copy = KeyValueMachine()
    copy.load([machine.dump()])
    assert copy.state_hash == machine.state_hash


@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_bytes_that_are_no_result_are_an_error(encoded):
    try:
        decode_result(encoded)
    except ValueError:
        pass


@pytest.mark.parametrize(
    "encoded",
    [
        b"\x00",
        b"\x01\x00",
        b"\x03\x00",
        b"\x05",
        b"\x05\x00",
        b"\x05\x06",
        b"\x07",
        b"\xff",
        b"\x06\x01\x00\x00\x00",
        b"\x06\x00\x00\x00\x00\x00",
        b"\x06\x01\x00\x00\x00\xff\xff\xff\xff\x02",
        b"\x06\x01\x00\x00\x00\x05\x00\x00\x00\x06\x00\x00\x00\x00",
        b"\x06\xff\xff\xff\xff\x01\x00\x00\x00\x02",
    ],
)
def test_results_are_read_with_suspicion(encoded):
    with pytest.raises(ValueError):
        decode_result(encoded)


def test_results_as_python_sees_them():
    assert decode_result(b"") is None
    assert decode_result(b"\x01") is None
    assert decode_result(b"\x02") is True
    assert decode_result(b"\x03" + (-5).to_bytes(8, "little", signed=True)) == -5
    assert decode_result(b"\x04bytes") == b"bytes"
    assert decode_result(b"\x06\x02\x00\x00\x00\x01\x00\x00\x00\x02\x01\x00\x00\x00\x04") == [True, b""]
    error = decode_result(b"\x05\x03")
    assert isinstance(error, CommandError)
    assert error.name == "overflow"
    assert pickle.loads(pickle.dumps(error)).name == "overflow"


def test_the_edge_refuses_what_could_never_be_applied():
    for attempt in (
        lambda: codec.encode_set(b"k", b"v", hint_ts=0, nx=True, xx=True),
        lambda: codec.encode_set(b"k", b"v", hint_ts=0, keepttl=True, until_ms=1),
        lambda: codec.encode_set(b"k", b"v", hint_ts=2**63),
        lambda: codec.encode_set(b"k", b"v", hint_ts=0, until_ms=-1),
        lambda: codec.encode_del([], hint_ts=0),
        lambda: codec.encode_mset([(b"k",)], hint_ts=0),
        lambda: codec.encode_batch([], hint_ts=0),
        lambda: codec.encode_ceiling(0, hint_ts=0),
        lambda: codec.hint(-1),
        lambda: codec.hint(1, 65536),
    ):
        with pytest.raises(ValueError):
            attempt()
    with pytest.raises(OverflowError):
        codec.encode_incrby(b"k", 2**63, hint_ts=0)
    with pytest.raises(TypeError):
        codec.encode_set("k", b"v", hint_ts=0)
