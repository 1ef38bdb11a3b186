"""A simulated cluster of the real Raft core, with real clients, run from one seed and judged.

    report = Simulation(seed=7, profile=PROFILES["swarm"]).run(operations=20_000)
    assert report.ok, report.explain()

With a `workload` the members run the user's own state machine, not the built-in registers (`tenure.sim.machines`).

`run` plays the world in compiled code without the GIL, checks the invariants after every event, and has the history
judged by the checker of linearizability. One thread at a time may use a Simulation; any number may run side by side.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from tenure._proof.simulator import Simulator
from tenure.sim.history import Operation, OpName, StatusName, Value
from tenure.sim.machines import Bridge, MachineViolation
from tenure.sim.schedule import Call, Fate, Fault, Schedule

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tenure.sim.machines import Workload
    from tenure.sim.profile import Profile

__all__ = ["GUARDS", "InvariantViolation", "Simulation", "SimulationReport", "StaleHistory"]

# The guards that the proof build can switch off, and whose business each is.
GUARDS: dict[str, int] = {
    "H01": 1,
    "H02": 2,
    "H03": 3,
    "H04": 4,
    "H05": 5,
    "H06": 6,
    "H07": 7,
    "H08": 8,
    "H10": 10,
    "H11": 11,
    "H12": 12,
    "H13": 13,
    "H14": 14,
    "H15": 15,
    "H16": 16,
    "H17": 17,
    "H18": 18,
    "H19": 19,
    "H20": 20,
    "H22": 22,
    "H23": 23,
    "H26": 26,
    "H27": 27,
}

# Not a guard, but a host's bug to be found by the bound on liveness alone: to see that the bound is in force.
PLANTED: dict[str, int] = {"lost-wakeup": 40}
_SWITCHES = {**GUARDS, **PLANTED}

FOR_EVER_NS = 1 << 62

Row: TypeAlias = tuple[int, OpName, int, int, int | None, int | None, int, int, StatusName, str, int]


@dataclass(frozen=True)
class InvariantViolation:
    """Something that must never hold did, at a true instant."""

    at_ns: int
    event: int
    what: str
    member: int
    other: int
    a: int
    b: int

    def __str__(self) -> str:
        return f"{self.at_ns / 1e6:.3f} ms: {self.what} (member {self.member}, other {self.other}, {self.a}, {self.b})"


@dataclass(frozen=True)
class StaleHistory:
    """The clients saw what no single copy could have shown them."""

    key: int
    operation: Operation | None

    def __str__(self) -> str:
        return f"the history of key {self.key} is not linearizable; stuck at {self.operation}"


Finding: TypeAlias = InvariantViolation | StaleHistory | MachineViolation


def _operation(row: Row) -> Operation:
    client, op, key, value, expected, out, call_ns, ret_ns, status, _, _ = row
    answered = status == "ok"
    told: str | int | bool | None = None
    if answered and op == "get":
        told = None if out is None else str(out)
    elif answered and op == "cas":
        told = out == 1
    elif answered and op != "set":
        told = out
    asked: Value = None
    if op == "cas":
        asked = (None if expected is None else str(expected), str(value))
    elif op == "set":
        asked = str(value)
    elif op == "incr":
        asked = value
    return Operation(f"c{client}", op, f"k{key}", asked, told, call_ns, ret_ns if answered else None, status)


@dataclass(frozen=True)
class SimulationReport:
    """What a run found. `history` is made on demand, it may be long."""

    seed: int
    violations: tuple[Finding, ...]
    undecided_keys: tuple[int, ...]
    counters: dict[str, int]
    simulated_ns: int
    fingerprint: int
    trace: list[str]
    _world: Schedule = field(repr=False, compare=False)
    _simulator: Simulator = field(repr=False, compare=False)

    @property
    def ok(self) -> bool:
        """Nothing was found, and the checker came to an end on every key."""
        return not self.violations and not self.undecided_keys

    @property
    def history(self) -> list[Operation]:
        """The clients' operations up to now, as the checker and the JSON lines know them."""
        return [_operation(row) for row in self._simulator.history()]

    @property
    def schedule(self) -> Schedule:
        """What was decided up to now, to be played again; of a run with `record=True`, or of a replay."""
        faults, calls, fates = self._simulator.record()
        return dataclasses.replace(
            self._world,
            end_ns=self.simulated_ns,
            faults=tuple(map(Fault.of, faults)),
            calls=tuple(map(Call.of, calls)),
            fates=tuple(map(Fate.of, fates)),
        )

    def explain(self) -> str:
        """What was found, and the last events where the run was traced."""
        lines = [f"seed {self.seed}: {len(self.violations)} violations, undecided keys {list(self.undecided_keys)}"]
        return "\n".join([*lines, *map(str, self.violations), *self.trace[-200:]])


