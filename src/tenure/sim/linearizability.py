"""Is this history linearizable? The Python face of the compiled checker: texts in, a verdict with its reasons out.

`check` turns keys and values into integers, hands all operations to `tenure._proof.linearizability` in one buffer (the
GIL is released during the search), and turns the answer back. It may be called from any thread and keeps nothing. A
search that exceeds its bounds is UNDECIDED: never reported as linearizable.
"""

from __future__ import annotations

import enum
import json
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tenure._proof import linearizability as compiled
from tenure.sim.history import INCR_ERROR, INT64_MAX, INT64_MIN, HistoryError, Operation, complaint

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["MAX_BYTES", "MAX_STEPS", "Report", "Verdict", "Violation", "check"]

MAX_STEPS = 20_000_000
"""Per key: events passed and configurations entered, beyond one pass without choices."""
MAX_BYTES = 256 << 20
"""Per key: memory for configurations already seen."""

KINDS: Final = {"set": 0, "get": 1, "incr": 2, "cas": 3, "del": 4}
STATUSES: Final = {"ok": 0, "fail": 1, "unknown": 2}
BAR_WIDTH = 48
NEIGHBOURS = 8


class Verdict(enum.Enum):
    """What a search came to. UNDECIDED: a bound was hit before an order was found or ruled out."""

    LINEARIZABLE = "linearizable"
    VIOLATION = "violation"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Violation:
    """Why a key's history is not linearizable: `stuck` had to take effect before it returned, and cannot.

    Other orders may fail at an earlier return; none gets past this one.
    """

    key: str
    prefix: Sequence[Operation] = field(repr=False)
    """The longest linearizable prefix, in an order that explains it. `unknown` operations in it did take effect."""
    state: str
    """The key's value after the prefix, as JSON; null when the key does not exist."""
    stuck: Operation
    unplaced: Sequence[Operation]
    """Operations called before `stuck` returned that the prefix does not hold, `stuck` first."""

    def render(self) -> str:
        """A few lines for people: what was explained last, what cannot be, and a timeline of both."""
        shown = list(self.prefix[-NEIGHBOURS:])
        rest = [one for one in self.unplaced if one is self.stuck or one.status == "ok"]
        rest += [one for one in self.unplaced if one.status != "ok"]
        hidden = len(rest) - 2 * NEIGHBOURS
        rest = rest[: 2 * NEIGHBOURS]
        both = [*shown, *rest]
        start = min(one.call_ns for one in both)
        end = max(last_known(one) for one in both)
        span = max(end - start, 1)
        names = [describe(one) for one in both]
        width = min(max(map(len, names)), 60)
        clients = [short(one.client) for one in both]
        client_width = max(map(len, clients))
        lines = [
            f"key {json.dumps(self.key)} is not linearizable",
            f"{len(self.prefix)} operations can be put in order; the value then is {self.state}",
            f"and {describe(self.stuck)} of client {short(self.stuck.client)} cannot follow.",
            f"time 0 is {start} ns, the right edge is +{span} ns; ~ marks an operation that never returned",
        ]
        for position, one in enumerate(both):
            if position == 0 and len(self.prefix) > len(shown):
                lines.append(f"  ... {len(self.prefix) - len(shown)} earlier operations in order")
            mark = f"{len(self.prefix) - len(shown) + position + 1:>5}." if position < len(shown) else "     ?"
            if one is self.stuck:
                mark = " STUCK"
            text = names[position] if len(names[position]) <= width else names[position][: width - 3] + "..."
            lines.append(f"{mark} {clients[position]:<{client_width}} {text:<{width}} |{bar(one, start, span)}|")
        if hidden > 0:
            lines.append(f"  ... {hidden} more operations that could not be placed")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict on a history, with what it cost and its reasons."""

    verdict: Verdict
    operations: int
    keys: int
    """Keys searched: fewer than there are when a violation ended the search."""
    steps: int
    undecided_keys: Sequence[str]
    violation: Violation | None

    def __bool__(self) -> bool:
        raise TypeError("a report is not true or false: compare its verdict")


class Interner:
    """Gives every distinct text a number and every value a word; integers are their own numbers."""

    def __init__(self) -> None:
        self.words: dict[str | int | None, int] = {None: compiled.ABSENT}
        self.texts: list[str] = []
        self.too_large: set[int] = set()

    def word(self, value: str | int | None) -> int:
        found = self.words.get(value)
        return self.add(value) if found is None else found

    def add(self, value: str | int | None) -> int:
        number = integer_of(value) if type(value) is str else value
        if isinstance(number, int) and abs(number) < compiled.INTEGER_BOUND:
            word = number * 2
        else:
            text = str(value)
            if text != value:
                word = self.word(text)  # a large integer is the same value as its text
            else:
                word = len(self.texts) * 2 + 1
                self.texts.append(text)
            if number is not None:
                self.too_large.add(word)
        self.words[value] = word
        return word

    def text(self, word: int) -> str:
        if word == compiled.ABSENT:
            return "null"
        if word == compiled.UNNAMED:
            return "a text that no other operation mentions"
        return json.dumps(self.texts[word // 2] if word & 1 else str(word // 2))


def integer_of(text: str) -> int | None:
    """The signed 64-bit number of which this is the shortest decimal form."""
    if len(text) > 20 or not text.isascii() or not text.lstrip("-").isdigit():
        return None
    try:
        number = int(text)
    except ValueError:
        return None
    return number if str(number) == text and INT64_MIN <= number <= INT64_MAX else None


def check(history: Iterable[Operation], *, max_steps: int = MAX_STEPS, max_bytes: int = MAX_BYTES) -> Report:
    """Judge a history. HistoryError (its line the operation's number, from 1) when an operation makes no sense."""
    operations = list(history)
    interner = Interner()
    keys: dict[str, int] = {}
    records = encode(operations, interner, keys)
    names = list(keys)
    verdict, searched, steps, key, stuck, state, prefix, undecided = compiled.check(records, max_steps, max_bytes)
    violation = None
    if verdict == 1:
        violation = explain(operations, names[key], stuck, interner.text(state), prefix)
    return Report(
        verdict=(Verdict.LINEARIZABLE, Verdict.VIOLATION, Verdict.UNDECIDED)[verdict],
        operations=len(operations),
        keys=searched,
        steps=steps,
        undecided_keys=tuple(names[number] for number in undecided),
        violation=violation,
    )


def encode(operations: Sequence[Operation], interner: Interner, keys: dict[str, int]) -> array[int]:
    records: list[int] = []
    word = interner.word
    counted: dict[int, int] = {}
    large: dict[int, int] = {}
    for number, one in enumerate(operations, 1):
        reason = complaint(one)
        if reason is not None:
            raise HistoryError(reason, line=number)
        key = keys.setdefault(one.key, len(keys))
        answered = one.status == "ok"
        first = second = out = 0
        if one.op == "get":
            out = word(one.out) if answered else 0
        elif one.op == "set":
            first = word(one.value)  # type: ignore[arg-type]
        elif one.op == "incr":
            first = 1 if one.value is None else one.value  # type: ignore[assignment]
            if answered:
                out = compiled.NOT_INTEGER if one.out == INCR_ERROR else word(one.out)
            if one.status != "fail":
                counted[key] = counted.get(key, 0) + abs(first)
                if out & 1 and out != compiled.NOT_INTEGER:
                    large[key] = number
        elif one.op == "cas":
            first, second = word(one.value[0]), word(one.value[1])  # type: ignore[index]
            out = int(answered and one.out is True)
        else:
            out = one.out if answered else 0  # type: ignore[assignment]
        if interner.too_large and one.op != "incr" and not interner.too_large.isdisjoint((first, second, out)):
            large.setdefault(key, number)
        records += (
            key,
            KINDS[one.op],
            first,
            second,
            out,
            one.call_ns,
            one.ret_ns if answered and one.ret_ns is not None else one.call_ns,
            STATUSES[one.status],
        )
    refuse_large_counters(counted, large, records)
    return array("q", records)


def refuse_large_counters(counted: dict[int, int], large: dict[int, int], records: Sequence[int]) -> None:
    """Counting is exact within 2^60 only; beyond, refuse rather than judge by another arithmetic."""
    for key in counted.keys() & large.keys():
        raise HistoryError("a key that is counted holds an integer beyond 2^60 on either side", line=large[key])
    if not counted:
        return
    most: dict[int, int] = {}
    for at in range(0, len(records), 8):
        key, kind = records[at], records[at + 1]
        if key in counted and kind in (0, 3):
            word = records[at + 2] if kind == 0 else records[at + 3]
            if not word & 1:
                most[key] = max(most.get(key, 0), abs(word // 2))
    for key, total in counted.items():
        if total + most.get(key, 0) >= compiled.INTEGER_BOUND:
            first = next(at for at in range(0, len(records), 8) if records[at] == key)
            raise HistoryError("the increments of a key may sum up beyond 2^60", line=first // 8 + 1)


def explain(operations: Sequence[Operation], key: str, stuck: int, state: str, prefix: list[int]) -> Violation:
    placed = set(prefix)
    end = operations[stuck].ret_ns
    assert end is not None
    unplaced = [
        one
        for number, one in enumerate(operations)
        if one.key == key
        and number not in placed
        and number != stuck
        and one.call_ns <= end
        and (one.status == "ok" or (one.status == "unknown" and one.op != "get"))
    ]
    return Violation(
        key=key,
        prefix=tuple(operations[number] for number in prefix),
        state=state,
        stuck=operations[stuck],
        unplaced=(operations[stuck], *unplaced),
    )


def last_known(one: Operation) -> int:
    return one.ret_ns if one.status == "ok" and one.ret_ns is not None else one.call_ns


def short(value: object) -> str:
    """Fit for a terminal whatever it holds: JSON escapes, cut where it is long."""
    text = value if isinstance(value, str) and value.isascii() and value.isprintable() else json.dumps(value)
    return text if len(text) <= 24 else text[:21] + "..."


def describe(one: Operation) -> str:
    if one.op == "set":
        call = f"set {short(json.dumps(one.value))}"
    elif one.op == "cas" and isinstance(one.value, tuple):
        call = f"cas {short(json.dumps(one.value[0]))} to {short(json.dumps(one.value[1]))}"
    elif one.op == "incr":
        call = f"incr {1 if one.value is None else one.value}"
    else:
        call = one.op
    if one.status == "unknown":
        return f"{call} -> unknown"
    return call if one.op == "set" else f"{call} -> {short(json.dumps(one.out))}"


def bar(one: Operation, start: int, span: int) -> str:
    left = (one.call_ns - start) * (BAR_WIDTH - 1) // span
    if one.status != "ok" or one.ret_ns is None:
        return " " * left + "<" + "~" * (BAR_WIDTH - left - 1)
    right = (one.ret_ns - start) * (BAR_WIDTH - 1) // span
    inner = "=" * (right - left + 1) if right - left < 2 else "<" + "=" * (right - left - 1) + ">"
    return " " * left + inner + " " * (BAR_WIDTH - left - len(inner))
