"""Python code in a member's process holds the GIL for seconds, then litters: consensus does not wait for it."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.faults.clients import Book, Connection
from tests.faults.cluster import Cluster, judge

TIMEOUT_S = 1.0
HOLD_S = 5.0  # several leases
GARBAGE_S = 3.0
NEEDS_GIL = pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="this interpreter has no GIL to hold"
)
LAPSES = ("lapses_deadline", "lapses_withdrawn", "elections_won")


def numbers(cluster: Cluster) -> dict[int, dict[str, Any]]:
    found = {}
    for id in cluster.members:
        status = cluster.status(id)
        assert status is not None
        found[id] = {
            "term": status["term"],
            "leader": status["leader"],
            **{name: status["counters"][name] for name in LAPSES},
        }
    return found


@contextlib.contextmanager
def busy_python(cluster: Cluster, id: int, **request: Any):
    """A request that keeps the member's interpreter busy, asked from a thread."""
    connection = Connection(cluster.port(id), 60.0)
    answers: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: answers.append(connection.ask(60.0, **request)), daemon=True)
    thread.start()
    time.sleep(0.2)
    try:
        yield
    finally:
        thread.join(60.0)
        connection.close()
    assert answers, "no answer"
    assert answers[0]["status"] == "ok", answers


@NEEDS_GIL
@pytest.mark.timeout(90)
def test_a_held_gil_costs_the_leader_nothing(tmp_path: Path, book: Book, seed: int) -> None:
    """Fails when heartbeats, promises or the lease wait for the GIL: a lapse or an election is counted."""
    with Cluster(tmp_path, seed=seed, election_timeout_s=TIMEOUT_S) as cluster:
        leader = cluster.leader()
        with contextlib.closing(Connection(cluster.port(leader))) as connection:
            assert book.run(connection, "writer", "set", "key", "value")["status"] == "ok"
        before = numbers(cluster)
        with busy_python(cluster, leader, op="hold_gil", seconds=HOLD_S):
            began = time.monotonic()
            with contextlib.closing(Connection(cluster.port(leader))) as connection:
                connection.ask(60.0, op="status")  # nobody is served before the GIL is free
            held_s = time.monotonic() - began
        assert held_s > HOLD_S - 1.0, f"the GIL was not held: an answer came after {held_s:.2f} s"
        assert numbers(cluster) == before
        with busy_python(cluster, leader, op="garbage", seconds=GARBAGE_S):
            pass
        assert numbers(cluster) == before
        judge(cluster, book)


@NEEDS_GIL
@pytest.mark.timeout(90)
def test_a_held_gil_does_not_delay_a_followers_acknowledgements(tmp_path: Path, book: Book, seed: int) -> None:
    """Fails when a follower needs the GIL to append or to acknowledge: with the other one stopped, writes wait."""
    with Cluster(tmp_path, seed=seed, election_timeout_s=TIMEOUT_S) as cluster:
        leader = cluster.leader()
        busy, stopped = (id for id in cluster.members if id != leader)
        before = numbers(cluster)
        cluster.stop(stopped)
        slowest_s = 0.0
        count = 0
        with (
            busy_python(cluster, busy, op="hold_gil", seconds=HOLD_S / 2),
            contextlib.closing(Connection(cluster.port(leader))) as connection,
        ):
            end = time.monotonic() + HOLD_S / 2 - 0.5
            while time.monotonic() < end:
                count += 1
                began = time.monotonic()
                assert book.run(connection, "writer", "incr", "counter", 1)["status"] == "ok"
                slowest_s = max(slowest_s, time.monotonic() - began)
                time.sleep(0.002)
        cluster.resume(stopped)
        print(f"{count} writes, the slowest took {slowest_s * 1e3:.1f} ms")
        assert slowest_s < 0.5
        assert numbers(cluster)[leader] == before[leader]
        judge(cluster, book)
