"""`tenure log verify|dump DIRECTORY`: what stands in a member's directory, and whether a start would take it.

Both only read; the member must not be running. The exit codes are a contract with scripts:

    0   whole
    1   whole, but for a torn tail: the rest of a write that nobody was told of, which the next start cuts off
    2   bad arguments
    3   damaged
    4   no verdict: no directory of a member, in use, of a newer format, not to be read
    70  an internal error
"""

from __future__ import annotations

import io
import json
import re
import sys
import traceback
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tenure._storage.inspection import LogReader
    from tenure._storage.records import Batch, Record, RecoveredGroup, Segment

__all__ = ["log"]

SNAPSHOT = re.compile(r"snap-([0-9a-f]{8})-([0-9a-f]{16})-([0-9a-f]{16})")
ENTRY_KINDS = {0: "normal", 1: "conf_change", 2: "conf_change_v2"}


class Exit(IntEnum):
    """The exit codes; see above."""

    WHOLE = 0
    TORN = 1
    DAMAGED = 3
    NO_VERDICT = 4
    INTERNAL = 70
    INTERRUPTED = 130


@dataclass
class Finding:
    """Something wrong: where, and what."""

    path: str
    offset: int | None
    what: str

    def __str__(self) -> str:
        place = self.path if self.offset is None else f"{self.path}, offset {self.offset}"
        return f"{place}: {self.what}"


@dataclass
class Verdict:
    """What `verify` found."""

    directory: str
    cluster_id: str = ""
    host_id: int = 0
    starts: int = 0
    segments: list[dict[str, Any]] = field(default_factory=list)
    groups: dict[int, dict[str, Any]] = field(default_factory=dict)
    snapshots: list[dict[str, Any]] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    torn: Finding | None = None
    damage: list[Finding] = field(default_factory=list)

    @property
    def code(self) -> Exit:
        """The exit code."""
        return Exit.DAMAGED if self.damage else Exit.TORN if self.torn else Exit.WHOLE


@click.group("log")
def log() -> None:
    """Look at the log and the snapshots of a member that is not running.

    Exit code 0: whole. 1: a torn tail, which the next start cuts off. 3: damaged. 4: no verdict.
    """


