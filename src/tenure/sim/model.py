"""The explicit-state model: leases, promises, releases, transfers, restarts, membership. `python -m tenure.sim.model`.

Every state of a small world is visited. With all guards on no invariant may fail in any of them; with one guard missing
the invariant that it is there for must fail, and a shortest way there is told. The rules are in
`tenure._proof.model_rules`; `docs/model.md` says how to read them, what they abstract from, and what was found.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tenure._proof.model_search import CHANGES, Search
from tenure._proof.model_search import INVARIANTS as _INVARIANTS
from tenure.sim.model_trace import Trace, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "GAPS",
    "INVARIANTS",
    "LONG_WORLDS",
    "NOT_EXPRESSED",
    "UNLIMITED",
    "WORLDS",
    "Gap",
    "Result",
    "World",
    "explore",
    "main",
]

INVARIANTS: tuple[str, ...] = _INVARIANTS[1:]

UNLIMITED = 15
"""A budget that is not spent, and so costs no states."""


@dataclass(frozen=True)
class World:
    """What there is, and how much of what may happen. A budget may be UNLIMITED."""

    idea: str
    members: int = 3
    voters: int = 3  # at the beginning, the first ones; the next `learners` learn, the others are outsiders
    learners: int = 0
    terms: int = 2
    log: int = 2  # entries a log may have beside the first one, which everybody has applied at the beginning
    steps: int = 1  # of true time that a lease lasts: 7 units of 8 on a slow clock; a promise is as many times 9
    writes: int = UNLIMITED
    restarts: int = 0
    transfers: int = 0
    changes: int = 0  # of membership; leaving a joint configuration is not counted
    change_kinds: tuple[str, ...] = ()
    step_downs: bool = False  # for any reason, with or without a release
    late: bool = False  # extensions of a lease that are computed now and made later
    reader: bool = False  # a call of the fence in its three steps
    bound_unsaved: bool = False  # at first no bound of promises is durable
    unread_clocks: bool = False  # a clock may be unreadable for a moment
    slow_apply: bool = False  # followers apply at any later time; without it, as soon as they know what is committed


@dataclass(frozen=True)
class Gap:
    """A guard that is missing, the world that shows it, and the invariant that fails there. None: nothing fails."""

    hazard: str
    world: str
    breaks: str | None


@dataclass(frozen=True)
class Result:
    """What a search found."""

    world: World
    gaps: tuple[str, ...]
    violation: str | None
    exhausted: bool
    states: int
    leased_states: int
    transitions: dict[str, int]
    depth: int
    cpu_seconds: float
    collision_probability: float
    trace: Trace

    def explain(self) -> str:
        """The way to the violation, step by step, with the members that each step changed."""
        return "\n".join(told(self.trace))


_CHANGE = World("two changes in a row", log=3, writes=0, changes=2, change_kinds=("remove",))

WORLDS: dict[str, World] = {
    "core": World("elections, transfers, restarts", transfers=UNLIMITED, restarts=UNLIMITED),
    "step-down": World(
        "leaders give up, with or without a release", transfers=UNLIMITED, step_downs=True, restarts=1, writes=0, log=1
    ),
    "terms": World("three leaderships", terms=3, log=3, writes=0, transfers=UNLIMITED),
    "clocks": World("leases of two steps: messages and readings one step old", steps=2),
    "bounds": World(
        "clocks that cannot be read, bounds not yet durable", restarts=1, unread_clocks=True, bound_unsaved=True
    ),
    "late": World("extensions made late", transfers=UNLIMITED, late=True),
    "reader": World("a call of the fence, step by step", reader=True),
    "pair": World(
        "one of two voters is removed", members=2, voters=2, log=3, writes=0, changes=1, change_kinds=("remove",)
    ),
    "removals": dataclasses.replace(_CHANGE, slow_apply=True),
    "removals-restart": dataclasses.replace(_CHANGE, restarts=1),
    "replace": World(
        "a member leaves and comes back", log=3, writes=0, changes=2, change_kinds=("remove", "add"), restarts=0
    ),
    "shrink": World("jointly from three voters to one", log=3, writes=0, changes=1, change_kinds=("joint-shrink",)),
    "grow": World(
        "from one voter to three, jointly or one by one",
        voters=1,
        log=3,
        writes=0,
        changes=2,
        change_kinds=("joint-grow", "add"),
        slow_apply=True,
    ),
    "learner": World(
        "a learner becomes a voter",
        voters=2,
        learners=1,
        writes=0,
        changes=1,
        change_kinds=("promote",),
        slow_apply=True,
    ),
}

LONG_WORLDS: dict[str, World] = {
    "core-long": World(
        "everything at once in two terms, and followers that apply late",
        transfers=UNLIMITED,
        restarts=UNLIMITED,
        step_downs=True,
        unread_clocks=True,
        slow_apply=True,
    ),
    "terms-long": World(
        "three leaderships with restarts and step-downs",
        terms=3,
        writes=0,
        transfers=UNLIMITED,
        restarts=UNLIMITED,
        step_downs=True,
    ),
    "terms-write-long": World(
        "three leaderships and a write in any of them", terms=3, log=3, transfers=UNLIMITED, step_downs=True
    ),
    "clocks-long": World(
        "leases of three steps, restarts and transfers", steps=3, transfers=UNLIMITED, restarts=1, writes=0, log=1
    ),
    "fourth-long": World(
        "a fourth member joins, with restarts and transfers",
        members=4,
        writes=0,
        changes=1,
        change_kinds=("add",),
        restarts=1,
        transfers=1,
    ),
    "swap-long": World(
        "jointly, a fourth member for one of three", members=4, log=3, writes=0, changes=1, change_kinds=("joint-swap",)
    ),
    "removals-long": dataclasses.replace(_CHANGE, restarts=2, slow_apply=True, change_kinds=("remove", "demote")),
}

GAPS: dict[str, Gap] = {
    "H01": Gap("a promise counts from the receipt of the reply", "core", "commit-under-lease"),
    "H02": Gap("no deadline is compared; leadership is taken for a lease", "core", "commit-under-lease"),
    "H03-word": Gap("TimeoutNow leaves while the word stands", "core", "commit-under-lease"),
    "H03-resume": Gap("after an aborted transfer the leader goes on in its term", "core", "commit-under-lease"),
    "H03-late": Gap("a release is worth any term, a late TimeoutNow is heeded", "terms", "commit-under-lease"),
    "H04-wait": Gap("a restarted member has forgotten its promise", "core", "commit-under-lease"),
    "H04-bound": Gap("a promise is made before its bound is durable", "bounds", "commit-under-lease"),
    "H04-wiped": Gap("an emptied directory counts as one that never joined", "core", "commit-under-lease"),
    "H05": Gap("a promise goes with the knowledge of a leader", "core", "commit-under-lease"),
    "H06": Gap("time is counted in ticks, and a tick can be missed", "core", "commit-under-lease"),
    "H07": Gap("a reply counts for what was asked, not for what was promised", "bounds", "commit-under-lease"),
    "H08": Gap("a promise runs from a clock reading older than the message", "clocks", "commit-under-lease"),
    "H10": Gap("a lease is as long as the promise: clock rates are not allowed for", "core", "commit-under-lease"),
    "H11": Gap("a check serves a call that began after it", "reader", "stale-read"),
    "H12": Gap("a message carries a commit index that its leader has not applied", "core", "holder-behind"),
    "H13": Gap("a leader has a lease before its own first entry is applied", "core", "holder-behind"),
    "H14": Gap("a sole voter's lease has no end, and outlives the growth to three", "grow", "commit-under-lease"),
    "H15": Gap("a removed leader keeps its office and counts its own acknowledgement", "pair", "commit-under-lease"),
    "H16-half": Gap("one half of a joint configuration is enough", "shrink", "commit-under-lease"),
    "H16-switch": Gap("a switch of configuration does not compute the lease anew", "grow", "commit-under-lease"),
    "H17-applied": Gap("a change is proposed before the former is applied", "removals", "commit-under-lease"),
    "H17-carried": Gap("a change's append does not carry the former's commit", "removals", "commit-under-lease"),
    "H17-campaign": Gap("a member with a committed, unapplied change campaigns", "removals", "commit-under-lease"),
    "H17-durable": Gap(
        "the commit index that came with a change is lost by a restart", "removals-restart", "commit-under-lease"
    ),
    "H18-learner": Gap("a learner does not keep what it promised", "learner", "commit-under-lease"),
    "H18-forget": Gap("replies of a member that has left are remembered", "replace", None),
    "H19": Gap("the role changes before the word is cleared", "core", "commit-under-lease"),
    "H20": Gap("a late extension does not compare the word's generation", "late", "commit-under-lease"),
    "H21": Gap("the applied index is loaded before the word", "reader", "stale-read"),
}

NOT_EXPRESSED: dict[str, str] = {
    "H09": "no rule can help: the clock of H06 that misses a step is what it looks like",
    "H10 by measurement": "the comparison of rates takes 5 s, many leases; the model has the factor (1-r)/(1+r) alone",
    "H22, H23": "rounds of ReadIndex hold no lease",
    "H24": "as far as leases go; what a stored commit index must be good for is H17-durable",
    "H25": "one group",
    "H26, H29": "bounds on liveness; their withdrawal is the step-down with a release",
    "H27": "there is no pre-vote, and every reply of the model is one to a stamped message of its term",
    "H28": "two processes with one identity; an emptied directory is H04-wiped",
    "H30": "a cached check is H11",
    "H31": "a second copy of the word that no withdrawal reaches is H03-word",
}


def explore(
    world: World,
    gaps: Iterable[str] = (),
    *,
    judged: Iterable[str] | None = None,
    symmetry: bool = True,
    most_states: int | None = None,
    progress: Callable[[Search], None] | None = None,
) -> Result:
    """Visit every state of `world` without the guards `gaps`, or all up to the nearest violation.

    `judged` limits the invariants (all of INVARIANTS); without `symmetry` members are told apart by name.
    With `most_states` the search may end before that: then `exhausted` is false and nothing was shown.
    """
    gaps = tuple(gaps)
    bounds: dict[str, object] = dataclasses.asdict(world)
    del bounds["idea"]
    search = Search(bounds, gaps, judged, symmetry)
    begun = time.process_time()
    more = True
    while more and (most_states is None or search.states < most_states):
        more = search.advance(20_000)
        if progress is not None:
            progress(search)
    return Result(
        world=world,
        gaps=gaps,
        violation=search.violation,
        exhausted=not more and search.violation is None,
        states=search.states,
        leased_states=search.leased_states,
        transitions=search.transitions,
        depth=search.depth,
        cpu_seconds=time.process_time() - begun,
        collision_probability=search.collision_probability,
        trace=search.trace(),
    )


# ---------------------------------------------------------------------------------------------------------- the command


class _Progress:
    """A line that says how far a search is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.live = sys.stderr.isatty()
        self.begun = time.perf_counter()
        self.next_line = 0.2 if self.live else 10.0

    def __call__(self, search: Search) -> None:
        seconds = time.perf_counter() - self.begun
        if seconds >= self.next_line:
            self.next_line = seconds + (0.2 if self.live else 10.0)
            line = f"{self.name}: depth {search.depth}, {search.states} states, {search.states / seconds:.0f}/s"
            print(line, end="\r" if self.live else "\n", file=sys.stderr, flush=True)


