"""The user's own state machine in the simulator: what it has to offer, what its clients ask, what is judged.

    workload = Workload(machine=Queue, requests=requests, model=QueueModel())
    report = Simulation(7, PROFILES["swarm"], workload=workload).run(operations=2_000)

Every member gets a machine of its own from `machine()`, at its first start and at each restart, and applies what the
real core committed, in batches whose sizes differ from member to member. Found is: an answer or a state that differs
between two members, a snapshot that is another state once it is restored, an exception, and a history that the
sequential model cannot explain. One thread asks the machines: the one that runs the simulation. The same seed is the
same run if the machine is deterministic; `requests` is asked more than once for a request, and must answer the same.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from tenure.sim.sequential import Asked, SequentialModel, Stuck, explain_history

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tenure.sim.profile import Profile

__all__ = ["Bridge", "Command", "Machine", "MachineViolation", "Read", "Workload", "Write", "state_of"]

ANSWERS_DIFFER = "two members answer one command differently"
STATES_DIFFER = "two members hold different states"
RESTORED_DIFFERS = "a restored snapshot is another state"
RAISED = "the state machine raised an exception"
UNEXPLAINED = "the history is not linearizable"
UNDECIDED = "the checker of the history gave up"

MAX_DEPTH = 50


@dataclass(slots=True)
class Command:
    """One committed command on its way into a state machine; the engine's has the same fields."""

    index: int
    term: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Write:
    """A command through the log; `apply` answers it."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Read:
    """A question to the state, by lease or by a quorum's word; `query` answers it."""

    data: bytes


Request: TypeAlias = Write | Read


class Machine(Protocol):
    """What is plugged in: an engine's state machine written in Python. More is used where it is there:

    - `query(data: bytes) -> bytes | None` answers a `Read`;
    - `snapshot() -> bytes` and `restore(data: bytes)`: without both, members keep their whole log;
    - `digest() -> bytes` says what state it is; without it `state_of` the machine does.
    """

    def apply(self, batch: Sequence[Any]) -> Sequence[bytes | None]:
        """Apply committed commands (`index`, `term`, `data`) in order, and return one answer for each."""
        ...


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A machine, and what its clients ask.

    Attributes:
        machine: makes a member's machine, empty.
        requests: what to ask, from a source of luck that hangs on the seed and the request's number (1, 2, ...) alone.
        model: what a single copy would have answered; without one the history is not judged.
        digest_every: entries of the log between two comparisons of states.
        max_steps: of the checker of histories, before it gives up.
    """

    machine: Callable[[], Machine]
    requests: Callable[[random.Random, int], Request]
    model: SequentialModel | None = None
    digest_every: int = 50
    max_steps: int = 300_000

    def world(self, profile: Profile) -> Profile:
        """The world to play it in: a user's machine has no sessions, so that nobody tries a write again."""
        return dataclasses.replace(profile, retry_percent=0)

    def request(self, seed: int, number: int) -> Request:
        """What is asked under this number."""
        return self.requests(random.Random(seed << 32 ^ number), number)


@dataclass(frozen=True)
class MachineViolation:
    """Something is wrong with the user's machine, or with what its clients were told."""

    at_ns: int
    what: str
    member: int
    index: int
    detail: str

    def __str__(self) -> str:
        place = f" (member {self.member}, index {self.index})" if self.member else ""
        return f"{self.at_ns / 1e6:.3f} ms: {self.what}{place}: {self.detail}"


def state_of(value: object, depth: int = 0) -> object:
    """Equal for equal states, whatever order sets and dictionaries keep; TypeError where it cannot tell."""
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    if depth > MAX_DEPTH:
        raise TypeError("the machine's state is nested too deeply, or in a circle: give it a digest method")
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, list | tuple | collections.deque):
        return [type(value).__name__, *(state_of(one, depth + 1) for one in value)]
    if isinstance(value, set | frozenset):
        return ["set", *sorted((state_of(one, depth + 1) for one in value), key=repr)]
    if isinstance(value, dict):
        pairs = [[state_of(key, depth + 1), state_of(one, depth + 1)] for key, one in value.items()]
        return ["dict", *sorted(pairs, key=lambda pair: repr(pair[0]))]
    fields = getattr(value, "__dict__", None)
    if fields is None or callable(value):
        raise TypeError(f"no way to compare a {type(value).__name__}: give the machine a digest method")
    return [type(value).__name__, state_of(fields, depth + 1)]


