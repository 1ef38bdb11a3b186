"""Making a failing run small: fewer faults, calls, strange fates of messages, members, less chance and less time.

    report = Simulation(7, profile, {"H12"}, record=True).run(operations=30_000)
    small = shrink(report.schedule)
    print(small.describe())

Delta debugging (Zeller and Hildebrandt, 2002) over the recorded schedule: leave parts of it out, play the rest, keep
what still fails. A smaller schedule counts only if it fails in the same way: the same invariant, or another one that
says that a lease was unsafe; a history that cannot be explained; a bound on liveness. Where guards are off, nothing may
be found with them. Without that other side a bound on liveness keeps all calls: where nobody calls, nobody is kept
waiting. Every step is a replay, so the result is a run that fails.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from tenure.sim.machines import UNDECIDED, UNEXPLAINED
from tenure.sim.profile import MS, US, Profile
from tenure.sim.schedule import START_NS, Call, Fate, Fault, Schedule
from tenure.sim.simulation import Simulation, SimulationReport, StaleHistory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Shrinking", "minimize", "shrink", "signature"]

T = TypeVar("T")

LEASE_SAFETY = "a lease was unsafe"
_UNSAFE = (
    "two members hold a valid lease",
    "an entry of a higher term is committed under a valid lease",
    "the lease holder has not applied what was applied elsewhere",
    "a message carries a commit index above its sender's applied index",
)
_LIVENESS = ("no operation ended well for too long", "no write ended well for too long")

# What can be taken from chance, dearest first: each is tried on top of those that could go.
_PLAIN: tuple[dict[str, int], ...] = (
    {"pass_max_ns": 0},
    {"apply_max_ns": 0, "apply_min_ns": 0},
    {"snapshot_every": 0},
    {"retry_percent": 0},
    {"reply_drop_ppm": 0},
    {"read_stall_ppm": 0},
    {"clock_rate_max_ppm": 0},
    {"client_delay_max_ns": 0},
    {"delay_min_ns": 1 * MS, "delay_max_ns": 1 * MS},
    {"sync_min_ns": 100 * US, "sync_max_ns": 100 * US},
)


def signature(report: SimulationReport) -> str:
    """How a run failed, as far as a smaller one has to fail alike; empty when it did not."""
    for found in report.violations:
        if isinstance(found, StaleHistory):
            return UNEXPLAINED
        return LEASE_SAFETY if found.what in _UNSAFE else found.what
    return ""


def minimize(parts: Sequence[T], fails: Callable[[list[T]], bool]) -> list[T]:
    """The classic: a sublist that still fails, of which no single part can be left out. `parts` itself must fail."""
    kept = list(parts)
    if kept and fails([]):
        return []
    size = len(kept) // 2
    while size >= 1:
        at = 0
        while at < len(kept):
            rest = kept[:at] + kept[at + size :]
            if len(rest) < len(kept) and rest and fails(rest):
                kept = rest
            else:
                at += size
        size //= 2
    return kept


class Exhausted(Exception):
    """Out of runs or out of time: what was found so far is the result."""


@dataclass
class Shrinking:
    """A search under way: `smallest` fails as `wanted` says. `runs` counts replays."""

    smallest: Schedule
    wanted: str
    max_runs: int
    deadline: float
    runs: int = 0
    guarded: bool = False  # with its guards nothing is found, which must remain so
    on_progress: Callable[[Shrinking], None] | None = field(default=None, repr=False)

    @property
    def exhausted(self) -> bool:
        """Out of runs or out of time."""
        return self.runs >= self.max_runs or time.monotonic() > self.deadline

    def attempt(self, schedule: Schedule) -> bool:
        """Play it; remember it, cut to its end, if it fails in the wanted way."""
        if self.exhausted:
            raise Exhausted
        self.runs += 1
        if beyond(schedule):
            return False
        report = Simulation.replay(schedule).run()
        found = signature(report)
        if found != self.wanted:
            if self.wanted != UNDECIDED or found != UNEXPLAINED:
                return False
            self.wanted = found  # smaller, so that the checker came to an end
        if self.guarded and signature(Simulation.replay(dataclasses.replace(schedule, guards_off=())).run()):
            return False
        self.smallest = cut(schedule, report)
        if self.on_progress is not None:
            self.on_progress(self)
        return True

    def leave_out(self) -> None:
        """Fewer faults, fates and calls."""
        for name in ("calls", "faults", "fates"):
            if name == "calls" and self.wanted in _LIVENESS and not self.guarded:
                continue

            def fails(parts: list[Fault | Call | Fate], name: str = name) -> bool:
                return self.attempt(dataclasses.replace(self.smallest, **{name: tuple(parts)}))  # type: ignore[arg-type]

            # An attempt that fails may end earlier, so that what is left is judged anew each time.
            minimize(getattr(self.smallest, name), fails)

    def ordinary(self) -> None:
        """A world as others are, but for what matters: first without all that a replay does not ask for."""
        usual = Profile()
        differ = [
            field.name
            for field in dataclasses.fields(Profile)
            if field.name != "members" and getattr(self.smallest.profile, field.name) != getattr(usual, field.name)
        ]
        drawn = [
            name for name in differ if name.endswith(("_every_ns", "_percent", "_ppm")) and name != "clock_rate_max_ppm"
        ]
        for names in ([drawn] if drawn else []) + [[name] for name in differ]:
            profile = dataclasses.replace(self.smallest.profile, **{name: getattr(usual, name) for name in names})
            if profile != self.smallest.profile:
                self.attempt(dataclasses.replace(self.smallest, profile=profile))

    def simplify(self) -> None:
        """Less left to chance."""
        for changes in _PLAIN:
            if any(getattr(self.smallest.profile, name) != value for name, value in changes.items()):
                profile = dataclasses.replace(self.smallest.profile, **changes)  # type: ignore[arg-type]
                self.attempt(dataclasses.replace(self.smallest, profile=profile))

    def fewer_members(self) -> None:
        """Leave out one member after the other."""
        member = self.smallest.profile.members
        while member >= 1 and self.smallest.profile.members > 1:
            self.attempt(without_member(self.smallest, member))
            member -= 1

    def plain_faults(self) -> None:
        """Nothing survives a crash, and the machine is not booted anew."""
        for number in range(len(self.smallest.faults)):
            for changes in ({"value": 0}, {"reading_ns": 0, "rate_ppm": 0}):
                faults = self.smallest.faults
                if number >= len(faults) or faults[number].kind != "crash":
                    break
                plain = dataclasses.replace(faults[number], **changes)  # type: ignore[arg-type]
                if plain != faults[number]:
                    changed = (*faults[:number], plain, *faults[number + 1 :])
                    self.attempt(dataclasses.replace(self.smallest, faults=changed))

    def shorten(self) -> None:
        """Less time between decisions, and shorter faults."""
        for at, after in gaps(self.smallest):
            for share in (1, 2):
                spared = (after - at) // share
                if spared >= 1 * MS and self.attempt(earlier(self.smallest, at, spared)):
                    break
        for number, fault in enumerate(self.smallest.faults):
            lasts = fault.until_ns - fault.at_ns
            while fault.until_ns and lasts > 2 * MS:
                lasts //= 2
                shorter = dataclasses.replace(fault, until_ns=fault.at_ns + lasts)
                faults = self.smallest.faults
                if number >= len(faults) or not self.attempt(
                    dataclasses.replace(self.smallest, faults=(*faults[:number], shorter, *faults[number + 1 :]))
                ):
                    break
                fault = shorter


def beyond(schedule: Schedule) -> bool:
    """Somebody is spoken of who is not in this world any more."""
    count = schedule.profile.members + schedule.profile.spares
    named = [max(fault.member, fault.other) for fault in schedule.faults]
    named += [call.target for call in schedule.calls]
    named += [max(fate.from_, fate.to) for fate in schedule.fates]
    return max(named, default=0) > count


def cut(schedule: Schedule, report: SimulationReport) -> Schedule:
    """Without what comes after the failure."""
    end_ns = report.simulated_ns
    if signature(report) in (UNDECIDED, UNEXPLAINED):
        return dataclasses.replace(schedule, end_ns=max(schedule.end_ns, end_ns))
    return dataclasses.replace(
        schedule,
        end_ns=end_ns,
        faults=tuple(fault for fault in schedule.faults if fault.at_ns <= end_ns),
        calls=tuple(call for call in schedule.calls if call.at_ns <= end_ns),
        fates=tuple(fate for fate in schedule.fates if fate.at_ns <= end_ns),
    )


def without_member(schedule: Schedule, gone: int) -> Schedule:
    """Those with higher numbers move up."""

    def number(member: int) -> int:
        return member - (member > gone)

    return dataclasses.replace(
        schedule,
        profile=dataclasses.replace(schedule.profile, members=schedule.profile.members - 1),
        faults=tuple(
            dataclasses.replace(fault, member=number(fault.member), other=number(fault.other))
            for fault in schedule.faults
            if gone not in (fault.member, fault.other)
        ),
        calls=tuple(
            dataclasses.replace(call, target=number(call.target)) for call in schedule.calls if call.target != gone
        ),
        fates=tuple(
            dataclasses.replace(fate, from_=number(fate.from_), to=number(fate.to))
            for fate in schedule.fates
            if gone not in (fate.from_, fate.to)
        ),
    )


def gaps(schedule: Schedule) -> Iterator[tuple[int, int]]:
    """Stretches of time without a decision, the longest first."""
    decided = {fault.at_ns for fault in schedule.faults} | {call.at_ns for call in schedule.calls}
    times = sorted(decided | {fate.at_ns for fate in schedule.fates} | {START_NS, schedule.end_ns})
    found = [(before, after) for before, after in itertools.pairwise(times) if after - before >= 1 * MS]
    found.sort(key=lambda gap: gap[0] - gap[1])
    yield from found[:40]


def earlier(schedule: Schedule, after_ns: int, by_ns: int) -> Schedule:
    """Whatever is decided after that instant happens so much earlier."""

    def moved(instant: int) -> int:
        return max(after_ns, instant - by_ns) if instant > after_ns else instant

    return dataclasses.replace(
        schedule,
        faults=tuple(
            dataclasses.replace(
                fault, at_ns=moved(fault.at_ns), from_ns=moved(fault.from_ns), until_ns=moved(fault.until_ns)
            )
            for fault in schedule.faults
        ),
        calls=tuple(
            dataclasses.replace(call, at_ns=moved(call.at_ns), deadline_ns=moved(call.deadline_ns))
            for call in schedule.calls
        ),
        fates=tuple(dataclasses.replace(fate, at_ns=moved(fate.at_ns)) for fate in schedule.fates),
    )


def shrink(
    schedule: Schedule,
    *,
    max_runs: int = 3_000,
    max_seconds: float = 60.0,
    on_progress: Callable[[Shrinking], None] | None = None,
) -> Schedule:
    """A smaller schedule that fails in the same way; ValueError when the given one does not fail at all."""
    report = Simulation.replay(schedule).run()
    wanted = signature(report)
    if not wanted:
        raise ValueError("a schedule that does not fail cannot be shrunk")
    search = Shrinking(cut(schedule, report), wanted, max_runs, time.monotonic() + max_seconds, on_progress=on_progress)
    if schedule.guards_off:
        search.guarded = not signature(Simulation.replay(dataclasses.replace(schedule, guards_off=())).run())
    before = None
    with contextlib.suppress(Exhausted):
        while measure(search.smallest) != before:
            before = measure(search.smallest)
            search.simplify()
            search.leave_out()
            search.fewer_members()
            search.shorten()
        search.plain_faults()
        search.ordinary()
    return search.smallest


def measure(schedule: Schedule) -> tuple[int, int, int, Profile]:
    """What a round of shrinking tries to make less of."""
    return schedule.size, schedule.profile.members, schedule.end_ns // MS, schedule.profile
