"""A voter that was killed inside the lease has forgotten its promise; it must vote as if it had not (H04).

The schedule makes every vote but the restarted one's: the candidate was cut off from the leader until its own promise
had passed, the leader is cut off from both when the voter is killed, so its lease rests on the promise that the voter
made before. The candidate asks for votes without pause from then on.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

import pytest
from tests.faults.clients import Book, Connection, NoAnswerError
from tests.faults.cluster import POWER_LOSS, Cluster, judge

TIMEOUT_S = 2.5
PROMISE_S = TIMEOUT_S - 0.01
SETTINGS: dict[str, Any] = {"election_timeout_s": TIMEOUT_S, "heartbeat_s": 0.1}


def both_ways(one: int, *others: int) -> list[tuple[int, int]]:
    return [pair for other in others for pair in ((one, other), (other, one))]


@pytest.mark.timeout(120)
def test_a_voter_restarted_inside_the_lease_does_not_vote_early(
    tmp_path: Path, book: Book, seed: int, long: bool
) -> None:
    """Fails when a restarted member votes before the longest promise it may have made has passed."""
    with Cluster(tmp_path, seed=seed, proxied=True, environment=POWER_LOSS, **SETTINGS) as cluster:
        effective = 0
        for number in range(20 if long else 3):
            effective += restarted_voter_round(cluster, book, number)
            if effective and not long:
                break
        assert effective, "the voter was never back inside the lease: nothing was tested"
        judge(cluster, book)


def restarted_voter_round(cluster: Cluster, book: Book, number: int) -> bool:
    """Whether the candidate asked for votes while the voter was back and the lease still held."""
    assert cluster.network is not None
    leader = cluster.leader()
    voter, candidate = (id for id in cluster.members if id != leader)
    key = f"round-{number}"
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(contextlib.closing(Connection(cluster.port(leader))))
        assert book.run(reader, "writer", "set", key, "before")["status"] == "ok"
        cluster.network.hold(*both_ways(leader, candidate))
        time.sleep(PROMISE_S + 0.2)
        status = cluster.status(leader)
        assert status is not None
        assert status["state"] == "leader", "the leader kept its lease by the voter alone"
        assert status["lease_ns"] > 0
        term = status["term"]

        cluster.network.hold(*both_ways(leader, voter))
        held_ns = time.monotonic_ns()
        cluster.kill(voter)
        spawned_ns = cluster.start(voter).spawned_ns
        up_ns = time.monotonic_ns()

        campaigns_in_lease = 0
        elected_ns = 0
        last_lease_read_ns = 0
        end = time.monotonic() + 4 * TIMEOUT_S + 5
        while not elected_ns:
            assert time.monotonic() < end, "nobody was elected at all"
            with contextlib.suppress(NoAnswerError):
                cluster.ask(candidate, op="campaign")
            answer = book.run(reader, "reader", "get", key, mode="lease_only")
            if answer["status"] == "ok":
                campaigns_in_lease += 1
                last_lease_read_ns = time.monotonic_ns()
            status = cluster.status(candidate)
            if status is not None and status["state"] == "leader":
                elected_ns = time.monotonic_ns()
                assert status["term"] > term
            time.sleep(0.005)
        early_s = PROMISE_S - (elected_ns - spawned_ns) / 1e9
        assert early_s <= 0, f"the restarted voter voted {early_s:.3f} s early"
        connection = stack.enter_context(contextlib.closing(Connection(cluster.port(candidate))))
        assert book.run(connection, "writer", "set", key, "after")["status"] == "ok"
        answer = book.run(reader, "reader", "get", key, mode="lease_only")
        assert answer["status"] == "fail", answer
    print(
        f"restart took {(up_ns - held_ns) / 1e9:.2f} s; {campaigns_in_lease} campaigns met a valid lease, the last "
        f"{(last_lease_read_ns - held_ns) / 1e9:.2f} s after the cut; elected {(elected_ns - spawned_ns) / 1e9:.3f} s "
        f"after the voter's start, promise {PROMISE_S:.2f} s"
    )
    assert elected_ns - spawned_ns <= (PROMISE_S + 2 * TIMEOUT_S) * 1e9, "the restarted voter waited for too long"
    cluster.network.let_go()
    return campaigns_in_lease > 0
