"""`tenure` commands as real processes, every wait bounded."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tenure.admin import ask_status
from tenure.errors import TenureError

TENURE = [sys.executable, "-m", "tenure.cli"]
FAST = {"tick_s": 0.01, "heartbeat_s": 0.03, "election_timeout_s": 0.3}


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def environment() -> dict[str, str]:
    import tenure

    return os.environ | {"PYTHONPATH": str(Path(tenure.__file__).parent.parent), "COLUMNS": "140"}


def plain() -> dict[str, str]:
    """The environment of a program that is not ours: `ps` and others hang with a sanitizer's library in them."""
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


def tenure(*arguments: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TENURE, *arguments], capture_output=True, text=True, timeout=timeout, env=environment(), check=False
    )


class Served:
    """One `tenure serve`."""

    def __init__(self, *arguments: str, log: Path) -> None:
        self.log = log
        with log.open("a") as stream:
            self.process = subprocess.Popen(
                [*TENURE, "serve", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                text=True,
                env=environment(),
            )
        self.ready = json.loads(self._line(20))
        self.admin = self.ready["admin"]

    def _line(self, seconds: float) -> str:
        readable, _, _ = select.select([self.process.stdout], [], [], seconds)
        line = self.process.stdout.readline() if readable else ""
        if not line:
            self.process.kill()
            raise AssertionError(f"not ready:\n{self.log.read_text()}")
        return line

    def status(self) -> dict:
        return ask_status(self.admin, timeout=5)

    def end(self, number: signal.Signals = signal.SIGTERM, seconds: float = 10) -> int:
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def clean_up(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(10)
        self.process.stdin.close()
        self.process.stdout.close()


def wait_until(condition, what: str, seconds: float = 15):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(TenureError, OSError):
            found = condition()
            if found:
                return found
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {seconds} s")
