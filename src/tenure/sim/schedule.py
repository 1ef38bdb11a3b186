"""What was decided in a run, as data: the faults, what the clients asked, and what befell messages.

A `Schedule` is a run that can be played again, whole or in part: `Simulation(..., record=True).run(...).schedule`, then
`Simulation.replay`. What is not in it (how long a sync or a message takes) follows from the seed, decision by decision,
so that leaving one thing out does not change the others. Faults can also be written by hand: `Simulation(...,
faults=[...])` plays exactly those while the clients are drawn as ever.

Members count from 1, times are true time in nanoseconds from the beginning of the world, at `START_NS`.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from tenure._proof.simulator import MESSAGES, OPERATIONS, VIAS
from tenure.sim.profile import FAULTS, MS, Profile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tenure.sim.machines import Workload

__all__ = ["ABSENT", "START_NS", "Call", "Fate", "Fault", "Schedule"]

START_NS = 1_000_000_000
ABSENT = -(1 << 63)
EVERYBODY = 0
DIRECTIONS = ("both", "out", "in")
DROPPED, DUPLICATED, HELD = 1, 2, 4
CHANGES = ("add", "remove", "update", "add-learner")  # in the order of the core's ChangeKind
TRANSITIONS = ("auto", "implicit", "explicit")
KINDS: dict[str, int] = {name: number for number, name in OPERATIONS.items()}

Record: TypeAlias = dict[str, int]


def milliseconds(ns: int) -> str:
    """For people."""
    return f"{ns / MS:.3f} ms"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that goes wrong, or an operator's order, with nothing left to chance. `kind` is one of `FAULTS`.

    What the fields mean depends on the kind: `other` is the other end of a cut link (0 = everybody) or the target of a
    transfer; `value` the length of a pause, the distance of a clock's jump, a coordinator's sleep, or what of a crashed
    member's unsynced writes survives; `rate_ppm` and `reading_ns` describe the clock from now on, or after a reboot
    (`reading_ns` 0: the machine stays up). A change of the membership is made by `Fault.membership`.
    """

    kind: str
    at_ns: int
    member: int
    other: int = EVERYBODY
    direction: str = "both"
    from_ns: int = 0
    until_ns: int = 0
    value: int = 0
    rate_ppm: int = 0
    reading_ns: int = 0

    @classmethod
    def membership(cls, at_ns: int, member: int, *changes: str, transition: str = "auto") -> Fault:
        """An order to the leader: `"add 4"`, `"add-learner 4"`, `"remove 2"`; none leaves a joint configuration."""
        value = 0
        for number, change in enumerate(changes):
            kind, _, id_ = change.partition(" ")
            value |= ((CHANGES.index(kind) + 1) << 4 | int(id_)) << (8 * number)
        direction = DIRECTIONS[TRANSITIONS.index(transition)]
        return cls(kind="change", at_ns=at_ns, member=member, value=value, direction=direction)

    @property
    def changes(self) -> tuple[str, ...]:
        """What a change of the membership says."""
        found, left = [], self.value
        while left:
            found.append(f"{CHANGES[(left >> 4 & 15) - 1]} {left & 15}")
            left >>= 8
        return tuple(found)

    @property
    def transition(self) -> str:
        """And how it gets there."""
        return TRANSITIONS[DIRECTIONS.index(self.direction)]

    def compiled(self) -> Record:
        """As the compiled simulator takes it."""
        return {
            **self.__dict__,
            "kind": FAULTS.index(self.kind),
            "member": self.member - 1,
            "other": self.other - 1,
            "direction": DIRECTIONS.index(self.direction),
            "from_ns": self.from_ns or self.at_ns,
        }

    @classmethod
    def of(cls, record: Record) -> Fault:
        """From what the compiled simulator recorded."""
        fields: dict[str, Any] = dict(record)
        fields["kind"] = FAULTS[record["kind"]]
        fields["member"] += 1
        fields["other"] += 1
        fields["direction"] = DIRECTIONS[record["direction"]]
        return cls(**fields)

    def __str__(self) -> str:
        text = f"{milliseconds(self.at_ns - START_NS)}: {self.kind} of member {self.member}"
        if self.kind in ("partition", "transfer"):
            text += f", other {self.other or 'everybody'}, {self.direction}"
        if self.kind == "change":
            text += f": {', '.join(self.changes) or 'leave the joint configuration'} ({self.transition})"
        if self.until_ns:
            text += f", for {milliseconds(self.until_ns - self.at_ns)}"
        if self.kind in ("pause", "clock_jump", "late_extension"):
            text += f", {milliseconds(self.value)}"
        if self.rate_ppm:
            text += f", rate {self.rate_ppm:+d} ppm"
        return text


