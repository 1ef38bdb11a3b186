"""One member's disk goes wrong: full, failing or stalled. Its clients get typed errors, the others go on, nothing is
lost.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.faults.clients import Book, Connection, Load, NoAnswerError
from tests.faults.cluster import Cluster, judge, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

QUICK: dict[str, Any] = {"election_timeout_s": 0.4, "heartbeat_s": 0.05}
SMALL: dict[str, Any] = {"max_message_bytes": 64 << 10, "max_frame_bytes": 1 << 20, "segment_bytes": 256 << 10}
DISK_BYTES = 3 << 20
FAILED = {"member_failed", "outcome_unknown", "not_leader", "proposal_refused", "timeout", "no_answer", "overloaded"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def expect_typed_refusal(cluster: Cluster, id: int, cause: str) -> None:
    """Whoever asks the broken member learns what is the matter."""
    with contextlib.closing(Connection(cluster.port(id))) as connection:
        for request in ({"op": "set", "value": "x"}, {"op": "get", "mode": "read_index"}):
            answer = connection.ask(key="anything", timeout=2.0, **request)
            assert (answer["status"], answer["code"], answer.get("cause")) == ("fail", "member_failed", cause), answer


def replace_member(cluster: Cluster, id: int, **environment: str) -> None:
    """The disk is repaired; the member starts again from what it holds."""
    cluster.kill(id)
    cluster.start(id, **environment)


@pytest.mark.timeout(90)
def test_a_full_disk_stops_its_member_alone(tmp_path: Path, small_disk: Path, book: Book, seed: int) -> None:
    """Fails when a full disk loses something acknowledged, stops the others, or its clients are left guessing."""
    full = 1 + seed % 3
    with Cluster(tmp_path, seed=seed, directories={full: small_disk / "data"}, **QUICK, **SMALL) as cluster:
        lead_with(cluster, full)
        with Load(cluster, book, clients=6, seed=seed, value_bytes=4000) as load:
            wait_until("the disk is full", lambda: (cluster.status(full) or {}).get("state") == "failed", 40.0)
            assert cluster.status(full)["failure"] == "disk_full", cluster.status(full)
            load.wait_for_writes(100)
            expect_typed_refusal(cluster, full, "disk_full")
        assert set(load.codes()) <= FAILED, load.codes()
        print(load.codes())
        subprocess.run(["mount", "-o", f"remount,size={DISK_BYTES * 50}", str(small_disk)], check=True)
        replace_member(cluster, full)
        judge(cluster, book)


def lead_with(cluster: Cluster, wanted: int) -> int:
    """Have `wanted` lead."""
    for _ in range(20):
        leader = cluster.leader()
        if leader == wanted:
            return leader
        cluster.ask(leader, op="transfer", target=wanted)
        time.sleep(0.3)
    raise AssertionError(f"member {wanted} never led")


@pytest.mark.timeout(90)
def test_a_sync_that_fails_stops_the_leader_alone(tmp_path: Path, book: Book, seed: int) -> None:
    """Fails when a failed sync is taken for a success, is asked again, or stops more than the member it belongs to."""
    with Cluster(tmp_path, seed=seed, **QUICK) as cluster:
        with Load(cluster, book, clients=6, seed=seed) as load:
            load.wait_for_writes(100)
            leader = cluster.leader()
            term = cluster.leaders()[leader]
            cluster.ask(leader, op="fault", what="configure", arguments=["fail_sync=EIO"])
            wait_until("the leader has failed", lambda: (cluster.status(leader) or {}).get("state") == "failed", 10.0)
            cluster.leader(among=tuple(id for id in cluster.members if id != leader), above_term=term)
            load.wait_for_writes(100)
            expect_typed_refusal(cluster, leader, "storage")
        assert set(load.codes()) <= FAILED, load.codes()
        print(load.codes())
        replace_member(cluster, leader)
        judge(cluster, book)


@pytest.mark.timeout(90)
def test_a_sync_that_stalls_costs_the_leader_its_leadership(tmp_path: Path, book: Book, seed: int) -> None:
    """Fails when a leader whose disk hangs leads on by heartbeats (H26), or acknowledges what is not on its disk."""
    with Cluster(tmp_path, seed=seed, **QUICK) as cluster:
        with Load(cluster, book, clients=6, seed=seed) as load:
            load.wait_for_writes(100)
            leader = cluster.leader()
            term = cluster.leaders()[leader]
            began = time.monotonic()
            cluster.ask(leader, op="fault", what="configure", arguments=["stall_sync=until_told"])
            cluster.leader(among=tuple(id for id in cluster.members if id != leader), above_term=term)
            took_s = time.monotonic() - began
            load.wait_for_writes(100)
            status = cluster.status(leader)
            assert status is not None, "the stalled member does not answer any more"
            assert status["state"] != "leader", status
            with contextlib.closing(Connection(cluster.port(leader))) as connection, contextlib.suppress(NoAnswerError):
                answer = connection.ask(op="set", key="anything", value="x", timeout=1.0)
                assert answer["status"] != "ok", answer
            cluster.ask(leader, op="fault", what="let_syncs_go")
        assert set(load.codes()) <= FAILED, load.codes()
        print(f"succeeded after {took_s:.2f} s; {load.codes()}")
        judge(cluster, book)
