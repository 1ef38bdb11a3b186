"""A schedule as text that a person can read, edit and keep: a scenario of the data-driven runner.

    # what it is about
    world seed=1 members=3 keys=1 until=228.784000
    1.000000 partition 1 until=500.000000
    2.500000 client 0 set 7 key 0 at 2 until=300.000000 #12
    3.000000 drop 1->2 App
    ----
    3 decisions

    run
    ----
    nothing found

    run without=(H11)
    ----
    found: a lease read is served where not everything applied elsewhere is applied

Times are milliseconds of true time since the beginning. `world` says what differs from `tenure.sim.Profile()`; its
lines are the decisions, in any order. A line of a fault is its kind, its member, and `other=`, `to=` (of a transfer),
`direction=out|in`, `from=`, `until=`, `lasts=` (pause, sleep of a late extension), `by=` (jump), `rate=` in ppm,
`reading=` (reboot). A crash loses what no sync covered, unless `luck=` says what part of it survives. A change is
`change 1 (add 4, remove 2) transition=explicit`. A call may end with its number in the run that it comes from, which
names its luck. `drop`, `duplicate` and `hold ... lasts=` befall the next message of that type on that link.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
from typing import TYPE_CHECKING, Any

from tenure.sim.machines import UNDECIDED, UNEXPLAINED
from tenure.sim.profile import FAULTS, Profile
from tenure.sim.schedule import (
    ABSENT,
    DIRECTIONS,
    DROPPED,
    DUPLICATED,
    EVERYBODY,
    HELD,
    START_NS,
    TRANSITIONS,
    Call,
    Fate,
    Fault,
    Schedule,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tenure.sim.simulation import SimulationReport

__all__ = ["BadScenario", "outcome", "read_world", "render"]

NOTHING = "nothing found"
LASTING = {"pause": "lasts", "late_extension": "lasts", "clock_jump": "by"}
FATES = {"drop": DROPPED, "duplicate": DUPLICATED, "hold": HELD}
FIRST_OWN_NUMBER = 1 << 40  # of calls that come from no run

FAULT = re.compile(r"(?P<kind>[a-z-]+) (?P<member>\d+)(?: \((?P<changes>[^)]*)\))?(?P<rest>.*)")
CALL = re.compile(
    r"client (?P<client>\d+) (?:(?P<kind>set|incr) (?P<value>-?\d+)|cas (?P<expected>-?\d+|absent)->(?P<new>-?\d+)"
    r"|(?P<bare>get|del)) key (?P<key>\d+)(?: by (?P<via>\w+))? at (?P<target>\d+)"
    r" until=(?P<until>[\d.]+)(?: #(?P<id>\d+))?"
)
FATE = re.compile(r"(?P<what>[a-z+]+) (?P<from>\d+)->(?P<to>\d+) (?P<type>\w+)(?P<rest>.*)")


class BadScenario(ValueError):
    """A line that says nothing."""


# ---- writing


def clock(at_ns: int) -> str:
    """An instant, in milliseconds from the beginning."""
    return span(at_ns - START_NS)


def span(ns: int) -> str:
    """A length of time in milliseconds, to the nanosecond."""
    sign = "-" if ns < 0 else ""
    whole, part = divmod(abs(ns), 1_000_000)
    return f"{sign}{whole}.{part:06d}"


def fault_line(fault: Fault) -> str:
    """Everything that is not as usual."""
    words = [clock(fault.at_ns), fault.kind.replace("_", "-"), str(fault.member)]
    if fault.kind == "change":
        words.append(f"({', '.join(fault.changes)})")
        if fault.transition != "auto":
            words.append(f"transition={fault.transition}")
        return " ".join(words)
    if fault.other != EVERYBODY:
        words.append(f"{'to' if fault.kind == 'transfer' else 'other'}={fault.other}")
    if fault.direction != "both":
        words.append(f"direction={fault.direction}")
    if fault.from_ns not in (0, fault.at_ns):
        words.append(f"from={clock(fault.from_ns)}")
    if fault.until_ns:
        words.append(f"until={clock(fault.until_ns)}")
    if fault.kind in LASTING:
        words.append(f"{LASTING[fault.kind]}={span(fault.value)}")
    elif fault.kind == "crash" and fault.value & 1:
        words.append(f"luck={fault.value}")
    if fault.rate_ppm:
        words.append(f"rate={fault.rate_ppm}")
    if fault.reading_ns:
        words.append(f"reading={span(fault.reading_ns)}")
    return " ".join(words)


def call_line(call: Call) -> str:
    """What a client asks."""
    asked = call.kind
    if call.kind in ("set", "incr"):
        asked += f" {call.value}"
    elif call.kind == "cas":
        asked += f" {'absent' if call.expected == ABSENT else call.expected}->{call.value}"
    via = f" by {call.via}" if call.kind == "get" else ""
    return (
        f"{clock(call.at_ns)} client {call.client} {asked} key {call.key}{via} at {call.target}"
        f" until={clock(call.deadline_ns)} #{call.id}"
    )


def fate_line(fate: Fate) -> str:
    """What befalls a message."""
    what = "drop" if fate.what & DROPPED else "+".join(name for name, bit in FATES.items() if fate.what & bit)
    lasts = f" lasts={span(fate.held_ns)}" if fate.what & HELD and not fate.what & DROPPED else ""
    nth = f" nth={fate.nth}" if fate.nth else ""
    return f"{clock(fate.at_ns)} {what} {fate.from_}->{fate.to} {fate.type}{lasts}{nth}"


def line(one: Fault | Call | Fate) -> str:
    """A decision."""
    if isinstance(one, Fault):
        return fault_line(one)
    return call_line(one) if isinstance(one, Call) else fate_line(one)


def outcome(report: SimulationReport) -> str:
    """What a `run` prints, of what was found first and without times and numbers, so that it can be kept."""
    if report.ok:
        return NOTHING
    if not report.violations:
        return f"found: {UNDECIDED}"
    return f"found: {getattr(report.violations[0], 'what', UNEXPLAINED)}"


def render(schedule: Schedule, *, about: Iterable[str] = (), expected: str = "", workload: str = "") -> str:
    """The scenario. `expected` is what a run without its guards finds, `workload` ("module:name") what it plays."""
    usual, profile = Profile(), schedule.profile
    options = [f"seed={schedule.seed}"]
    options += [
        f"{field.name}={getattr(profile, field.name)}"
        for field in dataclasses.fields(Profile)
        if getattr(profile, field.name) != getattr(usual, field.name) or field.name == "members"
    ]
    if not schedule.invariants:
        options.append("judge=history")
    if workload:
        options.append(f"workload={workload}")
    options.append(f"until={clock(schedule.end_ns)}")
    decisions: list[Fault | Call | Fate] = [*schedule.faults, *schedule.calls, *schedule.fates]
    decisions.sort(key=lambda one: one.at_ns)
    parts = [*(f"# {text}" for text in about), f"world {' '.join(options)}", *map(line, decisions)]
    parts += ["----", f"{len(decisions)} decisions", "", "run", "----", NOTHING, ""]
    if schedule.guards_off and expected:
        parts += [f"run without=({', '.join(schedule.guards_off)})", "----", expected, ""]
    return "\n".join(parts)


# ---- reading


def nanoseconds(text: str) -> int:
    """A length of time."""
    if not re.fullmatch(r"-?\d+(\.\d{1,6})?", text):
        raise BadScenario(f"not a number of milliseconds: {text!r}")
    whole, _, part = text.lstrip("-").partition(".")
    return (int(whole) * 1_000_000 + int(part.ljust(6, "0"))) * (-1 if text.startswith("-") else 1)


def instant(text: str) -> int:
    """From the beginning."""
    return START_NS + nanoseconds(text)


def options_of(rest: str, known: Iterable[str]) -> dict[str, str]:
    """`key=value` words."""
    found = {}
    for word in rest.split():
        key, equals, value = word.partition("=")
        if not equals or key not in known:
            raise BadScenario(f"what is {word!r}?")
        found[key] = value
    return found


def read_fault(at_ns: int, text: str) -> Fault | None:
    """None when it is none."""
    match = FAULT.fullmatch(text)
    kind = match["kind"].replace("-", "_") if match else ""
    if match is None or kind not in FAULTS:
        return None
    member = int(match["member"])
    if kind == "change":
        given = options_of(match["rest"], ("transition",))
        if given.get("transition", "auto") not in TRANSITIONS:
            raise BadScenario(f"transitions are {', '.join(TRANSITIONS)}")
        changes = [one.strip() for one in (match["changes"] or "").split(",") if one.strip()]
        return Fault.membership(at_ns, member, *changes, transition=given.get("transition", "auto"))
    lasting = LASTING.get(kind, "luck")
    given = options_of(match["rest"], ("other", "to", "direction", "from", "until", lasting, "rate", "reading"))
    direction = given.get("direction", "both")
    if direction not in DIRECTIONS:
        raise BadScenario(f"directions are {', '.join(DIRECTIONS)}")
    value = given.get(lasting, "0")
    return Fault(
        kind=kind,
        at_ns=at_ns,
        member=member,
        other=int(given.get("to", given.get("other", EVERYBODY))),
        direction=direction,
        from_ns=instant(given["from"]) if "from" in given else at_ns,
        until_ns=instant(given["until"]) if "until" in given else 0,
        value=int(value) if lasting == "luck" else nanoseconds(value),
        rate_ppm=int(given.get("rate", 0)),
        reading_ns=nanoseconds(given.get("reading", "0")),
    )


def read_call(at_ns: int, text: str, number: int) -> Call | None:
    """None when it is none."""
    match = CALL.fullmatch(text)
    if match is None:
        return None
    kind = match["kind"] or match["bare"] or "cas"
    expected = match["expected"] or "0"
    return Call(
        id=int(match["id"] or FIRST_OWN_NUMBER + number),
        client=int(match["client"]),
        at_ns=at_ns,
        deadline_ns=instant(match["until"]),
        kind=kind,
        key=int(match["key"]),
        value=int(match["value"] or match["new"] or 0),
        expected=ABSENT if expected == "absent" else int(expected),
        via=match["via"] or ("log" if kind != "get" else "read_index"),
        target=int(match["target"]),
    )


def read_fate(at_ns: int, text: str) -> Fate | None:
    """None when it is none."""
    match = FATE.fullmatch(text)
    if match is None or not set(match["what"].split("+")) <= set(FATES):
        return None
    given = options_of(match["rest"], ("lasts", "nth"))
    return Fate(
        at_ns=at_ns,
        from_=int(match["from"]),
        to=int(match["to"]),
        type=match["type"],
        what=sum(FATES[word] for word in match["what"].split("+")),
        held_ns=nanoseconds(given.get("lasts", "0")),
        nth=int(given.get("nth", 0)),
    )


def read_world(options: Mapping[str, str], lines: Iterable[str]) -> Schedule:
    """The schedule that a `world` and its lines describe. BadScenario tells what cannot be understood."""
    given = dict(options)
    try:
        seed, end_ns = int(given.pop("seed", "1")), instant(given.pop("until"))
    except KeyError:
        raise BadScenario("world needs until=, in milliseconds") from None
    judge, workload = given.pop("judge", "all"), given.pop("workload", "")
    known = {field.name: field.type for field in dataclasses.fields(Profile)}
    if unknown := set(given) - set(known):
        raise BadScenario(f"no such fields of a profile: {', '.join(sorted(unknown))}")
    fields: dict[str, Any] = {
        name: value == "True" if known[name] == "bool" else int(value) for name, value in given.items()
    }
    found: dict[type, list[Any]] = {Fault: [], Call: [], Fate: []}
    for number, text in enumerate(lines):
        time, _, rest = " ".join(text.split()).partition(" ")
        at_ns = instant(time)
        one = read_call(at_ns, rest, number) or read_fate(at_ns, rest) or read_fault(at_ns, rest)
        if one is None:
            raise BadScenario(f"cannot read: {text!r}")
        found[type(one)].append(one)
    return Schedule(
        seed=seed,
        profile=Profile(**fields),
        invariants=judge != "history",
        end_ns=end_ns,
        faults=tuple(found[Fault]),
        calls=tuple(found[Call]),
        fates=tuple(found[Fate]),
        workload=named(workload) if workload else None,
    )


def named(place: str) -> Any:
    """`module:name`."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
