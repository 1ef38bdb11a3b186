"""The `quorum` files: `committed` draws every voter's index as a bar, `vote` says what a set of votes decides."""

from __future__ import annotations

from tests.conformance.transcript import BadTranscript, Directive

from tenure._raft.node import committed_index, vote_result


class Arithmetic:
    def run(self, directive: Directive) -> str:
        voters: list[int] = []
        outgoing: list[int] = []
        words: list[str] = []
        joint = False
        for key, values in directive.arguments:
            if key == "cfg":
                voters = [int(value) for value in values]
            elif key == "cfgj":
                joint = True
                outgoing = [] if values == ("zero",) else [int(value) for value in values]
            elif key in ("idx", "votes"):
                words = list(values)
            else:
                raise BadTranscript(f"line {directive.line}: unknown argument {key}")
        members = list(dict.fromkeys(voters + outgoing))
        if len(words) != len(members):
            raise BadTranscript(f"line {directive.line}: {len(words)} values for {len(members)} members")
        known = {member: word for member, word in zip(members, words, strict=True) if word != "_"}
        if directive.command == "vote":
            return vote_result({member: word == "y" for member, word in known.items()}, voters, outgoing)
        if directive.command != "committed":
            raise BadTranscript(f"line {directive.line}: unknown command {directive.command}")
        acked = {member: int(word) for member, word in known.items()}
        index = committed_index(acked, voters, outgoing)
        drawn = draw(acked, sorted(members) if joint else sorted(voters))
        return drawn + ("\u221e" if index is None else str(index))


def draw(acked: dict[int, int], members: list[int]) -> str:
    """A bar for each member, as long as the number of members that are behind it; `?` where nothing is known."""
    if not members:
        return "<empty majority quorum>"
    width = len(members)
    lines = [" " * width + "    idx"]
    for member in members:
        index = acked.get(member, 0)
        behind = sum(acked.get(other, 0) < index for other in members)
        bar = "x" * behind + ">" if member in acked else "?"
        lines.append(f"{bar:<{width + 1}} {index:5d}    (id={member})")
    return "\n".join(lines) + "\n"
