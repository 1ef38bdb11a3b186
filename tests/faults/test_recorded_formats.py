"""What former builds wrote is read by this one, and this one writes the same as long as the version is the same.

The recordings were made by `record_formats.py` over the builds of their time. This is the guard that runs every time; a
cluster of two builds (`test_mixed_versions.py`) takes a compilation.
"""

from __future__ import annotations

import json
import struct
import tarfile
from pathlib import Path
from typing import Any

import pytest
from tests.faults import damage, record_formats

from tenure import errors
from tenure._kv import codec
from tenure._kv.machine import KeyValueMachine
from tenure._net import frame, handshake
from tenure._net.endpoint import decode_message
from tenure._raft.node import MESSAGE_TYPES
from tenure._storage.wal import crc32c
from tenure.config import Config
from tenure.engine.native import NativeEngine

RECORDED = sorted((Path(__file__).with_name("recorded")).iterdir())
CURRENT = "v1"  # a recording of the versions that this build writes
IDENTITY_BYTES, SEGMENT_HEADER_BYTES, SNAPSHOT_HEADER_BYTES = 64, 128, 1088
UNLIKE = {"lock", "identity"}  # who tried last, and how often somebody tried to start (H28)


def recording(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "formats.json").read_text())


def unpack(folder: Path, into: Path) -> Path:
    with tarfile.open(folder / "member.tar.xz") as archive:
        archive.extractall(into, filter="data")
    return into


def opened(directory: Path, machine: KeyValueMachine) -> NativeEngine:
    return NativeEngine(
        machine,
        directory=directory,
        cluster_id=record_formats.CLUSTER,
        member_id=1,
        members={1: f"127.0.0.1:{record_formats.port()}"},
        config=Config(**record_formats.SETTINGS),
    )


def test_the_same_version_writes_the_same_bytes() -> None:
    """Fails when anything on the wire or in the log has changed without a new version."""
    recorded = recording(next(folder for folder in RECORDED if folder.name == CURRENT))["wire"]
    written = record_formats.wire()
    assert set(recorded) <= set(written), "something that was written is written no more"
    assert {name: written[name] for name in recorded} == recorded


@pytest.mark.parametrize("folder", RECORDED, ids=lambda folder: folder.name)
def test_the_wire_of_a_former_build_is_understood(folder: Path) -> None:
    """Fails when a frame, a greeting, a message or a command of that build is refused, or means something else."""
    wire = {name: bytes.fromhex(one) for name, one in recording(folder)["wire"].items()}
    for name, number in frame.TYPES.items():
        found = frame.parse(wire[f"frame {name}"], 1 << 20)
        assert found == ("whole", len(wire[f"frame {name}"]), number, 5, b"payload")
    greeting = handshake.parse_hello(wire["hello"])
    assert greeting is not None
    assert {name: greeting[name] for name in record_formats.HELLO} == record_formats.HELLO
    assert greeting["version_min"] <= handshake.PROTOCOL_VERSION, "builds of that time are refused"
    types = [name.split()[1] for name in wire if name.startswith("message ")]
    assert types
    for type in types:
        meant, found = record_formats.message(type, MESSAGE_TYPES[type]), decode_message(wire[f"message {type}"])
        assert found is not None, type
        assert found.snapshot == meant.snapshot
        for field in ("type", *record_formats.SCALARS, "reject", "entries"):
            assert getattr(found, field) == getattr(meant, field), (type, field)
    for name, one in wire.items():
        if name.startswith("command "):
            assert codec.is_valid(one), name


@pytest.mark.parametrize("folder", RECORDED, ids=lambda folder: folder.name)
def test_the_directory_of_a_former_build_is_read(folder: Path, tmp_path: Path) -> None:
    """Fails when its segments, snapshot, identity or roster are refused, or lead to another state."""
    meant = recording(folder)["member"]
    directory = unpack(folder, tmp_path / "member")
    machine = KeyValueMachine()
    with opened(directory, machine) as engine:
        engine.wait_for_leader(timeout=10)
        engine.linearizable_read(timeout=10)
        assert machine.state_hash == meant["state_hash"]
        assert {key: record_formats.digest(machine.get(key.encode())) for key in meant["keys"]} == meant["keys"]
        status = engine.status()
        assert status.counters["snapshot_index"] == meant["snapshot_index"] > 0
        assert status.term > meant["term"]
        assert status.applied_index > meant["applied"]
        group = engine.configuration()
        assert (group.voters, group.learners) == ((1,), ())
        with pytest.raises(errors.AlreadyMember):  # the roster of that time remembers who was removed
            engine.add_learner(2, "127.0.0.1:9")
        engine.propose(codec.encode_set(b"new", b"value", hint_ts=0))


def seal(data: bytearray, header_bytes: int) -> None:
    struct.pack_into("<I", data, 12, crc32c(data[16:header_bytes], crc32c(data[:12])))


@pytest.mark.parametrize("what", ["identity", "wal-*.log", "snap-*", "members"])
def test_a_directory_of_a_later_version_is_refused_by_name(what: str, tmp_path: Path) -> None:
    """Fails when a later version is taken for damage, or is read as if it were this one; nothing may be changed."""
    directory = unpack(RECORDED[-1], tmp_path / "member")
    path = max(directory.glob(what))
    if what == "members":
        path.write_text(json.dumps({**json.loads(path.read_text()), "version": 2}))
    else:
        data = bytearray(path.read_bytes())
        data[8] += 1
        header = {"identity": IDENTITY_BYTES, "wal-*.log": SEGMENT_HEADER_BYTES}.get(what, SNAPSHOT_HEADER_BYTES)
        seal(data, header)
        path.write_bytes(data)
    before = damage.fingerprint(directory, but=UNLIKE)
    with pytest.raises(errors.NewerFormat) as caught:
        opened(directory, KeyValueMachine())
    assert (caught.value.path, caught.value.found, caught.value.supported) == (str(path), 2, 1)
    assert str(path) in str(caught.value)
    assert damage.fingerprint(directory, but=UNLIKE) == before
