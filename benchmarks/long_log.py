"""Ten thousand snapshots' worth of log, and a member that has missed it: `python benchmarks/long_log.py`

With the default of a snapshot every 10 000 entries that would be 10^8 entries: the better part of an hour. So there are
two parts, each over three `tenure serve` processes on this machine, with real syncs:

- *the log*: a snapshot every 500 entries and segments of 4 MiB, until every member has taken 10 000 snapshots (of five
  million entries or more). What may not grow: memory, descriptors, threads, room on the disk, segments, snapshot files,
  entries in memory. They are sampled all the time; the last third may not be above the second (`growth`).
  `--every 10000 --minutes 90` is the real thing.
- *the laggard*: the default settings. The store is filled, a follower is killed, and writes go on until the leader no
  longer has what it lacks; then it is started again, and catches up by a snapshot while writes and lease reads go on.
  The leader's latencies before it came back, while it caught up, and afterwards, side by side.

Exit status 1: something grew, or the laggard did not catch up by a snapshot.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import linear_regression, median
from typing import Any

from observers import Bulk, LeaseReader, Panel, Writer, spread

from tenure._core.clock import now_ns
from tenure.admin.client import ask_status
from tenure.cli.demo_cluster import DemoCluster, Member

# How far the median of the last third may be above that of the second: a share, and what samples differ by anyway.
ALLOWED = 0.01
SLACK = {
    "rss_kib": 8192,
    "descriptors": 1,
    "threads": 0,
    "disk_kib": 4096,
    "segments": 1,
    "snapshots": 1,
    "entries": 2000,
}
# A buffer or a heap that reached its size in a moment's stall keeps it, and memory takes a step, or two. What leaks,
# however, is more in each part of the run: that is looked for in parts of its last two thirds.
PARTS = 5
CREEP_KIB = 64
# What no sample may exceed, for it follows from the rules: two snapshot files, one that is being written and one that
# is about to go; the segment that is written and those that the older snapshot still needs; entries kept for a member
# that lags, and those that come while a snapshot is written.
BOUNDS = {"snapshots": 4, "segments": 12, "entries": 150_000}
LIMIT_S = 60.0


@dataclass
class Plan:
    """How much."""

    snapshots: int = 10_000
    snapshot_every: int = 500
    segment_bytes: int = 4 << 20
    keys: int = 2_000
    value_bytes: int = 100
    sample_s: float = 2.0
    limit_s: float = 600.0
    laggard_every: int | None = None  # None: the default
    laggard_keys: int = 100_000
    laggard_value_bytes: int = 200
    window_s: float = 10.0


def measure(member: Member, folder: Path) -> dict[str, int]:
    """One member from outside, and what it says of its log."""
    assert member.process is not None
    place = Path(f"/proc/{member.process.pid}")
    fields = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
    report = ask_status(member.admin)
    disk = segments = snapshots = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # it was deleted meanwhile
            disk += file.stat().st_blocks // 2
            segments += file.suffix == ".log"
            snapshots += file.name.startswith("snap")
    return {
        "rss_kib": int(fields["VmRSS"].split()[0]),
        "descriptors": sum(1 for _ in (place / "fd").iterdir()),
        "threads": int(fields["Threads"]),
        "disk_kib": disk,
        "segments": segments,
        "snapshots": snapshots,
        "entries": report["last_index"] + 1 - report["first_index"],
        "taken": report["counters"]["snapshots"],
        "applied": report["applied_index"],
    }


def growth(samples: list[dict[str, Any]]) -> list[str]:
    """What grew, or was too much at any time, in words."""
    third = len(samples) // 3
    if third < PARTS:
        return ["too short a run to tell"]
    found = []
    for id in samples[0]["members"]:
        series = {name: [sample["members"][id][name] for sample in samples] for name in SLACK}
        for name, slack in SLACK.items():
            steady, late = median(series[name][third : 2 * third]), median(series[name][2 * third :])
            if late > steady * (1 + ALLOWED) + slack:
                found.append(f"member {id}: {name} grew from {steady:,.0f} to {late:,.0f}")
        late = series["rss_kib"][third:]
        parts = [median(late[len(late) * i // PARTS : len(late) * (i + 1) // PARTS]) for i in range(PARTS)]
        if min(later - earlier for earlier, later in pairwise(parts)) > CREEP_KIB:
            found.append(f"member {id}: memory climbs all the time, KiB: {parts}")
        for name, bound in BOUNDS.items():
            if max(series[name]) > bound:
                found.append(f"member {id}: {max(series[name]):,} {name}, and no more than {bound:,} are right")
    return found


def slope(samples: list[dict[str, Any]], id: int) -> float:
    """KiB of memory for a thousand snapshots more, over the last two thirds."""
    late = [sample["members"][id] for sample in samples[len(samples) // 3 :]]
    return 1000 * linear_regression([one["taken"] for one in late], [one["rss_kib"] for one in late]).slope


def long_log(plan: Plan, directory: Path, say: Any = print) -> dict[str, Any]:
    """The first part."""
    samples: list[dict[str, Any]] = []
    config = {"snapshot_every": plan.snapshot_every, "segment_bytes": plan.segment_bytes}
    with DemoCluster(directory, rate=None, config=config) as cluster, contextlib.ExitStack() as stack:
        cluster.start()
        panel = Panel(cluster)
        stack.callback(panel.close)
        leader = cluster.members[panel.await_whole()]
        loads = [Bulk(f"bulk-{i}", leader.redis, keys=plan.keys, size=plan.value_bytes) for i in range(2)]
        for load in loads:
            load.start()
            stack.callback(load.close)
        began = time.monotonic()
        taken = 0
        while taken < plan.snapshots:
            spent = time.monotonic() - began
            if spent > plan.limit_s:
                raise TimeoutError(f"{taken} snapshots within {plan.limit_s:g} s")
            members = {id: measure(member, directory / f"member-{id}") for id, member in cluster.members.items()}
            samples.append({"seconds": spent, "written": sum(load.written for load in loads), "members": members})
            taken = min(one["taken"] for one in members.values())
            time.sleep(plan.sample_s)
        refusals = [load.refusals for load in loads]
    last = samples[-1]
    say(
        f"the log: {last['written']:,} writes in {last['seconds']:.0f} s "
        f"({last['written'] / last['seconds']:,.0f} a second), "
        f"snapshots taken: {[one['taken'] for one in last['members'].values()]}, refused {refusals}"
    )
    say(f"  {'':9}{'':12}" + "".join(f"{share:>12}" for share in ("at 1/3", "at 2/3", "end", "most")))
    for id in last["members"]:
        for name in SLACK:
            values = [sample["members"][id][name] for sample in samples]
            points = [values[len(values) // 3], values[2 * len(values) // 3], values[-1], max(values)]
            say(f"  member {id} {name:12}" + "".join(f"{value:>12,}" for value in points))
        say(f"  member {id} memory for 1000 snapshots more: {slope(samples, id):+.1f} KiB")
    return {"samples": samples, "refusals": refusals, "problems": growth(samples)}


def laggard(plan: Plan, directory: Path, say: Any = print) -> dict[str, Any]:
    """The second part."""
    config = {} if plan.laggard_every is None else {"snapshot_every": plan.laggard_every}
    with DemoCluster(directory, rate=None, config=config) as cluster, contextlib.ExitStack() as stack:
        cluster.start()
        panel = Panel(cluster)
        stack.callback(panel.close)
        leader = cluster.members[panel.await_whole()]
        late = cluster.members[min(id for id in cluster.members if id != leader.id)]
        fill(plan, leader, lambda bulk: bulk.written >= plan.laggard_keys)
        panel.await_whole()
        cluster.kill(late)
        panel.forget(late.id)
        has = late_index(leader)
        fill(plan, leader, lambda bulk: bulk.written % 1024 == 0 and ask_status(leader.admin)["first_index"] > has)
        missed = late_index(leader) - has

        writers = [Writer(f"writer-{i}", [leader.redis], 0) for i in range(2)]
        reader = LeaseReader(leader)
        for one in (*writers, reader):
            one.start()
            stack.callback(one.close)
        instants = {"before": [now_ns()]}
        time.sleep(plan.window_s)
        instants["before"].append(now_ns())
        cluster.start([late.id])  # returns once it listens: what it does before that is no matter of the leader's
        instants["catching up"] = [instants["before"][1]]
        goal = late_index(leader)
        report = await_applied(late, goal)
        instants["catching up"].append(now_ns())
        time.sleep(plan.window_s)
        instants["after"] = [instants["catching up"][1], now_ns()]
        panel.await_whole()
        term = {ask_status(leader.admin)["term"], report["term"]}
        refusals = [one.refusals for one in (*writers, reader)]
    rows = []
    for when, (from_ns, to_ns) in instants.items():
        writes = [spent / 1e6 for one in writers for spent in one.served.durations_ns(from_ns, to_ns)]
        reads = [spent / 1e6 for spent in reader.served.durations_ns(from_ns, to_ns)]
        rows.append(
            {"when": when, "seconds": (to_ns - from_ns) / 1e9, "writes": spread(writes), "reads": spread(reads)}
        )
    counters = report["counters"]
    say(
        f"the laggard: {missed:,} entries behind, its log gone; {counters['snapshots_installed']} snapshot installed, "
        f"{counters['snapshot_received_bytes'] / 1e6:.1f} MB received, {rows[1]['seconds']:.2f} s from its start"
    )
    say(
        f"  {'leader, milliseconds':22}{'write p50':>10}{'p99':>8}{'max':>8}"
        f"{'lease read p50':>16}{'p99':>8}{'max':>8}{'calls':>16}"
    )
    for row in rows:
        writes, reads = row["writes"], row["reads"]
        say(
            f"  {row['when']:22}{writes['p50']:>10.2f}{writes['p99']:>8.2f}{writes['max']:>8.1f}"
            f"{reads['p50']:>16.3f}{reads['p99']:>8.3f}{reads['max']:>8.1f}{writes['count']:>9} + {reads['count']}"
        )
    problems = [] if counters["snapshots_installed"] else ["the laggard caught up without a snapshot"]
    if any(refusals) or len(term) != 1:
        problems.append(f"the leader was not there all the time: {refusals}, terms {sorted(term)}")
    return {"missed": missed, "rows": rows, "received": counters["snapshot_received_bytes"], "problems": problems}


def fill(plan: Plan, leader: Member, enough: Any) -> None:
    """Write at the leader until that is enough."""
    bulk = Bulk("fill", leader.redis, keys=plan.laggard_keys, size=plan.laggard_value_bytes)
    bulk.start()
    end = time.monotonic() + plan.limit_s
    try:
        while not enough(bulk):
            if time.monotonic() > end:
                raise TimeoutError(f"{bulk.written} writes in {plan.limit_s:g} s were not enough: {bulk.refusals}")
            time.sleep(0.05)
    finally:
        bulk.close()


def late_index(leader: Member) -> int:
    return int(ask_status(leader.admin)["last_index"])


def await_applied(member: Member, index: int) -> dict[str, Any]:
    """The member's report once it has applied that much."""
    end = time.monotonic() + LIMIT_S
    while (report := ask_status(member.admin))["applied_index"] < index:
        if time.monotonic() > end:
            raise TimeoutError(f"applied {report['applied_index']} of {index} within {LIMIT_S:g} s")
        time.sleep(0.02)
    return report


