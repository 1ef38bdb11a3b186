"""Messages to bytes and back, and bytes that are no message."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure._net.endpoint import decode_message, encode_message
from tenure._raft.node import MESSAGE_TYPES, Configuration, Entry, Message, RawNode, Snapshot

U64 = st.integers(0, 2**64 - 1)
I64 = st.integers(-(2**63), 2**63 - 1)
SCALARS = (
    dict.fromkeys(
        ["from_", "to", "term", "index", "log_term", "commit", "reject_hint", "round", "read_id", "release_term"], U64
    )
    | dict.fromkeys(["stamp_ns", "promise_ns", "promised_ns", "peer_clock_ns", "remaining_ns"], I64)
    | {"reject": st.booleans()}
)
ENTRIES = st.lists(st.builds(Entry, U64, U64, st.binary(max_size=80), st.integers(0, 2)), max_size=6)
IDS = st.sets(st.integers(1, 2**64 - 1), max_size=32).map(lambda ids: tuple(sorted(ids)))
SNAPSHOTS = st.builds(Snapshot, U64, U64, st.builds(Configuration, IDS, IDS, IDS, IDS, st.booleans()))


@st.composite
def messages(draw: st.DrawFn) -> Message:
    type = draw(st.sampled_from(sorted(MESSAGE_TYPES)))
    return Message(
        type,
        **draw(st.fixed_dictionaries(SCALARS)),
        entries=draw(ENTRIES),
        snapshot=draw(SNAPSHOTS) if type == "MsgSnap" else None,
    )


def fields(message: Message) -> dict:
    return {name: getattr(message, name) for name in ("type", *SCALARS, "entries", "snapshot")}


@given(messages())
def test_round_trip(message: Message) -> None:
    decoded = decode_message(encode_message(message))
    assert decoded is not None
    assert fields(decoded) == fields(message)


@given(
    payloads=st.lists(st.binary(max_size=300), min_size=2, max_size=30),
    compacted=st.integers(1, 29),
    outlives=st.booleans(),
)
def test_entries_that_came_together_are_kept_and_dropped_one_by_one(payloads, compacted, outlives) -> None:
    """They stand in one block of memory, which goes with the last of them; the message may go first, or last."""
    sent = [Entry(1, 1 + offset, data) for offset, data in enumerate(payloads)]
    message = decode_message(encode_message(Message("MsgApp", from_=2, to=1, term=1, commit=len(sent), entries=sent)))
    node = RawNode(1, voters=(1, 2, 3), promise_ns=0, async_storage=False, now_ns=1)
    node.step(message, 1)
    if not outlives:
        del message
    ready = node.ready()
    assert ready.committed == tuple(sent)
    node.appended(ready.number, 1)
    node.applied_to(len(sent), 1)
    del ready
    compacted = min(compacted, len(sent) - 1)
    node.compact(compacted)
    assert node.entries == tuple(sent[compacted:])
    if outlives:
        del node
        assert message.entries == tuple(sent)


@given(messages(), st.data())
def test_neither_a_part_nor_more_decodes(message: Message, data: st.DataObject) -> None:
    encoded = encode_message(message)
    assert decode_message(encoded[: data.draw(st.integers(0, len(encoded) - 1))]) is None
    assert decode_message(encoded + data.draw(st.binary(min_size=1, max_size=40))) is None


@given(st.binary(max_size=400))
def test_arbitrary_bytes_decode_to_nothing_or_to_the_message_they_encode(data: bytes) -> None:
    message = decode_message(data)
    assert message is None or encode_message(message) == data


def test_mutated_bytes_decode_to_nothing_or_to_the_message_they_encode() -> None:
    rng = random.Random(20)
    everybody = tuple(range(1, 33))
    sources = [
        encode_message(message)
        for message in (
            Message("MsgHeartbeat", from_=1, to=2, term=3, commit=4, stamp_ns=5),
            Message("MsgApp", from_=1, to=2, entries=[Entry(1, i, bytes(i)) for i in range(20)]),
            Message("MsgSnap", from_=1, to=2, snapshot=Snapshot(9, 8, Configuration((1, 2), (3,), (4, 5), (6,), True))),
            Message("MsgSnap", from_=1, to=2, snapshot=Snapshot(9, 8, Configuration(everybody, everybody, everybody))),
        )
    ]
    decoded = 0
    for _ in range(30_000):
        data = bytearray(rng.choice(sources))
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data))
            change = rng.randrange(5)
            if change == 0:
                data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            elif change == 1:
                data[at] ^= 1 << rng.randrange(8)
            elif change == 2:
                del data[at : at + rng.randint(1, 30)]
                data = data or bytearray(1)
            elif change == 3:
                data[at:at] = rng.randbytes(rng.randint(1, 30))
            else:
                size = min(4, len(data) - at)
                data[at : at + size] = struct.pack("<I", rng.choice((0, 1, 2**31, 2**32 - 1, len(data))))[:size]
        message = decode_message(bytes(data))
        if message is not None:
            decoded += 1
            assert encode_message(message) == data
    assert decoded > 1000  # else nothing but the refusals was tried


def changed(message: Message, offset: int, value: bytes) -> bytes:
    data = bytearray(encode_message(message))
    data[offset : offset + len(value)] = value
    return bytes(data)


HEARTBEAT = Message("MsgHeartbeat", from_=1, to=2)
APPEND = Message("MsgApp", from_=1, to=2, entries=[Entry(1, 1, b"abc"), Entry(1, 2, b"de")])
SNAPSHOT = Message("MsgSnap", from_=1, to=2, snapshot=Snapshot(5, 1, Configuration((1, 2, 3))))


@pytest.mark.parametrize(
    "data",
    [
        changed(HEARTBEAT, 0, b"\x00"),  # types that do not exist
        changed(HEARTBEAT, 0, b"\x0d"),
        changed(HEARTBEAT, 1, b"\x02"),  # neither true nor false
        changed(HEARTBEAT, 2, b"\x01"),  # a snapshot that only MsgSnap may have
        changed(SNAPSHOT, 2, b"\x00"),  # and must have
        changed(HEARTBEAT, 3, b"\x01"),
        changed(APPEND, 4, b"\xff\xff\xff\xff"),  # more entries than bytes
        changed(APPEND, 4, b"\x03"),
        changed(APPEND, 4, b"\x01"),  # fewer
        changed(APPEND, 128 + 16, b"\xff\xff\xff\xff"),  # a payload longer than the message
        changed(APPEND, 128 + 20, b"\x03"),  # a kind that does not exist
        changed(APPEND, 128 + 23, b"\x01"),
        changed(SNAPSHOT, 128 + 16, b"\x02"),
        changed(SNAPSHOT, 128 + 17, b"\x21"),  # 33 voters
        changed(SNAPSHOT, 128 + 17, b"\x02"),
        changed(SNAPSHOT, 128 + 21, b"\x01"),
        changed(SNAPSHOT, 128 + 24, struct.pack("<Q", 0)),  # nobody has the id 0
        changed(SNAPSHOT, 128 + 24, struct.pack("<Q", 2)),  # twice
        changed(SNAPSHOT, 128 + 24, struct.pack("<Q", 9)),  # not sorted
    ],
)
def test_a_malformed_message_decodes_to_nothing(data: bytes) -> None:
    assert decode_message(data) is None


def test_the_layout_is_what_the_documentation_says() -> None:
    message = Message("MsgApp", from_=1, to=2, term=3, commit=4, stamp_ns=-1, entries=[Entry(5, 6, b"xyz", 2)])
    assert encode_message(message) == (
        bytes([1, 0, 0, 0])
        + struct.pack("<I", 1)
        + struct.pack("<10Q", 1, 2, 3, 0, 0, 4, 0, 0, 0, 0)
        + struct.pack("<5q", -1, 0, 0, 0, 0)
        + struct.pack("<QQII", 5, 6, 3, 2)
        + b"xyz"
    )
