"""Histories: what clients asked, what they were told, and when. Read and written as JSON lines.

A history is the evidence of a test: every client writes down each operation with the clock reading taken before the
call and the one taken after the answer, all from one clock (of one machine, or of the simulator). The checker of
`tenure.sim.linearizability` judges it. One line is one operation, an object with these fields:

    client    text or integer: who asked
    op        "set", "get", "incr", "cas" or "del"
    key       text
    value     what was asked for (below); null when there is nothing to say
    out       what was answered (below)
    call_ns   integer: before the request left
    ret_ns    integer, not before call_ns: after the answer was in; null is allowed unless status is "ok"
    status    "ok": answered. "fail": certainly without effect; the operation is left out of the judgement.
              "unknown": it may take effect at any time after the call, or never; `out` and `ret_ns` are ignored.

    op      value                                       out (status "ok")
    set     the value written                           null or "OK"
    get     null                                        the value, or null where the key does not exist
    incr    the amount added, an integer; null is 1     the new integer, or "error": the value is no integer
    cas     [expected, new]; expected null: absent      true (the value was expected and is now new) or false
    del     null                                        number of keys removed: 1 or 0

A value is a text. An integer in its place stands for its decimal text, which is also what `incr` makes of it: a text is
an integer exactly when it is the shortest decimal form of a signed 64-bit number. An increment of an absent key starts
from 0. `value`, `out` and `ret_ns` may be left out where null is allowed.

Functions here may be called from any thread; a `HistoryWriter` may be shared. Reading trusts nothing: lines are
bounded, and whatever is not exactly the above raises `HistoryError` with the line. Nothing here judges a history.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias

from tenure.errors import TenureError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

__all__ = [
    "INCR_ERROR",
    "MAX_LINE_BYTES",
    "MAX_OPERATIONS",
    "HistoryError",
    "HistoryWriter",
    "Operation",
    "dump_operation",
    "parse_operation",
    "read_history",
    "write_history",
]

OpName: TypeAlias = Literal["set", "get", "incr", "cas", "del"]
StatusName: TypeAlias = Literal["ok", "fail", "unknown"]
Scalar: TypeAlias = str | int | None
Value: TypeAlias = Scalar | tuple[Scalar, Scalar]

MAX_LINE_BYTES = 1 << 20
MAX_OPERATIONS = 10_000_000
INCR_ERROR = "error"
"""What `incr` answers to a value that is no integer."""

INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
FIELDS = frozenset({"client", "op", "key", "value", "out", "call_ns", "ret_ns", "status"})
REQUIRED = ("client", "op", "key", "call_ns", "status")


class HistoryError(TenureError, ValueError):
    """A history that cannot be read or judged: `reason`, and the `path` and `line` where that is known."""

    code = "history_invalid"

    def __init__(self, reason: str = "", /, *, path: str | None = None, line: int | None = None) -> None:
        super().__init__(reason, path=path, line=line)
        self.reason = reason
        self.path = path
        self.line = line

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.path, self.line) if part is not None)
        return f"{place}: {self.reason}" if place else self.reason


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation as its client saw it; the fields are those of the file. Not validated until written or judged."""

    client: str | int
    op: OpName
    key: str
    value: Value
    out: str | int | bool | None
    call_ns: int
    ret_ns: int | None
    status: StatusName = "ok"


def is_integer(value: object) -> bool:
    return type(value) is int and INT64_MIN <= value <= INT64_MAX


def is_value(value: object) -> bool:
    return type(value) is str or is_integer(value)


def complaint(operation: Operation) -> str | None:
    """Why this is no operation in the sense of the module's text; None when it is one."""
    if not (type(operation.client) is str or is_integer(operation.client)):
        return "client must be a text or a 64-bit integer"
    if type(operation.key) is not str:
        return "key must be a text"
    if not is_integer(operation.call_ns):
        return "call_ns must be a 64-bit integer"
    if operation.ret_ns is not None and not is_integer(operation.ret_ns):
        return "ret_ns must be a 64-bit integer or null"
    status, ret_ns = operation.status, operation.ret_ns
    if status == "ok":
        if ret_ns is None:
            return "ret_ns must be given when status is ok"
    elif status not in ("fail", "unknown"):
        return "status must be ok, fail or unknown"
    if ret_ns is not None and ret_ns < operation.call_ns:
        return "ret_ns lies before call_ns"
    return complaint_about_meaning(operation.op, operation.value, operation.out, status == "ok")


