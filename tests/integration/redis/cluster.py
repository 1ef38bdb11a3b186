"""Members with a Redis front end, in this process."""

from __future__ import annotations

import contextlib
import random
import time
from typing import TYPE_CHECKING, Any

from tests.faults.cluster import free_ports

from tenure._host.core import HostCore
from tenure._kv.machine import KeyValueMachine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.faults.proxy import Network

CLUSTER_ID = b"redis-front-test"
LEADER = 3
SOURCE = random.Random()


def free_port() -> int:
    """Not one that the kernel might give to an outgoing connection before it is listened on."""
    return free_ports(1, SOURCE)[0]


def wait_until(condition: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    give_up = time.monotonic() + timeout_s
    while time.monotonic() < give_up:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError("it did not come about in time")


class Member:
    def __init__(
        self, id: int, directory: Path, addresses: dict[int, tuple[bytes, int]], options: dict[str, Any]
    ) -> None:
        directory.mkdir(exist_ok=True)
        self.id = id
        self.machine = KeyValueMachine()
        self.core = HostCore(
            self.machine,
            directory=str(directory),
            cluster_id=CLUSTER_ID,
            member_id=id,
            addresses=addresses,
            voters=tuple(addresses),
            learners=(),
            options={"redis_listen": (b"127.0.0.1", 0), "fsync": False, **options},
        )
        self.port = self.core.redis_port
        self.core.start()
        self.open = True

    def close(self, at_once: bool = True) -> None:
        if self.open:
            self.open = False
            self.core.close(at_once)

    def leads(self) -> bool:
        gauges = self.core.gauges()
        return self.open and gauges["role"] == LEADER and self.core.fence.try_lease_read() is not None

    def counts(self) -> dict[str, int]:
        return self.core.redis_gauges()


class Cluster:
    """With `network`, members reach each other through proxies that can be held up."""

    def __init__(self, directory: Path, count: int, options: dict[str, Any], network: Network | None = None) -> None:
        self.directory = directory
        self.options = options
        self.network = network
        self.addresses = {id: (b"127.0.0.1", free_port()) for id in range(1, count + 1)}
        self.seen_from = {id: self.through(network, id) for id in self.addresses}
        self.members = {id: self.start(id) for id in self.addresses}

    def through(self, network: Network | None, dialler: int) -> dict[int, tuple[bytes, int]]:
        """The addresses as one member has them."""
        if network is None:
            return self.addresses
        seen = dict(self.addresses)
        for id, (_, port) in self.addresses.items():
            if id != dialler:
                seen[id] = (b"127.0.0.1", free_port())
                network.add(dialler, id, port, seen[id][1])
        return seen

    def start(self, id: int) -> Member:
        return Member(id, self.directory / str(id), self.seen_from[id], self.options)

    def links_of(self, member: Member) -> list[tuple[int, int]]:
        """Both ways between a member and the others."""
        others = [id for id in self.members if id != member.id]
        return [(member.id, id) for id in others] + [(id, member.id) for id in others]

    def leader(self, *besides: Member) -> Member:
        candidates = [m for m in self.members.values() if m not in besides]
        return wait_until(lambda: next((m for m in candidates if m.open and m.leads()), None))

    def follower(self) -> Member:
        leader = self.leader()

        def ready() -> Member | None:
            for m in self.members.values():
                if m is not leader and m.open and m.core.gauges()["leader"] == leader.id:
                    return m
            return None

        return wait_until(ready)

    def close(self) -> None:
        for member in self.members.values():
            member.close()

    def check_hashes(self) -> None:
        """Equal contents on all members, once all have applied the same."""
        alive = [m for m in self.members.values() if m.open]
        if not alive:
            return

        def equal() -> bool:
            before = {m.core.gauges()["applied_index"] for m in alive}
            hashes = {m.machine.state_hash for m in alive}
            return len(before) == 1 and len(hashes) == 1 and before == {m.core.gauges()["applied_index"] for m in alive}

        wait_until(equal)


@contextlib.contextmanager
def cluster(directory: Path, count: int = 1, *, network: Network | None = None, **options: Any) -> Iterator[Cluster]:
    made = Cluster(directory, count, options, network)
    try:
        yield made
        made.check_hashes()
    finally:
        made.close()
