"""`python -m tenure.sim`: many seeds, one after the other, with a line of progress and the coverage at the end."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import sys
import time

from tenure.sim.profile import PROFILES, Profile
from tenure.sim.simulation import GUARDS, Simulation


def seeds(text: str) -> range:
    """`A:B` or `A`, as numbers."""
    first, _, last = text.partition(":")
    return range(int(first), int(last) if last else int(first) + 1)


def assignments(profile: Profile, changes: list[str]) -> Profile:
    """`--set drop_ppm=1000`: a variant of a profile."""
    fields = {field.name for field in dataclasses.fields(Profile)}
    wanted = {}
    for change in changes:
        name, _, value = change.partition("=")
        if name not in fields:
            raise SystemExit(f"no such field of a profile: {name}")
        wanted[name] = int(value)
    return dataclasses.replace(profile, **wanted)  # type: ignore[arg-type]


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m tenure.sim", description=__doc__)
    parser.add_argument("--seeds", type=seeds, default=range(1, 11), metavar="A:B", help="A, or A up to but without B")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="swarm")
    parser.add_argument("--operations", type=int, default=20_000, help="of the clients, for each seed")
    parser.add_argument("--guards-off", default="", metavar="H12,...", help=f"of {', '.join(GUARDS)}")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=INTEGER", help="change the profile")
    parser.add_argument("--no-invariants", action="store_true", help="let the history alone find what is wrong")
    parser.add_argument("--trace", action="store_true", help="print the last events before a violation")
    parser.add_argument("--keep-going", action="store_true", help="do not end at the first seed with a violation")
    chosen = parser.parse_args(arguments)
    profile = assignments(PROFILES[chosen.profile], chosen.set)
    guards_off = [name for name in chosen.guards_off.split(",") if name]

    total: collections.Counter[str] = collections.Counter()
    simulated_ns = found = 0
    live = sys.stderr.isatty()
    next_line = 0.0
    begun = time.perf_counter()
    for seed in chosen.seeds:
        report = Simulation(seed, profile, guards_off, invariants=not chosen.no_invariants, trace=chosen.trace).run(
            operations=chosen.operations
        )
        total.update(report.counters)
        simulated_ns += report.simulated_ns
        seconds = time.perf_counter() - begun
        if seconds >= next_line:
            next_line = seconds + (0.2 if live else 5.0)
            line = (
                f"seed {seed}: {total['operations']} operations, {total['operations'] / seconds:.0f}/s, {found} found"
            )
            print(line, end="\r" if live else "\n", file=sys.stderr, flush=True)
        if not report.ok:
            found += 1
            print(report.explain())
            if not chosen.keep_going:
                break
    seconds = time.perf_counter() - begun
    if live:
        print(file=sys.stderr)
    for name, value in total.items():
        print(f"{name:26} {value}")
    print(f"{'simulated seconds':26} {simulated_ns / 1e9:.1f}")
    print(f"{'operations per second':26} {total['operations'] / seconds:.0f}")
    print(f"{'seeds with a violation':26} {found}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