class Simulation:
    """One world. The same seed, profile and guards give the same run.

    `guards_off` names guards of the lease's contract to leave out ("H12"): only the proof build of the core can do
    that. `invariants=False` leaves the judgement to the clients' history alone; the run itself is the same, except that
    it does not end at the first violation of an invariant. `trace=True` keeps the last thousands of events, readable.
    """

    def __init__(
        self,
        seed: int,
        profile: Profile,
        guards_off: Iterable[str] = frozenset(),
        *,
        invariants: bool = True,
        trace: bool = False,
        record: bool = False,
        faults: Sequence[Fault] | None = None,
        workload: Workload | None = None,
    ) -> None:
        self._begin(
            Schedule(
                seed=seed,
                profile=profile if workload is None else workload.world(profile),
                guards_off=tuple(sorted(set(guards_off))),
                invariants=invariants,
                end_ns=0,
                workload=workload,
            ),
            trace,
            record,
            None if faults is None else [fault.compiled() for fault in faults],
            None,
        )

    @classmethod
    def replay(cls, schedule: Schedule, *, trace: bool = False, record: bool = False) -> Simulation:
        """A recorded run, or what is left of it; `run()` plays it to its end."""
        simulation = cls.__new__(cls)
        simulation._begin(schedule, trace, record, None, schedule.compiled())
        return simulation

    def _begin(
        self,
        world: Schedule,
        trace: bool,
        record: bool,
        script: list[dict[str, int]] | None,
        replay: tuple[list[dict[str, int]], list[dict[str, int]], list[dict[str, int]]] | None,
    ) -> None:
        unknown = set(world.guards_off) - set(_SWITCHES)
        if unknown:
            raise ValueError(f"no such guards: {', '.join(sorted(unknown))}")
        self.seed = world.seed
        self._world = world
        self._traced = trace
        self._is_replay = replay is not None
        bits = sum(1 << _SWITCHES[name] for name in world.guards_off)
        self._bridge = None if world.workload is None else Bridge(world.workload, world.seed)
        self._simulator = Simulator(
            world.seed,
            world.profile.compiled(),
            bits,
            world.invariants,
            trace,
            record,
            replay=replay,
            script=script,
            machines=self._bridge,
        )

    def run(self, *, operations: int | None = None, until_ns: int | None = None) -> SimulationReport:
        """Until so many client operations in all have ended, until an instant of true time, or to a violation."""
        if self._is_replay and operations is None and until_ns is None:
            until_ns = self._world.end_ns
        if operations is None and until_ns is None:
            raise ValueError("say how many operations, or until when")
        simulator = self._simulator
        simulator.run(FOR_EVER_NS if operations is None else operations, FOR_EVER_NS if until_ns is None else until_ns)
        violations: list[Finding] = [InvariantViolation(*found) for found in simulator.violations()]
        undecided = self._judge_history(violations) if self._bridge is None else self._judge_machines(violations)
        return SimulationReport(
            seed=self.seed,
            violations=tuple(violations),
            undecided_keys=tuple(undecided),
            counters=simulator.counters(),
            simulated_ns=simulator.now_ns,
            fingerprint=simulator.fingerprint(),
            trace=simulator.trace() if self._traced else [],
            _world=self._world,
            _simulator=simulator,
        )

    def _judge_history(self, violations: list[Finding]) -> list[int]:
        verdict, key, operation, _, undecided = self._simulator.check()
        if verdict == 1:
            violations.append(StaleHistory(key, _operation(self._simulator.history()[operation])))
        elif verdict < 0:
            raise RuntimeError(f"the checker refused the history: {verdict}, operation {operation}")
        return undecided

    def _judge_machines(self, violations: list[Finding]) -> list[int]:
        assert self._bridge is not None
        violations.extend(self._bridge.judge(self._simulator.history(), self._simulator.now_ns))
        return []
