"""Leadership is handed over under load, before, during and after a partition of its target.

The word that a leader gives up is the point (H03): once it has told the target to stand for election it serves no read
from its lease until it has been elected again, however late the target hears of it.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.faults.clients import Book, Connection, Load
from tests.faults.cluster import Cluster, judge, wait_until
from tests.faults.probe import LeaseProbe

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT_S = 1.0
SETTINGS: dict[str, Any] = {"election_timeout_s": TIMEOUT_S, "heartbeat_s": 0.1}


class Transfer:
    """A hand-over asked for in the background."""

    def __init__(self, cluster: Cluster, leader: int, target: int) -> None:
        self.answers: list[dict[str, Any]] = []
        self.connection = Connection(cluster.port(leader))
        self.connection.send(op="transfer", target=target)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        with contextlib.closing(self.connection):
            self.answers.append(self.connection.receive(10.0))

    def answer(self) -> dict[str, Any]:
        self.thread.join(12.0)
        assert self.answers, "a hand-over was never answered"
        return self.answers[0]


@contextlib.contextmanager
def cut(cluster: Cluster, *pairs: tuple[int, int]) -> Iterator[None]:
    assert cluster.network is not None
    cluster.network.cut(*pairs)
    try:
        yield
    finally:
        cluster.network.heal()


def caught_up(cluster: Cluster, id: int) -> bool:
    own, goal = cluster.status(id), cluster.status(cluster.leader())
    return own is not None and goal is not None and own["applied"] >= goal["commit"]


def hand_over(cluster: Cluster, load: Load) -> None:
    """Nothing is in the way: the target leads, in the next term, and nobody waits for long."""
    leader = cluster.leader()
    target = next(id for id in cluster.members if id != leader)
    wait_until("the target has caught up", lambda: caught_up(cluster, target), 20.0)
    term = cluster.leaders()[leader]
    answer = Transfer(cluster, leader, target).answer()
    assert (answer["status"], answer.get("out")) == ("ok", target), answer
    wait_until("the target leads", lambda: cluster.leaders() == {target: term + 1}, 5.0)
    load.wait_for_writes(50)


def target_cut_off(cluster: Cluster, load: Load, book: Book) -> None:
    """The target is cut off for long: it is not waited for, and the leader leads on."""
    leader = cluster.leader()
    target, other = (id for id in cluster.members if id != leader)
    with cut(cluster, (leader, target), (target, leader), (other, target), (target, other)):
        load.wait_for_writes(50)
        time.sleep(0.3)
        with contextlib.closing(Connection(cluster.port(leader))) as writer:
            began = time.monotonic()
            transfer = Transfer(cluster, leader, target)
            time.sleep(0.03)
            refused = 0
            while (answer := book.run(writer, "writer", "incr", "written", 1))["status"] != "ok":
                assert answer["code"] == "proposal_refused", answer
                refused += 1
                time.sleep(0.01)
            took_s = time.monotonic() - began
        answer = transfer.answer()
        assert answer["status"] != "ok", f"leadership was handed to a member that is cut off: {answer}"
        load.wait_for_writes(50)
        assert cluster.leader() == leader
    print(f"target cut off: answered {answer['code']}; {refused} writes were refused within {took_s:.2f} s, then taken")
    assert refused, "there was no hand-over to be in the way"
    assert took_s < 2 * TIMEOUT_S, "a hand-over that comes to nothing has one election timeout"


def order_lost(cluster: Cluster, load: Load, book: Book) -> None:
    """The order to stand for election is under way to a target that does not hear it before it is too late.

    The target is up to date and was heard a moment ago, so the order leaves. It is delivered when the cut is healed.
    """
    leader = cluster.leader()
    target, _ = (id for id in cluster.members if id != leader)
    wait_until("the target has caught up", lambda: caught_up(cluster, target), 20.0)
    term = cluster.leaders()[leader]
    with LeaseProbe(book, cluster.port(leader), "k0") as probe:
        wait_until("the leader serves reads from its lease", lambda: any(one.served for one in probe.reads), 5.0)
        load.hush()
        wait_until("the target has caught up", lambda: caught_up(cluster, target), 5.0)
        with cut(cluster, (leader, target)):
            transfer = Transfer(cluster, leader, target)
            asked_ns = time.monotonic_ns()
            time.sleep(0.03)  # a write that came before the question would keep the order back
            load.go_on()
            again = wait_until(
                "the leader is elected again",
                lambda: (found := cluster.leaders((leader,))) and found[leader] > term and found,
                4 * TIMEOUT_S,
            )
            elected_ns = time.monotonic_ns()
            assert again == {leader: term + 1}, again
            answer = transfer.answer()
            assert answer["status"] != "ok", answer
            load.wait_for_writes(50, timeout_s=3 * TIMEOUT_S)
            wait_until("it has its lease again", lambda: probe.reads and probe.reads[-1].served, 3 * TIMEOUT_S)
        time.sleep(2 * TIMEOUT_S)  # the order arrives, of a term that has passed
        assert cluster.leaders() == {leader: term + 1}, "an order that was out of date has deposed the leader"
    mute = probe.between(asked_ns + 50_000_000, elected_ns - 200_000_000)
    assert mute, "no read was tried meanwhile: nothing was tested"
    assert not any(one.served for one in mute), "a lease was relied on that had been given up"
    print(
        f"order lost: answered {answer['code']}, elected again {(elected_ns - asked_ns) / 1e9:.2f} s after the "
        f"question, {len(mute)} reads without a lease meanwhile"
    )


def race(cluster: Cluster, load: Load, source: random.Random) -> None:
    """The target is cut off, for a moment or for longer, just when it takes over."""
    leader = cluster.leader()
    target, other = (id for id in cluster.members if id != leader)
    wait_until("the target has caught up", lambda: caught_up(cluster, target), 20.0)
    transfer = Transfer(cluster, leader, target)
    time.sleep(source.uniform(0, 0.01))
    with cut(cluster, (leader, target), (target, leader), (other, target), (target, other)):
        time.sleep(source.uniform(0.0, 2 * TIMEOUT_S))
    answer = transfer.answer()
    cluster.leader()
    load.wait_for_writes(50)
    print(f"race: {answer.get('code') or answer['out']}")


@pytest.mark.timeout(120)
def test_transfers_around_a_partition_of_the_target(
    tmp_path: Path, book: Book, seed: int, long: bool, network: str
) -> None:
    """Fails when a leader reads from its lease after the order has left, obeys nobody and leads nowhere after a
    hand-over that came to nothing, or is deposed by an order of a term that has passed.
    """
    source = random.Random(seed)
    with Cluster(tmp_path, seed=seed, network=network, **SETTINGS) as cluster:
        cluster.leader()
        with Load(cluster, book, clients=5, seed=seed, answer_s=1.0) as load:
            load.wait_for_writes(50)
            for _ in range(8 if long else 1):
                hand_over(cluster, load)
                target_cut_off(cluster, load, book)
                order_lost(cluster, load, book)
                for _ in range(4 if long else 1):
                    race(cluster, load, source)
                hand_over(cluster, load)
        print(f"{len(load.acknowledged())} acknowledged writes, refusals {load.codes()}")
        judge(cluster, book)