def _changed(world: World, changes: list[str]) -> World:
    """`--set restarts=2`: a variant of a world."""
    kinds = {field.name: field.type for field in dataclasses.fields(World) if field.name != "idea"}
    wanted: dict[str, object] = {}
    for change in changes:
        name, _, value = change.partition("=")
        if name not in kinds:
            raise SystemExit(f"no such field of a world: {name}")
        if name == "change_kinds":
            wanted[name] = tuple(filter(None, value.split(",")))
            if unknown := set(filter(None, value.split(","))) - set(CHANGES):
                raise SystemExit(f"no such change: {', '.join(sorted(unknown))}; there are {', '.join(CHANGES)}")
        elif not value.isdecimal():
            raise SystemExit(f"{name} is a number")
        else:
            wanted[name] = bool(int(value)) if kinds[name] == "bool" else int(value)
    return dataclasses.replace(world, **wanted)  # type: ignore[arg-type]


def _row(name: str, result: Result, outcome: str) -> str:
    return (
        f"{name:20} {outcome:18} {result.states:>10} states {sum(result.transitions.values()):>11} transitions "
        f"depth {result.depth:>2} {result.cpu_seconds:>7.1f} s CPU"
    )


def _with_guards(name: str, world: World, most_states: int | None, trace: bool) -> bool:
    """Whether every state of the world was visited and none breaks an invariant."""
    result = explore(world, most_states=most_states, progress=_Progress(name))
    outcome = "all states hold" if result.exhausted else result.violation or "NOT EXHAUSTED"
    print(_row(name, result, outcome), flush=True)
    if result.violation is not None:
        print(result.explain())
    elif trace:
        for kind, fired in result.transitions.items():
            if fired:
                print(f"    {kind:12} {fired}")
        print(f"    with a valid lease: {result.leased_states} states")
        print(f"    probability that two states were taken for one: below {result.collision_probability:.1e}")
    return result.exhausted


