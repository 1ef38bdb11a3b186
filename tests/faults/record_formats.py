"""Writes down what this build puts on the wire and on the disk, for later builds to read: `recorded/NAME`.

    PYTHONPATH=build/previous/COMMIT/src python tests/faults/record_formats.py tests/faults/recorded/v1

Run as a script over the build to be recorded. A recording is never replaced: when a format gets a new version, a new
recording stands beside the old one, and both must be read as long as the old version is supported. `v1` is of the first
version of all formats.
"""

from __future__ import annotations

import hashlib
import json
import socket
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from tenure._kv import codec
from tenure._kv.machine import KeyValueMachine
from tenure._net import frame, handshake
from tenure._net.endpoint import encode_message
from tenure._raft.node import MESSAGE_TYPES, Configuration, Entry, Message, Snapshot
from tenure.config import Config
from tenure.engine.native import NativeEngine

CLUSTER = b"recorded-cluster"
SETTINGS = {
    "segment_bytes": 64 << 10,
    "max_message_bytes": 16 << 10,
    "max_frame_bytes": 64 << 10,
    "heartbeat_s": 0.05,
    "election_timeout_s": 0.2,
    "snapshot_every": 1_000_000,
}
SCALARS = (
    *("from_", "to", "term", "index", "log_term", "commit", "reject_hint", "round", "read_id", "release_term"),
    *("stamp_ns", "promise_ns", "promised_ns", "peer_clock_ns", "remaining_ns"),
)
HINT = (1_700_000_000_000 << 16) + 7


def configuration(value: int) -> Configuration:
    return Configuration((1, 2, value), (1, 2, 3), (9, 11), (), True)


def message(type: str, number: int) -> Message:
    """A message of this type whose fields are all different."""
    scalars = {name: (number << 40) + (position << 24) + position + 1 for position, name in enumerate(SCALARS)}
    entries = [
        Entry(3, 7, b"an entry"),
        Entry(4, 8, b""),
        Entry(1 << 60, 1 << 61, bytes(range(256)), 1),
        Entry(5, 9, b"a change", 2),
    ]
    snapshot = Snapshot(1234, 56, configuration(number + 4)) if type == "MsgSnap" else None
    return Message(
        type, **scalars, reject=number % 2 == 1, entries=entries[: 4 if type == "MsgApp" else 0], snapshot=snapshot
    )


def commands() -> dict[str, bytes]:
    """Every kind of command of the store."""
    encoded = {
        "set": codec.encode_set(b"set", b"value", hint_ts=HINT),
        "set_until": codec.encode_set(b"set", b"value", hint_ts=HINT, until_ms=4_000_000_000_000, nx=True),
        "getset": codec.encode_getset(b"set", b"other", hint_ts=HINT),
        "setnx": codec.encode_setnx(b"setnx", b"value", hint_ts=HINT),
        "append": codec.encode_append(b"append", b"tail", hint_ts=HINT),
        "incrby": codec.encode_incrby(b"counter", -12345, hint_ts=HINT),
        "mset": codec.encode_mset([(b"m1", b"v1"), (b"m2", b"v2")], hint_ts=HINT),
        "cas": codec.encode_cas(b"set", b"other", b"third", hint_ts=HINT),
        "cas_absent": codec.encode_cas(b"fresh", None, b"there", hint_ts=HINT),
        "expireat": codec.encode_expireat(b"m1", 4_100_000_000_000, hint_ts=HINT, nx=True),
        "persist": codec.encode_persist(b"m1", hint_ts=HINT),
        "getdel": codec.encode_getdel(b"m2", hint_ts=HINT),
        "del": codec.encode_del([b"setnx", b"nobody"], hint_ts=HINT),
        "collect": codec.encode_collect([b"set"], hint_ts=HINT),
    }
    encoded["batch"] = codec.encode_batch([encoded["incrby"], encoded["append"]], hint_ts=HINT)
    return encoded


HELLO = {"cluster_id": CLUSTER, "from_": 3, "to": 1, "start_counter": 77, "nonce": 0xFEDCBA9876543210}


def wire() -> dict[str, str]:
    """The bytes of everything that goes from process to process or into the log, by name, as hexadecimal."""
    found = {f"message {type}": encode_message(message(type, n)) for type, n in MESSAGE_TYPES.items()}
    found |= {f"command {name}": command for name, command in commands().items()}
    found["hello"] = handshake.build_hello(**HELLO, version_min=1, version_max=1)
    found |= {f"frame {name}": frame.build(number, 5, b"payload") for name, number in sorted(frame.TYPES.items())}
    return {name: one.hex() for name, one in found.items()}


def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def digest(value: bytes | None) -> str | None:
    return None if value is None else hashlib.sha256(value).hexdigest()


def directory(into: Path) -> dict[str, object]:
    """A member's directory: a snapshot, several segments behind it, changes of the group; and what it means."""
    machine = KeyValueMachine()
    engine = NativeEngine(
        machine,
        directory=into,
        cluster_id=CLUSTER,
        member_id=1,
        members={1: f"127.0.0.1:{port()}"},
        config=Config(**SETTINGS),
    )
    try:
        engine.wait_for_leader(timeout=10)
        for number in range(20):
            engine.propose(codec.encode_set(b"before-%d" % number, bytes([number]) * 50, hint_ts=HINT))
        engine.add_learner(2, "127.0.0.1:9")
        engine.take_snapshot(timeout=10)
        for command in commands().values():
            engine.propose(command)
        for number in range(20):
            engine.propose(codec.encode_set(b"after-%d" % number, bytes([number]) * 4000, hint_ts=HINT))
        engine.remove(2)
        engine.linearizable_read(timeout=10)
        time.sleep(0.2)
        status = engine.status()
        keys = [
            *(b"before-%d" % n for n in range(20)),
            *(b"after-%d" % n for n in range(20)),
            b"counter",
            b"set",
            b"m2",
        ]
        return {
            "applied": status.applied_index,
            "term": status.term,
            "snapshot_index": status.counters["snapshot_index"],
            "state_hash": machine.state_hash,
            "keys": {key.decode(): digest(machine.get(key)) for key in keys},
        }
    finally:
        engine.close()


def main() -> None:
    into = Path(sys.argv[1])
    into.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        meaning = directory(Path(folder) / "member")
        with tarfile.open(into / "member.tar.xz", "w:xz") as archive:
            for path in sorted((Path(folder) / "member").iterdir()):
                one = tarfile.TarInfo(path.name)
                one.size = path.stat().st_size
                with path.open("rb") as content:
                    archive.addfile(one, content)
    (into / "formats.json").write_text(json.dumps({"wire": wire(), "member": meaning}, indent=1) + "\n")


if __name__ == "__main__":
    main()
