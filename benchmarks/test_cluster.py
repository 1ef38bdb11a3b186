"""A live cluster under pytest-benchmark, the skeleton beside it.

Run `pytest benchmarks/test_cluster.py --benchmark-group-by=group`. The leader is a member in this process, its
followers are processes of their own. `tenure bench` measures the same in interleaved rounds and judges it; this is for
looking at one thing closely, comparing runs and profiling.
"""

from __future__ import annotations

import os
import time

import pytest

from tenure._bench.bare import BareMember
from tenure._bench.live import KEY_SPACE, LiveMember, free_ports, set_command
from tenure._bench.processes import Remote, close_all
from tenure._bench.skeleton import READ, WRITE

PAYLOAD = 64


@pytest.fixture(scope="module")
def leader(tmp_path_factory):
    place = tmp_path_factory.mktemp("members")
    cluster_id = os.urandom(16)
    members = {id: f"127.0.0.1:{port}" for id, port in enumerate(free_ports(3), 1)}
    remotes = [
        Remote(f"member-{id}", LiveMember, str(place / str(id)), cluster_id, id, members, PAYLOAD) for id in (2, 3)
    ]
    local = None
    try:
        local = LiveMember(str(place / "1"), cluster_id, 1, members, PAYLOAD)
        deadline = time.monotonic() + 20
        while not local.leads():
            assert time.monotonic() < deadline, "member 1 does not lead"
            for remote in remotes:
                if remote.call("leads"):
                    remote.call("hand_over", 1)
            time.sleep(0.05)
        yield local
    finally:
        if local is not None:
            local.close()
        close_all(remotes)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    place = tmp_path_factory.mktemp("bare")
    for name in ("leader", "1", "2"):
        (place / name).mkdir()
    local = BareMember(str(place / "leader"), PAYLOAD)
    remotes = [Remote(f"bare-{name}", BareMember, str(place / name), PAYLOAD) for name in ("1", "2")]
    try:
        local.dial([remote.call("port") for remote in remotes])
        for remote in remotes:
            remote.call("dial", [local.port()])
            remote.call("start", 1)
        local.start(2)
        yield local
    finally:
        local.close()
        close_all(remotes)


@pytest.mark.benchmark(group="lease")
def test_lease_read(benchmark, leader):
    assert benchmark(leader.engine.lease_read) > 0


@pytest.mark.benchmark(group="lease")
def test_clock_reading(benchmark):
    assert benchmark(time.monotonic_ns) > 0


@pytest.mark.benchmark(group="quorum round")
def test_linearizable_read(benchmark, leader):
    assert benchmark(leader.engine.linearizable_read) > 0


@pytest.mark.benchmark(group="quorum round")
def test_skeleton_of_a_quorum_round(benchmark, bare):
    assert len(benchmark(bare.measure, READ, 1)) == 1


@pytest.mark.benchmark(group="durable write")
def test_durable_write(benchmark, leader):
    commands = [set_command(b"key:%012d" % (i * 7919 % KEY_SPACE), b"v" * PAYLOAD) for i in range(512)]
    turn = iter(range(10**9))
    assert benchmark(lambda: leader.engine.propose(commands[next(turn) % 512])).index > 0


@pytest.mark.benchmark(group="durable write")
def test_skeleton_of_a_durable_write(benchmark, bare):
    assert len(benchmark(bare.measure, WRITE, 1)) == 1


@pytest.mark.benchmark(group="64 durable writes, 64 callers")
def test_durable_writes_of_many_callers(benchmark, leader):
    outcome = benchmark(leader.saturate, 64, 0.02)
    assert not outcome["failed"]