def _without(name: str, world: World, most_states: int | None, trace: bool) -> bool:
    """Whether the gap breaks the invariant that it names, or nothing where it names none."""
    gap = GAPS[name]
    result = explore(world, [name], most_states=most_states, progress=_Progress(name))
    outcome = result.violation or ("nothing breaks" if result.exhausted else "NOT EXHAUSTED")
    print(_row(f"without {name}", result, outcome), flush=True)
    if trace and result.violation is not None:
        print(f"    {gap.hazard}")
        print(result.explain())
    return result.violation == gap.breaks and (result.exhausted or result.violation is not None)


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 when a result is not the expected one."""
    worlds = WORLDS | LONG_WORLDS
    parser = argparse.ArgumentParser(prog="python -m tenure.sim.model", description=__doc__)
    parser.add_argument("--world", action="append", choices=worlds, help="these alone, with every guard")
    parser.add_argument(
        "--gap", action="append", choices=GAPS, help="these alone, in their worlds or the one of --world"
    )
    parser.add_argument("--long", action="store_true", help="the larger worlds instead: minutes, and some gigabytes")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=NUMBER", help="change the worlds' bounds")
    parser.add_argument("--most-states", type=int, metavar="N", help="give a search up when it has found so many")
    parser.add_argument(
        "--trace", action="store_true", help="print ways to violations, and what a whole search covered"
    )
    chosen = parser.parse_args(arguments)
    good = True
    begun = time.process_time()
    if chosen.gap is None:
        for name in chosen.world or (LONG_WORLDS if chosen.long else WORLDS):
            good &= _with_guards(name, _changed(worlds[name], chosen.set), chosen.most_states, chosen.trace)
    if chosen.gap is not None or (chosen.world is None and not chosen.long):
        for name in chosen.gap or GAPS:
            for place in chosen.world or [GAPS[name].world]:
                good &= _without(name, _changed(worlds[place], chosen.set), chosen.most_states, chosen.trace)
    print(f"{'as expected' if good else 'NOT AS EXPECTED'}, {time.process_time() - begun:.1f} s CPU in all")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
