"""A leader that is asked to stop hands over first: its clients hardly notice, and everybody who waits is answered."""

from __future__ import annotations

import math
import time
from itertools import pairwise
from pathlib import Path

import pytest
from tests.faults.clients import Book, Load
from tests.faults.cluster import Cluster, judge

TIMEOUT_S = 1.0


@pytest.mark.timeout(90)
def test_a_graceful_stop_hands_over(tmp_path: Path, book: Book, seed: int, long: bool) -> None:
    """Fails when the successor has to wait for an election timeout or for the promises, or a caller is left waiting.

    A stopped member ends with an error, which `terminate` asserts, if anybody who asked it was not answered.
    """
    gaps = []
    with Cluster(tmp_path, seed=seed, election_timeout_s=TIMEOUT_S) as cluster:
        cluster.leader()
        with Load(cluster, book, clients=6, seed=seed, answer_s=8.0) as load:
            for _ in range(20 if long else 4):
                load.wait_for_writes(100)
                leader = cluster.leader()
                began_ns = time.monotonic_ns()
                took_s = cluster.terminate(leader)
                load.wait_for_writes(50)
                assert took_s < 2.5, f"the stop took {took_s:.2f} s"
                answers = [ret_ns for _, ret_ns in load.acknowledged() if ret_ns > began_ns - 500_000_000]
                gaps.append(max(later - earlier for earlier, later in pairwise(answers)) / 1e9)
                cluster.start(leader)
        slowest_s = max(client.slowest_ns for client in load.clients) / 1e9
        print(
            f"gaps {[f'{gap:.3f}' for gap in sorted(gaps)]} s, slowest call {slowest_s:.3f} s, refusals {load.codes()}"
        )
        judge(cluster, book)
    assert sorted(gaps)[math.ceil(len(gaps) * 0.99) - 1] < TIMEOUT_S / 2
    assert slowest_s < TIMEOUT_S
