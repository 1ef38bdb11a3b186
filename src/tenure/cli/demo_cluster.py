"""Three members as three processes, and what they say of themselves: the stage of `tenure demo`.

`DemoCluster` owns the processes and their directories; `Watch` asks every member's admin endpoint ten times a second,
each from a thread of its own, so that one which does not answer keeps nobody waiting. All instants are of the lease
clock, which all processes of one machine share.
"""

from __future__ import annotations

import contextlib
import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Self

from tenure._core.clock import now_ns
from tenure.admin.client import ask_status
from tenure.errors import TenureError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["MEMBERS", "DemoCluster", "DemoFailure", "Member", "Watch"]

MEMBERS = (1, 2, 3)
READY_S = 30.0
STOP_S = 15.0
ASK_EVERY_S = 0.1
ASK_S = 0.5
SILENT_NS = 400_000_000
PORTS = range(20_000, 32_000)


class DemoFailure(Exception):
    """The demo cannot go on; the message says why."""


@dataclass
class Member:
    """One process of the demo, and the last that was heard of it."""

    id: int
    peer: str
    admin: str
    redis: str
    log_path: Path
    process: subprocess.Popen[str] | None = None
    report: dict[str, Any] = field(default_factory=dict)
    heard_ns: int = 0
    paused: bool = False

    @property
    def lease_expiry_ns(self) -> int:
        """When the lease of the last report ends; 0 without one."""
        remaining = self.report.get("lease_remaining_ns", 0)
        return self.report["lease_clock_ns"] + remaining if remaining else 0

    @property
    def lease_left_ns(self) -> int:
        """What is left now of the lease of the last report."""
        return max(0, self.lease_expiry_ns - now_ns())

    @property
    def state(self) -> str:
        """What it does, as far as this process knows."""
        if self.paused:
            return "stopped"
        if self.process is None or self.process.poll() is not None:
            return "down"
        if not self.report or now_ns() - self.heard_ns > SILENT_NS:
            return "silent"
        return str(self.report["state"])

    @property
    def leads(self) -> bool:
        """Whether it says that it leads."""
        return self.state == "leader"


