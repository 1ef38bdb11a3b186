"""What clients are told while leadership moves and links are slow: their own outcome, and no key that comes back."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from tenure._core.clock import wall_ms
from tenure._host.core import CHANGE, TRANSFER, HostCore
from tenure._kv.codec import hint
from tenure.engine.outcome import OK

from .cluster import cluster, wait_until
from .wire import Error, Status, Wire, encode

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.proxy import Network

    from .cluster import Cluster, Member

ADD_LEARNER = 3  # of `_raft/types.pxd`


def test_a_leader_that_comes_back_answers_what_it_is_asked_now(held_apart: Cluster) -> None:
    """Clients of its former term still wait at the same indexes of the log."""
    network = held_apart.network
    assert network is not None
    old = held_apart.leader()
    with Wire(old.port) as waiting, Wire(old.port) as wire:
        assert wire.call("SET", "a", 1) == Status(b"OK")
        committed = old.core.gauges()["commit_index"]
        network.hold(*held_apart.links_of(old))
        waiting.send(encode("INCR", "lost") * 40)
        wait_until(lambda: old.core.gauges()["last_index"] >= committed + 40)
        new = held_apart.leader(old)
        with Wire(new.port) as there:
            assert there.call("SET", "b", 1) == Status(b"OK")
        network.let_go()
        wait_until(lambda: old.core.gauges()["applied_index"] == new.core.gauges()["applied_index"])
        assert old.core.gauges()["last_index"] < committed + 40
        new.core.call(TRANSFER, None, old.id, -1)
        wait_until(old.leads)
        began = time.monotonic()
        for i in range(50):  # past the indexes where the others wait
            assert wire.call("INCR", "n") == i + 1
        wire.send(encode("INCR", "n") * 50)
        assert [wire.reply() for _ in range(50)] == list(range(51, 101))
        assert time.monotonic() - began < 4  # and at once
        for reply in [waiting.reply() for _ in range(40)]:
            assert isinstance(reply, Error)
            assert reply.split()[0] in (b"TRYAGAIN", b"UNKNOWN")
        assert wire.call("GET", "lost") is None


def test_a_change_of_the_group_is_told_its_own_outcome_by_a_leader_that_came_back(held_apart: Cluster) -> None:
    """Clients of its former term still wait at the index of the change and behind it; it is made all the same."""
    network = held_apart.network
    assert network is not None
    old = held_apart.leader()
    with Wire(old.port) as waiting, Wire(old.port) as wire:
        assert wire.call("SET", "a", 1) == Status(b"OK")
        committed = old.core.gauges()["commit_index"]
        network.hold(*held_apart.links_of(old))
        waiting.send(encode("INCR", "lost") * 40)
        wait_until(lambda: old.core.gauges()["last_index"] >= committed + 40)
        new = held_apart.leader(old)
        network.let_go()
        wait_until(lambda: old.core.gauges()["applied_index"] == new.core.gauges()["applied_index"])
        assert old.core.gauges()["last_index"] < committed + 40
        new.core.call(TRANSFER, None, old.id, -1)
        wait_until(old.leads)
        change = HostCore.encode_change([(ADD_LEARNER, 9, b"127.0.0.1:9")], 0, True)
        found = old.core.members(-1)
        assert found is not None
        limit_ns = time.monotonic_ns() + 10_000_000_000
        with ThreadPoolExecutor(1) as beside:
            made = beside.submit(old.core.call, CHANGE, change, found["index"] << 1 | 1, limit_ns)
            wait_until(lambda: 9 in (old.core.members(-1) or {})["learners"])
            for i in range(50):  # past the indexes where the others wait
                assert wire.call("INCR", "n") == i + 1
            outcome = made.result()
        assert outcome is not None
        assert outcome[0] == OK
        assert committed < outcome[1] < committed + 40
        for reply in [waiting.reply() for _ in range(40)]:
            assert isinstance(reply, Error)


def test_a_queue_that_is_full_for_a_moment_leaves_what_was_sent_its_outcome(
    tmp_path: Path, network: Network, io_threads: int
) -> None:
    """A message too many is dropped and refused; those before it are on their way all the same."""
    limits = {"max_queued_bytes": 1 << 20, "redis_time_limit_ns": 20_000_000_000}
    with cluster(tmp_path, 3, network=network, redis_io_threads=io_threads, **limits) as made:
        leader, follower = made.leader(), made.follower()
        with Wire(follower.port) as wire:
            assert wire.call("SET", "a", "1") == Status(b"OK")
            link = (follower.id, leader.id)
            network.hold(link)
            wire.send(b"".join(encode("SET", f"k{i}", b"x" * 60_000) for i in range(400)))
            wait_until(lambda: follower.counts()["forwarded"] > 10)
            time.sleep(0.3)
            network.let_go(link)
            kinds = [bytes(wire.reply()).split()[0] for _ in range(400)]
            assert set(kinds) == {b"OK", b"CLUSTERDOWN"}


def hand_over(others: tuple[Member, ...], to: Member) -> bool:
    """Whether `to` leads; else whoever does is asked again: a hand-over may be given up."""
    for member in others:
        if member.leads():
            member.core.call(TRANSFER, None, to.id, -1)
    return to.leads()


def test_a_life_that_is_given_after_leadership_moved_does_not_end_at_once(trio: Cluster) -> None:
    """A new leader's time begins above what its predecessor may have shown: up to a second ahead of every clock."""
    for _ in range(3):
        old = trio.leader()
        new, third = (m for m in trio.members.values() if m is not old)
        with Wire(old.port) as wire, Wire(new.port) as there, Wire(third.port) as elsewhere:
            assert wire.call("SET", "short", "", "PX", 1) == Status(b"OK")
            wait_until(lambda wire=wire: wire.call("GET", "short") is None)  # the ceiling is raised by now
            inherited = old.machine.ceiling_ts
            wait_until(lambda new=new, inherited=inherited: new.machine.ceiling_ts >= inherited)
            wait_until(partial(hand_over, (old, third), new))
            wait_until(lambda new=new, third=third: third.core.gauges()["leader"] == new.id)
            # the new leader says where its time begins, unless every clock has passed that by now
            wait_until(lambda third=third, base=inherited: max(third.machine.last_commit_ts, hint(wall_ms())) > base)
            for name, client in (("leader", there), ("follower", elsewhere)):
                assert client.call("SET", name, "v", "PX", 400) == Status(b"OK")
                assert there.call("GET", name) == b"v"


def test_a_read_says_that_a_key_has_ended_only_if_no_command_under_way_can_find_it(held_apart: Cluster) -> None:
    network = held_apart.network
    assert network is not None
    leader = held_apart.leader()
    with Wire(leader.port) as writer, Wire(leader.port) as reader:
        assert writer.call("SET", "k", "old", "PX", 300) == Status(b"OK")
        until = time.monotonic() + 0.3
        # A key in doubt has the ceiling raised, beyond the end of the other.
        assert writer.call("SET", "short", "", "PX", 1) == Status(b"OK")
        wait_until(lambda: reader.call("GET", "short") is None)
        network.hold(*held_apart.links_of(leader))
        writer.send(encode("GETSET", "k", "new"))
        time.sleep(max(0.0, until - time.monotonic()) + 0.02)
        reader.send(encode("GET", "k"))
        time.sleep(0.05)  # long enough to answer at once
        network.let_go()
        before, seen = writer.reply(), reader.reply()
        # The key is found and then it has a new value, or it was not there.
        assert (before, seen) in ((b"old", b"new"), (None, None), (None, b"new"))
