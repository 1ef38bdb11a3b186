"""Traces of the lease model for people: each step as a sentence, and below it the members that it changed.

Members are called A to D. An entry of a log is told by its term; a change of membership by its term and the
configuration that it brings about, `{voters}|{outgoing voters}`.
"""

from __future__ import annotations

from typing import TypedDict

from tenure._proof.model_search import CHANGES

__all__ = ["MemberView", "StateView", "Trace", "told"]


class MemberView(TypedDict):
    """A member in a state of a trace. What ends is told as what is left of it on the member's own clock.

    An entry is its term; with a change of membership, also the masks of voters, outgoing voters and learners.
    """

    term: int
    role: str
    log: list[tuple[int, ...]]
    commit: int
    applied: int
    lease: int
    lease_term: int
    promise: int
    promise_holder: int
    promise_term: int


class StateView(TypedDict):
    """A state of a trace."""

    members: list[MemberView]
    shown: int
    committed: list[tuple[int, ...]]


Trace = list[tuple[str, tuple[int, int, int, int], StateView]]
"""The steps of a way: the action, its numbers, the state after it."""

_NAMES = "ABCD"


def _set(mask: int) -> str:
    return "{" + "".join(_NAMES[i] for i in range(len(_NAMES)) if mask >> i & 1) + "}"


def _entry(entry: tuple[int, ...]) -> str:
    if len(entry) == 1:
        return str(entry[0])
    term, voters, outgoing, learners = entry
    joint = f"|{_set(outgoing)}" if outgoing else ""
    learning = f" learners {_set(learners)}" if learners else ""
    return f"{term}:{_set(voters)}{joint}{learning}"


def _member(i: int, m: MemberView) -> str:
    log = " ".join(_entry(entry) for entry in m["log"])
    text = (
        f"{_NAMES[i]} {m['role']:9} of term {m['term']}, log [{log}], committed {m['commit']}, applied {m['applied']}"
    )
    if m["promise"]:
        holder = "of a former life" if m["promise_holder"] < 0 else f"to {_NAMES[m['promise_holder']]}"
        text += f", promise {holder} (term {m['promise_term']}): {m['promise']} left"
    if m["lease"]:
        left = "without end" if m["lease"] == 255 else f"{m['lease']} left"
        text += f", LEASE of term {m['lease_term']}: {left}"
    return text


def _tick(code: int) -> str:
    fast = [_NAMES[i] for i in range(4) if code >> 2 * i & 3 == 1]
    still = [_NAMES[i] for i in range(4) if code >> 2 * i & 3 == 2]
    told_fast = f"; fast: {', '.join(fast)}" if fast else ""
    told_still = f"; missed by {', '.join(still)}" if still else ""
    return f"time passes: 8 units, 7 on a slow clock, 9 on a fast one{told_fast}{told_still}"


def _receive(a: str, term: int, count: int, promises: int) -> str:
    what = f"the append of term {term} up to entry {count}" if count else f"a heartbeat of term {term}"
    return f"{a} gets {what}" + (", promises, and replies" if promises else ", cannot read its clock, and replies")


def _action(kind: str, numbers: tuple[int, int, int, int]) -> str:
    a = _NAMES[numbers[0]] if numbers[0] < len(_NAMES) else "?"
    b = _NAMES[numbers[1]] if numbers[1] < len(_NAMES) else "?"
    n = numbers[1]
    match kind:
        case "start":
            return "A leads term 1; its first entry, before those of the log, is applied everywhere"
        case "tick":
            return _tick(numbers[0])
        case "receive":
            return _receive(a, n, numbers[2], numbers[3])
        case "step_down":
            return f"{a} steps down" + (f" and releases {_NAMES[n - 1]} to take over" if n else "")
        case "broadcast":
            return f"{a} reads its clock and sends its append" + (", without a commit index" if n else "")
        case "propose":
            whom = f" ({_NAMES[numbers[2]]})" if CHANGES[n] != "joint-grow" else ""
            return f"{a} proposes the change {CHANGES[n]}{whom}"
    return {
        "campaign": f"{a} campaigns",
        "vote": f"{a} votes for {b}",
        "refuse": f"{a} hears of {b}'s term and refuses its vote: its own log is ahead",
        "win": f"{a} has the votes and leads",
        "learn": f"{a} hears of {b}'s term",
        "reply": f"{a} gets {b}'s reply",
        "commit": f"{a} knows entry {n} to be committed",
        "apply": f"{a} applies entry {n}",
        "write": f"{a} appends a write",
        "transfer": f"{a} transfers: TimeoutNow to {b}",
        "abort": f"{a} gives the transfer up",
        "timeout_now": f"{a} gets TimeoutNow of term {n} and campaigns",
        "restart": f"{a} crashes and starts again",
        "persist": f"{a}'s bound of promises is durable",
        "leave": f"{a} proposes to leave the joint configuration",
        "forget": f"{a} forgets its leader, and its promise",
        "capture": f"{a} computes an extension of its lease",
        "complete": f"{a} makes the extension that it computed",
        "call": f"a read is called at {a}" if numbers[0] < len(_NAMES) else "a read is called",
        "check": f"it finds the word of {a} valid",
        "load": f"it loads the applied index of {a}",
        "wipe": f"{a} is started in an emptied directory",
    }[kind]


def told(trace: Trace) -> list[str]:
    """Lines for people: each step, and below it the members as they are after it, where they changed."""
    lines = []
    before: list[MemberView] = []
    for number, (kind, numbers, state) in enumerate(trace):
        lines.append(f"{number:3}. {_action(kind, numbers)}")
        for i, member in enumerate(state["members"]):
            if not before or before[i] != member:
                lines.append(f"       {_member(i, member)}")
        before = state["members"]
    return lines
