"""The compiled checker against two slow ones that know none of its reductions: every permutation of small histories,
and plain Wing-Gong with memoisation on longer ones."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tenure.sim import Operation, Verdict, check

Register = str | None


def integer(value: str) -> int | None:
    try:
        return int(value) if str(int(value)) == value else None
    except ValueError:
        return None


def step(value: Register, one: Operation) -> tuple[bool, Register]:
    """Does the register answer as the client saw, and what does it hold then? Unknown answers fit always."""
    sure = one.status == "ok"
    if one.op == "get":
        return not sure or value == one.out, value
    if one.op == "set":
        return True, str(one.value)
    if one.op == "del":
        return not sure or one.out == int(value is not None), None
    if one.op == "cas":
        assert isinstance(one.value, tuple)
        hit = value == one.value[0]
        return not sure or one.out == hit, str(one.value[1]) if hit else value
    number = 0 if value is None else integer(value)
    if number is None:
        return not sure or one.out == "error", value
    assert one.value is None or isinstance(one.value, int)
    number += 1 if one.value is None else one.value
    return not sure or one.out == number, str(number)


def precedes(first: Operation, second: Operation) -> bool:
    return first.status == "ok" and first.ret_ns is not None and first.ret_ns < second.call_ns


def by_permutation(history: Sequence[Operation]) -> bool:
    definite = [one for one in history if one.status == "ok"]
    optional = [one for one in history if one.status == "unknown"]
    for count in range(len(optional) + 1):
        for chosen in itertools.combinations(optional, count):
            for order in itertools.permutations([*definite, *chosen]):
                if any(precedes(later, earlier) for earlier, later in itertools.combinations(order, 2)):
                    continue
                value: Register = None
                for one in order:
                    fits, value = step(value, one)
                    if not fits:
                        break
                else:
                    return True
    return False


def by_wing_gong(history: Sequence[Operation]) -> bool:
    operations = [one for one in history if one.status != "fail"]
    before = [sum(1 << number for number, other in enumerate(operations) if precedes(other, one)) for one in operations]
    goal = sum(1 << number for number, one in enumerate(operations) if one.status == "ok")
    seen: set[tuple[int, Register]] = set()
    stack: list[tuple[int, Register]] = [(0, None)]
    while stack:
        placed, value = stack.pop()
        if placed & goal == goal:
            return True
        for number, one in enumerate(operations):
            if placed >> number & 1 or before[number] & ~placed:
                continue
            fits, after = step(value, one)
            if fits and (config := (placed | 1 << number, after)) not in seen:
                seen.add(config)
                stack.append(config)
    return False


def agrees(history: Sequence[Operation], expected: bool) -> None:
    report = check(history)
    assert report.verdict is (Verdict.LINEARIZABLE if expected else Verdict.VIOLATION), (
        history,
        report.violation and report.violation.render(),
    )


TEXTS = st.sampled_from(["1", "2", "x"])
TIMES = st.integers(0, 7)


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    op = draw(st.sampled_from(["set", "get", "incr", "cas", "del"]))
    value: object = None
    out: object = None
    if op == "set":
        value = draw(TEXTS)
    elif op == "get":
        out = draw(st.none() | TEXTS)
    elif op == "incr":
        value = draw(st.sampled_from([None, 1, -1, 0]))
        out = draw(st.sampled_from([0, 1, 2, "error"]))
    elif op == "cas":
        value = (draw(st.none() | TEXTS), draw(TEXTS))
        out = draw(st.booleans())
    else:
        out = draw(st.integers(0, 1))
    call, length = draw(TIMES), draw(TIMES)
    status = draw(st.sampled_from(["ok", "ok", "ok", "unknown", "unknown", "fail"]))
    return Operation(0, op, "k", value, out, call, call + length, status)  # type: ignore[arg-type]


@pytest.mark.timeout(300)  # every permutation, in Python; some interpreters take ten times as long as others
@settings(max_examples=1500, deadline=None)
@given(st.lists(operations(), max_size=6))
@example([Operation(0, "set", "k", "1", None, 0, 0), Operation(0, "get", "k", None, None, 0, 0)])
def test_agrees_with_every_permutation(history: list[Operation]) -> None:
    agrees(history, by_permutation(history))


def random_history(chance: random.Random, size: int, ops: Sequence[str], texts: Sequence[str]) -> list[Operation]:
    """Answers drawn at random along one serial run that is then disturbed: about half are linearizable."""
    value: Register = None
    history = []
    now = 0
    for number in range(size):
        op = chance.choice(ops)
        argument: object = None
        if op == "set":
            argument = chance.choice([*texts, f"unique{number}"])
        elif op == "incr":
            argument = chance.choice([1, 1, 2, -1])
        elif op == "cas":
            argument = (chance.choice([None, *texts]), chance.choice([*texts, f"unique{number}"]))
        out: object = None
        asked = Operation(0, op, "k", argument, None, 0, 0, "unknown")  # type: ignore[arg-type]
        for candidate in (None, *texts, *range(-4, 10), "error", True, False, value):
            if op != "set" and fits_type(op, candidate) and step(value, replace(asked, out=candidate, status="ok"))[0]:
                out = candidate
                break
        unknown = chance.random() < 0.35
        if not unknown or chance.random() < 0.5:
            value = step(value, asked)[1]
        now += chance.randrange(4)
        call = now - chance.randrange(12)
        ret = now + chance.randrange(12)
        if op == "incr" and out is None:
            out = 0
        history.append(Operation(0, op, "k", argument, out, call, ret, "unknown" if unknown else "ok"))  # type: ignore[arg-type]
    for _ in range(chance.choice([0, 1, 2])):
        answered = [number for number, one in enumerate(history) if one.op != "set" and one.status == "ok"]
        if answered:
            at = chance.choice(answered)
            choices = [
                out for out in (None, *texts, 1, 2, 3, "error", 0, True, False) if fits_type(history[at].op, out)
            ]
            history[at] = replace(history[at], out=chance.choice(choices))
    return history


def fits_type(op: str, out: object) -> bool:
    if op == "get":
        return out is None or type(out) is str
    if op == "incr":
        return type(out) is int or out == "error"
    if op == "cas":
        return type(out) is bool
    return type(out) is int and out in (0, 1)


MIXES = [
    (["set", "get", "incr", "cas", "del"], ["1", "2", "x"]),
    (["set", "get"], ["1", "2"]),
    (["set", "get", "cas"], ["x", "y"]),
    (["set", "cas"], ["x", "y"]),
    (["set", "cas", "del"], ["x"]),
    (["incr", "get"], ["3", "4"]),
    (["incr", "set", "get", "del"], ["1", "x"]),
    (["set", "get", "del"], ["x", "y"]),
]


def test_agrees_with_plain_search_on_longer_histories() -> None:
    told = {True: 0, False: 0}
    for seed in range(4000):
        chance = random.Random(seed)
        ops, texts = MIXES[seed % len(MIXES)]
        history = random_history(chance, chance.randrange(4, 13), ops, texts)
        expected = by_wing_gong(history)
        told[expected] += 1
        agrees(history, expected)
    assert min(told.values()) > 500, told


def test_slow_checkers_agree_with_each_other() -> None:
    for seed in range(300):
        chance = random.Random(seed)
        ops, texts = MIXES[seed % len(MIXES)]
        history = random_history(chance, 5, ops, texts)
        assert by_wing_gong(history) is by_permutation(history)
