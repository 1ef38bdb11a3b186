"""A new cluster from what one member has on its disk, when the majority of the old one is lost for good.

No quorum can be asked, so what this member does not know is gone, and what it does know but was never acknowledged
becomes committed. The new cluster has an identity of its own, so that nobody of the old one, should he come back, is
ever taken for one of its members. Its only member is this one. The log and the snapshots are written anew under the new
identity: with the same entries at the same places, except that changes of the old group become empty, and that every
snapshot names the new configuration. The promise bound is kept, so the member still waits out the longest promise that
it ever made.

The old files stay, in `before-recovery`. A crash at any point leaves the old directory, the new one, or one that nobody
opens until `recover` was called again:

    recovered/ is being built      the directory is the old one; the next attempt begins anew
    recovered/complete             everything in it is durable; the old files move out, the identity first
    recovered/moved                no old file is left; the new ones move in, the identity last
    no recovered/identity          done, but for what is swept up

Without an identity beside other files a directory is refused by everybody else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from tenure._storage.directory import DirectoryLock, identity_of
from tenure._storage.records import Snapshot
from tenure._storage.snapshot import SnapshotFolder
from tenure._storage.wal import WriteAheadLog
from tenure.engine import roster as rosters
from tenure.engine.native import host_and_port, written
from tenure.engine.roster import Roster, RosterEntry, replace_file, sync_directory
from tenure.errors import CorruptLog, ForeignCluster, InvalidArgument, StorageError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from tenure._storage.records import Entry, RecoveredGroup

__all__ = ["Recovered", "Survivor", "pending", "recover", "survey"]

logger = logging.getLogger("tenure.engine")

BUILT, COMPLETE, MOVED = "recovered", "complete", "moved"
KEPT = "before-recovery"
ENTRY_NORMAL = 0
BATCH_BYTES = 4 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Survivor:
    """What a directory holds that a new cluster may be made of.

    Attributes:
        cluster_id: the cluster that it belongs to.
        member_id: the member that it belongs to.
        last_index: where its log ends, and the term there: of several survivors, take the one where both are greatest.
        last_term: compared before `last_index`.
        commit_index: what it is known to be committed at least; 0 does not mean that nothing is.
        promise_s: how long it will wait, at most, before it leads.
    """

    cluster_id: uuid.UUID
    member_id: int
    last_index: int
    last_term: int
    commit_index: int
    promise_s: float


@dataclasses.dataclass(frozen=True, slots=True)
class Recovered:
    """The new cluster, and where the old files are kept."""

    cluster_id: uuid.UUID
    member_id: int
    base_index: int
    kept: Path


def survey(directory: str | os.PathLike[str], member_id: int) -> Survivor:
    """What the directory holds. The log is read and found whole, and its torn tail cut, as at any start.

    Raises:
        ForeignCluster: the directory is another member's.
        StorageError: and its kinds: it cannot be relied on, or another process uses it.
    """
    with opened(Path(directory), member_id) as log:
        return surveyed(log.recovered(), *owner(Path(directory)))


def recover(directory: str | os.PathLike[str], member_id: int, address: str) -> Recovered:
    """Make a new cluster of this directory's member; `address` is where other members will reach it.

    A name is resolved now: members tell each other numeric addresses, and dial no others.

    Raises:
        ForeignCluster: the directory is another member's.
        InvalidArgument: there is nothing in it, or `address` is none.
        StorageError: and its kinds: it cannot be relied on, or another process uses it, or it is full.
    """
    folder = Path(directory)
    built = folder / BUILT
    address = written(*host_and_port("address", address))
    try:
        if pending(folder):
            with DirectoryLock(folder):
                return finish(folder)
        with opened(folder, member_id) as log:
            old_cluster, _ = owner(folder)
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(built)
            build(folder, log.recovered(), old_cluster, member_id, address)
            sync_directory(folder)
            return finish(folder)
    except OSError as error:
        raise StorageError(f"{folder}: {error}", path=str(folder), errno=error.errno) from error


def pending(directory: str | os.PathLike[str]) -> bool:
    """Whether a recovery was cut off where only its continuation makes a whole directory again."""
    folder = Path(directory)
    built = folder / BUILT
    if (built / MOVED).exists():
        return (built / "identity").exists()
    return (built / COMPLETE).exists() and not (folder / "identity").exists()


def owner(folder: Path) -> tuple[uuid.UUID, int]:
    """The cluster and the member that a directory belongs to.

    Raises:
        StorageError: nobody, or that cannot be known.
    """
    found = identity_of(folder)
    if found is None:
        raise StorageError(f"{folder} holds no member", path=str(folder))
    return uuid.UUID(bytes=found[0]), found[1]


@contextlib.contextmanager
def opened(folder: Path, member_id: int) -> Iterator[WriteAheadLog]:
    """The directory's log, and with it its lock."""
    cluster_id, found = owner(folder)
    if found != member_id:
        raise ForeignCluster(
            f"{folder} belongs to member {found}, not to {member_id}",
            path=str(folder),
            found=str(found),
            expected=str(member_id),
        )
    with WriteAheadLog(folder, cluster_id.bytes, member_id) as log:
        yield log


