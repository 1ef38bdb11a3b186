"""The byte buffer against a plain bytearray."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure._net.buffer import ByteBuffer

STEPS = st.lists(st.one_of(st.binary(min_size=1, max_size=3000), st.integers(0, 3000)), max_size=60)


@given(limit=st.integers(0, 20000), steps=STEPS)
def test_it_is_a_bounded_queue_of_bytes(limit: int, steps: list[bytes | int]) -> None:
    buffer, model = ByteBuffer(limit), bytearray()
    for step in steps:
        if isinstance(step, bytes):
            fits = len(model) + len(step) <= limit
            assert buffer.append(step) is fits
            if fits:
                model += step
        else:
            count = min(step, len(model))
            assert buffer.consume(count) == model[:count]
            del model[:count]
        assert len(buffer) == len(model)
        assert buffer.capacity <= 2 * limit


def test_a_steady_queue_does_not_grow() -> None:
    buffer = ByteBuffer(1 << 20)
    buffer.append(bytes(3000))
    for _ in range(1000):
        assert buffer.append(bytes(1000))
        buffer.consume(1000)
    assert buffer.capacity <= 16384


def test_no_more_is_consumed_than_is_there() -> None:
    buffer = ByteBuffer(100)
    buffer.append(b"abc")
    with pytest.raises(ValueError, match="only 3"):
        buffer.consume(4)
