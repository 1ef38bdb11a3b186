"""All members are restarted one after the other while clients write and read: nothing acknowledged is lost, and nobody
waits for longer than one election takes.
"""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest
from tests.faults.clients import Book, Load
from tests.faults.cluster import Cluster, judge, wait_until

TIMEOUT_S = 1.0
ELECTION_S = 2 * TIMEOUT_S + 0.3  # of a leader that hands nothing over: silence, randomised up to twice the timeout


def caught_up(cluster: Cluster, id: int) -> bool:
    """Whether a member that was restarted has applied what the leader had committed when it was asked."""
    leader = cluster.leader()
    goal, own = cluster.status(leader), cluster.status(id)
    return goal is not None and own is not None and own["applied"] >= goal["commit"]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("how", ["graceful", "killed"])
def test_a_rolling_restart_under_load(tmp_path: Path, book: Book, seed: int, long: bool, how: str) -> None:
    """Fails when a member comes back without what it acknowledged, or when leadership is lost for longer than it must.

    A graceful stop hands over, so nobody waits for an election; a killed leader costs one election and no more.
    """
    with Cluster(tmp_path, seed=seed, election_timeout_s=TIMEOUT_S) as cluster:
        cluster.leader()
        began_ns = time.monotonic_ns()
        with Load(cluster, book, clients=6, seed=seed) as load:
            for _ in range(3 if long else 1):
                for id in cluster.members:
                    load.wait_for_writes(100)
                    if how == "graceful":
                        cluster.terminate(id)
                    else:
                        cluster.kill(id)
                    load.wait_for_writes(50)
                    cluster.start(id)
                    wait_until(f"member {id} has caught up", lambda id=id: caught_up(cluster, id), 20.0)
            load.wait_for_writes(100)
        reads = sorted(one.ret_ns for one in book.operations if one.op == "get" and one.status == "ok" and one.ret_ns)
        writes = [ret_ns for _, ret_ns in load.acknowledged()]
        gaps = {
            name: max(later - earlier for earlier, later in pairwise([began_ns, *instants])) / 1e9
            for name, instants in (("reads", reads), ("writes", writes))
        }
        print(f"{how}: longest gap between answers {gaps}, {len(writes)} writes, refusals {load.codes()}")
        judge(cluster, book)
    limit = TIMEOUT_S / 2 if how == "graceful" else ELECTION_S + 1.5  # a client gives a dead member up after 1.5 s
    assert max(gaps.values()) < limit, gaps
