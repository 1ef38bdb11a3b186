"""Snapshot files: what is written is read; damaged, torn, foreign or unfinished ones are never taken."""

from __future__ import annotations

import errno
import os
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure._storage import file_faults
from tenure._storage.records import Snapshot
from tenure._storage.snapshot import SnapshotFolder
from tenure._storage.wal import crc32c
from tenure.errors import CorruptLog, DiskFull, ForeignCluster, NewerFormat, StorageError

CLUSTER = bytes(range(16))
GROUP = 3
SNAPSHOT = Snapshot(700, 4, (1, 2, 3), (1, 2), (9,), (3,), True)
PIECES = [b"a" * 10, b"bc" * 70_000, b"d", bytes(3_000_000)]


@pytest.fixture(autouse=True)
def _no_faults_left():
    yield
    file_faults.clear()


@pytest.fixture
def folder(tmp_path):
    return SnapshotFolder(tmp_path, CLUSTER)


def file_of(path, snapshot=SNAPSHOT):
    return path / f"snap-{GROUP:08x}-{snapshot.index:016x}-{snapshot.term:016x}"


def read(folder, snapshot=SNAPSHOT):
    return folder.read(GROUP, snapshot.index, snapshot.term)


def test_what_was_written_is_read(folder):
    folder.write(GROUP, SNAPSHOT, PIECES)
    assert folder.list(GROUP) == [(700, 4)]
    assert read(folder) == (SNAPSHOT, b"".join(PIECES))


def test_a_snapshot_of_nothing(folder):
    folder.write(GROUP, SNAPSHOT, [])
    assert read(folder) == (SNAPSHOT, b"")


def test_groups_and_indexes_are_told_apart_and_sorted(folder):
    for index in (300, 20, 1000):
        folder.write(GROUP, Snapshot(index, 2), [b"%d" % index])
    folder.write(GROUP + 1, Snapshot(5, 1), [b"other"])
    assert folder.list(GROUP) == [(20, 2), (300, 2), (1000, 2)]
    folder.remove_below(GROUP, 300)
    assert folder.list(GROUP) == [(300, 2), (1000, 2)]
    assert folder.list(GROUP + 1) == [(5, 1)]


@pytest.mark.parametrize("back", [1, 7, 8, 23, 24, 25, 40, 5000])
def test_a_torn_file_is_damaged(folder, tmp_path, back):
    folder.write(GROUP, SNAPSHOT, [bytes(10_000)])
    os.truncate(file_of(tmp_path), file_of(tmp_path).stat().st_size - back)
    with pytest.raises(CorruptLog) as caught:
        read(folder)
    assert caught.value.path == str(file_of(tmp_path))


def test_bytes_behind_the_end_are_damage(folder, tmp_path):
    folder.write(GROUP, SNAPSHOT, [b"state"])
    with file_of(tmp_path).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(CorruptLog):
        read(folder)


def test_every_flipped_bit_is_found(folder, tmp_path):
    folder.write(GROUP, SNAPSHOT, [b"first", b"second"])
    whole = file_of(tmp_path).read_bytes()
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        file_of(tmp_path).write_bytes(damaged)
        with pytest.raises(CorruptLog):
            read(folder)
    file_of(tmp_path).write_bytes(whole)
    assert read(folder)[1] == b"firstsecond"


def test_a_file_of_a_newer_version_says_so(folder, tmp_path):
    folder.write(GROUP, SNAPSHOT, [b"state"])
    changed = bytearray(file_of(tmp_path).read_bytes())
    changed[8] += 1
    struct.pack_into("<I", changed, 12, crc32c(changed[16:1088], crc32c(changed[:12])))
    file_of(tmp_path).write_bytes(changed)
    with pytest.raises(NewerFormat) as caught:
        read(folder)
    assert (caught.value.found, caught.value.supported) == (2, 1)


def test_no_chunk_can_be_left_out_or_change_places(folder, tmp_path):
    folder.write(GROUP, SNAPSHOT, [b"one.", b"two."])
    whole = file_of(tmp_path).read_bytes()
    head, first, second, tail = whole[:1088], whole[1088:1100], whole[1100:1112], whole[1112:]
    assert first.endswith(b"one.")
    assert second.endswith(b"two.")
    assert len(tail) == 24
    for chunks in (second + first, first, second, first + first + second, b""):
        file_of(tmp_path).write_bytes(head + chunks + tail)
        with pytest.raises(CorruptLog):
            read(folder)


