"""The Python edge used by many threads at once, its end included. Worth most under `make tsan`, and without a GIL.

What is asserted here is what a caller sees: every call comes back, with an answer or with an error that says what
happened. What a race does beyond that is for the sanitizers to find.
"""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from tenure._host.core import PROPOSE, READ
from tenure._kv.machine import KeyValueMachine
from tenure.engine import NativeEngine
from tenure.errors import (
    Closed,
    InvalidArgument,
    MemberFailed,
    NotLeader,
    OutcomeUnknown,
    Overloaded,
    ProposalRefused,
    Timeout,
)

from .cluster import CLUSTER_ID, FAST, free_addresses

ROUNDS = 3
BUSY_S = 0.3
# What may meet a call while leadership moves and its member ends.
EXPECTED = (Closed, MemberFailed, NotLeader, OutcomeUnknown, Overloaded, ProposalRefused, Timeout)


class Crowd:
    """Threads that call on and on until they are told `Closed`; what they did not expect is kept."""

    def __init__(self):
        self.threads = []
        self.answers = []
        self.unexpected = []
        self.barrier = threading.Barrier(1)

    def add(self, call, *, again=True):
        def body():
            self.barrier.wait(30)
            while True:
                try:
                    self.answers.append((call, call()))
                except Closed:
                    return
                except EXPECTED:
                    pass
                except Exception as error:  # noqa: BLE001 - judged in `join`, on the test's own thread
                    self.unexpected.append(error)
                    return
                if not again:
                    return

        self.threads.append(threading.Thread(target=body, daemon=True))

    def start(self):
        self.barrier = threading.Barrier(len(self.threads) + 1)
        for thread in self.threads:
            thread.start()
        self.barrier.wait(30)

    def join(self):
        for thread in self.threads:
            thread.join(60)
        assert not [thread for thread in self.threads if thread.is_alive()], "a call did not come back"
        assert not self.unexpected

    def answers_of(self, call):
        return [answer for called, answer in self.answers if called is call]


def started(crowd):
    crowd.start()
    return crowd


async def ask(engine):
    """A turn of an event loop: several calls at once."""
    calls = [engine.aio.propose(b"a=1", timeout=5), engine.aio.linearizable_read(timeout=5)]
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.timeout(120)
def test_everything_at_once_while_several_close(clusters, size):
    """Fails when a call hangs, or ends with what no caller can make sense of; and when an index is promised twice."""
    for _ in range(ROUNDS):
        cluster = clusters(size)
        engine = cluster.leader()

        def propose(engine=engine):
            return engine.propose(b"key=value", timeout=5).index

        def linearizable_read(engine=engine):
            return engine.linearizable_read(timeout=5)

        def lease_read(engine=engine):
            engine.try_lease_read()
            return engine.lease_read(timeout=5)

        def status(engine=engine):
            return engine.status(), engine.configuration(), engine.state, engine.leader, engine.last_quorum_ack_ns

        def watch(engine=engine):
            deregister = engine.register_leader_loss_callback(lambda: None)
            deregister()
            deregister()

        crowd = Crowd()
        for call in (propose, propose, linearizable_read, lease_read, status, watch):
            crowd.add(call)
        crowd.add(lambda engine=engine: asyncio.run(ask(engine)))
        crowd.start()
        time.sleep(BUSY_S)
        closers = Crowd()
        for graceful in (True, True, False):
            closers.add(lambda graceful=graceful, engine=engine: engine.close(graceful=graceful), again=False)
        started(closers).join()
        crowd.join()
        indexes = crowd.answers_of(propose)
        assert indexes
        assert len(set(indexes)) == len(indexes)
        assert crowd.answers_of(linearizable_read)
        assert engine.try_lease_read() is None
        cluster.close(graceful=False)


@pytest.mark.timeout(120)
def test_a_core_is_ended_once_whoever_ends_it(clusters):
    """Fails (by a crash) when two callers join the same threads. Submissions meet the end at every point of it."""
    for _ in range(ROUNDS):
        engine = clusters(1).leader()
        core = engine._core
        outcomes = []

        def submit(core=core, outcomes=outcomes):
            for kind, data in ((PROPOSE, b"key=value"), (READ, None)):
                outcomes.append(core.call(kind, data, 0, time.monotonic_ns() + 20_000_000_000))

        def look(core=core, engine=engine):
            engine.check()
            return core.gauges()

        crowd = Crowd()
        for _ in range(4):
            crowd.add(submit)
        crowd.add(look)
        crowd.start()
        time.sleep(BUSY_S)
        closers = Crowd()
        for _ in range(4):
            closers.add(lambda core=core: core.close(False, 1_000_000_000), again=False)
            closers.add(core.hurry, again=False)
        started(closers).join()
        engine.close(graceful=False)
        crowd.join()
        assert outcomes
        assert None not in outcomes, "a call waited for an answer that nobody gave"


def test_two_engines_do_not_share_a_compiled_state_machine(tmp_path):
    """Fails (by a crash of the second engine's loop) when the second one is let in."""
    machine = KeyValueMachine()
    opened, refused = [], []

    def open_one(name):
        try:
            opened.append(
                NativeEngine(
                    machine,
                    directory=tmp_path / name,
                    cluster_id=CLUSTER_ID,
                    member_id=1,
                    members=free_addresses([1]),
                    config=FAST,
                )
            )
        except InvalidArgument as error:
            refused.append(error)

    threads = [threading.Thread(target=open_one, args=(str(n),)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    try:
        assert len(opened) == 1
        assert [error.details["field"] for error in refused] == ["state_machine"] * 2
        opened[0].wait_for_leader(timeout=15)
        opened[0].linearizable_read(timeout=15)
    finally:
        for engine in opened:
            engine.close(graceful=False)
    open_one("later")
    assert len(refused) == 3
    assert not (tmp_path / "later" / "wal").exists()
