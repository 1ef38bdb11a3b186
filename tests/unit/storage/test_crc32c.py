"""The checksum: known values, both ways of computing it, and chaining."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tenure._storage.wal import crc32c


def bit_by_bit(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_known_values():
    assert crc32c(b"") == 0
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    assert crc32c(b"\xff" * 32) == 0x62A8AB43


@given(data=st.binary(max_size=300), at=st.integers(0, 300))
def test_every_way_agrees_and_seeds_chain(data, at):
    expected = bit_by_bit(data)
    assert crc32c(data) == crc32c(data, portable=True) == expected
    assert crc32c(data[at:], crc32c(data[:at])) == expected
    assert crc32c(data[at:], crc32c(data[:at], portable=True), portable=True) == expected
