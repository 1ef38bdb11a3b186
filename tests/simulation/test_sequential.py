"""The checker for models of any kind, against a search of all orders."""

from __future__ import annotations

import itertools
import random

import pytest
from tests.simulation.queue_machine import QueueModel, ValuesModel

from tenure.sim.sequential import Asked, explain_history


def asked(data: bytes, answer: bytes | None, call_ns: int, ret_ns: int | None, place: int = 0) -> Asked:
    return Asked(client=0, data=data, answer=answer, call_ns=call_ns, ret_ns=ret_ns, place=(place, False))


def by_brute_force(history: list[Asked]) -> bool:
    known = [one for one in history if one.ret_ns is not None]
    unknown = [one for one in history if one.ret_ns is None]
    for count in range(len(unknown) + 1):
        for taken in itertools.combinations(unknown, count):
            for order in itertools.permutations([*known, *taken]):
                if follows_time(order) and answers(order):
                    return True
    return False


def answers(order: tuple[Asked, ...]) -> bool:
    model = QueueModel()
    state = model.initial()
    for one in order:
        state, answer = model.step(state, one.data)
        if one.ret_ns is not None and answer != one.answer:
            return False
    return True


def follows_time(order: tuple[Asked, ...]) -> bool:
    return not any(
        later.ret_ns is not None and later.ret_ns < earlier.call_ns
        for at, earlier in enumerate(order)
        for later in order[at + 1 :]
    )


def test_it_agrees_with_a_search_of_all_orders() -> None:
    luck = random.Random(7)
    seen = {True: 0, False: 0}
    for _ in range(1_500):
        history = []
        for _ in range(luck.randint(1, 5)):
            call = luck.randint(0, 20)
            ret = None if luck.random() < 0.2 else call + luck.randint(0, 12)
            data = luck.choice([b"+a", b"+b", b"-", b"?"])
            answers = {b"+": [b"1", b"2"], b"-": [b"a", b"b", None], b"?": [b"0", b"1", b"2"]}[data[:1]]
            history.append(asked(data, luck.choice(answers), call, ret, luck.randint(0, 9)))
        found = explain_history(history, QueueModel()) is None
        assert found == by_brute_force(history), history
        seen[found] += 1
    assert min(seen.values()) > 200


def test_it_names_what_cannot_be_explained() -> None:
    stuck = explain_history(
        [asked(b"k=1", None, 0, 1), asked(b"k", b"1", 2, 3), asked(b"k", None, 4, 5)], ValuesModel()
    )
    assert stuck is not None
    assert (stuck.operation.call_ns, stuck.expected, stuck.explained, stuck.gave_up) == (4, b"1", 2, False)


def test_parts_are_judged_one_by_one() -> None:
    apart = [asked(b"a=1", None, 0, 1), asked(b"b", None, 2, 3), asked(b"a", b"1", 4, 5)]
    assert explain_history(apart, ValuesModel()) is None


def test_a_long_history_is_explained_at_once_in_the_order_of_its_log() -> None:
    model, state, history = QueueModel(), (), []
    luck = random.Random(1)
    for number in range(3_000):
        data = luck.choice([b"+%d" % number, b"-", b"?"])
        state, answer = model.step(state, data)
        history.append(
            asked(data, answer, number * 10 - luck.randint(0, 60), number * 10 + luck.randint(0, 60), number)
        )
    luck.shuffle(history)
    assert explain_history(history, QueueModel(), max_steps=0) is None


@pytest.mark.parametrize(("max_steps", "gives_up"), [(50, True), (1_000_000, False)])
def test_it_gives_up_after_so_many_steps_and_says_so(max_steps: int, gives_up: bool) -> None:
    history = [asked(b"+%d" % number, b"%d" % (number + 1), 0, 100, number) for number in range(6)]
    assert explain_history(history, QueueModel(), max_steps) is None
    unordered = [asked(b"+%d" % number, None, 0, None, number) for number in range(6)]
    stuck = explain_history([*unordered, asked(b"?", b"9", 0, 100, 99)], QueueModel(), max_steps)
    assert stuck is not None
    assert stuck.gave_up is gives_up
