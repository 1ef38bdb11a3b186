"""A new cluster from one directory: what it keeps, what it drops, and that a crash anywhere loses neither."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import pytest

from tenure._storage.directory import DirectoryLock, identity_of
from tenure._storage.records import Snapshot
from tenure._storage.snapshot import SnapshotFolder
from tenure._storage.wal import WriteAheadLog
from tenure.engine import recovery, roster
from tenure.engine.recovery import pending, recover, survey
from tenure.errors import (
    CorruptLog,
    DirectoryLocked,
    ForeignCluster,
    InvalidArgument,
    StorageError,
)

OLD = uuid.UUID("5f0c9d9e-7f6b-4f0e-9d5a-0c7c3f1c2b11")
ADDRESS = "10.0.0.2:7101"
CONF_CHANGE = 2
HARD = (7, 3, 8, 990_000_000)
ENTRIES = [(6, 6, b"six"), (6, 7, b"change", CONF_CHANGE), (7, 8, b""), (7, 9, b"nine"), (7, 10, b"ten")]


@pytest.fixture
def directory(tmp_path):
    """Member 2: a log that begins behind a snapshot at 5, another snapshot at 8, and a change of the group at 7."""
    folder = tmp_path / "member-2"
    with WriteAheadLog(folder, OLD.bytes, 2, segment_bytes=1 << 20) as log:
        snapshots = SnapshotFolder(folder, OLD.bytes)
        snapshots.write(0, Snapshot(5, 6, voters=(1, 2, 3)), [b"state ", b"at five"])
        snapshots.write(0, Snapshot(8, 7, voters=(1, 2, 3, 4)), [b"state at eight"])
        log.add_snapshot(0, 5, 6, voters=(1, 2, 3))
        log.add(0, hard=HARD, entries=ENTRIES)
        log.flush()
    roster.write(folder, roster.Roster.beginning(OLD, {1: "10.0.0.1:7101", 2: ADDRESS, 3: "10.0.0.3:7101"}))
    (folder / "joined").write_text("{}")
    return folder


def contents(folder: Path, cluster: uuid.UUID):
    with WriteAheadLog(folder, cluster.bytes, 2) as log:
        return log.recovered()[0]


def check_new(folder: Path, made) -> None:
    """The directory is the new cluster's, whole."""
    group = contents(folder, made.cluster_id)
    assert tuple(group.hard) == HARD  # the promise bound among them
    assert (group.snapshot.index, group.snapshot.term, group.snapshot.voters) == (5, 6, (2,))
    assert [(e.term, e.index, e.data, e.kind) for e in group.entries] == [
        (6, 6, b"six", 0), (6, 7, b"", 0), (7, 8, b"", 0), (7, 9, b"nine", 0), (7, 10, b"ten", 0),
    ]  # fmt: skip
    snapshots = SnapshotFolder(folder, made.cluster_id.bytes)
    assert snapshots.read(0, 5, 6) == (Snapshot(5, 6, voters=(2,)), b"state at five")
    assert snapshots.read(0, 8, 7) == (Snapshot(8, 7, voters=(2,)), b"state at eight")
    found = roster.read(folder)
    assert (found.cluster_id, found.base_voters, found.base_index) == (made.cluster_id, (2,), 10)
    assert found.addresses == {2: ADDRESS}
    assert not (folder / "recovered").exists()
    assert not (folder / "joined").exists()


def check_old(folder: Path) -> None:
    """The old cluster's files, whole."""
    group = contents(folder, OLD)
    assert tuple(group.hard) == HARD
    assert [(e.index, e.data, e.kind) for e in group.entries][1] == (7, b"change", CONF_CHANGE)
    assert SnapshotFolder(folder, OLD.bytes).read(0, 8, 7)[1] == b"state at eight"
    assert roster.read(folder).cluster_id == OLD


def test_a_survivor_is_described(directory):
    found = survey(directory, 2)
    assert (found.cluster_id, found.member_id) == (OLD, 2)
    assert (found.last_index, found.last_term, found.commit_index) == (10, 7, 8)
    assert found.promise_s == pytest.approx(0.99)
    check_old(directory)


def test_the_new_cluster_has_the_state_and_none_of_the_old_members(directory):
    made = recover(directory, 2, ADDRESS)
    assert made.cluster_id != OLD
    assert (made.member_id, made.base_index, made.kept) == (2, 10, directory / "before-recovery")
    check_new(directory, made)
    check_old(made.kept)


def test_the_old_cluster_and_the_new_one_never_meet(directory):
    made = recover(directory, 2, ADDRESS)
    with pytest.raises(ForeignCluster):
        WriteAheadLog(directory, OLD.bytes, 2)
    with pytest.raises(ForeignCluster):
        WriteAheadLog(made.kept, made.cluster_id.bytes, 2)


def test_it_can_be_done_twice(directory):
    first = recover(directory, 2, ADDRESS)
    second = recover(directory, 2, ADDRESS)
    assert second.kept == directory / "before-recovery-2"
    check_new(directory, second)
    check_old(first.kept)
    assert len({OLD, first.cluster_id, second.cluster_id}) == 3


def test_another_members_directory_is_refused(directory):
    with pytest.raises(ForeignCluster) as caught:
        recover(directory, 3, ADDRESS)
    assert (caught.value.found, caught.value.expected) == ("2", "3")
    with pytest.raises(ForeignCluster):
        survey(directory, 3)
    check_old(directory)


def test_a_member_that_runs_is_left_alone(directory):
    with WriteAheadLog(directory, OLD.bytes, 2), pytest.raises(DirectoryLocked):
        recover(directory, 2, ADDRESS)
    with DirectoryLock(directory), pytest.raises(DirectoryLocked):
        recover(directory, 2, ADDRESS)
    check_old(directory)