class DemoCluster:
    """The processes. One thread uses it."""

    def __init__(self, directory: Path, *, rate: float | None, config: Mapping[str, float | str] | None = None) -> None:
        """Prepare `directory`.

        Args:
            directory: where the members keep what is theirs, each in a folder of its own.
            rate: the load that each leader makes on itself; None: none.
            config: settings of the members, by the names that the file knows; the defaults otherwise.
        """
        self.directory = directory
        self._rate = rate
        ports = iter(free_ports(9))
        self.members = {
            id: Member(
                id=id,
                peer=f"127.0.0.1:{next(ports)}",
                admin=f"127.0.0.1:{next(ports)}",
                redis=f"127.0.0.1:{next(ports)}",
                log_path=directory / f"member-{id}.log",
            )
            for id in MEMBERS
        }
        self.file = directory / "cluster.toml"
        lines = ['cluster = "demo"']
        for one in self.members.values():
            lines += ["", f"[members.{one.id}]", f'peer = "{one.peer}"', f'admin = "{one.admin}"']
            lines.append(f'redis = "{one.redis}"')
            lines.append(f"directory = {json.dumps(str(directory / f'member-{one.id}'))}")
        lines += ["", "[config]", *(f"{name} = {json.dumps(value)}" for name, value in (config or {}).items())]
        self.file.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def start(self, ids: Iterable[int] = MEMBERS) -> None:
        """Start members and wait until they listen."""
        started = [self._spawn(self.members[id]) for id in ids]
        deadline = time.monotonic() + READY_S
        for member, ready in started:
            if not ready.wait(max(0.0, deadline - time.monotonic())) or not member.report:
                raise DemoFailure(f"member {member.id} did not start:\n{self.last_words(member)}")

    def _spawn(self, member: Member) -> tuple[Member, threading.Event]:
        command = [sys.executable, "-m", "tenure.cli", "serve", str(self.file), "--id", str(member.id)]
        command += ["--until-input-ends"]
        if self._rate is not None:
            command += ["--exercise", str(self._rate)]
        with member.log_path.open("a", encoding="utf-8") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C is for the demo, which stops its members in order
            )
        member.process, member.paused, member.report = process, False, {}
        ready = threading.Event()
        assert process.stdout is not None
        threading.Thread(target=read_ready_line, args=(member, process.stdout, ready), daemon=True).start()
        return member, ready

    def pause(self, member: Member) -> int:
        """Stop a member in its tracks; returns the instant before."""
        at_ns = now_ns()
        self._signal(member, signal.SIGSTOP)
        member.paused = True
        return at_ns

    def resume(self, member: Member) -> int:
        """Let a paused member run on; returns the instant before."""
        at_ns = now_ns()
        self._signal(member, signal.SIGCONT)
        member.paused = False
        return at_ns

    def kill(self, member: Member) -> int:
        """End a member without any warning; returns the instant before."""
        at_ns = now_ns()
        self._signal(member, signal.SIGKILL)
        assert member.process is not None
        member.process.wait(STOP_S)
        close_pipes(member)
        return at_ns

    def terminate(self, member: Member) -> int:
        """Ask a member to stop, and wait until it has; returns the instant before."""
        at_ns = now_ns()
        self._signal(member, signal.SIGTERM)
        assert member.process is not None
        member.process.wait(STOP_S)
        close_pipes(member)
        return at_ns

    def end_load(self) -> None:
        """Have every member stop making load on itself."""
        for member in self.members.values():
            self._signal(member, signal.SIGUSR1)

    def unexpected_end(self) -> Member | None:
        """A member whose process ended although nobody asked for it."""
        for member in self.members.values():
            if member.process is not None and member.process.poll() is not None:
                return member
        return None

    def stop(self) -> dict[int, int | None]:
        """Stop every member gracefully, and hard when that takes too long; the exit codes of those that ran."""
        running = {m.id: m.process for m in self.members.values() if m.process is not None and m.process.poll() is None}
        for id, process in running.items():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
                process.send_signal(signal.SIGCONT)
            self.members[id].paused = False
        deadline = time.monotonic() + STOP_S
        codes: dict[int, int | None] = {}
        for id, process in running.items():
            try:
                codes[id] = process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_S)
                codes[id] = None
        for member in self.members.values():
            close_pipes(member)
        return codes

    def last_words(self, member: Member, lines: int = 8) -> str:
        """The end of a member's log."""
        with contextlib.suppress(OSError):
            return "\n".join(member.log_path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
        return ""

    def _signal(self, member: Member, number: signal.Signals) -> None:
        if member.process is not None and member.process.poll() is None:
            member.process.send_signal(number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.stop()


def close_pipes(member: Member) -> None:
    """Let go of the pipes to a process that has ended."""
    if member.process is not None:
        for pipe in (member.process.stdin, member.process.stdout):
            if pipe is not None:
                pipe.close()


def read_ready_line(member: Member, stream: IO[str], ready: threading.Event) -> None:
    """Wait for the one line that a member writes."""
    with contextlib.suppress(ValueError, OSError):
        line = stream.readline()
        if line:
            # Not the rest of the line: what it calls `redis` is an address, what a report calls so are counters.
            member.report = {"state": "follower", "lease_clock_ns": now_ns(), "pid": json.loads(line)["pid"]}
            member.heard_ns = now_ns()
    ready.set()


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody listens on now.

    They lie below those that the kernel gives to outgoing connections: while a member is down, no connection may take
    its port, least of all a connection to that very port, which would then talk to itself.
    """
    with contextlib.ExitStack() as stack:
        found: list[int] = []
        for port in random.sample(PORTS, len(PORTS)):
            one = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                one.bind(("127.0.0.1", port))
                found.append(port)
            if len(found) == count:
                return found
    raise DemoFailure("there are no free ports")


class Watch:
    """Asks the members, until it is closed."""

    def __init__(self, cluster: DemoCluster) -> None:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._follow, args=(member,), name=f"watch-{member.id}", daemon=True)
            for member in cluster.members.values()
        ]
        for thread in self._threads:
            thread.start()

    def _follow(self, member: Member) -> None:
        while not self._stop.wait(ASK_EVERY_S):
            ask(member)

    def close(self) -> None:
        """Ask no more."""
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * ASK_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.close()


def ask(member: Member) -> bool:
    """Ask one member; whether it answered."""
    if member.paused or member.process is None or member.process.poll() is not None:
        return False
    try:
        report = ask_status(member.admin, timeout=ASK_S)
    except (TenureError, OSError):
        return False
    if report.get("pid") == member.process.pid and "term" in report and not member.paused:
        member.report, member.heard_ns = report, now_ns()
    return True
