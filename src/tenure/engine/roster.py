"""The file `members` of a data directory: who the group began with, and where everybody who was ever in it is found.

The log says how the group changed. What the log cannot say is what the changes begin from: the *base*, the
configuration at `base_index`, which is 0 for a group that was started in the ordinary way. Changes in the log at or
below the base are part of it and count no more. The *book* has one entry for each member that was ever known, with the
index of the log at which its address became what it is; who was removed stays in the book without an address, because
an id is never used again. The log repeats itself after a restart, so an entry is replaced only by one of a later index.

A roster is a value: changes make a new one. `write` replaces the file as a whole (temporary name, sync, rename, sync of
the directory), so a reader of any process finds the old roster or the new one. The file is JSON, for people to read;
one that was damaged, or edited, does not fit its checksum and is refused.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import uuid
from pathlib import Path
from typing import Any

from tenure.errors import InvalidArgument, NewerFormat, StorageError

__all__ = [
    "FILE_NAME",
    "FORMAT_VERSION",
    "Roster",
    "RosterEntry",
    "parse_roster",
    "read",
    "replace_file",
    "roster_json",
    "sync_directory",
    "write",
]

FILE_NAME = "members"
FORMAT_VERSION = 1
MAX_BYTES = 1 << 20
MAX_ADDRESS_CHARACTERS = 512


@dataclasses.dataclass(frozen=True, slots=True)
class RosterEntry:
    """Where a member was found as of an index of the log; without an address: it was removed, or never had one."""

    id: int
    address: str | None
    index: int


@dataclasses.dataclass(frozen=True, slots=True)
class Roster:
    """What `members` holds. Sorted by id where there is an order; checked when it is made.

    Attributes:
        cluster_id: the cluster that the directory belongs to.
        base_voters: who voted at `base_index`.
        base_learners: who only followed there.
        base_index: changes in the log up to here are part of the base.
        entries: the book.

    Raises:
        InvalidArgument: it contradicts itself.
    """

    cluster_id: uuid.UUID
    base_voters: tuple[int, ...]
    base_learners: tuple[int, ...] = ()
    base_index: int = 0
    entries: tuple[RosterEntry, ...] = ()

    def __post_init__(self) -> None:
        everybody = (*self.base_voters, *self.base_learners)
        book = [one.id for one in self.entries]
        if not self.base_voters:
            raise InvalidArgument("members: a group begins with at least one voter", field="base_voters")
        if len(set(everybody)) != len(everybody) or not all(map(is_id, everybody)):
            raise InvalidArgument(f"members: {everybody} are not different ids above 0", field="base_voters")
        if book != sorted(set(book)) or not all(map(is_id, book)):
            raise InvalidArgument(f"members: the book's ids, {book}, are not different and in order", field="entries")
        if self.base_index < 0 or any(one.index < 0 for one in self.entries):
            raise InvalidArgument("members: an index is not below 0", field="base_index")

    @classmethod
    def beginning(cls, cluster_id: uuid.UUID, addresses: dict[int, str], *, learners: tuple[int, ...] = ()) -> Roster:
        """The roster of a group that begins with these members."""
        return cls(
            cluster_id=cluster_id,
            base_voters=tuple(id for id in sorted(addresses) if id not in learners),
            base_learners=tuple(sorted(learners)),
            entries=tuple(RosterEntry(id, addresses[id], 0) for id in sorted(addresses)),
        )

    def entry(self, id: int) -> RosterEntry | None:
        """What the book has of a member."""
        return next((one for one in self.entries if one.id == id), None)

    @property
    def addresses(self) -> dict[int, str]:
        """Where members are found, by id; those that were removed are not among them."""
        return {one.id: one.address for one in self.entries if one.address is not None}

    def with_entry(self, id: int, address: str | None, index: int) -> Roster:
        """The roster once the entry at `index` gives the member this address; itself if it knows as much already."""
        known = self.entry(id)
        if known is not None and known.index >= index:
            return self
        others = [one for one in self.entries if one.id != id]
        entries = sorted([*others, RosterEntry(id, address, index)], key=lambda one: one.id)
        return dataclasses.replace(self, entries=tuple(entries))


def is_id(id: object) -> bool:
    """Member ids are whole numbers above 0, of 64 bits."""
    return isinstance(id, int) and not isinstance(id, bool) and 0 < id < 1 << 64


def roster_json(roster: Roster) -> dict[str, Any]:
    """The roster as it stands in the file, and as one member tells it to another."""
    return {
        "cluster_id": str(roster.cluster_id),
        "base_index": roster.base_index,
        "base_voters": list(roster.base_voters),
        "base_learners": list(roster.base_learners),
        "entries": [[one.id, one.address, one.index] for one in roster.entries],
    }


def parse_roster(table: Any) -> Roster:
    """The roster that `roster_json` made; InvalidArgument for anything else."""
    try:
        entries = tuple(RosterEntry(id, address, index) for id, address, index in table["entries"])
        roster = Roster(
            cluster_id=uuid.UUID(table["cluster_id"]),
            base_voters=tuple(table["base_voters"]),
            base_learners=tuple(table["base_learners"]),
            base_index=whole(table["base_index"]),
            entries=entries,
        )
        for one in entries:
            whole(one.index)
            check_address(one.address)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidArgument(f"members: {error}", field="members") from None
    return roster


def check_address(address: object) -> None:
    """None, or a text of a sensible length; whether anybody can be reached there is not asked."""
    if address is not None and not (isinstance(address, str) and len(address) <= MAX_ADDRESS_CHARACTERS):
        raise TypeError(f"{address!r} is no address")


def whole(value: object) -> int:
    """A whole number that is no boolean."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is not a whole number")
    return value


def checksum(table: dict[str, Any]) -> str:
    """Of the canonical form."""
    return hashlib.sha256(json.dumps(table, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read(directory: str | os.PathLike[str]) -> Roster | None:
    """The roster of a data directory; None where there is none yet.

    Raises:
        StorageError: the file cannot be read, or is damaged.
        NewerFormat: a newer tenure wrote it.
    """
    path = Path(directory) / FILE_NAME
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error}", path=str(path), errno=error.errno) from error
    try:
        found = json.loads(content)
        version = whole(found["version"])
        if version > FORMAT_VERSION:
            raise NewerFormat(
                f"{path} was written by a newer tenure", path=str(path), found=version, supported=FORMAT_VERSION
            )
        if found["checksum"] != checksum(found["roster"]):
            raise ValueError("its checksum does not fit")
        return parse_roster(found["roster"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StorageError(f"{path} is damaged: {error}", path=str(path)) from None


def write(directory: str | os.PathLike[str], roster: Roster, *, sync: bool = True) -> None:
    """Replace the roster of a data directory, durably unless `sync` is off. Only the directory's owner writes.

    Raises:
        StorageError: it could not be made durable; the old one stands, or the new one.
    """
    table = roster_json(roster)
    text = json.dumps({"version": FORMAT_VERSION, "checksum": checksum(table), "roster": table}, indent=1) + "\n"
    replace_file(Path(directory) / FILE_NAME, text, sync=sync)


def replace_file(path: Path, text: str, *, sync: bool = True) -> None:
    """Replace a small file as a whole, durably unless `sync` is off.

    Raises:
        StorageError: it could not be made durable; the old one stands, or the new one.
    """
    temporary = path.with_name(f"{path.name}.new")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            if sync:
                os.fsync(stream.fileno())
        temporary.replace(path)
        if sync:
            sync_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StorageError(f"cannot write {path}: {error}", path=str(path), errno=error.errno) from error


def sync_directory(directory: Path) -> None:
    """Make renames and new names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
