"""A long run under load: memory, descriptors, threads and the log stay as they are. `python -m tests.soak --minutes 30`

Three members as three processes with the default settings. Four connections, spread over leader and followers, pipeline
a mix of SET, GET, INCR, expiring SET and DEL over a bounded set of keys at a limited rate; another client connects,
asks and leaves again all the time; the leader exercises its Python engine besides. Every ten seconds each process is
measured from outside.

Steady state is what the second third shows. In the last third no figure may be above it:

    max(last third) <= max(second third) * (1 + ALLOWED) + slack

but for threads, of which the admin endpoint starts some for each request: there the least counts, which is what stays.

Memory climbs for a while, ever more slowly (`docs/design/0004-memory-in-the-long-run.md` says why): its slope in each
quarter of the run is shown.

Ends with exit status 1 when one is, when a request fails, or when the members' states differ at the end.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import linear_regression
from typing import Any

import redis
from rich.progress import Progress

from tenure.cli.demo_cluster import DemoCluster, Member, Watch

SAMPLE_S = 10.0
KEYS = 20_000
PIPELINE = 16
ALLOWED = 0.05
SLACK = {"rss_kib": 4096, "descriptors": 2, "threads": 0, "disk_kib": 70_000}


@dataclass
class Load:
    """What the clients did."""

    requests: int = 0
    connections: int = 0
    errors: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def fail(self, error: Exception) -> None:
        self.errors.append(f"{type(error).__name__}: {error}")


def fill(pipe: Any, random_: random.Random) -> None:
    key = f"key:{random_.randrange(KEYS)}"
    kind = random_.random()
    if kind < 0.45:
        pipe.get(key)
    elif kind < 0.75:
        pipe.set(key, random_.randbytes(random_.randrange(8, 256)))
    elif kind < 0.85:
        pipe.incr(f"counter:{random_.randrange(100)}")
    elif kind < 0.95:
        pipe.set(key, b"short-lived", px=random_.randrange(50, 5_000))
    else:
        pipe.delete(key)


def busy_client(port: int, seed: int, rate: float, load: Load) -> None:
    client = redis.Redis(port=port, socket_timeout=10)
    random_ = random.Random(seed)
    due = time.monotonic()
    while not load.over.is_set():
        pipe = client.pipeline(transaction=False)
        for _ in range(PIPELINE):
            fill(pipe, random_)
        try:
            pipe.execute()
        except redis.RedisError as error:
            load.fail(error)
        load.requests += PIPELINE
        due = max(due + PIPELINE / rate, time.monotonic() - 1.0)
        load.over.wait(max(0.0, due - time.monotonic()))
    client.close()


def passing_clients(ports: list[int], load: Load) -> None:
    while not load.over.wait(0.05):
        port = ports[load.connections % len(ports)]
        try:
            with redis.Redis(port=port, socket_timeout=10) as client:
                client.ping()
                client.get("key:1")
        except redis.RedisError as error:
            load.fail(error)
        load.connections += 1
        load.requests += 2


def measure(member: Member, folder: Path) -> dict[str, int]:
    assert member.process is not None
    place = Path(f"/proc/{member.process.pid}")
    fields = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
    return {
        "rss_kib": int(fields["VmRSS"].split()[0]),
        "descriptors": sum(1 for _ in (place / "fd").iterdir()),
        "threads": int(fields["Threads"]),
        "disk_kib": sum(f.stat().st_blocks // 2 for f in folder.rglob("*") if f.is_file()),
    }


def verdicts(samples: list[dict[str, Any]]) -> list[str]:
    """What grew, in words."""
    third = len(samples) // 3
    if third < 3:
        return ["too short a run to tell"]
    found = []
    for id in samples[0]["members"]:
        for name, slack in SLACK.items():
            extreme = min if name == "threads" else max
            steady = extreme(sample["members"][id][name] for sample in samples[third : 2 * third])
            late = extreme(sample["members"][id][name] for sample in samples[2 * third :])
            if late > steady * (1 + ALLOWED) + slack:
                found.append(f"member {id}: {name} grew from {steady} to {late}")
    return found


def slopes(samples: list[dict[str, Any]], id: int) -> list[float]:
    """KiB of memory that a minute added, in each quarter of the run."""
    found = []
    for quarter in range(4):
        part = samples[len(samples) * quarter // 4 : len(samples) * (quarter + 1) // 4]
        if len(part) > 1:
            minutes = [sample["seconds"] / 60 for sample in part]
            found.append(linear_regression(minutes, [sample["members"][id]["rss_kib"] for sample in part]).slope)
    return found


def states_agree(cluster: DemoCluster, limit_s: float = 20.0) -> bool:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        seen = {(m.report.get("applied_index"), m.report.get("state_hash")) for m in cluster.members.values()}
        if len(seen) == 1 and None not in next(iter(seen)):
            return True
        time.sleep(0.2)
    return False


def run(minutes: float, rate: float, report: Path, seed: int) -> int:
    load = Load()
    samples: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="tenure-soak-") as place:
        cluster = DemoCluster(Path(place), rate=50)
        try:
            cluster.start()
            ports = [int(member.redis.rpartition(":")[2]) for member in cluster.members.values()]
            with Watch(cluster):
                wait_for_leader(cluster)
                threads = [
                    threading.Thread(target=busy_client, args=(ports[i % 3], seed + i, rate / 4, load), daemon=True)
                    for i in range(4)
                ]
                threads.append(threading.Thread(target=passing_clients, args=(ports, load), daemon=True))
                for thread in threads:
                    thread.start()
                began = time.monotonic()
                with Progress(disable=not sys.stderr.isatty()) as progress:
                    task = progress.add_task("soak", total=minutes * 60)
                    while (spent := time.monotonic() - began) < minutes * 60 and not load.errors:
                        samples.append(
                            {
                                "seconds": round(spent),
                                "requests": load.requests,
                                "members": {
                                    id: measure(member, Path(place) / f"member-{id}")
                                    for id, member in cluster.members.items()
                                },
                            }
                        )
                        progress.update(task, completed=spent)
                        report.write_text(json.dumps(samples, indent=1), encoding="utf-8")
                        time.sleep(SAMPLE_S)
                load.over.set()
                for thread in threads:
                    thread.join(30)
                cluster.end_load()
                agree = states_agree(cluster) if not load.errors else False
        finally:
            cluster.stop()
    problems = [*load.errors[:10], *verdicts(samples), *([] if agree else ["the members' states were not seen equal"])]
    last = samples[-1]
    print(f"{load.requests} requests, {load.connections} short connections in {last['seconds']} s; at the end:")
    for id, figures in last["members"].items():
        first = samples[len(samples) // 3]["members"][id]
        print(f"  member {id}: " + ", ".join(f"{name} {first[name]} -> {value}" for name, value in figures.items()))
        told = ", ".join(f"{slope:+.1f}" for slope in slopes(samples, id))
        print(f"    memory, KiB a minute in each quarter of the run: {told}")
    for problem in problems:
        print("PROBLEM", problem)
    print("flat" if not problems else "NOT flat")
    return 1 if problems else 0


def wait_for_leader(cluster: DemoCluster, limit_s: float = 20.0) -> None:
    end = time.monotonic() + limit_s
    while not any(member.leads and member.lease_left_ns for member in cluster.members.values()):
        if time.monotonic() > end:
            raise TimeoutError("no leader")
        time.sleep(0.05)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=2000.0, help="requests a second, all clients together")
    parser.add_argument("--report", type=Path, default=Path("build/soak.json"))
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.report.parent.mkdir(parents=True, exist_ok=True)
    return run(arguments.minutes, arguments.rate, arguments.report, arguments.seed)


if __name__ == "__main__":
    sys.exit(main())
