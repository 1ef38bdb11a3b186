"""How long a cluster on this machine is without a leader: `python benchmarks/failover.py --kills 50`.

Three `tenure serve` processes with the default settings (an election timeout of 1 s), three clients that write, each
beginning at another member, and a reader at each member. The leader is, in turns of their own,

- killed (SIGKILL): from the signal to the first write that is acknowledged, and to the first read under the successor's
  lease. A read that a quorum had to confirm does not count;
- stopped (SIGTERM), and asked to hand over (`tenure transfer-leader`): the longest time in which nobody's write was
  acknowledged, and in which no read was served under a lease.

Before each turn the cluster is whole: everybody follows, nobody is behind, and a member that was started again has
waited out the promise that it may have made in its former life. The instants of kills do not follow the heartbeats.

Exit status 1: a goal was missed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import tempfile
import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from observers import MEMBER_DOWN_S, LeaseReader, Panel, Writer, spread

from tenure._core.clock import now_ns
from tenure.admin import AdminClient
from tenure.admin.client import ask_status
from tenure.cli.demo_cluster import DemoCluster, Member

GOALS = {  # milliseconds
    "kill": {"p50": 1600.0, "p99": 2300.0},
    "stop": {"p99": 50.0},
    "transfer": {"p99": 50.0},
}
WRITERS = 3
LIMIT_S = 20.0
PROMISE_S = 1.0
AFTER_S = 0.5


class Trial:
    """A running cluster, its clients, and what is done to its leaders."""

    def __init__(self, cluster: DemoCluster, seed: int) -> None:
        self.cluster = cluster
        self.panel = Panel(cluster)
        self.random = random.Random(seed)
        addresses = [member.redis for member in cluster.members.values()]
        self.writers = [Writer(f"writer-{i}", addresses, i) for i in range(WRITERS)]
        self.readers = {id: LeaseReader(member) for id, member in cluster.members.items()}

    def __enter__(self) -> Trial:
        self.panel.await_whole()
        for one in (*self.writers, *self.readers.values()):
            one.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        for one in (*self.writers, *self.readers.values()):
            one.close()
        self.panel.close()

    def leader(self) -> Member:
        """The leader of a whole cluster, at a moment that chance chooses."""
        self.panel.await_whole()
        time.sleep(self.random.uniform(0.2, 0.4))
        return self.cluster.members[self.panel.await_whole()]

    def bring_back(self, member: Member) -> None:
        self.panel.forget(member.id)
        self.cluster.start([member.id])
        time.sleep(PROMISE_S)

    # ---- killed

    def kill(self) -> dict[str, Any]:
        old = self.leader()
        at_ns = self.cluster.kill(old)
        # What the dead process had answered may still be on its way; no successor can be there so soon.
        heard_ns = now_ns() + int(MEMBER_DOWN_S * 1e9)
        write_ns = self.first_write(heard_ns)
        read_ns, new = self.first_lease_read(heard_ns, old.id)
        own_ns = [
            self.until("every client was served", partial(one.served.first_after, heard_ns)) for one in self.writers
        ]
        elected_ns, term = elected(self.cluster.members[new])
        assert elected_ns > at_ns, "served by nobody who was elected since"
        self.bring_back(old)
        return {
            "old": old.id,
            "new": new,
            "term": term,
            # a thread of Python's notes that, when it gets its turn
            "elected_ms": (min(elected_ns, write_ns, read_ns) - at_ns) / 1e6,
            "write_ms": (write_ns - at_ns) / 1e6,
            "lease_read_ms": (read_ns - at_ns) / 1e6,
            "slowest_client_ms": (max(own_ns) - at_ns) / 1e6,
        }

    def first_write(self, after_ns: int) -> int:
        def first() -> int | None:
            found = [ns for one in self.writers if (ns := one.served.first_after(after_ns)) is not None]
            return min(found, default=None)

        self.until("a write was acknowledged", first)
        time.sleep(0.01)  # whoever was served at the same moment has noted it by now
        return self.until("a write was acknowledged", first)

    def first_lease_read(self, after_ns: int, not_by: int) -> tuple[int, int]:
        def first() -> tuple[int, int] | None:
            found = [
                (ns, id)
                for id, one in self.readers.items()
                if id != not_by and (ns := one.served.first_after(after_ns)) is not None
            ]
            return min(found, default=None)

        return self.until("a read was served under a lease", first)

    @staticmethod
    def until(what: str, answer: Any) -> Any:
        end = time.monotonic() + LIMIT_S
        while (found := answer()) is None:
            if time.monotonic() > end:
                raise TimeoutError(f"not within {LIMIT_S:g} s: {what}")
            time.sleep(0.005)
        return found

    # ---- asked

    def stop(self) -> dict[str, Any]:
        old = self.leader()
        found = self.gaps(old, lambda: self.cluster.terminate(old))
        self.bring_back(old)
        return found

    def transfer(self) -> dict[str, Any]:
        old = self.leader()
        target = self.random.choice([id for id in self.cluster.members if id != old.id])
        admin = AdminClient([old.admin])

        def hand_over() -> int:
            at_ns = now_ns()
            admin.post("/v1/transfer-leader", {"target": target})
            return at_ns

        return self.gaps(old, hand_over)

    def gaps(self, old: Member, act: Any) -> dict[str, Any]:
        """The longest pauses around `act`, which returns the instant at which it began."""
        at_ns = act()
        took_ms = (now_ns() - at_ns) / 1e6
        read_ns, new = self.first_lease_read(at_ns, old.id)
        time.sleep(AFTER_S)
        from_ns, to_ns = at_ns - 100_000_000, read_ns + 400_000_000
        writes = [one.served.between(from_ns, to_ns) for one in self.writers]
        reads = sorted(ns for one in self.readers.values() for ns in one.served.between(from_ns, to_ns))
        return {
            "old": old.id,
            "new": new,
            "took_ms": took_ms,
            "write_ms": longest_ms(sorted(ns for one in writes for ns in one), to_ns),
            "lease_read_ms": longest_ms(reads, to_ns),
            "slowest_client_ms": max(longest_ms(one, to_ns) for one in writes),
        }


def longest_ms(instants: list[int], to_ns: int) -> float:
    """The longest time without an answer."""
    return max(later - earlier for earlier, later in pairwise([*instants, to_ns])) / 1e6


def elected(member: Member) -> tuple[int, int]:
    """When the member came to lead, and its term."""
    report = ask_status(member.admin)
    events = [event for event in report["events"] if event["event"] == "role" and event["state"] == "leader"]
    return events[-1]["at_ns"], events[-1]["term"]


def measure(turns: dict[str, int], *, seed: int, directory: Path, say: Any = print) -> dict[str, list[dict[str, Any]]]:
    """Every turn of every kind, in order."""
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in turns}
    with DemoCluster(directory, rate=None) as cluster:
        cluster.start()
        with Trial(cluster, seed) as trial:
            for kind, count in turns.items():
                for turn in range(count):
                    one = getattr(trial, kind)()
                    found[kind].append(one)
                    told = ", ".join(f"{name} {value:.1f}" for name, value in one.items() if name.endswith("_ms"))
                    say(f"{kind} {turn + 1}/{count}: {one['old']} -> {one['new']}, {told}")
            refusals = {one._thread.name: one.refusals for one in (*trial.writers, *trial.readers.values())}
            say(f"refusals met by the clients: {json.dumps(refusals)}")
    return found


def judge(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """One row for each quantity, with its goals and whether they are met."""
    rows = []
    for kind, turns in found.items():
        for name in ("elected_ms", "write_ms", "lease_read_ms", "slowest_client_ms"):
            values = [turn[name] for turn in turns if name in turn]
            if not values:
                continue
            goals = GOALS[kind] if name in ("write_ms", "lease_read_ms") else {}
            row = {"kind": kind, "what": name, **spread(values), "goals": goals}
            row["met"] = all(row[point] <= goal for point, goal in goals.items())
            rows.append(row)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--stops", type=int, default=None, help="as many as kills if not given")
    parser.add_argument("--transfers", type=int, default=None, help="as many as kills if not given")
    parser.add_argument("--seed", type=int, default=1, help="for the moments and the targets")
    parser.add_argument("--json", type=Path, help="write every turn and the rows here")
    parser.add_argument("--directory", type=Path, help="where the members live; a temporary folder if not given")
    arguments = parser.parse_args()
    turns = {"kill": arguments.kills}
    turns["stop"] = arguments.kills if arguments.stops is None else arguments.stops
    turns["transfer"] = arguments.kills if arguments.transfers is None else arguments.transfers
    with contextlib.ExitStack() as stack:
        directory = arguments.directory
        if directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tenure-failover-")))
        directory.mkdir(parents=True, exist_ok=True)
        found = measure(turns, seed=arguments.seed, directory=directory)
    rows = judge(found)
    print(f"{'':9} {'milliseconds':18} {'turns':>5} {'p50':>8} {'p99':>8} {'max':>8}  goals")
    for row in rows:
        goals = ", ".join(f"{point} <= {goal:g}" for point, goal in row["goals"].items())
        verdict = "" if not goals else f"{goals}: {'met' if row['met'] else 'MISSED'}"
        print(
            f"{row['kind']:9} {row['what'][:-3]:18} {row['count']:>5} {row['p50']:>8.1f} {row['p99']:>8.1f} "
            f"{row['max']:>8.1f}  {verdict}"
        )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"turns": found, "rows": rows}, indent=1), encoding="utf-8")
    return 0 if all(row["met"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
