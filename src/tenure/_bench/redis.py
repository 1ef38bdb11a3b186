"""The Redis front end of a live leader beside a stand-alone Redis or Valkey server, asked by the same client in turn.

Everything here is optional: without a server, or without `redis-benchmark` (or `valkey-benchmark`), `missing` says what
is not there and nothing is measured.
"""

from __future__ import annotations

import csv
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from tenure._bench.results import Finding, Goal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Load", "ask", "compare", "compare_among_writes", "missing", "program", "stand_alone"]

START_LIMIT_S = 5.0
LOAD_LIMIT_S = 30.0
CLIENTS = 50
WRITERS_BEGIN_S = 0.1


@dataclass(frozen=True, slots=True)
class Load:
    """How hard the client tries: requests a round, one at a time and 16; after the limit no second round is begun."""

    requests: int
    pipelined_requests: int
    rounds: int
    limit_s: float


def program(name: str) -> str | None:
    """`redis-NAME`, or else `valkey-NAME`."""
    return shutil.which(f"redis-{name}") or shutil.which(f"valkey-{name}")


def missing() -> str | None:
    """What is needed and not there."""
    gone = [f"redis-{name}" for name in ("server", "benchmark") if program(name) is None]
    return f"Redis side by side: {' and '.join(gone)} not found" if gone else None


@contextmanager
def stand_alone(directory: Path) -> Iterator[int]:
    """A server that keeps everything in memory and nothing on disk, on a port of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    server = program("server")
    assert server is not None
    command = [
        server,
        "--bind",
        "127.0.0.1",
        "--port",
        str(port),
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        str(directory),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise RuntimeError(f"{server} did not start") from None
                time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def line_of(port: int, command: str, requests: int, pipeline: int, clients: int) -> list[str]:
    client = program("benchmark")
    assert client is not None
    return [
        client, "-h", "127.0.0.1", "-p", str(port), "-c", str(clients), "-n", str(requests), "-P", str(pipeline),
        "-r", "100000", "-d", "64", "-t", command, "--csv",
    ]  # fmt: skip


def ask(port: int, command: str, requests: int, pipeline: int, clients: int = CLIENTS) -> tuple[float, float]:
    """(requests a second, p99 in milliseconds) as the client itself reports them."""
    line = line_of(port, command, requests, pipeline, clients)
    client = line[0]
    done = subprocess.run(line, capture_output=True, text=True, timeout=LOAD_LIMIT_S, check=False)
    rows = list(csv.reader(done.stdout.splitlines()))
    if done.returncode != 0 or len(rows) < 2 or "error" in done.stderr.lower():
        raise RuntimeError(f"{client} against port {port}: {done.stderr.strip() or done.stdout.strip()[:200]}")
    found = dict(zip(rows[0], rows[-1], strict=True))
    return float(found["rps"]), float(found["p99_latency_ms"])


def ask_among_writes(port: int, requests: int) -> float:
    """p99 of GET in milliseconds while as many other clients write without pause."""
    half = CLIENTS // 2
    writers = subprocess.Popen(
        line_of(port, "set", 1_000 * requests, 1, half), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(WRITERS_BEGIN_S)
        if writers.poll() is not None:
            raise RuntimeError(f"the writers at port {port} have given up")
        return ask(port, "get", requests, 1, half)[1]
    finally:
        writers.kill()
        writers.wait()


def compare_among_writes(port: int, peer_port: int, load: Load) -> Finding:
    """p99 of GET while half of the clients write."""
    end = time.monotonic() + load.limit_s / 2
    turns: list[tuple[float, float]] = []
    while len(turns) < load.rounds and (not turns or time.monotonic() < end):
        turns.append((ask_among_writes(peer_port, load.requests), ask_among_writes(port, load.requests)))
    return Finding(
        f"Redis GET p99, half of {CLIENTS} clients write",
        median(ours for _, ours in turns),
        "ms",
        reference=median(theirs for theirs, _ in turns),
        reference_name="stand-alone server",
        note="as the client rounds it; here the writes are durable on two disks, there in memory",
    )


def compare(port: int, peer_port: int, load: Load) -> Iterator[Finding]:
    """SET and GET of the leader at `port` against the stand-alone server at `peer_port`, in turn.

    SET comes first and fills both.
    """
    end = time.monotonic() + load.limit_s
    for command, pipeline, floor in (("set", 16, None), ("set", 1, None), ("get", 1, 0.9), ("get", 16, 0.6)):
        requests = load.requests if pipeline == 1 else load.pipelined_requests
        if (command, pipeline) == ("get", 1):
            requests *= 3  # the client reports thousandths of seconds, and these are many a second
        ours: list[tuple[float, float]] = []
        theirs: list[tuple[float, float]] = []
        for turn in range(load.rounds):
            if turn and time.monotonic() > end:
                break
            theirs.append(ask(peer_port, command, requests, pipeline))
            ours.append(ask(port, command, requests, pipeline))
        yield Finding(
            f"Redis {command.upper()}, {CLIENTS} clients" + (f", {pipeline} at a time" if pipeline > 1 else ""),
            median(rate for rate, _ in ours),
            "requests/s",
            reference=median(rate for rate, _ in theirs),
            reference_name="stand-alone server",
            goal=None if floor is None else Goal("ratio", ">=", 1.0),
            floor=None if floor is None else Goal("ratio", ">=", floor),
            note=f"p99 {median(p99 for _, p99 in ours):g} ms, stand-alone {median(p99 for _, p99 in theirs):g} ms"
            + ("" if command == "get" else "; here each is durable on two disks, there in memory"),
        )