@dataclass(frozen=True, kw_only=True)
class Call:
    """What a client asked, whom and when. `id` names the operation and its luck; a value that is absent is `ABSENT`."""

    id: int
    client: int
    at_ns: int
    deadline_ns: int
    kind: str
    key: int
    value: int
    expected: int
    via: str
    target: int

    def compiled(self) -> Record:
        """As the compiled simulator takes it."""
        return {**self.__dict__, "kind": KINDS[self.kind], "via": VIAS.index(self.via), "target": self.target - 1}

    @classmethod
    def of(cls, record: Record) -> Call:
        """From what the compiled simulator recorded."""
        fields: dict[str, Any] = dict(record)
        fields["kind"] = OPERATIONS[record["kind"]]
        fields["via"] = VIAS[record["via"]]
        fields["target"] += 1
        return cls(**fields)

    def __str__(self) -> str:
        asked = "" if self.kind in ("get", "del") else f" {self.value}"
        text = (
            f"{milliseconds(self.at_ns - START_NS)}: client {self.client} asks member {self.target}: {self.kind}{asked}"
        )
        return f"{text} of key {self.key}" + (f" by {self.via}" if self.kind == "get" else "")


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What befell the first message of a type that left on a link at this time or later.

    `what` adds up what did: `DROPPED`, `DUPLICATED`, `HELD` (back, for `held_ns` more than the usual delay). Of several
    that leave at that very instant it is number `nth`, from 0.
    """

    at_ns: int
    from_: int
    to: int
    type: str
    what: int
    held_ns: int = 0
    nth: int = 0

    def compiled(self) -> Record:
        """As the compiled simulator takes it."""
        return {
            **self.__dict__,
            "from_": self.from_ - 1,
            "to": self.to - 1,
            "type": MESSAGES.index(self.type),
        }

    @classmethod
    def of(cls, record: Record) -> Fate:
        """From what the compiled simulator recorded."""
        fields: dict[str, Any] = dict(record)
        fields["from_"] += 1
        fields["to"] += 1
        fields["type"] = MESSAGES[record["type"]]
        return cls(**fields)

    def __str__(self) -> str:
        names = {DROPPED: "dropped", DUPLICATED: "duplicated", HELD: f"held back for {milliseconds(self.held_ns)}"}
        what = " and ".join(name for bit, name in names.items() if self.what & bit)
        return f"{milliseconds(self.at_ns - START_NS)}: the next {self.type} from {self.from_} to {self.to} is {what}"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A run that can be played again."""

    seed: int
    profile: Profile
    guards_off: tuple[str, ...] = ()
    invariants: bool = True
    end_ns: int
    faults: tuple[Fault, ...] = ()
    calls: tuple[Call, ...] = ()
    fates: tuple[Fate, ...] = ()
    workload: Workload | None = None  # not part of what is dumped

    def compiled(self) -> tuple[list[Record], list[Record], list[Record]]:
        """As the compiled simulator takes it."""
        return _all(self.faults), _all(self.calls), _all(self.fates)

    @property
    def size(self) -> int:
        """How many decisions it holds."""
        return len(self.faults) + len(self.calls) + len(self.fates)

    def dump(self) -> str:
        """JSON, for `load`."""
        fields = dataclasses.asdict(dataclasses.replace(self, workload=None))
        del fields["workload"]
        return json.dumps(fields, indent=1)

    @classmethod
    def load(cls, text: str) -> Schedule:
        """What `dump` wrote."""
        fields: dict[str, Any] = json.loads(text)
        return cls(
            seed=fields["seed"],
            profile=Profile(**fields["profile"]),
            guards_off=tuple(fields["guards_off"]),
            invariants=fields["invariants"],
            end_ns=fields["end_ns"],
            faults=tuple(Fault(**one) for one in fields["faults"]),
            calls=tuple(Call(**one) for one in fields["calls"]),
            fates=tuple(Fate(**one) for one in fields["fates"]),
        )

    def describe(self) -> str:
        """The decisions in the order of their times."""
        timed: list[Fault | Call | Fate] = [*self.faults, *self.calls, *self.fates]
        timed.sort(key=lambda one: one.at_ns)
        head = f"{self.profile.members} members, {milliseconds(self.end_ns - START_NS)}, seed {self.seed}"
        off = f", without {', '.join(self.guards_off)}" if self.guards_off else ""
        return "\n".join([head + off, *map(self._line, timed)])

    def _line(self, one: Fault | Call | Fate) -> str:
        if self.workload is None or not isinstance(one, Call):
            return str(one)
        asked = self.workload.request(self.seed, one.id)
        who = f"{milliseconds(one.at_ns - START_NS)}: client {one.client} asks member {one.target}"
        return f"{who}: {asked}" + (f" by {one.via}" if one.kind == "get" else "")


def _all(decisions: Iterable[Fault | Call | Fate]) -> list[Record]:
    return [decision.compiled() for decision in decisions]