@log.command("verify")
@click.argument("directory", type=click.Path(file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def verify(directory: str, as_json: bool) -> None:
    """Would a start take what stands in DIRECTORY? Reads all of it and changes nothing."""
    with no_verdict_but_ours(directory):
        verdict = judge(directory)
        if as_json:
            say(json.dumps({"verdict": verdict.code.name.lower(), **asdict(verdict)}))
        else:
            for line in lines_of(verdict):
                say(line)
        sys.exit(verdict.code)


@log.command("dump")
@click.argument("directory", type=click.Path(file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a record.")
@click.option("--group", type=click.IntRange(0), help="Records of this group only.")
@click.option("--first", type=click.IntRange(0), default=0, help="No entries below this index.")
@click.option("--last", type=click.IntRange(0), help="No entries above this index.")
@click.option("--data", is_flag=True, help="The commands themselves, in hexadecimal.")
def dump(directory: str, as_json: bool, group: int | None, first: int, last: int | None, data: bool) -> None:
    """Print the records of the log in DIRECTORY in their order, up to its end or to where it is damaged."""
    from tenure._storage.inspection import LogReader
    from tenure._storage.records import Entry
    from tenure.errors import CorruptLog

    def wanted(record: Record) -> bool:
        if group is not None and record.group != group:
            return False
        return not isinstance(record.value, Entry) or (
            first <= record.value.index and (last is None or record.value.index <= last)
        )

    code = Exit.WHOLE
    with no_verdict_but_ours(directory), LogReader(directory) as reader:
        try:
            for segment, batch in batches(reader, data=data):
                for record in filter(wanted, batch.records):
                    say(json_of(segment, batch, record, data) if as_json else line_of(segment, batch, record, data))
            if reader.segments and reader.segment.torn:
                warn(Finding(reader.segment.name, reader.segment.end, "a torn tail; the next start cuts it off"))
                code = Exit.TORN
        except CorruptLog as error:
            warn(Finding(str(error.path), error.offset, "damaged"))
            code = Exit.DAMAGED
        sys.exit(code)


# ------------------------------------------------------------------------------------------------------------- verdict


def judge(directory: str) -> Verdict:
    """Read everything; raises what leaves no verdict."""
    from tenure._storage.inspection import LogReader
    from tenure.errors import CorruptLog, NewerFormat, StorageError

    verdict = Verdict(directory)
    with LogReader(directory) as reader:
        verdict.cluster_id = reader.cluster_id.hex()
        verdict.host_id = reader.host_id
        verdict.starts = reader.start_counter
        groups: dict[int, RecoveredGroup] = {}
        try:
            groups, torn = reader.recover()
            verdict.segments = [summary(reader, sequence) for sequence in reader.segments]
            if torn:
                name = verdict.segments[-1]["name"]
                verdict.torn = Finding(name, torn, "a torn tail; the next start cuts it off")
        except CorruptLog as error:
            verdict.damage.append(Finding(Path(str(error.path)).name, error.offset, "damaged"))
        except NewerFormat:
            raise
        except StorageError as error:
            if error.errno is not None:
                raise
            verdict.damage.append(Finding(directory, None, str(error)))
        judge_snapshots(verdict, reader.cluster_id, groups)
    for group, found in groups.items():
        verdict.groups[group] = {
            **found.hard._asdict(),
            "snapshot": None if found.snapshot is None else found.snapshot._asdict(),
            "first_index": found.entries[0].index if found.entries else None,
            "last_index": found.entries[-1].index if found.entries else None,
        }
    verdict.unfinished = sorted(path.name for path in Path(directory).glob("snapnew-*"))
    return verdict


def summary(reader: LogReader, sequence: int) -> dict[str, Any]:
    reader.open_segment(sequence)
    while reader.next_batch() is not None:
        pass
    return reader.segment._asdict()


def judge_snapshots(verdict: Verdict, cluster_id: bytes, groups: dict[int, RecoveredGroup]) -> None:
    """Read every snapshot to its end, and see whether each log that begins behind one has it."""
    from tenure._storage.snapshot import SnapshotFolder
    from tenure.errors import CorruptLog, ForeignCluster

    folder = SnapshotFolder(verdict.directory, cluster_id)
    joined = set()
    for path in sorted(Path(verdict.directory).glob("snap-*")):
        if (match := SNAPSHOT.fullmatch(path.name)) is None:
            continue
        group, index, term = (int(number, 16) for number in match.groups())
        found: dict[str, Any] = {"name": path.name, "group": group, "index": index, "term": term}
        try:
            _, size, state = folder.verify(group, index, term)
            found |= {"sound": True, "size": size, "state_bytes": state, "joins": joins(groups.get(group), index, term)}
            if found["joins"]:
                joined.add(group)
        except CorruptLog as error:
            found |= {"sound": False}
            verdict.damage.append(Finding(path.name, error.offset, "damaged"))
        except ForeignCluster:
            found |= {"sound": False}
            verdict.damage.append(Finding(path.name, None, "of another cluster"))
        verdict.snapshots.append(found)
    for group, log_of in groups.items():
        if log_of.snapshot is not None and group not in joined:
            behind = f"which begins behind index {log_of.snapshot.index}"
            what = f"no sound snapshot joins the log of group {group}, {behind}"
            verdict.damage.append(Finding(verdict.directory, None, what))


def joins(found: RecoveredGroup | None, index: int, term: int) -> bool:
    """Whether the log goes on where this snapshot ends."""
    if found is None:
        return False
    base = 0 if found.snapshot is None else found.snapshot.index
    if found.snapshot is not None and index == base:
        return term == found.snapshot.term
    return base < index <= base + len(found.entries) and found.entries[index - base - 1].term == term


def lines_of(verdict: Verdict) -> Iterator[str]:
    yield f"{verdict.directory}: host {verdict.host_id} of cluster {verdict.cluster_id}, started {verdict.starts} times"
    for segment in verdict.segments:
        state = "closed" if segment["closed"] else "open"
        yield f"{segment['name']}: {state}, {segment['batches']} batches, {segment['end']} of {segment['size']} bytes"
    for snapshot in verdict.snapshots:
        if snapshot["sound"]:
            use = "" if snapshot["joins"] else ", does not join the log"
            yield f"{snapshot['name']}: index {snapshot['index']}, {snapshot['size']} bytes{use}"
    for group, found in verdict.groups.items():
        behind = "" if found["snapshot"] is None else f" behind snapshot {found['snapshot']['index']}"
        first, last = found["first_index"], found["last_index"]
        entries = "no entries" if last is None else f"entries {first}-{last}"
        yield f"group {group}: {entries}{behind}, term {found['term']}, vote {found['vote']}, commit {found['commit']}"
    yield from (f"{name}: unfinished" for name in verdict.unfinished)
    if verdict.torn is not None:
        yield str(verdict.torn)
    yield from map(str, verdict.damage)
    yield {Exit.WHOLE: "whole", Exit.TORN: "whole, but for the torn tail", Exit.DAMAGED: "damaged"}[verdict.code]


# ---------------------------------------------------------------------------------------------------------------- dump


def batches(reader: LogReader, *, data: bool) -> Iterator[tuple[Segment, Batch]]:
    for sequence in reader.segments:
        reader.open_segment(sequence)
        while (batch := reader.next_batch(data=data)) is not None:
            yield reader.segment, batch


def value_of(record: Record, data: bool) -> dict[str, Any]:
    from tenure._storage.records import Entry

    value = record.value
    if isinstance(value, int):
        return {"value": value}
    if not isinstance(value, Entry):
        return value._asdict()
    kind = ENTRY_KINDS.get(value.kind, str(value.kind))
    entry = {"term": value.term, "index": value.index, "kind": kind, "size": record.size}
    return {**entry, "data": value.data.hex()} if data else entry


def json_of(segment: Segment, batch: Batch, record: Record, data: bool) -> str:
    place = {"segment": segment.name, "offset": batch.offset, "batch": batch.number, "synced": batch.synced}
    what = {"what": record.what, "group": record.group, "repeated": record.repeated}
    return json.dumps({**place, **what, **value_of(record, data)})


def line_of(segment: Segment, batch: Batch, record: Record, data: bool) -> str:
    values = value_of(record, data)
    if record.what == "entry":
        text = f"{values.pop('term')}/{values.pop('index')}"
    else:
        text = ""
    words = [f"{name}={list(value) if isinstance(value, tuple) else value}" for name, value in values.items()]
    repeated = " (repeated)" if record.repeated else ""
    words = [word for word in (text, *words) if word]
    place = f"{segment.name} @{batch.offset} #{batch.number} group {record.group}"
    return f"{place} {record.what}{repeated} {' '.join(words)}"


# ---------------------------------------------------------------------------------------------------------------- ends


@contextmanager
def no_verdict_but_ours(directory: str) -> Iterator[None]:
    """Whatever goes wrong outside the log must not leave by a code that is a verdict."""
    from tenure.errors import TenureError

    try:
        yield
    except BrokenPipeError:
        sys.stdout = io.StringIO()  # nobody reads
        sys.exit(Exit.NO_VERDICT)
    except (TenureError, OSError) as error:
        warn(f"{directory}: {error}")
        sys.exit(Exit.NO_VERDICT)
    except KeyboardInterrupt:
        warn("interrupted")
        sys.exit(Exit.INTERRUPTED)
    except Exception:  # noqa: BLE001 - whatever it is, it is no verdict
        warn(f"{traceback.format_exc()}internal error, no verdict")
        sys.exit(Exit.INTERNAL)


def say(line: str) -> None:
    click.echo(line)


def warn(what: object) -> None:
    click.echo(f"tenure: {what}", err=True)
