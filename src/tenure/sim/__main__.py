"""`python -m tenure.sim [run | long | guards] ...`: the simulator from a shell.

`run` and `long` play seed after seed, with a line of progress, and say what they covered in the end; a seed that fails
is made small and printed as a scenario. `run` is what is meant when no command is given. `--profile random` draws
another world for every seed. `guards` prints the guard table.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tenure.sim.coverage import TARGETS, Coverage
from tenure.sim.guards import WITH_GUARD_SEEDS, Row, render_row, summary, table
from tenure.sim.hunting import make_small
from tenure.sim.profile import PROFILES, Profile, random_profile
from tenure.sim.simulation import GUARDS, PLANTED, Simulation, SimulationReport
from tenure.sim.text import named

if TYPE_CHECKING:
    from collections.abc import Callable

RANDOM = "random"


def seeds(text: str) -> range:
    """`A:B` or `A`, as numbers."""
    first, _, last = text.partition(":")
    return range(int(first), int(last) if last else int(first) + 1)


def assignments(changes: list[str]) -> dict[str, int]:
    """`--set drop_ppm=1000`: what to change in a profile."""
    fields = {field.name for field in dataclasses.fields(Profile)}
    wanted = {}
    for change in changes:
        name, _, value = change.partition("=")
        if name not in fields:
            raise SystemExit(f"no such field of a profile: {name}")
        wanted[name] = int(value)
    return wanted


def world(name: str, changes: dict[str, int]) -> Callable[[int], Profile]:
    """The profile of each seed."""

    def of(seed: int) -> Profile:
        profile = random_profile(seed) if name == RANDOM else PROFILES[name]
        return dataclasses.replace(profile, **changes)  # type: ignore[arg-type]

    return of


class Progress:
    """A line on standard error: in place on a terminal, every few seconds elsewhere."""

    def __init__(self, every_s: float) -> None:
        self.live = sys.stderr.isatty()
        self.begun = time.perf_counter()
        self.every_s = 0.2 if self.live else every_s
        self.next_s = 0.0

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return max(time.perf_counter() - self.begun, 1e-9)

    def show(self, seed: int, coverage: Coverage) -> None:
        """Say how far it is, unless that was said just now."""
        if self.seconds < self.next_s:
            return
        self.next_s = self.seconds + self.every_s
        count = coverage.counters["operations"]
        line = f"seed {seed}: {count} operations in {self.seconds:.0f} s, {count / self.seconds:.0f}/s, "
        line += f"{coverage.violations} found"
        print(line, end="\r" if self.live else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line standing."""
        if self.live:
            print(file=sys.stderr)


def finish(progress: Progress, coverage: Coverage, first: int, last: int, chosen: argparse.Namespace) -> None:
    """Print what was covered, and write it down."""
    progress.end()
    targets = TARGETS if chosen.command == "long" else None
    rate = coverage.counters["operations"] / progress.seconds
    print(f"profile {chosen.profile}, seeds {first}:{last + 1}, {chosen.operations} operations each")
    print(f"{progress.seconds:.1f} s, {rate:.0f} operations a second")
    print(coverage.table(targets))
    if chosen.json is not None:
        document = {
            "command": chosen.command,
            "profile": chosen.profile,
            "seeds": [first, last + 1],
            "operations_per_seed": chosen.operations,
            "seconds": round(progress.seconds, 3),
            "operations_per_second": round(rate),
            "targets": targets,
            **coverage.as_json(),
        }
        Path(chosen.json).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def play(seed: int, profile: Profile, chosen: argparse.Namespace) -> SimulationReport:
    """One seed."""
    off = [name for name in chosen.guards_off.split(",") if name]
    workload = named(chosen.workload) if chosen.workload else None
    simulation = Simulation(
        seed, profile, off, invariants=not chosen.no_invariants, trace=chosen.trace, workload=workload
    )
    return simulation.run(operations=chosen.operations)


def show(report: SimulationReport, chosen: argparse.Namespace) -> None:
    """What was found, and the scenario that is left of it."""
    print(report.explain(), flush=True)
    if not chosen.shrink_seconds or not report.violations:
        return
    try:
        failure = make_small(report, chosen.operations, max_seconds=chosen.shrink_seconds)
    except ValueError as error:
        print(f"not shrunk: {error}")
        return
    print(failure.scenario(workload=chosen.workload))


