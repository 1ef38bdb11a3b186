"""Durable writes through a live leader's front end beside three members of etcd, each over its own protocol, in turn.

Both clusters stand on the same machine and the same disk, sync every write on a quorum before they answer, and are
asked by a client written in C with as many connections: etcd by `wrk` over its keys API of HTTP, the cheapest way in
that needs no gRPC; tenure by `redis-benchmark`. Everything here is optional: `missing` says what is not there.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import TYPE_CHECKING

from tenure._bench import redis
from tenure._bench.live import KEY_SPACE, free_ports
from tenure._bench.results import Finding, Goal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["compare", "missing", "three_members"]

START_LIMIT_S = 8.0
LOAD_LIMIT_S = 30.0
CLIENTS = 64

PUT = """
local value = "value=" .. string.rep("v", %d)
local headers = {["Content-Type"] = "application/x-www-form-urlencoded"}
request = function()
  return wrk.format("PUT", "/v2/keys/key:" .. math.random(0, %d), headers, value)
end
"""


def missing() -> str | None:
    """What is needed and not there."""
    gone = [name for name in ("etcd", "wrk") if shutil.which(name) is None]
    if redis.program("benchmark") is None:
        gone.append("redis-benchmark")
    return f"etcd side by side: {' and '.join(gone)} not found" if gone else None


def leads(port: int) -> bool:
    """Whether the member whose clients come to `port` is there and leads."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/stats/self", timeout=1) as answer:
            return bool(json.load(answer)["state"] == "StateLeader")
    except (OSError, urllib.error.HTTPError, ValueError):
        return False


@contextmanager
def three_members(directory: Path) -> Iterator[int]:
    """A cluster of etcd with its directories in `directory`; gives the leader's port."""
    ports = free_ports(6)
    clients, peers = ports[:3], ports[3:]
    cluster = ",".join(f"m{i}=http://127.0.0.1:{port}" for i, port in enumerate(peers))
    with ExitStack() as stack:
        for i in range(3):
            command = [
                "etcd", "--name", f"m{i}", "--data-dir", str(directory / f"etcd-{i}"), "--enable-v2",
                "--listen-peer-urls", f"http://127.0.0.1:{peers[i]}",
                "--initial-advertise-peer-urls", f"http://127.0.0.1:{peers[i]}",
                "--listen-client-urls", f"http://127.0.0.1:{clients[i]}",
                "--advertise-client-urls", f"http://127.0.0.1:{clients[i]}",
                "--initial-cluster", cluster, "--initial-cluster-state", "new",
            ]  # fmt: skip
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(end, process)
        deadline = time.monotonic() + START_LIMIT_S
        while (leader := next(filter(leads, clients), None)) is None:
            if time.monotonic() > deadline:
                raise RuntimeError(f"no member of etcd leads after {START_LIMIT_S:g} s")
            time.sleep(0.05)
        yield leader


def end(process: subprocess.Popen[bytes]) -> None:
    """Its data is thrown away: nothing is lost by force."""
    process.kill()
    process.wait()


def put(port: int, seconds: float, script: Path) -> tuple[float, float]:
    """(writes a second, p99 in milliseconds) as the client itself reports them."""
    line = ["wrk", "-t1", f"-c{CLIENTS}", f"-d{max(1, round(seconds))}s", "--latency", "-s", str(script)]
    line.append(f"http://127.0.0.1:{port}")
    done = subprocess.run(line, capture_output=True, text=True, timeout=LOAD_LIMIT_S, check=False)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", done.stdout)
    if done.returncode or rate is None or p99 is None or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise RuntimeError(f"wrk against etcd: {done.stderr.strip() or done.stdout.strip()}")
    return float(rate[1]), float(p99[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[p99[2]]


def compare(port: int, peer_port: int, directory: Path, load: redis.Load, payload_bytes: int) -> Finding:
    """SET of the leader at `port` against PUT of etcd's at `peer_port`, in turn, each write durable on a quorum."""
    script = directory / "put.lua"
    script.write_text(PUT % (payload_bytes, KEY_SPACE - 1))
    ours: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []
    for _ in range(min(load.rounds, 2)):
        theirs.append(put(peer_port, 1.0, script))
        ours.append(redis.ask(port, "set", 2 * load.requests, 1, clients=CLIENTS))
    return Finding(
        f"durable SET, {CLIENTS} clients",
        median(rate for rate, _ in ours),
        "writes/s",
        reference=median(rate for rate, _ in theirs),
        reference_name="etcd, three members",
        goal=Goal("ratio", ">=", 5.0),
        note=f"p99 {median(p99 for _, p99 in ours):.3g} ms, etcd {median(p99 for _, p99 in theirs):.3g} ms; "
        "Redis protocol against HTTP",
    )
