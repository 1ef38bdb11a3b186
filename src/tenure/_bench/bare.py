"""The skeleton as three processes: a leader with a caller, and two followers."""

from __future__ import annotations

import os
import socket
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenure._bench.processes import Remote, close_all
from tenure._bench.skeleton import READ, WRITE, SkeletonHost
from tenure._bench.timing import each_call_ns

if TYPE_CHECKING:
    from array import array

__all__ = ["BareCluster"]

READ_BYTES = 128  # about a heartbeat of the real thing, and its answer
HEADER_BYTES = 128  # about what an append, and its record in the log, adds to the command
LOG_BYTES = 16 << 20


def new_log(path: Path, size: int) -> int:
    """A file whose blocks are written already: an overwrite then syncs data alone."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    zeros = bytes(1 << 20)
    for _ in range(size // len(zeros)):
        os.write(descriptor, zeros)
    os.fsync(descriptor)
    return descriptor


class BareMember:
    """One process's part. Lives over there; see `BareCluster`."""

    def __init__(self, directory: str, payload_bytes: int) -> None:
        self.write_bytes = HEADER_BYTES + payload_bytes
        self.log_fd = new_log(Path(directory) / "log", LOG_BYTES)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(10)
        self.sockets: list[socket.socket] = []
        self.host: SkeletonHost | None = None

    def port(self) -> int:
        """Where this member listens."""
        return int(self.listener.getsockname()[1])

    def dial(self, ports: list[int]) -> None:
        """Connect to the peers, in their order."""
        self.sockets = [socket.create_connection(("127.0.0.1", port), timeout=10) for port in ports]

    def start(self, peers: int) -> None:
        """Accept the peers' connections and run. Which accepted one belongs to which peer is told by its address."""
        accepted = [self.listener.accept()[0] for _ in range(peers)]
        for one in [*self.sockets, *accepted]:
            one.setblocking(False)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pairs = list(zip((s.fileno() for s in self.sockets), (s.fileno() for s in accepted), strict=True))
        self.sockets += accepted
        self.host = SkeletonHost(pairs, self.log_fd, LOG_BYTES, READ_BYTES, self.write_bytes)
        self.host.start()

    def measure(self, kind: int, count: int) -> array[int]:
        """Nanoseconds of each of `count` calls."""
        assert self.host is not None
        return self.host.measure(kind, count)

    def measure_python(self, kind: int, count: int) -> array[int]:
        """The same, called from Python."""
        assert self.host is not None
        return each_call_ns(partial(self.host.call, kind), count)

    def close(self) -> None:
        """Stop."""
        if self.host is not None:
            self.host.close()
        for one in [*self.sockets, self.listener]:
            one.close()
        os.close(self.log_fd)


class BareCluster:
    """Three processes that do nothing but the hops."""

    def __init__(self, directory: Path, payload_bytes: int) -> None:
        self.members: list[Remote] = []
        try:
            for name in ("bare-leader", "bare-1", "bare-2"):
                (directory / name).mkdir()
                self.members.append(Remote(name, BareMember, str(directory / name), payload_bytes))
            leader, *followers = self.members
            ports = [int(member.call("port")) for member in self.members]
            # Followers dial one after the other, so the leader accepts them in the order in which it dialled.
            leader.call("dial", ports[1:])
            for follower in followers:
                follower.call("dial", ports[:1])
                follower.call("start", 1)
            leader.call("start", len(followers))
        except BaseException:
            self.close()
            raise

    @property
    def processes(self) -> list[int]:
        """Process ids, the leader's first."""
        return [member.pid for member in self.members]

    def reads(self, count: int) -> Any:
        """Nanoseconds of quorum rounds from Python."""
        return self.members[0].call("measure_python", READ, count)

    def writes(self, count: int) -> Any:
        """Nanoseconds of durable writes from Python."""
        return self.members[0].call("measure_python", WRITE, count)

    def compiled_reads(self, count: int) -> Any:
        """The same from compiled code."""
        return self.members[0].call("measure", READ, count)

    def compiled_writes(self, count: int) -> Any:
        """The same from compiled code."""
        return self.members[0].call("measure", WRITE, count)

    def close(self) -> None:
        """End the processes."""
        close_all(self.members)
