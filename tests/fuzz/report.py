"""What libFuzzer said of a run, as figures."""

from __future__ import annotations

import base64
import gzip
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

STATUS = re.compile(r"^#(?P<executions>\d+)\s+(?P<event>\w+)\s+cov: (?P<edges>\d+) ft: (?P<features>\d+)", re.MULTILINE)
INSTRUMENTED = re.compile(r"^INFO: Loaded \d+ PC tables \((?P<edges>\d+) PCs\)", re.MULTILINE)
FINAL = re.compile(r"^stat::(?P<name>\w+):\s+(?P<value>\d+)$", re.MULTILINE)
VIOLATION = re.compile(r"^INVARIANT VIOLATED: (?P<what>.*)$", re.MULTILINE)
SUMMARY = re.compile(r"^SUMMARY: (?P<what>.*)$", re.MULTILINE)
RUNTIME = re.compile(r"^(?P<what>\S+:\d+:\d+: runtime error: .*)$", re.MULTILINE)
ERROR = re.compile(r"^==\d+==\s*ERROR: .*$", re.MULTILINE)
WRITTEN = re.compile(r"Test unit written to (?P<path>\S+)")


@dataclass(frozen=True)
class Report:
    """Of one target. `edges` and `features`: what the corpus reaches at the end; `edges_before`: at the beginning."""

    target: str
    executions: int
    executions_per_second: int
    edges_before: int
    edges: int
    features: int
    instrumented_edges: int
    new_entries: int
    finding: str | None
    artifact: Path | None

    @property
    def ok(self) -> bool:
        return self.finding is None


def read_log(target: str, text: str, status: int) -> Report:
    """From the whole output of one run and its exit status."""
    states = list(STATUS.finditer(text))
    begin = next((state for state in states if state["event"] == "INITED"), None)
    final = {match["name"]: int(match["value"]) for match in FINAL.finditer(text)}
    instrumented = INSTRUMENTED.search(text)
    written = WRITTEN.findall(text)
    return Report(
        target=target,
        executions=final.get("number_of_executed_units", int(states[-1]["executions"]) if states else 0),
        executions_per_second=final.get("average_exec_per_sec", 0),
        edges_before=int(begin["edges"]) if begin else 0,
        edges=int(states[-1]["edges"]) if states else 0,
        features=int(states[-1]["features"]) if states else 0,
        instrumented_edges=int(instrumented["edges"]) if instrumented else 0,
        new_entries=final.get("new_units_added", 0),
        finding=finding_of(text, status),
        artifact=Path(written[-1]) if written else None,
    )


def finding_of(text: str, status: int) -> str | None:
    """What a failed run has found, in one line; None for a run that ended well."""
    if status == 0:
        return None
    for pattern in (VIOLATION, RUNTIME, SUMMARY):
        if match := pattern.search(text):
            return match["what"]
    return f"ended with status {status}: {text.strip().splitlines()[-1] if text.strip() else 'no output'}"


def excerpt(text: str, lines: int = 60) -> str:
    """Of the output of a run that found something: from where the trouble begins, stacks and all."""
    found = [match.start() for pattern in (VIOLATION, RUNTIME, ERROR) if (match := pattern.search(text))]
    begin = min(found, default=None)
    told = text.splitlines()[-lines:] if begin is None else text[begin:].splitlines()[:lines]
    return "\n".join(told)


def as_command(content: bytes, path: Path) -> str:
    """A line for a shell that makes the file anew on another machine, whose run left nothing but its output."""
    packed = base64.b64encode(gzip.compress(content, mtime=0)).decode()
    folder, name = shlex.quote(str(path.parent)), shlex.quote(str(path))
    return f"mkdir -p {folder} && echo {packed} | base64 -d | gunzip > {name}"


def table(reports: list[Report]) -> str:
    heads = ("target", "executions", "a second", "edges before", "edges", "features", "new entries", "finding")
    rows = [
        (
            report.target, f"{report.executions}", f"{report.executions_per_second}", f"{report.edges_before}",
            f"{report.edges}", f"{report.features}", f"{report.new_entries}", report.finding or "none",
        )
        for report in reports
    ]  # fmt: skip
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    last = len(heads) - 1

    def line(row: tuple[str, ...]) -> str:
        cells = [cell.rjust(widths[i]) if 0 < i < last else cell.ljust(widths[i]) for i, cell in enumerate(row)]
        return "  ".join(cells).rstrip()

    return "\n".join(map(line, [heads, *rows]))
