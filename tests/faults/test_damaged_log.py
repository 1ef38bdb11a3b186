"""A member's log is damaged while it is down: what was synced is never given up silently, what was not may go."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.faults import damage
from tests.faults.clients import Book, Load
from tests.faults.cluster import Cluster, judge, tail, wait_until
from tests.faults.conftest import LONG

QUICK: dict[str, Any] = {"election_timeout_s": 0.6, "heartbeat_s": 0.06, "segment_bytes": 4 << 20}
UNLIKE = {"lock", "identity"}  # who tried last, and how often somebody tried to start (H28)


def caught_up(cluster: Cluster, id: int) -> bool:
    own, goal = cluster.status(id), cluster.status(cluster.leader())
    return own is not None and goal is not None and own["applied"] >= goal["commit"]


def lose(cluster: Cluster, load: Load, victim: int) -> Path:
    """The member is killed, and its group goes on; its newest segment."""
    load.wait_for_writes(100)
    cluster.kill(victim)
    load.wait_for_writes(50)
    return damage.newest_segment(cluster.directories[victim])


@pytest.mark.timeout(120)
@pytest.mark.parametrize("who", ["leader", *(["follower"] if LONG else [])])
def test_a_member_with_a_damaged_record_is_replaced(tmp_path: Path, book: Book, seed: int, who: str) -> None:
    """Fails when a damaged record is cut off as if it were a torn tail, for the member would take part without what it
    acknowledged; when the refusal does not say where the damage is, or changes anything; or when the documented way,
    remove it and join under a new id, does not make the group whole again.
    """
    with Cluster(tmp_path, seed=seed, **QUICK) as cluster:
        leader = cluster.leader()
        victim = leader if who == "leader" else next(id for id in cluster.members if id != leader)
        directory = cluster.directories[victim]
        with Load(cluster, book, clients=5, seed=seed) as load:
            path = lose(cluster, load, victim)
            flipped = damage.flip_a_byte(path)
            before = damage.fingerprint(directory, but=UNLIKE)
            said = cluster.refused_start(victim)
            found = re.search(r"CorruptLog: .*", said)
            assert found is not None, said
            told = re.search(rf"{re.escape(str(path))}.*?\b(\d+)\b", found[0])
            assert told is not None, f"file and offset are not named: {found[0]}"
            begin = next(begin for begin, end in damage.batches(path.read_bytes()) if begin <= flipped < end)
            assert int(told[1]) == begin, f"byte {flipped} was flipped, in the batch at {begin}: {found[0]}"
            assert damage.fingerprint(directory, but=UNLIKE) == before, "the refusal has changed something"
            load.wait_for_writes(50)

            cluster.members = tuple(id for id in cluster.members if id != victim)
            cluster.change({"change": "REMOVE", "id": victim})
            cluster.add(4)
            cluster.change({"change": "ADD_LEARNER", "id": 4, "address": cluster.addresses[4][4]})
            wait_until("the new member has caught up", lambda: caught_up(cluster, 4), 20.0)
            group = cluster.change({"change": "PROMOTE", "id": 4})
            assert sorted(group["voters"]) == sorted(cluster.members)
            load.wait_for_writes(50)
        print(found[0])
        judge(cluster, book)


@pytest.mark.timeout(90)
def test_a_torn_tail_is_cut_with_a_warning(tmp_path: Path, book: Book, seed: int) -> None:
    """Fails when half a batch behind all that was synced keeps a member from starting, or is cut without a word."""
    with Cluster(tmp_path, seed=seed, **QUICK) as cluster:
        victim = cluster.leader()
        with Load(cluster, book, clients=5, seed=seed) as load:
            path = lose(cluster, load, victim)
            torn = damage.tear(path)
            cluster.start(victim)
            wait_until("the member has caught up", lambda: caught_up(cluster, victim), 20.0)
            load.wait_for_writes(50)
        warnings = [line for line in tail(cluster.log(victim), 1000).splitlines() if "WARNING" in line]
        assert any(str(torn) in line for line in warnings), f"cut at {torn} without a warning: {warnings}"
        print(warnings)
        judge(cluster, book)
