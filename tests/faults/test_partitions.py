"""The network between members is cut, in one direction or both, once or again and again, or is slow.

Every test runs over network namespaces where there can be any, else over the proxies; the long version runs over both.
They differ: what is cut in a namespace is lost, acknowledgements of TCP included, while a proxy keeps it until the cut
is healed. Clients reach every member all the time.
"""

from __future__ import annotations

import contextlib
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.faults import netns
from tests.faults.clients import Book, Connection, Load, NoAnswerError
from tests.faults.cluster import Cluster, judge, wait_until
from tests.faults.conftest import LONG
from tests.faults.probe import LeaseProbe

if TYPE_CHECKING:
    from collections.abc import Iterable

QUICK: dict[str, Any] = {"election_timeout_s": 0.6, "heartbeat_s": 0.06}
STEADY: dict[str, Any] = {"election_timeout_s": 1.0, "heartbeat_s": 0.1}
TIMEOUT_S = QUICK["election_timeout_s"]
HASTY: dict[str, Any] = {"election_timeout_s": 0.3, "heartbeat_s": 0.03}
# A new connection is asked for when it is dialled and a second later; it is dialled again a second after that, and a
# pause of at most one more. The rest is an election.
HEALING_S = 2.9
DELAY_S = 0.03
BYTES_PER_S = 256 << 10


def outgoing(one: int, others: Iterable[int]) -> list[tuple[int, int]]:
    return [(one, other) for other in others]


def incoming(one: int, others: Iterable[int]) -> list[tuple[int, int]]:
    return [(other, one) for other in others]


def both_ways(one: int, others: Iterable[int]) -> list[tuple[int, int]]:
    return outgoing(one, others) + incoming(one, others)


CUTS = {"both_ways": both_ways, "it_is_not_heard": outgoing, "it_hears_nothing": incoming}


def caught_up(cluster: Cluster, id: int, index: int) -> bool:
    status = cluster.status(id)
    return status is not None and status["applied"] >= index


def expect_no_success(connection: Connection, book: Book, key: str) -> None:
    """Neither a write nor a read by a quorum succeeds on a member without a majority."""
    for op, value, mode in (("set", "of the minority", None), ("get", None, "read_index")):
        with contextlib.suppress(NoAnswerError):
            answer = book.run(connection, "minority", op, key, value, mode=mode, timeout=0.3, timeout_s=5.0)
            assert answer is not None
            assert answer["status"] != "ok", f"{op} succeeded without a majority: {answer}"


def cut_off_round(cluster: Cluster, book: Book, load: Load, cut: str, number: int) -> str:
    """The leader is cut off while it serves reads from its lease; what was seen."""
    network = cluster.network
    assert network is not None
    old = cluster.leader()
    others = tuple(id for id in cluster.members if id != old)
    key = f"{cut}-{number}"
    with contextlib.ExitStack() as stack:
        minority = stack.enter_context(contextlib.closing(Connection(cluster.port(old))))
        assert book.run(minority, "writer", "set", key, "before")["status"] == "ok"
        probe = stack.enter_context(LeaseProbe(book, cluster.port(old), key))
        wait_until("the leader serves reads from its lease", lambda: sum(one.served for one in probe.reads) > 20, 10.0)
        term = cluster.leaders()[old]
        network.cut(*CUTS[cut](old, others))
        cut_ns = time.monotonic_ns()
        successor = cluster.leader(among=others, above_term=term)
        elected_ns = time.monotonic_ns()
        with contextlib.closing(Connection(cluster.port(successor))) as majority:
            answer = book.run(majority, "writer", "set", key, "after")
        assert answer["status"] == "ok", answer
        acknowledged_ns = time.monotonic_ns()
        expect_no_success(minority, book, key)
        load.wait_for_writes(50)
        wait_until("the old leader has noticed", lambda: old not in cluster.leaders((old,)), 4 * TIMEOUT_S)
        index = cluster.status(successor)["commit"]
        wait_until("reads were tried", lambda: len(probe.between(acknowledged_ns, time.monotonic_ns())) > 20, 5.0)
        healed_ns = time.monotonic_ns()
        network.heal()
        wait_until("the old leader has caught up", lambda: caught_up(cluster, old, index), 15.0)
        caught_up_s = (time.monotonic_ns() - healed_ns) / 1e9
        cluster.leader()
        load.wait_for_writes(30)
    inside = [one for one in probe.between(cut_ns, acknowledged_ns) if one.served]
    beyond = [one for one in probe.between(acknowledged_ns, healed_ns) if one.served]
    assert inside, "no read was served by the lease during the cut: nothing was tested"
    assert not beyond, f"{len(beyond)} reads were served by a lease after the successor's first write: {beyond[:3]}"
    return (
        f"elected {(elected_ns - cut_ns) / 1e9:.2f} s after the cut, {len(inside)} reads by the old lease, the last "
        f"{(inside[-1].call_ns - cut_ns) / 1e9:.2f} s after the cut; {len(probe.reads)} tried; caught up "
        f"{caught_up_s:.2f} s after the healing"
    )


