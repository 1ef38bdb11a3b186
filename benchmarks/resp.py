"""Redis clients: a member's leader against redis-server, and what parsing costs by itself.

Rounds are interleaved, so that whatever else the machine does falls on both sides; what counts is the median of the
ratios. Every GET on the member's side is counted as a lease hit, or the run says that it was not.

    python benchmarks/resp.py [--members 3] [--rounds 5] [--fsync] [--io-threads N]
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLUSTER_ID = b"resp-benchmark--"
CASES = {
    "GET -c 50": (["-c", "50", "-t", "get", "-n", "100000"], 0.9),
    "GET -c 50 -P 16": (["-c", "50", "-P", "16", "-t", "get", "-n", "500000"], 0.6),
    "SET -c 50": (["-c", "50", "-t", "set", "-n", "50000"], None),
    "SET -c 50 -P 16": (["-c", "50", "-P", "16", "-t", "set", "-n", "200000"], None),
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def member(arguments: dict) -> None:
    """One member as a process of its own: prints its Redis port, then whatever is asked of it."""
    from tenure._host.core import HostCore
    from tenure._kv.machine import KeyValueMachine

    core = HostCore(
        KeyValueMachine(),
        directory=arguments["directory"],
        cluster_id=CLUSTER_ID,
        member_id=arguments["id"],
        addresses={int(id): (b"127.0.0.1", port) for id, port in arguments["ports"].items()},
        voters=tuple(int(id) for id in arguments["ports"]),
        learners=(),
        options={
            "redis_listen": (b"127.0.0.1", 0),
            "fsync": arguments["fsync"],
            **({"redis_io_threads": arguments["io_threads"]} if arguments.get("io_threads") else {}),
        },
    )
    core.start()
    print(core.redis_port, flush=True)
    for _ in sys.stdin:
        leads = core.fence.try_lease_read() is not None
        print(json.dumps({"leads": leads, **core.redis_gauges()}), flush=True)
    core.close(True)


class Process:
    def __init__(self, **arguments) -> None:
        Path(arguments["directory"]).mkdir()
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--member", json.dumps(arguments)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.port = int(self.process.stdout.readline())

    def ask(self) -> dict:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def requests_per_second(port: int, arguments: list[str]) -> float:
    done = subprocess.run(
        ["redis-benchmark", "-p", str(port), "-r", "100000", "-d", "64", "--csv", *arguments],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(done.stdout.splitlines()[1].split('"')[3])


def parse_cost() -> float:
    """Nanoseconds for one GET in a run of many, Python's share included."""
    from tenure._net.resp import RequestParser

    data = b"*2\r\n$3\r\nGET\r\n$16\r\nkey:000000012345\r\n" * 1000
    parser = RequestParser()
    best = float("inf")
    for _ in range(200):
        begin = time.perf_counter_ns()
        parser.feed(data)
        best = min(best, time.perf_counter_ns() - begin)
    return best / 1000


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--member")
    options.add_argument("--members", type=int, default=3)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--fsync", action="store_true")
    options.add_argument("--io-threads", type=int, default=0)
    given = options.parse_args()
    if given.member:
        member(json.loads(given.member))
        return
    if shutil.which("redis-benchmark") is None or shutil.which("redis-server") is None:
        sys.exit("redis-server and redis-benchmark are needed")
    print(f"parse and make Python objects of a GET: {parse_cost():.0f} ns")
    with tempfile.TemporaryDirectory() as directory:
        ports = {id: free_port() for id in range(1, given.members + 1)}
        common = {"ports": ports, "fsync": given.fsync, "io_threads": given.io_threads}
        members = [Process(directory=f"{directory}/{id}", id=id, **common) for id in ports]
        theirs = free_port()
        server = subprocess.Popen(
            ["redis-server", "--port", str(theirs), "--save", "", "--appendonly", "no"],
            stdout=subprocess.DEVNULL, cwd=directory,
        )  # fmt: skip
        try:
            while not (leaders := [m for m in members if m.ask()["leads"]]):
                time.sleep(0.05)
            for port in (leaders[0].port, theirs):
                requests_per_second(port, ["-t", "set", "-n", "200000", "-P", "16"])
            results = {name: [] for name in CASES}
            for _ in range(given.rounds):
                for name, (arguments, _goal) in CASES.items():
                    pair = [requests_per_second(port, arguments) for port in (leaders[0].port, theirs)]
                    results[name].append(pair)
            for name, pairs in results.items():
                ratio = statistics.median(a / b for a, b in pairs)
                ours, his = (statistics.median(column) for column in zip(*pairs, strict=True))
                goal = CASES[name][1]
                verdict = "" if goal is None else f"  goal {goal}: {'met' if ratio >= goal else 'MISSED'}"
                print(f"{name:18} {ours:10.0f}/s  redis-server {his:10.0f}/s  ratio {ratio:.2f}{verdict}")
            counts = leaders[0].ask()
            print(f"lease hits {counts['lease_hits']}, misses {counts['lease_misses']}, writes {counts['writes']}")
        finally:
            server.terminate()
            server.wait()
            for one in members:
                one.close()


if __name__ == "__main__":
    main()