def test_a_file_under_another_name_is_damaged(folder, tmp_path):
    folder.write(GROUP, SNAPSHOT, [b"state"])
    file_of(tmp_path).rename(file_of(tmp_path, Snapshot(701, 4)))
    with pytest.raises(CorruptLog):
        folder.read(GROUP, 701, 4)


def test_another_cluster_is_refused(folder, tmp_path):
    folder.write(GROUP, SNAPSHOT, [b"state"])
    with pytest.raises(ForeignCluster):
        read(SnapshotFolder(tmp_path, bytes(16)))


def test_a_file_that_is_not_there(folder):
    with pytest.raises(StorageError) as caught:
        read(folder)
    assert caught.value.errno == errno.ENOENT


@pytest.mark.parametrize("fault", ["fail_write=3:ENOSPC", "fail_open=1:ENOSPC", "fail_sync=1:ENOSPC"])
def test_a_full_disk_leaves_nothing_behind(folder, tmp_path, fault):
    file_faults.configure(fault)
    with pytest.raises(DiskFull):
        folder.write(GROUP, SNAPSHOT, PIECES)
    file_faults.clear()
    assert list(tmp_path.iterdir()) == []
    folder.write(GROUP, SNAPSHOT, PIECES)
    assert read(folder) == (SNAPSHOT, b"".join(PIECES))


@pytest.mark.parametrize("fault", ["fail_write=2:EIO", "fail_sync=2:EIO", "fail_rename=1:EIO", "short_write=1000"])
def test_a_failing_disk_never_leaves_a_file_that_looks_whole_and_is_not(folder, fault):
    file_faults.configure(fault)
    if fault.startswith("short"):
        folder.write(GROUP, SNAPSHOT, PIECES)
    else:
        with pytest.raises(StorageError):
            folder.write(GROUP, SNAPSHOT, PIECES)
    file_faults.clear()
    for index, term in folder.list(GROUP):
        assert folder.read(GROUP, index, term) == (SNAPSHOT, b"".join(PIECES))


def test_power_lost_after_the_end_loses_nothing(folder):
    file_faults.configure("hold_unsynced")
    folder.write(GROUP, SNAPSHOT, PIECES)
    file_faults.lose_power()
    assert read(folder) == (SNAPSHOT, b"".join(PIECES))


def test_power_lost_on_the_way_leaves_what_the_start_removes(folder, tmp_path):
    class PowerLost(Exception):
        pass

    def pieces():
        yield from PIECES * 3
        file_faults.lose_power()
        raise PowerLost

    folder.write(GROUP, Snapshot(600, 4), [b"older"])
    file_faults.configure("hold_unsynced")
    with pytest.raises(PowerLost):
        folder.write(GROUP, SNAPSHOT, pieces())
    file_faults.clear()
    folder.sweep()
    assert [path.name for path in tmp_path.iterdir()] == [file_of(tmp_path, Snapshot(600, 4)).name]


def test_the_sweep_takes_only_what_is_unfinished(folder, tmp_path):
    folder.write(GROUP, SNAPSHOT, [b"state"])
    (tmp_path / "snapnew-00000003-0000000000000009-0000000000000001").write_bytes(b"half")
    (tmp_path / "wal-0000000000000001.log").write_bytes(b"log")
    folder.sweep()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        file_of(tmp_path).name,
        "wal-0000000000000001.log",
    ]


@settings(max_examples=40, deadline=None)
@given(pieces=st.lists(st.binary(max_size=300), max_size=12), voters=st.lists(st.integers(1, 2**64 - 1), max_size=32))
def test_any_pieces_and_members_come_back(tmp_path_factory, pieces, voters):
    folder = SnapshotFolder(tmp_path_factory.mktemp("any"), CLUSTER, sync=False)
    snapshot = Snapshot(2**64 - 1, 2**63, tuple(voters))
    folder.write(GROUP, snapshot, pieces)
    assert read(folder, snapshot) == (snapshot, b"".join(pieces))
