"""The group changes under load, as processes: a member joins and is promoted, the leader is removed, one is replaced in
one joint change, and one dies in the middle of a change.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest
from tests.faults.clients import Book, Load
from tests.faults.cluster import POWER_LOSS, Cluster, judge, wait_until
from tests.faults.probe import LeaseProbe

SETTINGS: dict[str, Any] = {"election_timeout_s": 0.6, "heartbeat_s": 0.06, "snapshot_every": 500}


def caught_up(cluster: Cluster, id: int) -> bool:
    own, goal = cluster.status(id), cluster.status(cluster.leader())
    return own is not None and goal is not None and own["applied"] >= goal["commit"]


def join(cluster: Cluster, id: int) -> None:
    """A new member follows, and catches up."""
    cluster.add(id)
    found = cluster.change({"change": "ADD_LEARNER", "id": id, "address": cluster.addresses[id][id]})
    assert id in found["learners"]
    wait_until(f"member {id} has caught up", lambda: caught_up(cluster, id), 20.0)


def remove_leader(cluster: Cluster, book: Book, load: Load) -> int:
    """The leader is removed while it serves reads from its lease, and lives on for a moment; who it was."""
    leader = cluster.leader()
    term = cluster.leaders()[leader]
    with LeaseProbe(book, cluster.port(leader), "k0") as probe:
        wait_until("the leader serves reads from its lease", lambda: sum(one.served for one in probe.reads) > 20, 10.0)
        cluster.change({"change": "REMOVE", "id": leader})
        cluster.leader(among=tuple(id for id in cluster.members if id != leader), above_term=term)
        load.wait_for_writes(30)
        since_ns = time.monotonic_ns()
        wait_until("reads were tried", lambda: len(probe.between(since_ns, time.monotonic_ns())) > 50, 5.0)
    beyond = [one for one in probe.between(since_ns, time.monotonic_ns()) if one.served]
    assert not beyond, f"a member that was removed served {len(beyond)} reads"
    cluster.drop(leader)
    return leader


def replace(cluster: Cluster, load: Load, old: int, new: int) -> None:
    """`new` votes in the place of `old`, by one change through a joint configuration."""
    join(cluster, new)
    load.wait_for_writes(30)
    found = cluster.change({"change": "PROMOTE", "id": new}, {"change": "REMOVE", "id": old})
    assert sorted(found["voters"]) == sorted(set(cluster.members) - {old})
    load.wait_for_writes(30)
    cluster.drop(old)


def die_in_a_change(cluster: Cluster, load: Load, source: random.Random) -> None:
    """A member loses power while its group changes, and comes back: the change is made, whole."""
    leader = cluster.leader()
    victim, other = source.sample(cluster.members, 2)
    if other == leader:
        victim, other = other, victim
    cluster.ask(leader, op="change", changes=[{"change": "DEMOTE", "id": other}], timeout=source.choice([0.001, 0.01]))
    cluster.kill(victim)
    cluster.start(victim)
    cluster.leader()
    load.wait_for_writes(30)
    cluster.change({"change": "DEMOTE", "id": other})
    cluster.change({"change": "PROMOTE", "id": other})
    load.wait_for_writes(30)


def check_group(cluster: Cluster) -> None:
    """Members that have applied the same know the same group, whether they lived through its changes or came back."""
    found = {id: cluster.ask(id, op="group") for id in cluster.members}
    known = {id: {name: one[name] for name in ("voters", "learners", "joint")} for id, one in found.items()}
    meant = {"voters": sorted(cluster.members), "learners": [], "joint": False}
    assert all(one == meant for one in known.values()), known


@pytest.mark.timeout(120)
def test_the_group_changes_under_load(tmp_path: Path, book: Book, seed: int, long: bool) -> None:
    """Fails when a change loses what was acknowledged, two majorities decide, a removed leader reads from its lease,
    a new member misses what came before it, or a member that comes back does not know of a change.
    """
    source = random.Random(seed)
    with Cluster(tmp_path, seed=seed, environment=POWER_LOSS, **SETTINGS) as cluster:
        cluster.leader()
        with Load(cluster, book, clients=5, seed=seed) as load:
            fresh = 4
            for _ in range(6 if long else 1):
                load.wait_for_writes(100)
                join(cluster, fresh)
                load.wait_for_writes(30)
                cluster.change({"change": "PROMOTE", "id": fresh})
                load.wait_for_writes(30)
                gone = remove_leader(cluster, book, load)
                load.wait_for_writes(30)
                follower = next(id for id in cluster.members if id != cluster.leader())
                replace(cluster, load, follower, fresh + 1)
                die_in_a_change(cluster, load, source)
                fresh += 2
                print(f"removed the leader {gone}, replaced {follower}; the group is {cluster.members}")
        print(f"{len(load.acknowledged())} acknowledged writes, refusals {load.codes()}")
        judge(cluster, book)
        check_group(cluster)
