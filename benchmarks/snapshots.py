"""What snapshots cost and what they bound: `python benchmarks/snapshots.py [writes]`.

First, many writes to three members with the defaults: how far the entries in memory, the segments of the log and the
snapshot files grow. Then the latency of one caller's writes to one member that holds many keys, in turns with a dump
always running and with none at all: the difference is what the loop loses to the snapshot thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tenure._kv.codec import encode_mset, encode_set
from tenure._kv.machine import KeyValueMachine
from tenure.config import Config
from tenure.engine import NativeEngine, State

CLUSTER_ID = bytes(16)
KEYS = 300_000


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def cluster(folder: Path, size: int, config: Config) -> tuple[list[NativeEngine], list[KeyValueMachine]]:
    folder.mkdir(exist_ok=True)
    members = {id: f"127.0.0.1:{port}" for id, port in enumerate(free_ports(size), 1)}
    machines = [KeyValueMachine() for _ in members]
    engines = [
        NativeEngine(
            machine, directory=folder / str(id), cluster_id=CLUSTER_ID, member_id=id, members=members, config=config
        )
        for id, machine in zip(members, machines, strict=True)
    ]
    return engines, machines


def leader_of(engines: list[NativeEngine]) -> NativeEngine:
    while True:
        for engine in engines:
            if engine.state is State.LEADER and engine.try_lease_read() is not None:
                return engine
        time.sleep(0.01)


def bounds(writes: int) -> None:
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        engines, machines = cluster(folder, 3, Config(segment_bytes=4 << 20))
        leader = leader_of(engines)
        most_entries = most_segments = most_snapshots = 0

        async def run() -> None:
            nonlocal most_entries, most_segments, most_snapshots
            for begin in range(0, writes, 1000):
                await asyncio.gather(
                    *[
                        leader.aio.propose(
                            encode_set(b"key%06d" % (n % 20_000), bytes(100), hint_ts=n << 16), timeout=30
                        )
                        for n in range(begin, min(begin + 1000, writes))
                    ]
                )
                for engine in engines:
                    status = engine.status()
                    most_entries = max(most_entries, status.last_index - status.first_index + 1)
                for id in (1, 2, 3):
                    names = [path.name for path in (folder / str(id)).iterdir()]
                    most_segments = max(most_segments, sum(name.startswith("wal-") for name in names))
                    most_snapshots = max(most_snapshots, sum(name.startswith("snap") for name in names))

        began = time.monotonic()
        asyncio.run(run())
        spent = time.monotonic() - began
        while len({engine.status().applied_index for engine in engines}) > 1:
            time.sleep(0.01)
        equal = len({machine.state_hash for machine in machines}) == 1
        counters = leader.status().counters
        print(
            f"{writes} writes, three members, {spent:.1f} s: at most {most_entries} entries in memory, "
            f"{most_segments} segments of 4 MiB, {most_snapshots} snapshot files; {counters['snapshots']} snapshots, "
            f"{counters['snapshots_failed']} failed; equal state: {equal}; "
            f"longest pass {counters['longest_pass_ns'] / 1e6:.1f} ms"
        )
        for engine in engines:
            engine.close()


def latencies(engine: NativeEngine, count: int, first: int) -> list[float]:
    spent = []
    for number in range(first, first + count):
        command = encode_set(b"key%06d" % (number * 7919 % KEYS), bytes(200), hint_ts=number << 16)
        began = time.perf_counter_ns()
        engine.propose(command, timeout=30)
        spent.append((time.perf_counter_ns() - began) / 1e3)
    return spent


def tell(name: str, spent: list[float]) -> None:
    ordered = sorted(spent)
    points = [statistics.median(ordered), *(ordered[int(len(ordered) * share)] for share in (0.99, 0.999)), ordered[-1]]
    print(
        f"{name:>12}: p50 {points[0]:.0f} us, p99 {points[1]:.0f} us, "
        f"p99.9 {points[2]:.0f} us, longest {points[3]:.0f} us"
    )


def pauses() -> None:
    with tempfile.TemporaryDirectory(dir=".") as name:
        engines, _ = cluster(Path(name) / "with", 1, Config(snapshot_every=20))
        others, _ = cluster(Path(name) / "without", 1, Config(snapshot_every=0))
        for engine in (leader_of(engines), leader_of(others)):
            for begin in range(0, KEYS, 1000):
                pairs = [(b"key%06d" % n, bytes(200)) for n in range(begin, begin + 1000)]
                engine.propose(encode_mset(pairs, hint_ts=1), timeout=30)
        with_dump: list[float] = []
        without: list[float] = []
        for round_ in range(6):
            without += latencies(others[0], 1000, 1 + 1000 * round_)
            with_dump += latencies(engines[0], 1000, 1 + 1000 * round_)
        counters = engines[0].status().counters
        print(
            f"one caller's durable writes, {KEYS} keys; a dump of {counters['snapshot_bytes'] / 1e6:.0f} MB takes "
            f"{counters['snapshot_ns'] / 1e6:.0f} ms, {counters['snapshots']} were taken"
        )
        tell("no dump", without)
        tell("with dumps", with_dump)
        for engine in (*engines, *others):
            print(f"longest pass {engine.status().counters['longest_pass_ns'] / 1e6:.1f} ms")
            engine.close()


if __name__ == "__main__":
    bounds(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
    pauses()