def run(chosen: argparse.Namespace) -> int:
    """The seeds that were asked for."""
    profile_of = world(chosen.profile, assignments(chosen.set))
    coverage, progress = Coverage(), Progress(5.0)
    seed = chosen.seeds.start
    for seed in chosen.seeds:
        report = play(seed, profile_of(seed), chosen)
        coverage.add(report)
        progress.show(seed, coverage)
        if not report.ok:
            show(report, chosen)
            if not chosen.keep_going:
                break
    finish(progress, coverage, chosen.seeds.start, seed, chosen)
    return 1 if coverage.violations else 0


def long(chosen: argparse.Namespace) -> int:
    """Seed after seed until every target is reached."""
    profile_of = world(chosen.profile, assignments(chosen.set))
    coverage, progress = Coverage(), Progress(10.0)
    seed = chosen.seeds.start
    while True:
        report = play(seed, profile_of(seed), chosen)
        coverage.add(report)
        progress.show(seed, coverage)
        if not report.ok:
            show(report, chosen)
        lacking = coverage.lacking()
        if not report.ok or not lacking or progress.seconds > chosen.max_seconds:
            break
        seed += 1
    finish(progress, coverage, chosen.seeds.start, seed, chosen)
    for name, wanted in lacking.items():
        print(f"not reached: {name} {coverage.reached(name):.0f} of {wanted}")
    return 1 if coverage.violations or lacking else 0


def guards(chosen: argparse.Namespace) -> int:
    """The guard table, row by row as it is judged."""

    def show_row(row: Row) -> None:
        print(render_row(row), flush=True)

    try:
        rows = table([name for name in chosen.only.split(",") if name], seeds=chosen.seeds, on_row=show_row)
    except ValueError as wrong:
        raise SystemExit(str(wrong)) from None
    print(summary(rows))
    if chosen.json is not None:
        document = {"as_expected": all(row.as_expected for row in rows), "rows": [row.as_json() for row in rows]}
        Path(chosen.json).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0 if all(row.as_expected for row in rows) else 1


def add_world(parser: argparse.ArgumentParser, profile: str, operations: int) -> None:
    """The options of every command that plays seeds."""
    parser.add_argument("--profile", choices=[*sorted(PROFILES), RANDOM], default=profile)
    parser.add_argument("--operations", type=int, default=operations, help="of the clients, for each seed")
    parser.add_argument("--guards-off", default="", metavar="H12,...", help=f"of {', '.join([*GUARDS, *PLANTED])}")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=INTEGER", help="change the profile")
    parser.add_argument("--no-invariants", action="store_true", help="let the history alone find what is wrong")
    parser.add_argument("--workload", default="", metavar="MODULE:NAME", help="a state machine of your own")
    parser.add_argument("--trace", action="store_true", help="print the last events before a violation")
    parser.add_argument("--json", metavar="FILE", help="write what was covered")
    parser.add_argument(
        "--shrink-seconds", type=float, default=20.0, help="for making a failing run small; 0 = leave it as it is"
    )


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 when something was found, or a target was not reached."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="python -m tenure.sim", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run", help="play the seeds that you name")
    one.add_argument("--seeds", type=seeds, default=range(1, 11), metavar="A:B", help="A, or A up to but without B")
    one.add_argument("--keep-going", action="store_true", help="do not end at the first seed with a violation")
    add_world(one, "swarm", 20_000)
    many = commands.add_parser("long", help="play seed after seed until every target of coverage is reached")
    many.add_argument("--seeds", type=seeds, default=range(1, 2), metavar="A", help="the first seed")
    many.add_argument("--max-seconds", type=float, default=24 * 3600.0, help="give up then")
    add_world(many, RANDOM, 5_000)
    judged = commands.add_parser("guards", help="print, for every hazard, what its guard prevents")
    judged.add_argument("--only", default="", metavar="H01,...", help="these hazards")
    judged.add_argument("--seeds", type=int, default=WITH_GUARD_SEEDS, help="runs with the guard, for each hazard")
    judged.add_argument("--json", metavar="FILE", help="write the table")
    if not given or (given[0] not in commands.choices and given[0] not in ("-h", "--help")):
        given.insert(0, "run")
    chosen = parser.parse_args(given)
    return {"run": run, "long": long, "guards": guards}[chosen.command](chosen)


if __name__ == "__main__":
    sys.exit(main())
