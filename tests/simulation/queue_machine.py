"""A queue of jobs as a user would write it, what its clients ask, its model, and some ways to get it wrong."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tenure.sim import Command, Read, Workload, Write


class Queue:
    """`+job` appends and answers the length, `-` takes the first; `?` reads the length."""

    def __init__(self) -> None:
        self.jobs: list[bytes] = []

    def apply(self, batch: Sequence[Command]) -> list[bytes | None]:
        return [self.one(command.data) for command in batch]

    def one(self, data: bytes) -> bytes | None:
        if data.startswith(b"+"):
            self.jobs.append(data[1:])
            return b"%d" % len(self.jobs)
        return self.jobs.pop(0) if self.jobs else None

    def query(self, data: bytes) -> bytes:
        return b"%d" % len(self.jobs)


class Snapshotted(Queue):
    def snapshot(self) -> bytes:
        return b",".join(self.jobs)

    def restore(self, data: bytes) -> None:
        self.jobs = data.split(b",") if data else []


class Batched(Queue):
    """Wrong: what it answers depends on what else came along."""

    def apply(self, batch: Sequence[Command]) -> list[bytes | None]:
        return [self.one(command.data) and b"%d" % len(batch) for command in batch]


class Hidden(Queue):
    """Wrong: the answers are right, the state is not."""

    def __init__(self) -> None:
        super().__init__()
        self.batches = 0

    def apply(self, batch: Sequence[Command]) -> list[bytes | None]:
        self.batches += 1
        return super().apply(batch)


class Forgetful(Snapshotted):
    """Wrong: a snapshot lacks the newest job."""

    def snapshot(self) -> bytes:
        return b",".join(self.jobs[:-1])


class Raising(Queue):
    def one(self, data: bytes) -> bytes | None:
        if len(self.jobs) > 5:
            raise ZeroDivisionError("so many jobs")
        return super().one(data)


class Short(Queue):
    def apply(self, batch: Sequence[Command]) -> list[bytes | None]:
        return super().apply(batch)[1:]


class Odd(Queue):
    def query(self, data: bytes) -> bytes:
        return b"odd" if len(self.jobs) % 7 == 6 else super().query(data)


class QueueModel:
    def initial(self) -> tuple[bytes, ...]:
        return ()

    def step(self, state: tuple[bytes, ...], data: bytes) -> tuple[tuple[bytes, ...], bytes | None]:
        if data == b"?":
            return state, b"%d" % len(state)
        if data.startswith(b"+"):
            return (*state, data[1:]), b"%d" % (len(state) + 1)
        return (state[1:], state[0]) if state else (state, None)


def requests(luck: Random, number: int) -> Read | Write:
    draw = luck.random()
    if draw < 0.4:
        return Read(b"?")
    return Write(b"+%d" % number) if draw < 0.7 else Write(b"-")


def of(machine: type[Queue]) -> Workload:
    return Workload(machine=machine, requests=requests, model=QueueModel())


GOOD = of(Queue)
SNAPSHOTTED = of(Snapshotted)
BATCHED = of(Batched)


class Values:
    """A register a key: `k=v` writes, `k` reads."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}

    def apply(self, batch: Sequence[Command]) -> list[bytes | None]:
        for command in batch:
            key, _, value = command.data.partition(b"=")
            self.values[key] = value
        return [None] * len(batch)

    def query(self, data: bytes) -> bytes | None:
        return self.values.get(data)


class ValuesModel:
    def partition(self, data: bytes) -> bytes:
        return data.partition(b"=")[0]

    def initial(self) -> None:
        return None

    def step(self, state: bytes | None, data: bytes) -> tuple[bytes | None, bytes | None]:
        _, equals, value = data.partition(b"=")
        return (value, None) if equals else (state, state)


def value_requests(luck: Random, number: int) -> Read | Write:
    key = b"k%d" % (number // 100)
    return Read(key) if luck.random() < 0.6 else Write(b"%b=%d" % (key, number))


VALUES = Workload(machine=Values, requests=value_requests, model=ValuesModel())