def complaint_about_meaning(op: str, value: object, out: object, answered: bool) -> str | None:
    if op == "get":
        if value is not None:
            return "value of get must be null"
        if answered and out is not None and not is_value(out):
            return "out of get must be a text, a 64-bit integer or null"
    elif op == "set":
        if not is_value(value):
            return "value of set must be a text or a 64-bit integer"
        if answered and out is not None and out != "OK":
            return 'out of set must be null or "OK"'
    elif op == "incr":
        if value is not None and not is_integer(value):
            return "value of incr must be a 64-bit integer or null"
        if answered and not is_integer(out) and out != INCR_ERROR:
            return f'out of incr must be a 64-bit integer or "{INCR_ERROR}"'
    elif op == "cas":
        if not isinstance(value, tuple) or len(value) != 2:
            return "value of cas must be [expected, new]"
        if (value[0] is not None and not is_value(value[0])) or not is_value(value[1]):
            return "value of cas must be [text, 64-bit integer or null; text or 64-bit integer]"
        if answered and type(out) is not bool:
            return "out of cas must be true or false"
    elif op == "del":
        if value is not None:
            return "value of del must be null"
        if answered and (type(out) is not int or out not in (0, 1)):
            return "out of del must be 0 or 1"
    else:
        return "op must be set, get, incr, cas or del"
    return None


def reject_constant(name: str) -> object:
    raise ValueError(f"{name} is not allowed")


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field is given twice")
    return found


DECODER = json.JSONDecoder(parse_constant=reject_constant, object_pairs_hook=without_repeats)


def parse_operation(line: str) -> Operation:
    """Read one line; HistoryError without a place when it is not an operation."""
    try:
        record = DECODER.decode(line)
    except RecursionError:
        raise HistoryError("nested too deeply") from None
    except ValueError as error:
        raise HistoryError(f"not JSON: {error}") from None
    if type(record) is not dict:
        raise HistoryError("not a JSON object")
    if not record.keys() <= FIELDS:
        unknown = min(record.keys() - FIELDS)
        raise HistoryError(f"unknown field {json.dumps(unknown[:40])}")
    for field in REQUIRED:
        if field not in record:
            raise HistoryError(f"field {field} is missing")
    value = record.get("value")
    if type(value) is list:
        value = tuple(value)
    operation = Operation(
        record["client"],
        record["op"],
        record["key"],
        value,
        record.get("out"),
        record["call_ns"],
        record.get("ret_ns"),
        record["status"],
    )
    reason = complaint(operation)
    if reason is not None:
        raise HistoryError(reason)
    return operation


def dump_operation(operation: Operation) -> str:
    """One line without its end; HistoryError when a reader would refuse it."""
    reason = complaint(operation)
    if reason is not None:
        raise HistoryError(reason)
    record = {
        "client": operation.client,
        "op": operation.op,
        "key": operation.key,
        "value": operation.value,
        "out": operation.out,
        "call_ns": operation.call_ns,
        "ret_ns": operation.ret_ns,
        "status": operation.status,
    }
    line = json.dumps(record, separators=(",", ":"))
    if len(line) >= MAX_LINE_BYTES:
        raise HistoryError(f"the line would be longer than {MAX_LINE_BYTES} bytes")
    return line


def read_history(
    source: str | os.PathLike[str] | IO[bytes], *, max_operations: int = MAX_OPERATIONS
) -> Iterator[Operation]:
    """The operations of a file, in its order, one at a time. Blank lines are skipped."""
    if isinstance(source, (str, os.PathLike)):
        with Path(source).open("rb") as stream:
            yield from read_stream(stream, os.fspath(source), max_operations)
    else:
        name = getattr(source, "name", None)
        yield from read_stream(source, name if isinstance(name, str) else None, max_operations)


def read_stream(stream: IO[bytes], path: str | None, max_operations: int) -> Iterator[Operation]:
    number = 0
    count = 0
    while raw := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(raw) > MAX_LINE_BYTES:
            raise HistoryError(f"the line is longer than {MAX_LINE_BYTES} bytes", path=path, line=number)
        if raw.isspace():
            continue
        count += 1
        if count > max_operations:
            raise HistoryError(f"more than {max_operations} operations", path=path, line=number)
        try:
            yield parse_operation(raw.decode())
        except UnicodeDecodeError:
            raise HistoryError("not UTF-8", path=path, line=number) from None
        except HistoryError as error:
            raise HistoryError(error.reason, path=path, line=number) from None


def write_history(target: str | os.PathLike[str], operations: Iterable[Operation]) -> int:
    """Write a whole history; the number of operations written."""
    count = 0
    with HistoryWriter(target) as writer:
        for operation in operations:
            writer.write(operation)
            count += 1
    return count


class HistoryWriter:
    """Writes operations as they come, from any thread, each line whole. `flush` before a process is to be killed."""

    def __init__(self, target: str | os.PathLike[str]) -> None:
        self._stream = Path(target).open("wb")  # noqa: SIM115 - closed by close()
        self._lock = threading.Lock()

    def write(self, operation: Operation) -> None:
        """Append one operation; HistoryError, and nothing written, when a reader would refuse it."""
        line = dump_operation(operation).encode() + b"\n"
        with self._lock:
            self._stream.write(line)

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        with self._lock:
            self._stream.flush()

    def close(self) -> None:
        """Flush and close; may be called again."""
        with self._lock:
            self._stream.close()

    def __enter__(self) -> HistoryWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
