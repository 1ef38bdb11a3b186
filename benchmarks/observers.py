"""Clients that note when they were served: what `failover.py` and `long_log.py` judge a cluster by.

They speak the Redis protocol to `tenure serve` processes, as any client would, each from a thread of its own and over a
connection of its own. A `Writer` sends SET to one member and goes to the next one when it is refused or hung up on. A
`LeaseReader` stays with its member and counts a GET only when that member's `lease_hits` says that this very GET was
answered under its lease: nobody else may read there meanwhile. Instants are of the lease clock.
"""

from __future__ import annotations

import contextlib
import threading
import time
from bisect import bisect_left
from dataclasses import dataclass, field

from tenure._core.clock import now_ns
from tenure.admin.latency import at_rank
from tenure.cli.demo_cluster import DemoCluster, Member
from tenure.cli.demo_redis import RedisConnection, RedisError

ANSWER_S = 5.0
PAUSE_S = 0.001
RETRY_S = 0.002
GONE_S = 0.02
MEMBER_DOWN_S = 0.2


@dataclass
class Served:
    """The calls that were answered, in order."""

    began_ns: list[int] = field(default_factory=list)
    ended_ns: list[int] = field(default_factory=list)

    def add(self, began_ns: int) -> None:
        self.began_ns.append(began_ns)
        self.ended_ns.append(now_ns())

    def first_after(self, at_ns: int) -> int | None:
        """When the first one was answered at or after `at_ns`."""
        position = bisect_left(self.ended_ns, at_ns)
        return self.ended_ns[position] if position < len(self.ended_ns) else None

    def between(self, from_ns: int, to_ns: int) -> list[int]:
        """The instants of answers within."""
        return self.ended_ns[bisect_left(self.ended_ns, from_ns) : bisect_left(self.ended_ns, to_ns)]

    def durations_ns(self, from_ns: int, to_ns: int) -> list[int]:
        """What the calls took that were answered within."""
        first, last = bisect_left(self.ended_ns, from_ns), bisect_left(self.ended_ns, to_ns)
        return [self.ended_ns[i] - self.began_ns[i] for i in range(first, last)]


