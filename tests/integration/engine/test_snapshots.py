"""Snapshots in real members: the log stays bounded, a start uses the newest file, a crash costs no write."""

from __future__ import annotations

import asyncio
import re
import time

import pytest

from tenure._kv.codec import encode_set
from tenure._kv.machine import KeyValueMachine
from tenure._storage import file_faults
from tenure.config import Config
from tenure.errors import CorruptLog

from .cluster import BUSY_ELECTION_S, FAST

EVERY = 500
SMALL = Config(
    heartbeat_s=FAST.heartbeat_s,
    election_timeout_s=BUSY_ELECTION_S,
    segment_bytes=4 << 20,
    snapshot_every=EVERY,
)


@pytest.fixture(autouse=True)
def _no_faults_left():
    yield
    file_faults.clear()


def set_command(number, *, keys=1000, size=100):
    key = b"key%06d" % (number % keys)
    return encode_set(key, b"%08d" % number + bytes(size), hint_ts=number << 16)


def write(engine, count, *, first=0, in_flight=500, **how):
    """`count` writes, many under way at once; the index of the last."""

    async def run():
        last = 0
        for begin in range(first, first + count, in_flight):
            batch = range(begin, min(begin + in_flight, first + count))
            results = await asyncio.gather(*[engine.aio.propose(set_command(n, **how), timeout=20) for n in batch])
            last = max(result.index for result in results)
        return last

    return asyncio.run(run())


def files(folder, kind):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith(kind))


def index_of(name):
    return int(re.fullmatch(r"snap-[0-9a-f]{8}-([0-9a-f]{16})-[0-9a-f]{16}", name)[1], 16)


def until(predicate, what, timeout=30.0):
    deadline = time.monotonic() + timeout
    while not predicate():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def counters(engine):
    return engine.status().counters


def entries_in_memory(engine):
    status = engine.status()
    return status.last_index - status.first_index + 1


def caught_up(cluster, index):
    until(lambda: all(engine.status().applied_index >= index for engine in cluster.engines.values()), "members lag")


def test_two_files_stay_and_the_log_in_memory_is_bounded(clusters):
    cluster = clusters(1, config=SMALL, machine=KeyValueMachine)
    engine = cluster.leader()
    write(engine, 10_000)
    until(lambda: counters(engine)["snapshot_index"] > 10_000 - EVERY, "no snapshot was taken")
    until(lambda: entries_in_memory(engine) <= 3 * EVERY, "entries stay in memory")
    assert counters(engine)["snapshots_failed"] == 0
    folder = cluster.folder / "1"
    until(lambda: len(files(folder, "snap-")) == 2 and not files(folder, "snapnew"), "files are left behind")


def test_old_segments_of_the_log_go(clusters):
    cluster = clusters(3, config=SMALL, machine=KeyValueMachine)
    leader = cluster.leader()
    for round_ in range(10):
        last = write(leader, 2000, first=2000 * round_, size=1500)
    caught_up(cluster, last)
    for id in cluster.engines:
        assert len(files(cluster.folder / str(id), "wal-")) <= 4, f"30 MB were written to member {id}"
    assert len({cluster.machines[id].state_hash for id in cluster.engines}) == 1


def test_a_start_goes_on_from_the_snapshot(clusters):
    cluster = clusters(3, config=SMALL, machine=KeyValueMachine)
    last = write(cluster.leader(), 5000)
    caught_up(cluster, last)
    before = cluster.machines[1].state_hash
    cluster.close()
    for id in (1, 2, 3):
        cluster.start(id)
    assert counters(cluster.engines[1])["snapshot_index"] >= 5000 - 4 * EVERY
    leader = cluster.leader()
    caught_up(cluster, last)
    assert {cluster.machines[id].state_hash for id in cluster.engines} == {before}
    applied = counters(cluster.engines[1])["applied_entries"]
    assert applied <= 4 * EVERY, f"{applied} entries were applied again"
    last = write(leader, 3000, first=5000)
    caught_up(cluster, last)
    assert len({cluster.machines[id].state_hash for id in cluster.engines}) == 1
    assert cluster.machines[1].get(b"key000000", now_ms=0)[:8] == b"00007000"


def test_a_damaged_snapshot_is_passed_over_for_the_older_one(clusters, caplog):
    cluster = clusters(1, config=SMALL, machine=KeyValueMachine)
    last = write(cluster.leader(), 5000)
    before = cluster.machines[1].state_hash
    cluster.close()
    older, newer = files(cluster.folder / "1", "snap-")
    path = cluster.folder / "1" / newer
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    engine = cluster.start(1)
    assert counters(engine)["snapshot_index"] == index_of(older)
    assert counters(engine)["snapshots_damaged"] == 1
    assert "damaged" in caplog.text
    cluster.leader()
    caught_up(cluster, last)
    assert cluster.machines[1].state_hash == before