class Broken(Exception):
    """Stops the run; carries what is wrong."""

    def __init__(self, what: str, member: int, index: int, detail: str) -> None:
        super().__init__(what)
        self.what, self.member, self.index, self.detail = what, member, index, detail


class Bridge:
    """Between the compiled world and the machines. Its methods are called by the world, and answer False to stop it."""

    def __init__(self, workload: Workload, seed: int) -> None:
        self.workload = workload
        self.seed = seed
        self.failure: BaseException | None = None
        self.machines: dict[int, Machine] = {}
        self.applied: dict[int, int] = {}
        self.answers: dict[tuple[int, int], bytes | None] = {}  # by member and operation: its first
        self.answered: dict[int, tuple[bytes | None, int]] = {}  # by operation: the first, and whose
        self.digests: dict[int, tuple[bytes, int]] = {}  # by index: the first, and whose
        self.stored: dict[bytes, bytes] = {}  # of a snapshot: the state that it holds
        self.read: dict[int, bytes | None] = {}
        self.places: dict[int, int] = {}  # by operation: the index that it was applied, or read, at
        sample = workload.machine()
        self.dumps = hasattr(sample, "snapshot") and hasattr(sample, "restore")
        self.reads = hasattr(sample, "query")

    def request(self, number: int) -> Request:
        """What is asked under this number."""
        asked = self.workload.request(self.seed, number)
        if not isinstance(asked, Write | Read):
            raise TypeError(f"requests must return Write(...) or Read(...), not {asked!r}")
        if isinstance(asked, Read) and not self.reads:
            raise TypeError("requests returned a Read, but the machine has no query method")
        return asked

    def digest(self, member: int) -> bytes:
        """Of this member's state."""
        machine: Any = self.machines[member]
        if hasattr(machine, "digest"):
            said = machine.digest()
            return said if isinstance(said, bytes) else repr(said).encode()
        return hashlib.sha256(repr(state_of(machine)).encode()).digest()

    # ---- called by the compiled world

    def create(self, member: int) -> bool:
        """A process begins."""
        return self._safely(lambda: self._create(member), member)

    def apply(self, member: int, batch: list[tuple[int, int, int, bytes | None]]) -> bool:
        """Entries (index, term, operation, data), some of them without a command."""
        return self._safely(lambda: self._apply(member, batch), member)

    def query(self, member: int, operation: int, number: int) -> bool:
        """A read that may be answered now, from this member."""
        return self._safely(lambda: self._query(member, operation, number), member)

    def dump(self, member: int) -> bytes | None:
        """A snapshot; None stops the run."""
        taken: list[bytes] = []
        self._safely(lambda: taken.append(self._dump(member)), member)
        return taken[0] if taken else None

    def load(self, member: int, data: bytes) -> bool:
        """The member becomes what a snapshot holds."""
        return self._safely(lambda: self._load(member, data), member)

    def choose(self, number: int) -> str | None:
        """Whether the next request reads or writes; None stops the run."""
        try:
            return "read" if isinstance(self.request(number), Read) else "write"
        except Exception as error:  # noqa: BLE001 - raised again by `Simulation.run`
            self.failure = error
            return None

    def payload(self, operation: int, number: int) -> bytes | None:
        """What a write sends; None stops the run."""
        try:
            return self.request(number).data
        except Exception as error:  # noqa: BLE001 - raised again by `Simulation.run`
            self.failure = error
            return None

    # ---- what they do

    def _safely(self, act: Callable[[], object], member: int) -> bool:
        if self.failure is not None:
            return False
        try:
            act()
        except Broken as broken:
            self.failure = broken
        except Exception as error:  # noqa: BLE001 - found, and reported as a violation
            detail = f"{type(error).__name__}: {error}"
            self.failure = Broken(RAISED, member, self.applied.get(member, 0), detail)
            self.failure.__cause__ = error
        return self.failure is None

    def _create(self, member: int) -> None:
        self.machines[member] = self.workload.machine()
        self.applied[member] = 0

    def _apply(self, member: int, batch: list[tuple[int, int, int, bytes | None]]) -> None:
        every = self.workload.digest_every
        chunk: list[tuple[int, int, int, bytes | None]] = []
        for entry in batch:
            chunk.append(entry)
            if entry[0] % every == 0:
                self._apply_chunk(member, chunk)
                self._compare(member, entry[0])
                chunk = []
        self._apply_chunk(member, chunk)

    def _apply_chunk(self, member: int, chunk: list[tuple[int, int, int, bytes | None]]) -> None:
        commands = [Command(index, term, data) for index, term, _, data in chunk if data is not None]
        operations = [operation for _, _, operation, data in chunk if data is not None]
        if commands:
            answers = list(self.machines[member].apply(commands))
            if len(answers) != len(commands):
                raise TypeError(f"apply answered {len(answers)} of {len(commands)} commands")
            for command, operation, answer in zip(commands, operations, answers, strict=True):
                self._note(member, command.index, operation, answer)
        if chunk:
            self.applied[member] = chunk[-1][0]

    def _note(self, member: int, index: int, operation: int, answer: bytes | None) -> None:
        if answer is not None and not isinstance(answer, bytes):
            raise TypeError(f"apply answered {answer!r}: an answer is bytes or None")
        first, other = self.answered.setdefault(operation, (answer, member))
        if first != answer:
            raise Broken(ANSWERS_DIFFER, member, index, f"{answer!r}; member {other} said {first!r}")
        self.answers.setdefault((member, operation), answer)
        self.places.setdefault(operation, index)

    def _compare(self, member: int, index: int) -> None:
        digest = self.digest(member)
        first, other = self.digests.setdefault(index, (digest, member))
        if first != digest:
            raise Broken(STATES_DIFFER, member, index, f"{digest.hex()[:32]}; member {other}: {first.hex()[:32]}")

    def _query(self, member: int, operation: int, number: int) -> None:
        machine: Any = self.machines[member]
        self.read[operation] = machine.query(self.request(number).data)
        self.places[operation] = self.applied[member]

    def _dump(self, member: int) -> bytes:
        machine: Any = self.machines[member]
        data = machine.snapshot()
        if not isinstance(data, bytes):
            raise TypeError(f"snapshot answered {type(data).__name__}, not bytes")
        # The index first: equal bytes may stand for the states of two indexes, and a member must know which it holds.
        framed = self.applied[member].to_bytes(8, "little") + data
        self.stored[hashlib.sha256(framed).digest()] = self.digest(member)
        return framed

    def _load(self, member: int, framed: bytes) -> None:
        machine: Any = self.workload.machine()
        machine.restore(framed[8:])
        self.machines[member] = machine
        self.applied[member] = int.from_bytes(framed[:8], "little")
        held = self.stored.get(hashlib.sha256(framed).digest())
        digest = self.digest(member)
        if held is not None and held != digest:
            raise Broken(
                RESTORED_DIFFERS, member, self.applied[member], f"{digest.hex()[:32]}; it was {held.hex()[:32]}"
            )

    # ---- at the end

    def judge(self, rows: Iterable[Sequence[Any]], at_ns: int) -> list[MachineViolation]:
        """What is wrong. A failure that is not the machine's is raised."""
        if isinstance(self.failure, Broken):
            found = self.failure
            return [MachineViolation(at_ns, found.what, found.member, found.index, found.detail)]
        if self.failure is not None:
            raise self.failure
        try:
            for member in sorted(self.machines):
                self._compare(member, self.applied[member])
        except Broken as found:
            return [MachineViolation(at_ns, found.what, found.member, found.index, found.detail)]
        if self.workload.model is None:
            return []
        stuck = explain_history(self.asked(rows), self.workload.model, self.workload.max_steps)
        if stuck is None:
            return []
        what = UNDECIDED if stuck.gave_up else UNEXPLAINED
        return [MachineViolation(at_ns, what, 0, 0, describe(stuck))]

    def asked(self, rows: Iterable[Sequence[Any]]) -> list[Asked]:
        """The history, as the checker of sequential models takes it."""
        found = []
        for operation, row in enumerate(rows, 1):
            client, op, _, number, _, _, call_ns, ret_ns, status, _, member = row
            if status == "fail":
                continue
            request = self.request(number)
            answer = None
            if status == "ok":
                answer = self.read[operation] if op == "get" else self.answers[member, operation]
            elif op == "get":
                continue
            found.append(
                Asked(
                    client=client,
                    data=request.data,
                    answer=answer,
                    call_ns=call_ns,
                    ret_ns=ret_ns if status == "ok" else None,
                    place=(self.places.get(operation, 1 << 62), op == "get"),
                )
            )
        return found


def describe(stuck: Stuck) -> str:
    """For people."""
    one = stuck.operation
    return (
        f"client {one.client} asked {one.data!r} and was told {one.answer!r}, where a single copy would have said "
        f"{stuck.expected!r}, after {stuck.explained} operations that can be explained"
    )