class Observer:
    """A thread, and a connection that is made anew when it breaks."""

    def __init__(self, name: str, pause_s: float) -> None:
        self.served = Served()
        self.refusals: dict[str, int] = {}
        self.pause_s = pause_s
        self._connection: RedisConnection | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join(2 * ANSWER_S)
        assert not self._thread.is_alive(), f"{self._thread.name} never got an answer"

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                if self._connection is None:
                    self._connection = RedisConnection(self.address(), ANSWER_S)
                    self.connected(self._connection)
                self.ask(self._connection)
                self._over.wait(self.pause_s)
            except RedisError as error:
                self._count(str(error).split(" ", 1)[0])
                self.refused()
                self._over.wait(RETRY_S)
            except OSError as error:
                self._count(type(error).__name__)
                self._hang_up()
                self._over.wait(self.gone(error))
        self._hang_up()

    def _hang_up(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
            self._connection = None

    def _count(self, what: str) -> None:
        self.refusals[what] = self.refusals.get(what, 0) + 1

    def address(self) -> str:
        raise NotImplementedError

    def connected(self, connection: RedisConnection) -> None:
        """A connection is new."""

    def ask(self, connection: RedisConnection) -> None:
        raise NotImplementedError

    def refused(self) -> None:
        """The member answered with an error."""

    def gone(self, error: OSError) -> float:
        """The connection broke, or there is none; how long to wait now."""
        return GONE_S


class Writer(Observer):
    """Writes one key after the other, at one member until that refuses."""

    def __init__(
        self, name: str, addresses: list[str], first: int, *, pause_s: float = PAUSE_S, keys: int = 1000, size: int = 64
    ) -> None:
        super().__init__(name, pause_s)
        self._addresses = addresses
        self._turn = first
        self._keys = keys
        self._value = b"v" * size
        self._number = 0

    def address(self) -> str:
        return self._addresses[self._turn % len(self._addresses)]

    def ask(self, connection: RedisConnection) -> None:
        self._number += 1
        key = b"%s:%d" % (self._thread.name.encode(), self._number % self._keys)
        began_ns = now_ns()
        connection.call(b"SET", key, self._value)
        self.served.add(began_ns)

    def refused(self) -> None:
        self._turn += 1
        self._hang_up()

    def gone(self, error: OSError) -> float:
        self._turn += 1
        return RETRY_S


class Bulk(Observer):
    """Writes many keys at a time, as fast as they are taken; `written` counts what was acknowledged.

    The values' sizes differ, `size` is their mean.
    """

    def __init__(self, name: str, address: str, *, keys: int, size: int, batch: int = 64) -> None:
        super().__init__(name, 0.0)
        self.written = 0
        self._address = address
        self._name = name.encode()
        self._keys = keys
        self._values = [bytes(8 + n % max(1, 2 * size - 16)) for n in range(0, 7919 * 997, 7919)]
        self._batch = batch
        self._number = 0

    def address(self) -> str:
        return self._address

    def ask(self, connection: RedisConnection) -> None:
        numbers = range(self._number, self._number + self._batch)
        self._number += self._batch
        values = self._values
        connection.send(*((b"SET", b"%s:%d" % (self._name, n % self._keys), values[n % len(values)]) for n in numbers))
        refused = None
        for _ in numbers:
            try:
                connection.receive()
                self.written += 1
            except RedisError as error:
                refused = error
        if refused is not None:
            raise refused


class LeaseReader(Observer):
    """Reads at one member; `served` holds only what was answered under a lease."""

    def __init__(self, member: Member, key: bytes = b"key", *, pause_s: float = PAUSE_S) -> None:
        super().__init__(f"reader-{member.id}", pause_s)
        self.member = member
        self.unproven = 0
        self._key = key
        self._hits = 0

    def address(self) -> str:
        return self.member.redis

    def connected(self, connection: RedisConnection) -> None:
        self._hits = lease_hits(connection)

    def ask(self, connection: RedisConnection) -> None:
        began_ns = now_ns()
        connection.call(b"GET", self._key)
        ended_ns = now_ns()
        hits = lease_hits(connection)
        if hits == self._hits + 1:
            self.served.began_ns.append(began_ns)
            self.served.ended_ns.append(ended_ns)
        else:
            self.unproven += 1
        self._hits = hits


def info(connection: RedisConnection, section: bytes) -> dict[str, str]:
    """One section of INFO."""
    text = connection.call(b"INFO", section)
    assert isinstance(text, bytes)
    return dict(line.split(":", 1) for line in text.decode().splitlines() if ":" in line)


def lease_hits(connection: RedisConnection) -> int:
    return int(info(connection, b"stats")["lease_hits"])


class Panel:
    """What the members say of themselves, asked for when somebody wants to know. One thread."""

    def __init__(self, cluster: DemoCluster) -> None:
        self._cluster = cluster
        self._connections: dict[int, RedisConnection] = {}

    def look(self, id: int) -> dict[str, str] | None:
        """INFO's words on replication; None: the member does not answer."""
        try:
            connection = self._connections.get(id)
            if connection is None:
                connection = self._connections[id] = RedisConnection(self._cluster.members[id].redis, 1.0)
            return info(connection, b"replication")
        except (OSError, RedisError):
            self.forget(id)
            return None

    def forget(self, id: int) -> None:
        connection = self._connections.pop(id, None)
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()

    def close(self) -> None:
        for id in list(self._connections):
            self.forget(id)

    def whole(self) -> int | None:
        """Who leads, if all members follow one that holds a lease and have applied what it had committed."""
        seen = {id: self.look(id) for id in self._cluster.members}
        told = {id: words for id, words in seen.items() if words is not None}
        if len(told) < len(seen) or len({(words["term"], words["leader_id"]) for words in told.values()}) != 1:
            return None
        leader = int(told[min(told)]["leader_id"])
        if leader not in told or not int(told[leader]["lease_remaining_ms"]):
            return None
        committed = int(told[leader]["commit_index"])
        behind = [id for id in told if id != leader and int((self.look(id) or {}).get("applied_index", 0)) < committed]
        return None if behind else leader

    def await_whole(self, limit_s: float = 30.0) -> int:
        """The leader, once the cluster is whole."""
        end = time.monotonic() + limit_s
        while (leader := self.whole()) is None:
            if time.monotonic() > end:
                raise TimeoutError(f"not whole within {limit_s:g} s: {[self.look(id) for id in self._cluster.members]}")
            time.sleep(0.02)
        return leader


def spread(values: list[float]) -> dict[str, float]:
    """Median, 99th percentile and the largest, which is the 99th of fewer than a hundred."""
    ordered = sorted(values)
    if not ordered:
        return {"count": 0}
    return {
        "count": len(ordered),
        "p50": at_rank(ordered, 0.5),
        "p99": at_rank(ordered, 0.99),
        "max": ordered[-1],
    }