@pytest.mark.timeout(120)
def test_a_leader_is_cut_off_in_the_minority(tmp_path: Path, book: Book, seed: int, long: bool, network: str) -> None:
    """Fails when a lease outlives the election of a successor, a minority decides, or one that was cut off stays so. On
    a build without the expiry check 5 of 12 rounds did.

    One direction at a time as well: a leader that hears nobody must give up although it is heard, and one that nobody
    hears must be succeeded although it hears everybody.
    """
    with (
        Cluster(tmp_path, seed=seed, network=network, **QUICK) as cluster,
        Load(cluster, book, clients=5, seed=seed, answer_s=1.0) as load,
    ):
        for number in range(8 if long else 1):
            for cut in CUTS:
                load.wait_for_writes(50)
                print(f"{network}, {cut}: {cut_off_round(cluster, book, load, cut, number)}")
        load.finish()
        print(f"{len(load.acknowledged())} acknowledged writes, refusals {load.codes()}")
        judge(cluster, book)


@pytest.mark.timeout(90)
@pytest.mark.parametrize("cut", ["deaf_for_the_leader", *(["it_is_not_heard", "it_hears_nothing"] if LONG else [])])
def test_a_follower_behind_a_one_way_cut_disturbs_nobody(
    tmp_path: Path, book: Book, seed: int, long: bool, network: str, cut: str
) -> None:
    """Fails when a member that does not hear the leader can depose it: without pre-vote and promises its term rises."""
    with Cluster(tmp_path, seed=seed, network=network, **QUICK) as cluster:
        leader = cluster.leader()
        follower = next(id for id in cluster.members if id != leader)
        others = tuple(id for id in cluster.members if id != follower)
        pairs = [(leader, follower)] if cut == "deaf_for_the_leader" else CUTS[cut](follower, others)
        assert cluster.network is not None
        with Load(cluster, book, clients=5, seed=seed, targets=others) as load:
            load.wait_for_writes(50)
            term = cluster.leaders()[leader]
            cluster.network.cut(*pairs)
            end = time.monotonic() + (20 if long else 4) * TIMEOUT_S
            while time.monotonic() < end:
                load.wait_for_writes(20, timeout_s=3 * TIMEOUT_S)
            assert cluster.leaders() == {leader: term}, "the leader was disturbed"
            assert not caught_up(cluster, follower, cluster.status(leader)["commit"]), "nothing was cut"
            cluster.network.heal()
            load.wait_for_writes(20)
            index = cluster.status(leader)["commit"]
            wait_until("the follower has caught up", lambda: caught_up(cluster, follower, index), 20.0)
            assert cluster.leaders() == {leader: term}, "the leader was deposed when the follower came back"
        judge(cluster, book)


@pytest.mark.timeout(120)
def test_everybody_is_cut_off_from_everybody(tmp_path: Path, book: Book, seed: int, long: bool, network: str) -> None:
    """Fails when a cut of seconds outlasts its healing because connections wait for TCP to ask again, which it does 6.4
    and 12.8 s after the cut: with ten seconds instead of two until a connection is given up, that is at 10 s.
    """
    with Cluster(tmp_path, seed=seed, network=network, **HASTY) as cluster:
        assert cluster.network is not None
        pairs = [(one, other) for one in cluster.members for other in cluster.members if one != other]
        with Load(cluster, book, clients=5, seed=seed) as load:
            for cut_s in (7.0, 3.5, 8.0, 12.0, 25.0) if long else (7.0,):
                load.wait_for_writes(50)
                cluster.network.cut(*pairs)
                end = time.monotonic() + cut_s
                wait_until("nobody leads", lambda: not cluster.leaders(), 4 * TIMEOUT_S)
                load.hush()
                time.sleep(max(0.0, end - time.monotonic()))
                assert not cluster.leaders(), "a minority leads"
                cluster.network.heal()
                healed = time.monotonic()
                cluster.leader()
                led_s = time.monotonic() - healed
                load.go_on()
                load.wait_for_writes(50)
                print(f"{network}: cut for {cut_s} s, a leader {led_s:.2f} s after the healing")
                assert led_s < HEALING_S
        judge(cluster, book)