def test_without_any_sound_snapshot_the_start_is_refused(clusters):
    cluster = clusters(1, config=SMALL, machine=KeyValueMachine)
    write(cluster.leader(), 5000)
    cluster.close()
    for name in files(cluster.folder / "1", "snap-"):
        path = cluster.folder / "1" / name
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptLog) as caught:
        cluster.start(1)
    assert "snap-" in caught.value.path


def test_a_full_disk_costs_a_snapshot_not_the_member(clusters):
    cluster = clusters(1, config=SMALL, machine=KeyValueMachine)
    engine = cluster.leader()
    file_faults.configure("fail_open=1+:ENOSPC")
    write(engine, 2 * EVERY)
    until(lambda: counters(engine)["snapshots_failed"] >= 1, "no snapshot was tried")
    file_faults.clear()
    write(engine, EVERY, first=2 * EVERY)
    until(lambda: counters(engine)["snapshots"] >= 1, "a failed snapshot was not tried again")


def test_machines_in_python_take_none(clusters):
    cluster = clusters(1, config=SMALL)
    engine = cluster.leader()
    write(engine, 3 * EVERY)
    assert engine.status().first_index == 1
    assert counters(engine)["snapshots"] == counters(engine)["snapshots_failed"] == 0


def test_none_are_taken_when_told_so(clusters):
    cluster = clusters(1, config=Config(snapshot_every=0), machine=KeyValueMachine)
    engine = cluster.leader()
    write(engine, 3 * EVERY)
    assert engine.status().first_index == 1
    assert files(cluster.folder / "1", "snap-") == []


# --------------------------------------------------------------------------------------------- members that were away


def away_and_back(cluster, *, writes, forgotten=True, **how):
    """One follower is away while the others write, and let go of what it lacks; then it comes back. The last index."""
    cluster.leader()
    follower = cluster.follower()
    gone, left_at = follower.member_id, follower.status().last_index
    follower.close()
    del cluster.engines[gone]
    last = write(cluster.leader(), writes, **how)
    if forgotten:
        until(lambda: cluster.leader().status().first_index > left_at + 1, "what it lacks is kept for it")
    cluster.start(gone)
    return gone, last


def test_a_member_that_was_away_for_long_is_sent_a_snapshot(clusters):
    cluster = clusters(3, config=SMALL, machine=KeyValueMachine)
    write(cluster.leader(), 700)
    gone, last = away_and_back(cluster, writes=8000, first=700)
    caught_up(cluster, last)
    assert counters(cluster.engines[gone])["snapshots_installed"] == 1
    assert counters(cluster.engines[gone])["applied_entries"] <= 4 * EVERY
    assert len({machine.state_hash for machine in cluster.machines.values()}) == 1
    last = write(cluster.leader(), 2000, first=9000)
    caught_up(cluster, last)
    assert len({machine.state_hash for machine in cluster.machines.values()}) == 1
    cluster.engines[gone].close()
    cluster.start(gone)
    caught_up(cluster, last)
    assert len({machine.state_hash for machine in cluster.machines.values()}) == 1


def test_a_snapshot_of_many_pieces_arrives_while_writes_go_on(clusters):
    cluster = clusters(3, config=SMALL, machine=KeyValueMachine)
    gone, last = away_and_back(cluster, writes=6000, keys=6000, size=4000)
    for round_ in range(6):
        last = write(cluster.leader(), 500, first=6000 + 500 * round_, keys=6000, size=4000)
    caught_up(cluster, last)
    assert counters(cluster.engines[gone])["snapshots_installed"] >= 1
    assert len({machine.state_hash for machine in cluster.machines.values()}) == 1


def test_a_member_that_missed_little_is_sent_entries(clusters):
    cluster = clusters(3, config=SMALL, machine=KeyValueMachine)
    write(cluster.leader(), 700)
    gone, last = away_and_back(cluster, writes=100, forgotten=False, first=700)
    caught_up(cluster, last)
    assert counters(cluster.engines[gone])["snapshots_installed"] == 0


def test_a_receiver_without_space_catches_up_once_there_is_some(clusters):
    cluster = clusters(3, config=SMALL, machine=KeyValueMachine)
    write(cluster.leader(), 700)
    _, last = away_and_back(cluster, writes=8000, first=700)
    file_faults.configure("fail_open=1+:ENOSPC")
    time.sleep(1)
    file_faults.clear()
    caught_up(cluster, last)
    assert len({machine.state_hash for machine in cluster.machines.values()}) == 1
