"""Members of this build and of another commit's in one cluster, upgraded and downgraded one after the other under load.

Compiling the other commit takes a minute, so these run in the long version, or where TENURE_FAULTS_PREVIOUS names the
commit (`make mixed`). What the former build wrote is read in every run of the tests: see `test_recorded_formats.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.faults.clients import Book, Load
from tests.faults.cluster import ROOT, Cluster, judge, wait_until
from tests.faults.conftest import LONG
from tests.faults.previous import previous_commit, previous_packages
from tests.faults.probe import LeaseProbe

SETTINGS: dict[str, Any] = {
    "election_timeout_s": 0.6,
    "heartbeat_s": 0.06,
    "snapshot_every": 200,
    "segment_bytes": 4 << 20,
}
HERE = ROOT / "src"

pytestmark = pytest.mark.skipif(
    not (LONG or "TENURE_FAULTS_PREVIOUS" in os.environ), reason="compiles another commit: make mixed"
)


@pytest.fixture(scope="module")
def former() -> Path:
    """The other build."""
    commit = previous_commit()
    print(f"the other build is of {commit}")
    return previous_packages(commit)


def caught_up(cluster: Cluster, id: int) -> bool:
    own, goal = cluster.status(id), cluster.status(cluster.leader())
    return own is not None and goal is not None and own["applied"] >= goal["commit"]


def lead(cluster: Cluster, wanted: int) -> None:
    """Have `wanted` lead."""

    def leads() -> bool:
        leader = cluster.leader()
        if leader != wanted:
            cluster.ask(leader, op="transfer", target=wanted)
        return leader == wanted

    wait_until(f"member {wanted} leads", leads, 15.0, 0.1)


def exercise(cluster: Cluster, book: Book, load: Load) -> None:
    """Each member leads for a while, and serves reads from its lease."""
    for id in cluster.members:
        wait_until(f"member {id} has caught up", lambda id=id: caught_up(cluster, id), 20.0)
        lead(cluster, id)
        load.wait_for_writes(50)
        with LeaseProbe(book, cluster.port(id), "k0") as probe:
            wait_until(f"member {id} reads by its lease", lambda p=probe: sum(r.served for r in p.reads) > 20, 10.0)


def behind_by_a_snapshot(cluster: Cluster, load: Load, id: int) -> int:
    """The member was away for so long that only a snapshot of the leader brings it back; how often it has had one."""
    cluster.kill(id)
    leader = cluster.leader()
    gone = cluster.status(leader)["last"]

    def compacted() -> bool:
        status = cluster.status(leader)
        return status is not None and status["first"] > gone

    wait_until("the log begins behind it", compacted, 40.0)
    cluster.start(id)
    wait_until(f"member {id} has caught up", lambda: caught_up(cluster, id), 20.0)
    return int(cluster.status(id)["counters"]["snapshots_installed"])


def read_log(packages: Path, directory: Path) -> dict[str, Any]:
    """What a start over this build would find in the directory of a member that does not run."""
    told = subprocess.run(
        [sys.executable, "-P", str(Path(__file__).with_name("read_log.py")), str(directory)],
        env={**os.environ, "PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


def start_over(cluster: Cluster, id: int, packages: Path) -> None:
    """The member stops and starts again over the build of `packages`, which finds what the former one left."""
    former = cluster.packages.get(id, Path(cluster.environment["PYTHONPATH"]))
    cluster.terminate(id)
    left, found = (read_log(build, cluster.directories[id]) for build in (former, packages))
    assert left["groups"].keys() == found["groups"].keys() != set()
    for group, log in left["groups"].items():
        for what in ("hard_state", "snapshot", "entries"):
            assert found["groups"][group][what] == log[what], f"member {id}: {what} in the log, read by the other build"
    assert found["torn"] == left["torn"]
    cluster.packages[id] = packages
    cluster.start(id)


def change_build(cluster: Cluster, book: Book, load: Load, packages: Path) -> None:
    """One member after the other starts again over another build; after each, every member leads once."""
    for id in cluster.members:
        load.wait_for_writes(50)
        start_over(cluster, id, packages)
        exercise(cluster, book, load)


def hands(cluster: Cluster, load: Load, sender: int, receiver: int) -> None:
    """A snapshot goes from one build to the other."""
    lead(cluster, sender)
    assert behind_by_a_snapshot(cluster, load, receiver) >= 1, "no snapshot was sent"


@pytest.mark.uninstrumented
@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", ["former", "this"])
def test_a_rolling_change_of_build_under_load(tmp_path: Path, book: Book, seed: int, former: Path, first: str) -> None:
    """Fails when frames, messages, votes, promises, log entries or snapshots of one build mean something else, or
    nothing, to the other; in both directions, for a downgrade must be possible as well. A vote or a promise's bound
    that is read wrongly from the log would show in no answer of so short a run, hence both builds read it at a change.
    """
    before, after = (former, HERE) if first == "former" else (HERE, former)
    with Cluster(tmp_path, seed=seed, packages=before, **SETTINGS) as cluster:
        cluster.leader()
        began = time.monotonic()
        with Load(cluster, book, clients=4, seed=seed, answer_s=3.0) as load:
            load.wait_for_writes(300)
            exercise(cluster, book, load)
            load.wait_for_writes(50)
            start_over(cluster, 1, after)
            exercise(cluster, book, load)
            hands(cluster, load, 1, 2)  # from the new one to an old one, and back
            hands(cluster, load, 2, 1)
            change_build(cluster, book, load, after)
        builds = {id: cluster.status(id)["build"] for id in cluster.members}
        assert set(builds.values()) == {str(after / "tenure")}, builds
        print(
            f"{first} first: {len(load.acknowledged())} acknowledged writes in {time.monotonic() - began:.0f} s, "
            f"refusals {load.codes()}"
        )
        judge(cluster, book)
