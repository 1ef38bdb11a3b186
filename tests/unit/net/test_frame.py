"""Frames: whole ones come through, everything else is named."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure._net.frame import HEADER_BYTES, TYPES, build, parse

LIMIT = 1000


@given(
    st.sampled_from(sorted(TYPES.values())), st.integers(0, 2**32 - 1), st.binary(max_size=500), st.binary(max_size=30)
)
def test_round_trip(type: int, group: int, payload: bytes, behind: bytes) -> None:
    frame = build(type, group, payload)
    assert parse(frame + behind, LIMIT) == ("whole", len(frame), type, group, payload)


@given(st.binary(max_size=100), st.data())
def test_a_beginning_is_incomplete_and_tells_its_length_with_the_header(payload: bytes, data: st.DataObject) -> None:
    frame = build(TYPES["message"], 1, payload)
    cut = data.draw(st.integers(0, len(frame) - 1))
    result, size, *_ = parse(frame[:cut], LIMIT)
    assert (result, size) == ("incomplete", len(frame) if cut >= HEADER_BYTES else 0)


@given(st.binary(max_size=60), st.data())
def test_no_changed_bit_comes_through(payload: bytes, data: st.DataObject) -> None:
    frame = bytearray(build(TYPES["message"], 9, payload))
    at = data.draw(st.integers(0, 8 * len(frame) - 1))
    frame[at // 8] ^= 1 << at % 8
    assert parse(bytes(frame), LIMIT)[0] != "whole"


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_no_frame(data: bytes) -> None:
    assert parse(data, LIMIT)[0] != "whole"


def changed(offset: int, value: bytes) -> bytes:
    frame = bytearray(build(TYPES["message"], 3, b"payload"))
    frame[offset : offset + len(value)] = value
    return bytes(frame)


@pytest.mark.parametrize(
    ("data", "result"),
    [
        (b"T", "incomplete"),
        (b"GET / HTTP/1.1\r\n", "bad_magic"),
        (b"G", "bad_magic"),
        (changed(4, b"\x02"), "bad_version"),
        (changed(5, b"\x00"), "bad_type"),
        (changed(5, b"\x06"), "bad_type"),
        (changed(6, b"\x01"), "bad_flags"),
        (changed(8, b"\x04"), "bad_checksum"),
        (changed(12, struct.pack("<I", LIMIT)), "bad_length"),
        (changed(12, b"\xff\xff\xff\xff"), "bad_length"),
        (changed(16, b"\x00\x00\x00\x00"), "bad_checksum"),
    ],
)
def test_what_is_wrong_has_a_name(data: bytes, result: str) -> None:
    assert parse(data, LIMIT)[0] == result


def test_the_bound_includes_the_header() -> None:
    frame = build(TYPES["message"], 0, bytes(LIMIT - HEADER_BYTES))
    assert parse(frame, LIMIT)[0] == "whole"
    assert parse(frame, LIMIT - 1)[0] == "bad_length"


def test_the_layout_is_what_the_documentation_says() -> None:
    frame = build(TYPES["message"], 0x01020304, b"xy")
    assert frame[:16] == b"TNRE" + bytes([1, 4, 0, 0]) + bytes([4, 3, 2, 1]) + bytes([2, 0, 0, 0])
    assert frame[HEADER_BYTES:] == b"xy"
