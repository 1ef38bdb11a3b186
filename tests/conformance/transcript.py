"""The data-driven format: a file is a list of directives, each with the output that it is expected to print.

    # comment
    command argument key=value key=(a, b)
    input lines
    ----
    expected output, up to the first blank line

A doubled `----` opens output that has blank lines and closes it. State persists within one file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SEPARATOR = "----"
ARGUMENT = re.compile(r"([^\s=()]+)(?:\s*=\s*(\([^)]*\)|[^\s()]+))?")


class BadTranscript(Exception):
    """The file does not follow the format."""


@dataclass(frozen=True)
class Directive:
    line: int  # of the command, counted from 1
    command: str
    arguments: tuple[tuple[str, tuple[str, ...]], ...]  # a bare word has no values
    input: tuple[str, ...]
    expected: str
    expected_span: tuple[int, int]  # line numbers, from 0, of everything between the separator and the next directive

    @property
    def words(self) -> list[str]:
        return [key for key, values in self.arguments if not values]

    @property
    def options(self) -> dict[str, tuple[str, ...]]:
        return {key: values for key, values in self.arguments if values}


def parse_arguments(text: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    arguments = []
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        match = ARGUMENT.match(text, position)
        if match is None:
            raise BadTranscript(f"cannot read arguments: {text!r}")
        key, value = match.groups()
        if value is None:
            values: tuple[str, ...] = ()
        elif value.startswith("("):
            values = tuple(part.strip() for part in value[1:-1].split(",") if part.strip())
        else:
            values = (value,)
        arguments.append((key, values))
        position = match.end()
    return tuple(arguments)


def parse(text: str) -> list[Directive]:
    lines = text.split("\n")
    directives = []
    at = 0
    while at < len(lines):
        if not lines[at].strip() or lines[at].startswith("#"):
            at += 1
            continue
        start = at
        command, _, rest = lines[at].strip().partition(" ")
        at += 1
        entered = []
        while at < len(lines) and lines[at] != SEPARATOR:
            if not lines[at].strip():
                raise BadTranscript(f"line {start + 1}: no {SEPARATOR} after {command!r}")
            entered.append(lines[at])
            at += 1
        if at == len(lines):
            raise BadTranscript(f"line {start + 1}: no {SEPARATOR} after {command!r}")
        at += 1
        first = at
        output = []
        if at < len(lines) and lines[at] == SEPARATOR:
            at += 1
            while lines[at : at + 2] != [SEPARATOR, SEPARATOR]:
                if at >= len(lines):
                    raise BadTranscript(f"line {start + 1}: the doubled {SEPARATOR} is never closed")
                output.append(lines[at])
                at += 1
            at += 2
        else:
            while at < len(lines) and lines[at].strip():
                output.append(lines[at])
                at += 1
        directives.append(
            Directive(start + 1, command, parse_arguments(rest), tuple(entered), "\n".join(output), (first, at))
        )
    return directives


def rewrite(text: str, outputs: list[tuple[Directive, str]]) -> str:
    """The same file with what was really printed in place of what was expected."""
    lines = text.split("\n")
    for directive, output in reversed(outputs):
        printed = output.split("\n")
        if any(not line.strip() for line in printed):
            printed = [SEPARATOR, *printed, SEPARATOR, SEPARATOR]
        first, end = directive.expected_span
        lines[first:end] = printed
    return "\n".join(lines)