def surveyed(groups: dict[int, RecoveredGroup], cluster_id: uuid.UUID, member_id: int) -> Survivor:
    """The numbers of the directory's group."""
    if not groups:
        raise InvalidArgument("the log is empty: there is nothing to recover", field="directory")
    group = groups[min(groups)]
    last_index, last_term = last_of(group)
    return Survivor(cluster_id, member_id, last_index, last_term, group.hard.commit, group.hard.promise_bound_ns / 1e9)


def last_of(group: RecoveredGroup) -> tuple[int, int]:
    """Index and term of the last entry."""
    if group.entries:
        return group.entries[-1].index, group.entries[-1].term
    return (0, 0) if group.snapshot is None else (group.snapshot.index, group.snapshot.term)


# ------------------------------------------------------------------------------------------------------------- building


def build(
    folder: Path, groups: dict[int, RecoveredGroup], old_cluster: uuid.UUID, member_id: int, address: str
) -> None:
    """Write the new directory below the old one, whole and durable."""
    last_index = surveyed(groups, old_cluster, member_id).last_index
    new_cluster = uuid.uuid4()
    built = folder / BUILT
    with WriteAheadLog(built, new_cluster.bytes, member_id) as log:
        old_snapshots = SnapshotFolder(folder, old_cluster.bytes)
        new_snapshots = SnapshotFolder(built, new_cluster.bytes)
        for number, group in groups.items():
            copy_snapshots(number, group, member_id, old_snapshots, new_snapshots)
            copy_log(number, group, member_id, log)
    roster = Roster(new_cluster, (member_id,), (), last_index, (RosterEntry(member_id, address, last_index),))
    rosters.write(built, roster)
    kept = KEPT
    for number in range(2, 1 << 30):
        if not (folder / kept).exists() or not any((folder / kept).iterdir()):
            break
        kept = f"{KEPT}-{number}"
    about = {"cluster_id": str(new_cluster), "member_id": member_id, "base_index": last_index, "kept": kept}
    replace_file(built / COMPLETE, json.dumps(about) + "\n")


def copy_snapshots(
    number: int, group: RecoveredGroup, member_id: int, old: SnapshotFolder, new: SnapshotFolder
) -> None:
    """Every snapshot that is whole and that the log joins; one at least, where the log has lost its beginning."""
    base = 0 if group.snapshot is None else group.snapshot.index
    terms = {entry.index: entry.term for entry in group.entries}
    if group.snapshot is not None:
        terms[group.snapshot.index] = group.snapshot.term
    damage: CorruptLog | None = None
    copied = 0
    for index, term in old.list(number):
        if terms.get(index) != term:
            continue
        try:
            old.copy(number, index, term, new, Snapshot(index, term, voters=(member_id,)))
            copied += 1
        except CorruptLog as error:
            logger.warning("%s is passed over: it is damaged at offset %d", error.path, error.offset)
            damage = error
    if base and not copied:
        raise damage or StorageError("the snapshot that the log continues is not there")


def copy_log(number: int, group: RecoveredGroup, member_id: int, log: WriteAheadLog) -> None:
    """The log as it is, without changes of the old group."""
    if group.snapshot is not None:
        log.add_snapshot(number, group.snapshot.index, group.snapshot.term, voters=(member_id,))
    hard = group.hard
    log.add(number, hard=(hard.term, hard.vote, hard.commit, hard.promise_bound_ns))
    batch: list[tuple[int, int, bytes, int]] = []
    size = 0
    for entry in group.entries:
        batch.append(kept_entry(entry))
        size += len(entry.data)
        if size >= BATCH_BYTES:
            log.add(number, entries=batch)
            log.flush()
            batch, size = [], 0
    log.add(number, entries=batch)
    log.flush()


def kept_entry(entry: Entry) -> tuple[int, int, bytes, int]:
    """The entry as the new cluster has it: a change of the old group is nothing to it."""
    if entry.kind != ENTRY_NORMAL:
        return entry.term, entry.index, b"", ENTRY_NORMAL
    return entry.term, entry.index, entry.data, ENTRY_NORMAL


# --------------------------------------------------------------------------------------------------------- taking place


def finish(folder: Path) -> Recovered:
    """Let the new files take the place of the old ones. The caller holds the lock."""
    built = folder / BUILT
    marker = built / MOVED if (built / MOVED).exists() else built / COMPLETE
    about = json.loads(marker.read_text(encoding="utf-8"))
    kept = folder / about["kept"]
    if marker.name == COMPLETE:
        kept.mkdir(exist_ok=True)
        move(folder, kept, first="identity")
        marker.rename(built / MOVED)
        sync_directory(built)
    move(built, folder, last="identity")
    shutil.rmtree(built)
    sync_directory(folder)
    return Recovered(uuid.UUID(about["cluster_id"]), about["member_id"], about["base_index"], kept)


def move(source: Path, target: Path, *, first: str | None = None, last: str | None = None) -> None:
    """Move every file of a directory into another, durably, one of them before or after all others."""
    names = [one.name for one in source.iterdir() if one.is_file() and one.name not in ("lock", COMPLETE, MOVED)]
    for name in sorted(names, key=lambda one: (one != first, one == last, one)):
        if name == last:
            sync_directory(source)
            sync_directory(target)
        (source / name).rename(target / name)
        if name == first:
            sync_directory(source)
            sync_directory(target)
    sync_directory(source)
    sync_directory(target)