@pytest.mark.timeout(120)
def test_links_that_flap(tmp_path: Path, book: Book, seed: int, long: bool, network: str) -> None:
    """Fails when links that come and go wedge a connection, lose what was acknowledged, or let two leases overlap."""
    source = random.Random(seed)
    with Cluster(tmp_path, seed=seed, network=network, **QUICK) as cluster:
        assert cluster.network is not None
        pairs = [(one, other) for one in cluster.members for other in cluster.members if one != other]
        leader = cluster.leader()
        with contextlib.ExitStack() as stack:
            load = stack.enter_context(Load(cluster, book, clients=5, seed=seed, answer_s=1.0))
            probes = [
                stack.enter_context(LeaseProbe(book, cluster.port(id), "k0", name=f"probe-{id}", every_s=0.01))
                for id in cluster.members
            ]
            load.wait_for_writes(50)
            before = len(load.acknowledged())
            end = time.monotonic() + (60 if long else 3)
            flaps = 0
            while time.monotonic() < end:
                if source.random() < 0.3:  # the leader alone, so that it does lose its majority
                    leader = next(iter(cluster.leaders()), leader)
                    cut = both_ways(leader, tuple(id for id in cluster.members if id != leader))
                else:
                    cut = source.sample(pairs, source.randint(1, 4))
                cluster.network.cut(*cut)
                time.sleep(source.uniform(0.1, 1.2 if flaps % 5 == 4 else 0.4))
                cluster.network.heal()
                time.sleep(source.uniform(0.05, 0.3))
                flaps += 1
            during = len(load.acknowledged()) - before
            healed = time.monotonic()
            cluster.leader()
            load.wait_for_writes(50)
            recovered_s = time.monotonic() - healed
        print(
            f"{flaps} flaps, {during} writes meanwhile, {recovered_s:.2f} s to 50 writes afterwards; reads by leases "
            f"{[sum(one.served for one in probe.reads) for probe in probes]}; refusals {load.codes()}"
        )
        assert recovered_s < 15.0
        judge(cluster, book)


@pytest.mark.timeout(120)
def test_a_slow_link_to_a_follower(tmp_path: Path, book: Book, seed: int, long: bool, network: str) -> None:
    """Fails when one slow follower costs the leader its lease, delays writes that the other one acknowledges, or, with
    appends behind appends in a thin stream, takes its leader for dead and campaigns; or never catches up.
    """
    if network == "netns" and not netns.can_slow():
        network = "proxy"
    with Cluster(tmp_path, seed=seed, network=network, **STEADY) as cluster:
        leader = cluster.leader()
        assert cluster.network is not None
        slow = next(id for id in cluster.members if id != leader)
        with (
            Load(cluster, book, clients=5, seed=seed, value_bytes=4000) as load,
            LeaseProbe(book, cluster.port(leader), "k0") as probe,
        ):
            load.wait_for_writes(50)
            term = cluster.leaders()[leader]
            cluster.network.slow(slow, delay_s=DELAY_S, bytes_per_s=BYTES_PER_S)
            slowed_ns = time.monotonic_ns()
            time.sleep(20 if long else 3)
            end_ns = time.monotonic_ns()
            behind = cluster.status(leader)["commit"] - cluster.status(slow)["applied"]
            assert cluster.leaders() == {leader: term}, "leadership was lost for a slow link"
            during = [ret_ns - call_ns for call_ns, ret_ns in load.acknowledged() if slowed_ns <= call_ns < end_ns]
            reads = probe.between(slowed_ns, end_ns)
            cluster.network.hurry(slow)
        during.sort()
        print(
            f"{network}: {len(during)} writes, median {during[len(during) // 2] / 1e6:.1f} ms, slowest "
            f"{during[-1] / 1e6:.1f} ms; {len(reads)} reads by the lease; the slow one was {behind} entries behind"
        )
        assert all(one.served for one in reads), "the lease lapsed"
        assert behind > 0, "the link was not slow"
        assert during[len(during) // 2] < 2 * DELAY_S * 1e9, "writes waited for the slow follower"
        judge(cluster, book)
