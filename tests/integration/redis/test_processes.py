"""Three members in three processes, one of them killed under its clients."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .cluster import free_port, wait_until
from .wire import Error, Status, Wire

CHILD = Path(__file__).parents[3] / "benchmarks" / "resp.py"


class Process:
    def __init__(self, **arguments: object) -> None:
        Path(str(arguments["directory"])).mkdir()
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD), "--member", json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def leads(self) -> bool:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return bool(json.loads(self.process.stdout.readline())["leads"])

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.mark.timeout(120)
def test_a_killed_leader(tmp_path: Path, io_threads: int) -> None:
    ports = {id: free_port() for id in (1, 2, 3)}
    common = {"ports": ports, "fsync": True, "io_threads": io_threads}
    members = [Process(directory=str(tmp_path / str(id)), id=id, **common) for id in ports]
    try:
        leader = wait_until(lambda: next((m for m in members if m.leads()), None))
        follower, other = (m for m in members if m is not leader)
        with Wire(leader.port) as first, Wire(follower.port) as second:
            assert first.call("SET", "a", 1) == Status(b"OK")
            assert second.call("GET", "a") == b"1"
            acknowledged = unknown = 0
            for i in range(1000):
                reply = second.call("INCR", "n")
                acknowledged += not isinstance(reply, Error)
                unknown += isinstance(reply, Error) and bytes(reply).startswith(b"UNKNOWN")
                if i == 100:
                    leader.end()
                if isinstance(reply, Error):
                    time.sleep(0.02)
                elif i > 110 and acknowledged > 200:
                    break
            new = wait_until(lambda: next((m for m in (follower, other) if m.leads()), None))
            assert acknowledged > 200
            with Wire(new.port) as third:
                assert acknowledged <= int(third.call("GET", "n") or 0) <= acknowledged + unknown
                assert third.call("GET", "a") == b"1"
    finally:
        for one in members:
            one.end()
