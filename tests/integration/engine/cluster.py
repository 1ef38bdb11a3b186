"""Members of one cluster in this process: real sockets, real directories, real syncs."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time

from tenure.config import Config
from tenure.engine import NativeEngine, State
from tenure.errors import AddressUnavailable

CLUSTER_ID = bytes(range(16))
FAST = Config(heartbeat_s=0.05, election_timeout_s=0.4, segment_bytes=4 << 20)
# For much data at once: a leader whose writes wait for the log writer longer than an election timeout gives leadership
# up, and an instrumented build takes several times as long for each of them.
BUSY_ELECTION_S = 2.0 if "TENURE_SANITIZED" in os.environ else FAST.election_timeout_s


class Dictionary:
    """A state machine in Python: `key=value` sets and answers what stood there before, `!` raises, `#ms` sleeps."""

    def __init__(self):
        self.values = {}
        self.batches = 0
        self.indexes = []
        self.gate = threading.Event()
        self.gate.set()

    def apply(self, batch):
        self.gate.wait(30)
        self.batches += 1
        answers = []
        for command in batch:
            self.indexes.append(command.index)
            if command.data == b"!":
                raise RuntimeError("the machine was told to raise")
            key, _, value = command.data.partition(b"=")
            answers.append(self.values.get(key))
            self.values[key] = value
        return answers


def free_addresses(ids):
    """Addresses nobody listens on now; somebody may be faster, so whoever uses them must be ready to try again."""
    with contextlib.ExitStack() as stack:
        sockets = {id: stack.enter_context(socket.socket()) for id in ids}
        for one in sockets.values():
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("127.0.0.1", 0))
        return {id: f"127.0.0.1:{one.getsockname()[1]}" for id, one in sockets.items()}


class Cluster:
    """Members by id, and the state machine of each."""

    def __init__(self, folder, size, *, config=FAST, machine=Dictionary):
        self.folder, self.config, self.machine = folder, config, machine
        self.engines = {}
        self.machines = {}
        for attempt in range(5):
            self.members = free_addresses(range(1, size + 1))
            try:
                for id in self.members:
                    self.start(id)
            except AddressUnavailable:
                self.close(graceful=False)
                if attempt == 4:
                    raise
            else:
                return

    def start(self, id):
        machine = self.machine()
        self.engines[id] = NativeEngine(
            machine,
            directory=self.folder / str(id),
            cluster_id=CLUSTER_ID,
            member_id=id,
            members=self.members,
            config=self.config,
        )
        self.machines[id] = machine
        return self.engines[id]

    def leader(self, *, among=None, timeout=15.0):
        """A member that leads and has shown it to a quorum."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for engine in [self.engines[id] for id in among or self.engines]:
                if engine.state is State.LEADER and (
                    engine.lease_duration_ns == 0 or engine.try_lease_read() is not None
                ):
                    return engine
            time.sleep(0.005)
        raise AssertionError(f"nobody leads: {[engine.status() for engine in self.engines.values()]}")

    def follower(self):
        leader = self.leader()
        return next(engine for engine in self.engines.values() if engine is not leader)

    def close(self, *, graceful=True):
        threads = [
            threading.Thread(target=engine.close, kwargs={"graceful": graceful}) for engine in self.engines.values()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        self.engines.clear()
