"""Runs data-driven files: `python -m tests.conformance.datadriven [--rewrite] DIR...`

One line a file, PASS or FAIL, then the totals. The environment is chosen by the folder's name: `quorum`, `confchange`,
anything else is a cluster; a file that begins with `world` is a scenario of the simulator. Comparison is at level A:
log lines are dropped from both sides, an expectation that becomes empty matches `ok`, the rest to the letter.
`--rewrite` replaces every expectation by what was printed; read the difference before you commit it.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.conformance.arithmetic import Arithmetic
from tests.conformance.cluster import Cluster
from tests.conformance.membership import MembershipChanges
from tests.conformance.simulated import Simulated
from tests.conformance.transcript import BadTranscript, Directive, parse, rewrite

LOG_LINE = re.compile(r"\s*(DEBUG|INFO|WARN|ERROR|FATAL) ")


class Environment(Protocol):
    def run(self, directive: Directive) -> str: ...


@dataclass(frozen=True)
class Outcome:
    path: Path
    verdict: str  # PASS or FAIL
    reason: str = ""


def environment(path: Path, directives: list[Directive] | None = None, guards_off: tuple[str, ...] = ()) -> Environment:
    if directives and directives[0].command == "world":
        return Simulated(guards_off)
    if path.parent.name == "quorum":
        return Arithmetic()
    return MembershipChanges() if path.parent.name == "confchange" else Cluster()


def without_logs(text: str) -> str:
    kept = [line for line in text.split("\n") if not LOG_LINE.match(line)]
    return "\n".join(kept).strip("\n")


def agrees(expected: str, printed: str) -> bool:
    return (without_logs(expected) or "ok") == (without_logs(printed) or "ok")


def run_file(path: Path, cluster: Environment | None = None, guards_off: tuple[str, ...] = ()) -> Outcome:
    try:
        directives = parse(path.read_text(encoding="utf-8"))
        if not directives:
            return Outcome(path, "FAIL", "no directives")
        cluster = cluster or environment(path, directives, guards_off)
        for directive in directives:
            printed = cluster.run(directive)
            if not agrees(directive.expected, printed):
                difference = difflib.unified_diff(
                    (without_logs(directive.expected) or "ok").split("\n"),
                    without_logs(printed).split("\n"),
                    "expected",
                    "printed",
                    lineterm="",
                )
                return Outcome(path, "FAIL", f"line {directive.line}: {directive.command}\n" + "\n".join(difference))
    except BadTranscript as bad:
        return Outcome(path, "FAIL", str(bad))
    return Outcome(path, "PASS")


def rewrite_file(path: Path) -> Outcome:
    text = path.read_text(encoding="utf-8")
    cluster = environment(path, parse(text))
    path.write_text(rewrite(text, [(each, cluster.run(each)) for each in parse(text)]), encoding="utf-8")
    return run_file(path)


def find_files(folders: list[Path]) -> list[Path]:
    return sorted(path for folder in folders for path in ([folder] if folder.is_file() else folder.rglob("*.txt")))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="datadriven", description="Run data-driven conformance files.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--rewrite", action="store_true", help="replace expectations by what was printed")
    parser.add_argument("--guards-off", default="", metavar="H11,...", help="in every run of the simulator's scenarios")
    options = parser.parse_args(arguments)
    missing = [folder for folder in options.folders if not folder.exists()]
    if missing:
        parser.error(f"no such file or folder: {missing[0]}")
    off = tuple(name for name in options.guards_off.split(",") if name)
    outcomes = []
    for path in find_files(options.folders):
        outcome = rewrite_file(path) if options.rewrite else run_file(path, guards_off=off)
        outcomes.append(outcome)
        reason = f" ({outcome.reason})" if outcome.reason else ""
        print(f"{outcome.verdict} {path.parent.name}/{path.name}{reason}", flush=True)
    passed = sum(outcome.verdict == "PASS" for outcome in outcomes)
    failed = sum(outcome.verdict == "FAIL" for outcome in outcomes)
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
