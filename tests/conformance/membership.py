"""Changes of membership in the files' words, and the `confchange` files: changes made to an empty configuration.

A change is a word: a letter (`v` voter, `l` learner, `r` remove, `u` update) and a member. `simple`, `enter-joint
[autoleave=true]` and `leave-joint` print the configuration and everybody's progress, or why nothing was changed.
"""

from __future__ import annotations

import re

from tests.conformance.transcript import BadTranscript, Directive

from tenure._raft.changes import Change, Changer
from tenure.errors import TenureError

# The core's name for a refusal, and what the files print for it.
REFUSALS = {
    "SimpleChangeInJoint": "can't apply simple config change in joint config",
    "AlreadyJoint": "config is already joint",
    "NotJoint": "can't leave a non-joint config",
    "NeedsJoint": "more than one voter changed without entering joint config",
    "NoVoters": "removed all voters",
    "JointWithoutVoters": "can't make a zero-voter config joint",
}
WORD = re.compile(r'([vlru])(\d+)(?:\("([^"]*)"\))?')


def parse_changes(directive: Directive) -> list[Change]:
    changes = []
    for word in " ".join(directive.input).split():
        match = WORD.fullmatch(word)
        if match is None:
            raise BadTranscript(f"line {directive.line}: not a change: {word!r}")
        changes.append(Change(match[1], int(match[2]), (match[3] or "").encode()))
    return changes


class MembershipChanges:
    """The log is one entry longer with every command, whether it changed anything or not."""

    def __init__(self) -> None:
        self.changer = Changer()
        self.last_index = 0

    def run(self, directive: Directive) -> str:
        changes = parse_changes(directive)
        try:
            match directive.command:
                case "simple":
                    self.changer.simple(changes, self.last_index)
                case "enter-joint":
                    auto_leave = directive.options.get("autoleave", ("false",))[0] == "true"
                    self.changer.enter_joint(changes, self.last_index, auto_leave=auto_leave)
                case "leave-joint":
                    if changes:
                        raise BadTranscript(f"line {directive.line}: leave-joint takes no changes")
                    self.changer.leave_joint(self.last_index)
                case _:
                    raise BadTranscript(f"line {directive.line}: unknown command {directive.command}")
        except TenureError as refused:
            return REFUSALS.get(str(refused), str(refused))
        finally:
            self.last_index += 1
        return self.changer.describe()
