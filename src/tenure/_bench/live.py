"""A live cluster for benchmarks: three members in three processes, each with its directory, over loopback, syncing."""

from __future__ import annotations

import logging
import os
import socket
import time
from statistics import median
from typing import TYPE_CHECKING, Any

from tenure._bench import load
from tenure._bench.processes import Remote, RemoteFailure, close_all
from tenure._bench.timing import call_ns, each_call_ns
from tenure._core import clock
from tenure._kv import codec
from tenure._kv.machine import KeyValueMachine
from tenure.coordinator import Coordinator
from tenure.engine import NativeEngine, State

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["KEY_SPACE", "LiveCluster", "free_ports"]

KEY_SPACE = 100_000
PREPARED = 4096
START_LIMIT_S = 15.0


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody uses at this moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def set_command(key: bytes, value: bytes) -> bytes:
    """SET as the log holds it."""
    return codec.encode_set(key, value, hint_ts=codec.hint(clock.wall_ms()))


class LiveMember:
    """One member. Lives in a process of its own; see `LiveCluster`."""

    def __init__(
        self, directory: str, cluster_id: bytes, member_id: int, members: dict[int, str], payload_bytes: int
    ) -> None:
        logging.getLogger("tenure").setLevel(logging.ERROR)  # that a leader is stopped at the end is no news here
        self.machine = KeyValueMachine()
        self.engine = NativeEngine(
            self.machine,
            directory=directory,
            cluster_id=cluster_id,
            member_id=member_id,
            members=members,
            redis="127.0.0.1:0",
        )
        self.coordinator = Coordinator(self.engine, machine=self.machine)
        self.payload_bytes = payload_bytes
        self.commands = load.Commands(PREPARED, value_bytes=payload_bytes, key_space=KEY_SPACE, seed=member_id)

    def leads(self) -> bool:
        """Whether this member leads and holds a lease."""
        return self.engine.state is State.LEADER and self.engine.try_lease_read() is not None

    def leader(self) -> int | None:
        """Who leads, as far as this member knows."""
        return self.engine.leader

    def hand_over(self, target: int) -> int:
        """Give leadership to `target`; returns who leads afterwards."""
        return self.engine.transfer_leadership(target)

    def cpu_ns(self) -> int:
        """Processor time of this process so far."""
        return time.process_time_ns()

    def counters(self) -> dict[str, int]:
        """What the engine counts."""
        return dict(self.engine.status().counters)

    def state_hash(self) -> tuple[int, int]:
        """The applied index, and the hash of the state at it once the cluster is quiet."""
        return self.engine.status().applied_index, self.machine.state_hash

    def lease_rounds(self, rounds: int, count: int) -> tuple[float, float, float]:
        """Median nanoseconds of `try_lease_read`, of `lease_read` and of `time.monotonic_ns`, in turn."""
        coordinator = self.coordinator
        calls: list[Callable[[], object]] = [coordinator.try_lease_read, coordinator.lease_read, time.monotonic_ns]
        found: list[list[float]] = [[], [], []]
        for _ in range(rounds):
            for call, into in zip(calls, found, strict=True):
                into.append(call_ns(call, count))
        if self.engine.try_lease_read() is None:
            raise RuntimeError("the lease lapsed while it was measured")
        return median(found[0]), median(found[1]), median(found[2])

    def lease_reads(self, count: int) -> array[int]:
        """Nanoseconds of each of `count` lease reads from Python."""
        return each_call_ns(self.coordinator.lease_read, count)

    def reads(self, count: int) -> array[int]:
        """Nanoseconds of each of `count` quorum rounds from Python."""
        return each_call_ns(self.engine.linearizable_read, count)

    def writes(self, count: int) -> array[int]:
        """Nanoseconds of each of `count` durable writes from Python."""
        propose, value = self.engine.propose, b"v" * self.payload_bytes
        commands = iter([set_command(b"key:%012d" % (i * 7919 % KEY_SPACE), value) for i in range(count)])
        return each_call_ns(lambda: propose(next(commands)), count)

    def compiled_reads(self, count: int) -> array[int]:
        """The same from compiled code."""
        return load.one_by_one(self.core, load.READ, None, count)

    def compiled_writes(self, count: int) -> array[int]:
        """The same from compiled code."""
        return load.one_by_one(self.core, load.WRITE, self.commands, count)

    def saturate(self, callers: int, seconds: float) -> dict[str, Any]:
        """Many compiled callers at once; see `load.together`."""
        return load.together(self.core, load.WRITE, self.commands, callers, round(seconds * 1e9))

    def redis_port(self) -> int:
        """Where Redis clients reach this member."""
        address = self.engine.redis_address
        assert address is not None
        return int(address.rpartition(":")[2])

    @property
    def core(self) -> Any:
        """The compiled host."""
        return self.engine._core

    def close(self) -> None:
        """Stop at once."""
        self.engine.close(graceful=False)


class LiveCluster:
    """Three members as three processes, and which of them leads."""

    def __init__(self, directory: Path, payload_bytes: int) -> None:
        self.members: dict[int, Remote] = {}
        cluster_id = os.urandom(16)
        addresses = {id: f"127.0.0.1:{port}" for id, port in enumerate(free_ports(3), 1)}
        try:
            for id in addresses:
                place = str(directory / f"member-{id}")
                self.members[id] = Remote(f"member-{id}", LiveMember, place, cluster_id, id, addresses, payload_bytes)
            self.leader_id = self._await_leader()
        except BaseException:
            self.close()
            raise

    def _await_leader(self) -> int:
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            for id, member in self.members.items():
                if member.call("leads"):
                    return id
            time.sleep(0.02)
        raise RemoteFailure(f"no leader with a lease within {START_LIMIT_S:g} s")

    @property
    def processes(self) -> list[int]:
        """Process ids, the leader's first."""
        return [self.members[id].pid for id in sorted(self.members, key=lambda id: id != self.leader_id)]

    def on_leader(self, method: str, *arguments: Any) -> Any:
        """Call a method of the leader's `LiveMember`."""
        return self.members[self.leader_id].call(method, *arguments)

    def on_all(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method of every member, one after the other."""
        return [member.call(method, *arguments) for member in self.members.values()]

    def close(self) -> None:
        """End the processes."""
        close_all(list(self.members.values()))
