"""Two of three members are lost for good: a new cluster is made of the third, and it has what the third had."""

from __future__ import annotations

import asyncio
import time

import pytest

from tenure._kv.codec import encode_set
from tenure._kv.machine import KeyValueMachine
from tenure.config import Config
from tenure.engine import NativeEngine, State
from tenure.engine.recovery import recover, survey
from tenure.errors import ForeignCluster, InvalidArgument

from .cluster import CLUSTER_ID, FAST, free_addresses

SNAPSHOTS = Config(
    heartbeat_s=FAST.heartbeat_s, election_timeout_s=FAST.election_timeout_s, segment_bytes=4 << 20, snapshot_every=200
)


def write(engine, count, *, first=0):
    async def run():
        for begin in range(first, first + count, 100):
            commands = [
                encode_set(b"%d" % n, b"value %d" % n, hint_ts=n << 16) for n in range(begin, min(begin + 100, count))
            ]
            await asyncio.gather(*[engine.aio.propose(one, timeout=20) for one in commands])

    asyncio.run(run())


@pytest.mark.parametrize("config", [FAST, SNAPSHOTS], ids=["log alone", "log and snapshots"])
def test_a_new_cluster_of_one_survivor(clusters, config):
    cluster = clusters(3, machine=KeyValueMachine, config=config)
    leader = cluster.leader()
    write(leader, 1000)
    index, state_hash = leader.applied_index, cluster.machines[leader.member_id].state_hash
    follower = cluster.follower()  # it has made a promise, which the leader has not
    survivor = follower.member_id
    deadline = time.monotonic() + 20
    while follower.applied_index < index and time.monotonic() < deadline:
        time.sleep(0.01)
    cluster.close(graceful=False)

    directory = cluster.folder / str(survivor)
    found = survey(directory, survivor)
    assert found.last_index >= index
    assert found.promise_s >= config.promise_ns / 1e9
    made = recover(directory, survivor, cluster.members[survivor])
    if config is SNAPSHOTS:
        assert list(directory.glob("snap-*"))

    machine = KeyValueMachine()
    how = {
        "directory": directory,
        "member_id": survivor,
        "members": {survivor: cluster.members[survivor]},
        "config": config,
    }
    with pytest.raises(ForeignCluster):
        NativeEngine(machine, cluster_id=CLUSTER_ID, **how)
    machine = KeyValueMachine()
    with NativeEngine(machine, cluster_id=made.cluster_id, **how) as engine:
        assert engine.wait_for_leader(timeout=15) == survivor
        engine.linearizable_read(timeout=10)
        assert engine.configuration().voters == (survivor,)
        assert machine.state_hash == state_hash
        assert machine.get(b"999") == b"value 999"
        engine.propose(encode_set(b"after", b"1", hint_ts=1 << 40), timeout=10)
        assert engine.state is State.LEADER
    # and once more, now that it is an ordinary member
    with NativeEngine(KeyValueMachine(), cluster_id=made.cluster_id, **how) as engine:
        assert engine.wait_for_leader(timeout=15) == survivor


def test_a_survivor_that_was_given_by_name_is_found_by_those_who_join_and_start_anew(clusters):
    """What is told of addresses replaces what others were told at their start, and nobody dials a name."""
    cluster = clusters(1, machine=KeyValueMachine)
    write(cluster.leader(), 100)
    cluster.close()
    address = cluster.members[1].replace("127.0.0.1", "localhost")
    with pytest.raises(InvalidArgument, match="address"):
        recover(cluster.folder / "1", 1, "nowhere")
    made = recover(cluster.folder / "1", 1, address)
    members = {1: address, 2: free_addresses([2])[2]}

    def start(id):
        return NativeEngine(
            KeyValueMachine(), directory=cluster.folder / str(id), cluster_id=made.cluster_id, member_id=id,
            members=members, bootstrap=[1], config=FAST,
        )  # fmt: skip

    with start(1) as survivor:
        survivor.wait_for_leader(timeout=15)
        with start(2) as newcomer:
            survivor.add_voter(2, members[2])
            assert newcomer.linearizable_read(timeout=15) > 100
            assert survivor.configuration().member(1).address == cluster.members[1]
        with start(2) as newcomer:
            assert newcomer.linearizable_read(timeout=15) > 100
