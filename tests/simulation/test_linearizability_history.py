"""Histories on disk: what is written is read back, and nothing else is."""

from __future__ import annotations

import io
import json
import pickle
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.sim import HistoryError, HistoryWriter, Operation, read_history, write_history
from tenure.sim.history import MAX_LINE_BYTES, dump_operation, parse_operation

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
VALUES = st.text() | INT64
GOOD = {"client": 1, "op": "get", "key": "k", "value": None, "out": "1", "call_ns": 1, "ret_ns": 2, "status": "ok"}


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    op = draw(st.sampled_from(["set", "get", "incr", "cas", "del"]))
    value, out = {
        "set": (VALUES, st.sampled_from([None, "OK"])),
        "get": (st.none(), st.none() | VALUES),
        "incr": (st.none() | INT64, INT64 | st.just("error")),
        "cas": (st.tuples(st.none() | VALUES, VALUES), st.booleans()),
        "del": (st.none(), st.integers(0, 1)),
    }[op]
    call, ret = sorted((draw(INT64), draw(INT64)))
    status = draw(st.sampled_from(["ok", "fail", "unknown"]))
    return Operation(draw(VALUES), op, draw(st.text()), draw(value), draw(out), call, ret, status)  # type: ignore[arg-type]


@given(operations())
def test_line_round_trips(operation: Operation) -> None:
    assert parse_operation(dump_operation(operation)) == operation


def test_file_round_trips(tmp_path: Path) -> None:
    history = [
        Operation("a", "set", "k", "1", None, 0, 10),
        Operation("b", "cas", "k", (None, "2"), None, 5, None, "unknown"),
        Operation(3, "del", "k\n\x00", None, 0, 7, 7),
    ]
    assert write_history(tmp_path / "h.jsonl", history) == 3
    assert list(read_history(tmp_path / "h.jsonl")) == history


def test_fields_that_may_be_null_may_be_left_out() -> None:
    line = '{"client":"a","op":"del","key":"k","call_ns":1,"status":"unknown"}'
    assert parse_operation(line) == Operation("a", "del", "k", None, None, 1, None, "unknown")


@pytest.mark.parametrize(
    "change",
    [
        {"client": None},
        {"client": True},
        {"client": 1.5},
        {"op": "GET"},
        {"op": ["get"]},
        {"key": 7},
        {"value": "x"},
        {"out": True},
        {"out": 1.0},
        {"out": ["1"]},
        {"out": 1 << 63},
        {"call_ns": "1"},
        {"call_ns": 1.0},
        {"call_ns": True},
        {"call_ns": -(1 << 63) - 1},
        {"call_ns": 3},
        {"ret_ns": None},
        {"ret_ns": 1 << 63},
        {"status": "OK"},
        {"status": None},
        {"status": ["ok"]},
        {"op": "set", "value": None},
        {"op": "set", "value": "1", "out": "no"},
        {"op": "incr", "value": "1", "out": 1},
        {"op": "incr", "value": True, "out": 1},
        {"op": "incr", "out": "1"},
        {"op": "incr", "out": None},
        {"op": "cas", "value": ["1"], "out": True},
        {"op": "cas", "value": ["1", None], "out": True},
        {"op": "cas", "value": ["1", "2"], "out": 1},
        {"op": "cas", "value": "12", "out": True},
        {"op": "del", "out": True},
        {"op": "del", "out": 2},
        {"extra": 1},
    ],
)
def test_field_without_meaning_is_refused_with_its_line(change: dict[str, object]) -> None:
    good = json.dumps(GOOD)
    stream = io.BytesIO(f"{good}\n\n{json.dumps(GOOD | change)}\n".encode())
    with pytest.raises(HistoryError) as caught:
        list(read_history(stream))
    assert caught.value.line == 3


@pytest.mark.parametrize("field", ["client", "op", "key", "call_ns", "status"])
def test_missing_field_is_named(field: str) -> None:
    record = {name: value for name, value in GOOD.items() if name != field}
    with pytest.raises(HistoryError, match=field):
        parse_operation(json.dumps(record))


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe",
        b"nonsense",
        b"[]",
        b"null",
        b'{"client": NaN}',
        b'{"call_ns": 1, "call_ns": 2}',
        b"[" * 500_000,
        b'{"a":' * 100_000,
        b'{"call_ns": ' + b"9" * 10_000 + b"}",
        json.dumps(GOOD).encode()[:-1],
        json.dumps(GOOD).encode() + b"{}",
        b"x" * (MAX_LINE_BYTES + 1),
    ],
    ids=lambda line: repr(line[:20]),
)
def test_hostile_line_is_refused_with_its_number(line: bytes) -> None:
    with pytest.raises(HistoryError) as caught:
        list(read_history(io.BytesIO(json.dumps(GOOD).encode() + b"\n" + line)))
    assert caught.value.line == 2


def test_endless_line_is_not_read_to_its_end() -> None:
    class Endless(io.RawIOBase):
        given = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
            self.given += len(buffer)
            buffer[:] = b"a" * len(buffer)
            return len(buffer)

    source = Endless()
    with pytest.raises(HistoryError, match="longer"):
        list(read_history(io.BufferedReader(source)))
    assert source.given < 2 * MAX_LINE_BYTES


def test_too_many_operations_are_refused() -> None:
    line = json.dumps(GOOD).encode() + b"\n"
    assert len(list(read_history(io.BytesIO(line * 3), max_operations=3))) == 3
    with pytest.raises(HistoryError, match="more than 2"):
        list(read_history(io.BytesIO(line * 3), max_operations=2))


def test_writer_refuses_what_a_reader_would(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path / "h.jsonl") as writer, pytest.raises(HistoryError):
        writer.write(Operation("a", "get", "k", None, None, 5, 4))
    with HistoryWriter(tmp_path / "h.jsonl") as writer, pytest.raises(HistoryError, match="longer"):
        writer.write(Operation("a", "set", "k", "x" * MAX_LINE_BYTES, None, 5, 6))
    assert (tmp_path / "h.jsonl").read_bytes() == b""


def test_threads_share_a_writer(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path / "h.jsonl") as writer:

        def work(client: int) -> None:
            for number in range(500):
                writer.write(Operation(client, "set", "k" * 100, str(number), None, number, number + 1))

        threads = [threading.Thread(target=work, args=(client,)) for client in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    read = list(read_history(tmp_path / "h.jsonl"))
    for client in range(4):
        assert [one.value for one in read if one.client == client] == [str(number) for number in range(500)]


def test_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(HistoryError("odd", path="h", line=3)))
    assert (str(error), error.reason, error.path, error.line, error.code) == (
        "h:3: odd",
        "odd",
        "h",
        3,
        "history_invalid",
    )
