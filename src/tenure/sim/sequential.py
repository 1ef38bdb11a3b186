"""Whether what clients were told can be explained by one copy that did one thing after the other, for any model.

`tenure.sim.linearizability` judges registers, in compiled code. Here the model is the user's: a start, and a step from
a state and a request to the next state and the answer. The search is that of Wing and Gong with Lowe's memory of states
that were seen: extend an order by any operation that was called before the first open one returned, if the model
agrees. Where the order of the log is known, its next operation is tried first, so that a history that can be explained
is explained at once; what can be explained at all does not depend on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

__all__ = ["Asked", "SequentialModel", "Stuck", "explain_history"]


class SequentialModel(Protocol):
    """One copy. A method `partition(data) -> Hashable` may name the part of the state that a request is about.

    Parts are then judged one by one, which is faster by far; a request is about one part.
    """

    def initial(self) -> Hashable:
        """The state (of a part) in the beginning."""
        ...

    def step(self, state: Any, data: bytes) -> tuple[Hashable, bytes | None]:
        """The state after this request, and its answer."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One operation. `ret_ns` None: nobody knows whether it took effect, and `answer` says nothing.

    `place` is where it stands in the order to try first.
    """

    client: int
    data: bytes
    answer: bytes | None
    call_ns: int
    ret_ns: int | None
    place: tuple[int, bool]


@dataclass(frozen=True, slots=True)
class Stuck:
    """No order explains `operation`: the best one explains so many others, and then the model says something else."""

    operation: Asked
    expected: bytes | None
    explained: int
    gave_up: bool = False


def explain_history(asked: Iterable[Asked], model: SequentialModel, max_steps: int = 2_000_000) -> Stuck | None:
    """None when the model explains it."""
    parts: dict[Hashable, list[Asked]] = {}
    partition = getattr(model, "partition", None)
    for one in asked:
        parts.setdefault(partition(one.data) if partition else None, []).append(one)
    undecided = None
    for part in parts.values():
        stuck = Search(part, model).run(max_steps)
        if stuck is not None and not stuck.gave_up:
            return stuck
        undecided = undecided or stuck
    return undecided


class Search:
    """Over one part. Calls and returns stand in a doubly linked list in the order of their times, calls first."""

    def __init__(self, operations: Sequence[Asked], model: SequentialModel) -> None:
        self.operations = operations
        self.model = model
        size = len(operations)
        events = [(one.call_ns, 0, at) for at, one in enumerate(operations)]
        events += [(one.ret_ns, 1, at) for at, one in enumerate(operations) if one.ret_ns is not None]
        events.sort()
        # Positions: `at` is the call of operation `at`, `size + at` its return, the last one is the head.
        self.head = 2 * size
        self.after = [self.head] * (2 * size + 1)
        self.before = [self.head] * (2 * size + 1)
        last = self.head
        for _, is_return, at in events:
            here = at + size * is_return
            self.after[last], self.before[here] = here, last
            last = here
        self.after[last], self.before[self.head] = self.head, last

    def take(self, at: int) -> None:
        """Out of the list: it has its place in the order."""
        size = len(self.operations)
        for here in (at, size + at) if self.operations[at].ret_ns is not None else (at,):
            self.after[self.before[here]] = self.after[here]
            self.before[self.after[here]] = self.before[here]

    def put_back(self, at: int) -> None:
        """Undo the last `take`."""
        size = len(self.operations)
        for here in (size + at, at) if self.operations[at].ret_ns is not None else (at,):
            self.after[self.before[here]] = here
            self.before[self.after[here]] = here

    def candidates(self) -> list[int]:
        """What may come next: everything that was called before the first return."""
        found = []
        here = self.after[self.head]
        while here < len(self.operations):
            found.append(here)
            here = self.after[here]
        found.sort(key=lambda at: self.operations[at].place)
        return found

    def first_return(self) -> int:
        """The operation that must be explained next."""
        here = self.after[self.head]
        while here < len(self.operations):
            here = self.after[here]
        return here - len(self.operations)

    def run(self, max_steps: int) -> Stuck | None:
        """None when there is an order."""
        operations, model = self.operations, self.model
        open_ = sum(one.ret_ns is not None for one in operations)
        state: Any = model.initial()
        done, steps, best = 0, 0, -1
        stuck: Stuck | None = None
        seen: set[tuple[int, Hashable]] = set()
        stack: list[tuple[int, Any, Iterator[int]]] = []
        choices = iter(self.candidates())
        while open_:
            for at in choices:
                one = operations[at]
                steps += 1
                after, answer = model.step(state, one.data)
                if one.ret_ns is not None and answer != one.answer:
                    continue
                mark = (done | 1 << at, after)
                if mark in seen:
                    continue
                seen.add(mark)
                stack.append((at, state, choices))
                self.take(at)
                state, done = after, mark[0]
                open_ -= one.ret_ns is not None
                choices = iter(self.candidates())
                break
            else:
                if len(stack) > best:
                    best, first = len(stack), operations[self.first_return()]
                    stuck = Stuck(first, model.step(state, first.data)[1], len(stack))
                if steps > max_steps and stuck is not None:
                    return Stuck(stuck.operation, stuck.expected, stuck.explained, gave_up=True)
                if not stack:
                    return stuck
                at, state, choices = stack.pop()
                self.put_back(at)
                done &= ~(1 << at)
                open_ += operations[at].ret_ns is not None
        return None
