"""The lease word taken apart: what each operation should do at once (the specification), and the atomic steps in which
the code really does it (loads and swaps), with ways to break them. Explores every interleaving of small threads.

A word is (generation, expiry). The generations here are few, so that wrapping is part of every exploration.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

Word = tuple[int, int]
CLOSED: Word = (0, 0)
LAST_GENERATION = 3


def next_generation(generation: int, last: int = LAST_GENERATION) -> int:
    return 1 if generation == last else generation + 1


# --- the specification: one operation, one instant


def spec(word: Word, name: str, arguments: tuple[int, ...], last: int = LAST_GENERATION) -> tuple[Word, Any]:
    generation, expiry = word
    if name == "generation":
        return word, generation
    if name == "valid":
        (now,) = arguments
        return word, now != 0 and now < expiry
    if name == "extend":
        until, wanted = arguments
        if wanted != 0 and wanted == generation and until > expiry:
            return (generation, until), True
        return word, False
    if name == "invalidate":
        return (CLOSED if word == CLOSED else (next_generation(generation, last), 0)), None
    if name == "close":
        return CLOSED, None
    raise ValueError(name)


# --- the steps: each yield is one atomic access; ("load",) gives the word, ("swap", old, new) gives (done, seen word).


@dataclass(frozen=True)
class Mutation:
    """A way to get it wrong."""

    ignores_generation: bool = False
    ignores_later_end: bool = False
    stores_blindly: bool = False
    invalidate_keeps_generation: bool = False
    invalidate_keeps_expiry: bool = False
    revives_closed: bool = False
    valid_at_the_end: bool = False
    valid_without_clock: bool = False


CORRECT = Mutation()
Access = tuple[Any, ...]
Steps = Generator[Access, Any, Any]


def steps(name: str, arguments: tuple[int, ...], broken: Mutation) -> Steps:
    if name == "generation":
        word = yield ("load",)
        return word[0]
    if name == "valid":
        (now,) = arguments
        word = yield ("load",)
        if now == 0 and not broken.valid_without_clock:
            return False
        return now <= word[1] if broken.valid_at_the_end and word[1] else now < word[1]
    if name == "extend":
        until, wanted = arguments
        if wanted == 0:
            return False
        word = yield ("load",)
        while (broken.ignores_generation or word[0] == wanted) and (broken.ignores_later_end or word[1] < until):
            done, word = yield (("store",) if broken.stores_blindly else ("swap", word)) + ((word[0], until),)
            if done:
                return True
        return False
    if name == "invalidate":
        word = yield ("load",)
        while word != CLOSED or broken.revives_closed:
            new = (
                word[0] if broken.invalidate_keeps_generation else next_generation(word[0]),
                word[1] if broken.invalidate_keeps_expiry else 0,
            )
            done, word = yield ("swap", word, new)
            if done:
                return None
        return None
    if name == "close":
        yield ("store", CLOSED)
        return None
    raise ValueError(name)


# --- threads: a list of (operation, arguments); the argument "g" of extend is the generation the thread sampled last

Program = tuple[tuple[str, tuple[Any, ...]], ...]


class Violation(AssertionError):
    pass


@lru_cache(maxsize=1 << 17)
def _replay(
    program: Program, answers: tuple[Any, ...], broken: Mutation
) -> tuple[Access | None, list[tuple[Any, ...]]]:
    """The next access of the thread (None: finished), and (name, arguments, result) of each finished operation."""
    finished: list[tuple[Any, ...]] = []
    sampled = 0
    used = 0
    for name, raw in program:
        arguments = tuple(sampled if argument == "g" else argument for argument in raw)
        running = steps(name, arguments, broken)
        try:
            access = next(running)
            while True:
                if used == len(answers):
                    return access, finished
                answer = answers[used]
                used += 1
                access = running.send(answer)
        except StopIteration as end:
            finished.append((name, arguments, end.value))
            if name == "generation":
                sampled = end.value
    return None, finished


def explore(programs: Iterable[Program], start: Word, broken: Mutation = CORRECT) -> int:
    """Run every interleaving; each operation must agree with the specification at the access that ended it.

    Returns the number of distinct states; raises Violation. An access that ends no operation must leave the word alone.
    """
    threads = tuple(programs)
    seen: set[tuple[Word, tuple[tuple[Any, ...], ...]]] = set()
    stack: list[tuple[Word, tuple[tuple[Any, ...], ...]]] = [(start, tuple(() for _ in threads))]
    while stack:
        state = stack.pop()
        if state in seen:
            continue
        seen.add(state)
        word, histories = state
        for who, program in enumerate(threads):
            access, before = _replay(program, histories[who], broken)
            if access is None:
                continue
            new_word, answer = _perform(word, access)
            answers = (*histories[who], answer)
            _, after = _replay(program, answers, broken)
            ended = after[len(before) :]
            expected_word = word
            for name, arguments, result in ended:
                expected_word, expected = spec(expected_word, name, arguments)
                if result != expected:
                    raise Violation(f"{name}{arguments} on {word} returned {result}, not {expected}")
            if new_word != expected_word:
                raise Violation(f"thread {who}: {word} became {new_word}, not {expected_word}, at {access}")
            stack.append((new_word, (*histories[:who], answers, *histories[who + 1 :])))
    return len(seen)


def _perform(word: Word, access: Access) -> tuple[Word, Any]:
    if access[0] == "load":
        return word, word
    if access[0] == "store":
        return access[1], (True, word)
    _, old, new = access
    return (new, (True, word)) if old == word else (word, (False, word))
