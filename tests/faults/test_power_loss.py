"""SIGKILL under load, with unsynced bytes really lost: nothing acknowledged goes with them.

The members run over the storage seam's `hold_unsynced`: what is written stays in the process until it is synced, so
SIGKILL takes with it whatever a power cut may take. The last two tests are the proof that these can fail: with
`fsync="never"` the very same schedules lose acknowledged writes, and that is found.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from tests.faults.clients import Book, Load
from tests.faults.cluster import POWER_LOSS, Cluster, judge

from tenure.sim.linearizability import Verdict, check

QUICK: dict[str, Any] = {"election_timeout_s": 0.4, "heartbeat_s": 0.05}


def kill_leaders(cluster: Cluster, book: Book, seed: int, rounds: int) -> None:
    """Kill leaders under load, in turn as `lose_leader` and as `lose_only_copies` do."""
    source = random.Random(seed)
    with Load(cluster, book, clients=6, seed=seed) as load:
        for number in range(rounds):
            load.wait_for_writes(150)
            if number % 2 == 0:
                lose_leader(cluster, load)
            else:
                cluster.resume(lose_only_copies(cluster, load, source))
    print(f"{len(load.acknowledged())} acknowledged writes, refusals {load.codes()}")


def lose_leader(cluster: Cluster, load: Load) -> None:
    """A successor takes over, then the killed leader comes back."""
    leader = cluster.leader()
    term = cluster.leaders()[leader]
    cluster.kill(leader)
    cluster.leader(among=tuple(id for id in cluster.members if id != leader), above_term=term)
    load.wait_for_writes(50)
    cluster.start(leader)


def lose_only_copies(cluster: Cluster, load: Load, source: random.Random) -> int:
    """The killed leader alone can bring back what it acknowledged. Returns a member that stands still.

    One follower is killed first, so that what is acknowledged from then on is with the leader and the other follower;
    then the other stands still, the leader is killed, and both that were killed come back and form a majority.
    """
    leader = cluster.leader()
    one, other = source.sample([id for id in cluster.members if id != leader], 2)
    cluster.kill(one)  # not SIGSTOP: what waits in the sockets of a stopped member reaches it yet
    load.wait_for_writes(100)
    cluster.stop(other)
    cluster.kill(leader)
    cluster.start(one)
    cluster.start(leader)
    cluster.leader(among=(leader, one))
    load.wait_for_writes(50)
    return other


def kill_all(cluster: Cluster, book: Book, seed: int, rounds: int) -> None:
    """Kill all members at once under load and start them again."""
    with Load(cluster, book, clients=6, seed=seed) as load:
        for _ in range(rounds):
            load.wait_for_writes(200)
            for id in cluster.members:
                cluster.processes[id].popen.kill()
            for id in cluster.members:
                cluster.kill(id)
            for id in cluster.members:
                cluster.spawn(id)
            for process in cluster.processes.values():
                process.wait_ready()
            cluster.leader()
        load.wait_for_writes(100)
    print(f"{len(load.acknowledged())} acknowledged writes, refusals {load.codes()}")


@pytest.mark.timeout(90)
def test_nothing_acknowledged_is_lost_when_leaders_lose_power(
    tmp_path: Path, book: Book, seed: int, long: bool
) -> None:
    """Fails when an acknowledgement leaves before the bytes behind it are synced, or a vote before it is."""
    with Cluster(tmp_path, seed=seed, environment=POWER_LOSS, **QUICK) as cluster:
        kill_leaders(cluster, book, seed, 40 if long else 4)
        judge(cluster, book)


@pytest.mark.timeout(90)
def test_nothing_acknowledged_is_lost_when_all_members_lose_power_at_once(
    tmp_path: Path, book: Book, seed: int, long: bool
) -> None:
    """Fails when anything acknowledged was only in memory, or recovery cuts off what was synced."""
    with Cluster(tmp_path, seed=seed, environment=POWER_LOSS, **QUICK) as cluster:
        kill_all(cluster, book, seed, 20 if long else 2)
        judge(cluster, book)


@pytest.mark.timeout(90)
@pytest.mark.parametrize("everybody", [False, True])
def test_without_syncs_the_loss_is_found(everybody: bool, tmp_path: Path, book: Book, seed: int) -> None:
    """The control: the same schedules over a log that is never synced."""
    with Cluster(tmp_path, seed=seed, environment=POWER_LOSS, fsync="never", **QUICK) as cluster:
        if everybody:
            kill_all(cluster, book, seed, 1)
        else:
            with Load(cluster, book, clients=6, seed=seed) as load:
                load.wait_for_writes(150)
                lose_only_copies(cluster, load, random.Random(seed))
        cluster.read_all(book)
    report = check(book.operations)
    assert report.verdict is Verdict.VIOLATION
    assert report.violation is not None
    print(report.violation.render()[:2000])
