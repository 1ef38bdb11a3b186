"""A member whose state differs from the leader's stops itself and says so; one whose state does not is left alone."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from tenure._kv.codec import encode_set
from tenure._kv.machine import KeyValueMachine
from tenure.config import Config
from tenure.engine import State
from tenure.errors import StateDiverged

from .cluster import FAST

SNAPSHOTS = Config(
    heartbeat_s=FAST.heartbeat_s, election_timeout_s=FAST.election_timeout_s, segment_bytes=4 << 20, snapshot_every=500
)


def set_command(number, value=b"value"):
    return encode_set(b"key%06d" % (number % 1000), b"%08d" % number + value, hint_ts=number << 16)


def different_machine():
    """A machine in which something is there that the log does not know."""
    machine = KeyValueMachine()
    machine.apply(encode_set(b"stray", b"bit", hint_ts=1 << 16))
    return machine


def until(predicate, what, timeout=20.0):
    deadline = time.monotonic() + timeout
    while not predicate():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def compared(engine):
    return engine.status().counters["hashes_compared"]


def write(engine, count, *, first=0):
    async def run():
        await asyncio.gather(*[engine.aio.propose(set_command(n), timeout=20) for n in range(first, first + count)])

    asyncio.run(run())


@pytest.fixture
def cluster(clusters):
    made = clusters(3, machine=KeyValueMachine)
    made.leader()
    return made


def test_equal_members_are_compared_and_left_alone(cluster):
    leader = cluster.leader()
    followers = [engine for engine in cluster.engines.values() if engine is not leader]
    begin = [compared(engine) for engine in followers]
    end = time.monotonic() + 3
    first = 0
    while time.monotonic() < end:  # while writes go on
        write(leader, 200, first=first)
        first += 200
    under_load = [compared(engine) for engine in followers]
    assert all(after > before for before, after in zip(begin, under_load, strict=True))
    until(lambda: all(compared(e) > n for e, n in zip(followers, under_load, strict=True)), "compared at rest as well")
    assert compared(leader) == 0
    assert all(engine.state in (State.LEADER, State.FOLLOWER) for engine in cluster.engines.values())


def test_a_follower_whose_state_differs_stops_and_says_so(cluster, caplog):
    caplog.set_level(logging.ERROR, "tenure.engine")
    leader = cluster.leader()
    odd = next(id for id, engine in cluster.engines.items() if engine is not leader)
    cluster.engines.pop(odd).close()
    cluster.machine = different_machine
    engine = cluster.start(odd)
    write(leader, 10)
    until(lambda: engine.state is State.FAILED, "the member has found nothing")

    status = engine.status()
    assert status.failure == "state_diverged"
    with pytest.raises(StateDiverged) as caught:
        engine.linearizable_read(timeout=5)
    assert caught.value.cause == "state_diverged"
    assert caught.value.own_hash != caught.value.leader_hash
    assert 0 < caught.value.index <= leader.status().last_index
    until(lambda: any("state_diverged" in record.message for record in caplog.records), "nothing was logged")
    record = next(record for record in caplog.records if "state_diverged" in record.message)
    assert (record.event, record.member, record.cause) == ("failed", odd, "state_diverged")
    assert f"{caught.value.leader_hash:016x}" in record.message

    # The others go on.
    write(leader, 10, first=10)
    assert leader.state is State.LEADER
    assert sum(one.state is State.FAILED for one in cluster.engines.values()) == 1


def test_the_member_is_refused_again_when_it_starts_with_the_same_defect(cluster):
    leader = cluster.leader()
    odd = next(id for id, engine in cluster.engines.items() if engine is not leader)
    cluster.machine = different_machine
    for _ in range(2):
        cluster.engines.pop(odd).close()
        engine = cluster.start(odd)
        until(lambda engine=engine: engine.state is State.FAILED, "the member has found nothing")
    cluster.engines.pop(odd).close()
    cluster.machine = KeyValueMachine  # the defect is gone, and nothing of it was written anywhere
    engine = cluster.start(odd)
    until(lambda: compared(engine) > 0, "the member is not compared")
    assert engine.state is State.FOLLOWER


def test_a_member_that_got_a_snapshot_is_compared_too(clusters):
    cluster = clusters(3, machine=KeyValueMachine, config=SNAPSHOTS)
    leader = cluster.leader()
    late = next(id for id, engine in cluster.engines.items() if engine is not leader)
    engine = cluster.engines.pop(late)
    last = engine.status().last_index
    engine.close()
    written = 0
    while leader.status().first_index <= last + 1:  # as long as it counts as active, its entries are kept
        write(leader, 1000, first=written)
        written += 1000
        assert written < 500_000, "the log is not compacted"
    engine = cluster.start(late)
    until(lambda: engine.status().counters["snapshots_installed"] == 1, "no snapshot came")
    until(lambda: compared(engine) > 0, "the member is not compared")
    write(leader, 10, first=written)
    before = compared(engine)
    until(lambda: compared(engine) > before, "the member is not compared any more")
    assert engine.state is State.FOLLOWER


def test_state_machines_in_python_have_no_hash_and_are_not_compared(three):
    leader = three.leader()
    leader.propose(b"a=1")
    time.sleep(1.5)
    assert all(compared(engine) == 0 for engine in three.engines.values())