def picture(samples: list[dict[str, Any]], path: Path) -> None:
    """Memory and disk over snapshots taken; needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(3, 1, sharex=True, figsize=(8, 8))
    for axis, name in zip(axes, ("rss_kib", "disk_kib", "entries"), strict=True):
        for id in samples[0]["members"]:
            taken = [sample["members"][id]["taken"] for sample in samples]
            axis.plot(taken, [sample["members"][id][name] for sample in samples], label=f"member {id}", linewidth=1)
        axis.set_ylabel(name)
        axis.set_ylim(bottom=0)
    axes[0].legend()
    axes[-1].set_xlabel("snapshots taken")
    figure.tight_layout()
    figure.savefig(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--snapshots", type=int, default=Plan.snapshots)
    parser.add_argument("--every", type=int, default=Plan.snapshot_every, help="entries between two of them")
    parser.add_argument("--minutes", type=float, default=Plan.limit_s / 60, help="limit of the first part")
    parser.add_argument("--laggard-keys", type=int, default=Plan.laggard_keys)
    parser.add_argument("--window", type=float, default=Plan.window_s, help="seconds before, and after")
    parser.add_argument("--only", choices=["log", "laggard"], help="one part only")
    parser.add_argument("--json", type=Path, help="write samples and rows here")
    parser.add_argument("--plot", type=Path, help="draw memory and disk over snapshots into this file")
    arguments = parser.parse_args()
    plan = Plan(
        snapshots=arguments.snapshots,
        snapshot_every=arguments.every,
        limit_s=arguments.minutes * 60,
        laggard_keys=arguments.laggard_keys,
        window_s=arguments.window,
    )
    found: dict[str, Any] = {}
    for name, part in (("log", long_log), ("laggard", laggard)):
        if arguments.only in (None, name):
            with tempfile.TemporaryDirectory(prefix=f"tenure-long-{name}-") as directory:
                found[name] = part(plan, Path(directory))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    if arguments.plot is not None and "log" in found:
        picture(found["log"]["samples"], arguments.plot)
    problems = [problem for part in found.values() for problem in part["problems"]]
    for problem in problems:
        print("PROBLEM", problem)
    print("bounded" if not problems else "NOT as it should be")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