def test_what_holds_no_member_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(StorageError, match="holds no member"):
            recover(folder, 2, ADDRESS)
    assert identity_of(tmp_path) is None


def test_a_member_that_never_heard_of_anything_is_no_survivor(tmp_path):
    WriteAheadLog(tmp_path / "new", OLD.bytes, 2).close()
    with pytest.raises(InvalidArgument, match="empty"):
        recover(tmp_path / "new", 2, ADDRESS)


def test_a_damaged_identity_is_damage(directory):
    (directory / "identity").write_bytes(b"tenureID" + bytes(56))
    with pytest.raises(StorageError):
        recover(directory, 2, ADDRESS)


def damage(folder: Path, pattern: str) -> None:
    path = next(folder.glob(pattern))
    content = bytearray(path.read_bytes())
    content[-30] ^= 1
    path.write_bytes(content)


def test_a_damaged_snapshot_is_passed_over_where_another_is_whole(directory):
    damage(directory, "snap-*-0000000000000008-*")
    made = recover(directory, 2, ADDRESS)
    assert SnapshotFolder(directory, made.cluster_id.bytes).list(0) == [(5, 6)]


def test_without_a_whole_snapshot_there_is_nothing_to_recover(directory):
    damage(directory, "snap-*-0000000000000008-*")
    damage(directory, "snap-*-0000000000000005-*")
    with pytest.raises(CorruptLog):
        recover(directory, 2, ADDRESS)
    for path in directory.glob("snap-*"):
        path.unlink()
    with pytest.raises(StorageError, match="not there"):
        recover(directory, 2, ADDRESS)
    assert identity_of(directory)[0] == OLD.bytes


# -------------------------------------------------------------------------------------------------------------- crashes


class PowerCut(BaseException):
    """The process ends here."""


def cut_after(monkeypatch, steps: int) -> list[str]:
    """Let the process end before the step of that number, of those that a directory sees."""
    seen: list[str] = []

    def step(name, original):
        def instead(*arguments, **how):
            if len(seen) == steps:
                raise PowerCut
            seen.append(name)
            return original(*arguments, **how)

        return instead

    monkeypatch.setattr(Path, "rename", step("rename", Path.rename))
    monkeypatch.setattr(Path, "replace", step("replace", Path.replace))
    monkeypatch.setattr(recovery, "sync_directory", step("sync", recovery.sync_directory))
    monkeypatch.setattr(recovery.shutil, "rmtree", step("rmtree", shutil.rmtree))
    monkeypatch.setattr(recovery, "copy_log", step("copy_log", recovery.copy_log))
    monkeypatch.setattr(recovery, "copy_snapshots", step("copy_snapshots", recovery.copy_snapshots))
    return seen


def test_a_crash_at_any_step_leaves_a_directory_that_is_one_or_the_other_or_refused(directory, tmp_path, monkeypatch):
    pristine = tmp_path / "pristine"
    shutil.copytree(directory, pristine)
    outcomes = set()
    for steps in range(1000):
        shutil.rmtree(directory)
        shutil.copytree(pristine, directory)
        with monkeypatch.context() as patch:
            seen = cut_after(patch, steps)
            try:
                recover(directory, 2, ADDRESS)
            except PowerCut:
                pass
            else:
                break
        found = identity_of(directory)
        if found is None:
            # nobody opens it, under neither identity, and what was confirmed once needs no other word
            for cluster in (OLD, uuid.uuid4()):
                with pytest.raises(StorageError):
                    WriteAheadLog(directory, cluster.bytes, 2)
            assert pending(directory)
            outcomes.add("refused")
        elif found[0] == OLD.bytes:
            check_old(directory)
            outcomes.add("old")
        else:
            assert not pending(directory)
            contents(directory, uuid.UUID(bytes=found[0]))
            outcomes.add("new")
        made = recover(directory, 2, ADDRESS)
        check_new(directory, made)
        kept = [one for one in directory.iterdir() if one.name.startswith("before-recovery")]
        check_old(min(kept))
    assert outcomes == {"old", "refused", "new"}
    assert len(seen) > 15


def test_writes_after_an_attempt_that_was_cut_off_are_not_lost(directory, monkeypatch):
    """The old member ran again after the new directory was complete and before anything had moved."""
    with monkeypatch.context() as patch:
        patch.setattr(recovery, "finish", lambda folder: (_ for _ in ()).throw(PowerCut))
        with pytest.raises(PowerCut):
            recover(directory, 2, ADDRESS)
    assert (directory / "recovered" / "complete").exists()
    assert not pending(directory)
    with WriteAheadLog(directory, OLD.bytes, 2) as log:
        log.add(0, entries=[(7, 11, b"eleven")])
        log.flush()
    made = recover(directory, 2, ADDRESS)
    assert made.base_index == 11
    assert contents(directory, made.cluster_id).entries[-1].data == b"eleven"


def test_a_long_log_is_copied_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(recovery, "BATCH_BYTES", 1000)
    folder = tmp_path / "long"
    with WriteAheadLog(folder, OLD.bytes, 2, segment_bytes=1 << 16) as log:
        log.add(0, hard=(1, 2, 3, 0), entries=[(1, index, b"%d" % index * 50) for index in range(1, 2001)])
        log.flush()
    before = contents(folder, OLD)
    made = recover(folder, 2, ADDRESS)
    after = contents(folder, made.cluster_id)
    assert after.entries == before.entries
    assert after.snapshot is None
