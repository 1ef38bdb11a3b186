"""`RedisClients`: a Redis client beside the cluster, which asks one member after the other and judges the answers.

It adds to a counter and reads it back, at the leader and at followers alike, as any client would. The counter never
shrinks, whoever is asked: a reply below what an earlier reply has shown is a stale read. A member that does not answer
is left alone for a while. One thread, one connection to each member, one command at a time.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

from tenure.admin.client import split_address
from tenure.admin.latency import Latencies

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["RedisClients", "RedisConnection", "RedisError"]

ANSWER_S = 0.5
AVOID_S = 0.5
KEY = b"demo:redis"
GETS_TO_A_WRITE = 4


class RedisError(Exception):
    """An error reply."""


class RedisConnection:
    """Just enough of a client: one command, one reply."""

    def __init__(self, address: str, answer_s: float = ANSWER_S) -> None:
        self._socket = socket.create_connection(split_address(address), answer_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._replies = self._socket.makefile("rb")

    def call(self, *words: bytes) -> bytes | int | None:
        """Send a command and wait for its reply, which is no array.

        Raises:
            RedisError: the reply is an error.
            OSError: no reply came in time, or never will.
        """
        self.send(words)
        return self.receive()

    def send(self, *commands: tuple[bytes, ...]) -> None:
        """Send commands at once; `receive` gets their replies, in order."""
        parts = []
        for words in commands:
            parts.append(b"*%d\r\n" % len(words))
            parts += [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
        self._socket.sendall(b"".join(parts))

    def receive(self) -> bytes | int | None:
        """The next reply; raises as `call` does."""
        line = self._replies.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the member hung up")
        kind, rest = line[:1], line[1:-2]
        match kind:
            case b"-":
                raise RedisError(rest.decode(errors="replace"))
            case b":":
                return int(rest)
            case b"+":
                return rest
            case b"$" if rest != b"-1":
                body = self._replies.read(int(rest) + 2)
                if len(body) != int(rest) + 2:
                    raise ConnectionError("the member hung up")
                return body[:-2]
        return None

    def close(self) -> None:
        """Hang up."""
        self._replies.close()
        self._socket.close()


class RedisClients:
    """The load, from construction to `close`."""

    def __init__(self, addresses: Sequence[str], rate: float) -> None:
        """Ask the members at `addresses`, about `rate` times a second."""
        self._addresses = list(addresses)
        self._pause_s = 1 / rate
        self._connections: dict[str, RedisConnection] = {}
        self._avoid_until = dict.fromkeys(self._addresses, 0.0)
        self._latencies = Latencies("redis_get", "redis_incr")
        self._seen = 0
        self.counts = {"gets": 0, "incrs": 0, "errors": 0, "unanswered": 0, "stale": 0}
        self.last_error = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-redis", daemon=True)
        self._thread.start()

    def latencies(self) -> dict[str, dict[str, int]]:
        """What the calls took, as a client sees it."""
        return self._latencies.summary()

    def close(self) -> None:
        """Stop and hang up."""
        self._stop.set()
        self._thread.join(4 * ANSWER_S)

    def _run(self) -> None:
        turn = 0
        while not self._stop.wait(self._pause_s):
            turn += 1
            address = self._addresses[turn % len(self._addresses)]
            if time.monotonic() >= self._avoid_until[address]:
                self._ask(address, write=turn % (GETS_TO_A_WRITE + 1) == 0)
        for address in list(self._connections):
            self._hang_up(address)

    def _ask(self, address: str, *, write: bool) -> None:
        try:
            connection = self._connections.get(address)
            if connection is None:
                connection = self._connections[address] = RedisConnection(address)
            begin = time.perf_counter_ns()
            answer = connection.call(b"INCR", KEY) if write else connection.call(b"GET", KEY)
            duration_ns = time.perf_counter_ns() - begin
        except RedisError as error:
            self.counts["errors"] += 1
            self.last_error = str(error)
            self._avoid(address)
            return
        except OSError:
            self.counts["unanswered"] += 1
            self._hang_up(address)
            self._avoid(address)
            return
        self._latencies["redis_incr" if write else "redis_get"].record(duration_ns)
        self.counts["incrs" if write else "gets"] += 1
        shown = int(answer or 0)
        if shown < self._seen or (write and shown == self._seen):
            self.counts["stale"] += 1
        self._seen = max(self._seen, shown)

    def _avoid(self, address: str) -> None:
        self._avoid_until[address] = time.monotonic() + AVOID_S

    def _hang_up(self, address: str) -> None:
        connection = self._connections.pop(address, None)
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()
