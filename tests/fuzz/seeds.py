"""Writes the seeds of the corpus by the real encoders: `python -m tests.fuzz.seeds`.

A seed is a file `seed-...` in `corpus/TARGET/`. What fuzzing found besides stays as it is. The seeds of the log hold
random salts, so that those files differ from one run to the next; the others do not.
"""

from __future__ import annotations

import random
import struct
import tempfile
from pathlib import Path

from tests.fuzz import archive

from tenure._host.roster import RosterView
from tenure._kv import codec
from tenure._kv.machine import KeyValueMachine
from tenure._net import frame, handshake
from tenure._net.endpoint import encode_message
from tenure._raft.node import MESSAGE_TYPES, Configuration, Entry, Message, Snapshot
from tenure._storage import records
from tenure._storage.snapshot import SnapshotFolder
from tenure._storage.wal import WriteAheadLog

CORPUS = Path(__file__).with_name("corpus")
CLUSTER = bytes(range(16))
HOST = 7
GROUP = 3
SEGMENT_BYTES = 16384


# ---- peers


def messages() -> dict[str, bytes]:
    found = {}
    entries = [Entry(5, 41, b"value", 0), Entry(5, 42, b"", 0), Entry(5, 43, bytes(20), 2)]
    snapshot = Snapshot(40, 4, Configuration((1, 2, 3), (1, 2), (4,), (5,), True))
    for name in MESSAGE_TYPES:
        answers = name.endswith("Resp")
        message = Message(
            name,
            from_=1,
            to=2,
            term=5,
            index=40,
            log_term=4,
            commit=39,
            reject=answers,
            reject_hint=38 if answers else 0,
            round=7,
            read_id=9,
            release_term=4 if name in {"MsgTimeoutNow", "MsgVote"} else 0,
            stamp_ns=1_000_000_007,
            promise_ns=2_000_000_000,
            promised_ns=1_900_000_000 if answers else 0,
            peer_clock_ns=1_000_500_000 if answers else 0,
            remaining_ns=12_345 if answers else 0,
            entries=entries if name == "MsgApp" else [],
            snapshot=snapshot if name == "MsgSnap" else None,
        )
        found[name] = encode_message(message)
    return found


def hello(**changes: int) -> bytes:
    words: dict[str, int] = {"from_": 1, "to": 2, "start_counter": 6, "nonce": 0x1234567890ABCDEF, **changes}
    return handshake.build_hello(cluster_id=CLUSTER, **words)


def refused(code: int) -> bytes:
    return struct.pack("<I", code)


def frames() -> dict[str, bytes]:
    kinds = frame.TYPES
    sent = messages()
    stream = [frame.build(kinds["hello"], 0, hello()), frame.build(kinds["welcome"], 0, hello(from_=2, to=1))]
    stream += [frame.build(kinds["message"], GROUP, sent[name]) for name in ("MsgHeartbeat", "MsgApp", "MsgSnap")]
    found = {
        "stream": b"".join(stream),
        "refused": frame.build(kinds["refused"], 0, refused(3)),
        "data": frame.build(kinds["data"], 2, bytes(range(64))),
        "empty": frame.build(kinds["data"], 0, b""),
        "half": stream[-1][:-9],
    }
    return found | {name: frame.build(kinds["message"], 1, content) for name, content in sent.items()}


def handshakes() -> dict[str, bytes]:
    mine = hello()
    return {
        "welcome": b"\0" + mine + hello(from_=2, to=1) + refused(1),
        "twice": b"\0" + mine + mine + refused(2),
        "later": b"\0" + mine + hello(start_counter=7) + refused(5),
        "copied": b"\0" + mine + hello(nonce=1) + refused(6),
        "newer": b"\0" + mine + hello(from_=2, to=1, version_min=2, version_max=3),
        "cut": b"\3" + mine,
    }


def rosters() -> dict[str, bytes]:
    def book(*entries: tuple[int, int, bytes]) -> bytes:
        view = RosterView()
        for entry in entries:
            view.set(*entry)
        return view.encode()

    def pair(one: bytes, other: bytes) -> bytes:
        return struct.pack("<H", len(one)) + one + other

    first = book((1, 0, b"10.0.0.1:7101"), (2, 0, b"10.0.0.2:7101"), (3, 0, b"[fe80::3]:7101"))
    later = book((1, 90, b""), (2, 0, b"10.0.0.2:7101"), (3, 40, b"[fe80::5]:65535"), (7, 91, b"localhost:1"))
    return {
        "both": pair(first, later),
        "twice": pair(later, later),
        "conflict": pair(book((1, 5, b"a:1")), book((1, 5, b"b:1"))),
        "cut": pair(first[:-1], later[:-5]),
        "none": pair(book(), book()),
        "crowd": pair(book(*((id, id, b"h:1") for id in range(1, 257))), first),
    }


# ---- the core

TICK, APPENDED, APPLIED, READY = (bytes([step]) for step in (7, 10, 11, 12))
WRITTEN = READY + APPENDED + READY + APPENDED + APPLIED  # what is to be written is, and everything that follows from it
NEXT_TERM = (1, bytes([9]))  # which field of a message is given, and that it is one above the member's own
# What the host asks of the member, and the bytes that say how.
REQUESTS_OF_HOST = {
    "propose": b"", "read": b"", "campaign": b"", "transfer": b"\2", "step-down": b"", "forget": b"",
    "unreachable": b"\2", "snapshot": b"\2\1", "compact": b"\0", "wait": b"\x09", "jump": b"\x80",
}  # fmt: skip


def said(type: str, sender: int, odd: tuple[int, bytes] = (0, b""), rest: bytes = b"") -> bytes:
    """A step of the target `core`: a message of a peer."""
    place = MESSAGE_TYPES[type] - 1
    kind = next(kind for kind in range(256) if kind % 12 == place and (kind >> 4) % 4 == sender - 2)
    return bytes([0, kind]) + struct.pack("<H", odd[0]) + odd[1] + rest


def asked(what: str) -> bytes:
    return bytes([list(REQUESTS_OF_HOST).index(what) << 4 | 14]) + REQUESTS_OF_HOST[what]


def cores() -> dict[str, bytes]:
    leases, no_leases, alone, old_log = 0x0E, 0x0F, 0x1E, 0x2D
    elected = TICK * 12 + WRITTEN + said("MsgPreVoteResp", 2, NEXT_TERM) + WRITTEN + said("MsgVoteResp", 3) + WRITTEN
    agreed = said("MsgAppResp", 2) + said("MsgAppResp", 3) + WRITTEN
    entry = bytes([0x22])
    found = {
        "follower": bytes([leases, 0]) + said("MsgHeartbeat", 2, NEXT_TERM) + said("MsgApp", 2, rest=entry) + WRITTEN,
        "overwritten": bytes([leases, old_log]) + said("MsgApp", 3, (3, bytes([9, 8])), entry) + WRITTEN + TICK * 3,
        "snapshot": bytes([leases, old_log]) + said("MsgSnap", 2, (5, bytes([9, 20]))) + WRITTEN
        + said("MsgApp", 2, rest=entry),
        "voter": bytes([leases, old_log]) + TICK * 9 + said("MsgVote", 3, NEXT_TERM) + WRITTEN,
        "timeout-now": bytes([leases, 0]) + said("MsgHeartbeat", 2, NEXT_TERM)
        + said("MsgTimeoutNow", 2, (512, bytes([8]))) + WRITTEN,
    }  # fmt: skip
    for name, shape in {"leases": leases, "no-leases": no_leases}.items():
        leader = bytes([shape, 0]) + elected + agreed
        for request in REQUESTS_OF_HOST:
            found[f"{name}-{request}"] = leader + asked(request) + WRITTEN + agreed + TICK * 3 + WRITTEN
        found[f"{name}-heartbeats"] = leader + (TICK * 2 + WRITTEN + said("MsgHeartbeatResp", 2) + asked("read")) * 3
        found[f"{name}-deposed"] = leader + asked("propose") + WRITTEN + said("MsgApp", 3, NEXT_TERM, entry) + WRITTEN
    found["alone"] = bytes([alone, 0]) + TICK * 12 + WRITTEN + asked("propose") + WRITTEN + asked("compact") + TICK * 3
    return found


# ---- clients


def array(*arguments: bytes) -> bytes:
    return b"*%d\r\n" % len(arguments) + b"".join(b"$%d\r\n%s\r\n" % (len(a), a) for a in arguments)


REQUESTS = [
    (b"SET", b"k", b"1"), (b"SET", b"k", b"v", b"PX", b"100", b"NX", b"GET"), (b"SET", b"k", b"v", b"KEEPTTL", b"XX"),
    (b"SET", b"k", b"v", b"EXAT", b"9"), (b"SETEX", b"k", b"1", b"v"), (b"PSETEX", b"k", b"2", b"v"),
    (b"SETNX", b"n", b"v"), (b"GET", b"k"), (b"GETSET", b"k", b"2"), (b"GETDEL", b"k"),
    (b"MSET", b"a", b"1", b"b", b"2"), (b"MGET", b"a", b"b", b"c"),
    (b"DEL", b"a", b"b"), (b"UNLINK", b"a"), (b"EXISTS", b"a", b"a"), (b"APPEND", b"a", b"tail"), (b"STRLEN", b"a"),
    (b"GETRANGE", b"a", b"-3", b"-1"), (b"INCR", b"c"), (b"DECR", b"c"), (b"INCRBY", b"c", b"-9223372036854775808"),
    (b"DECRBY", b"c", b"9223372036854775807"), (b"EXPIRE", b"a", b"10"), (b"PEXPIRE", b"a", b"-1"),
    (b"EXPIREAT", b"a", b"5"),
    (b"PEXPIREAT", b"a", b"5000"), (b"TTL", b"a"), (b"PTTL", b"a"), (b"EXPIRETIME", b"a"), (b"PEXPIRETIME", b"a"),
    (b"PERSIST", b"a"), (b"TYPE", b"a"), (b"DBSIZE",), (b"FLUSHALL", b"ASYNC"), (b"FLUSHDB",), (b"PING", b"hello"),
    (b"HELLO", b"3", b"AUTH", b"default", b"secret"), (b"NOSUCH", b"a\r\nb", b""), (b"GET",),
]  # fmt: skip

INLINE = [b"PING\r\n", b'SET k "a\\x41\\n\\"" \r\n', b"GET 'it\\'s'\n", b"\r\n", b"  ECHO\thi  \r\n", b"A\0B\r\n"]

BROKEN = [
    b"*1\r\n+PING\r\n", b"*x\r\n", b"*1\r\n$x\r\n", b"*-1\r\nPING\r\n", b"*0\r\n*1\r\n$4\r\nPING\r\n",
    b"*2\r\n$536870913\r\n", b"*1048577\r\n", b'SET k "open\r\n', b"SET k \"shut\"x\r\n", b"*1\r\n$-1\r\n",
    b"*1\r\n$3\r\nGE", b"*1\r\n$0\r\n\r\n",
]  # fmt: skip


def resp() -> dict[str, bytes]:
    found = {f"request-{i}": bytes([i % 16 * 16]) + array(*request) for i, request in enumerate(REQUESTS[::4])}
    found["pipeline"] = b"\x20" + b"".join(array(*request) for request in REQUESTS[:8])
    found |= {f"inline-{i}": b"\x10" + line for i, line in enumerate(INLINE)}
    found |= {f"broken-{i}": bytes([i % 16]) + line for i, line in enumerate(BROKEN)}
    return found


def redis() -> dict[str, bytes]:
    found = {
        f"{request[0].decode().lower()}-{i}": bytes([i % 2]) + array(*request) for i, request in enumerate(REQUESTS)
    }
    found["pipeline"] = b"\0" + b"".join(array(*request) for request in REQUESTS)
    return found


# ---- storage


def fill_log(log: WriteAheadLog, count: int, size: int) -> None:
    for i in range(1, count + 1):
        log.add(GROUP, hard=(1, 2, i, 4), entries=[(1, i, bytes([i % 256]) * size)])
        if i % 3 == 0:
            log.add(8, entries=[(2, i // 3, b"other", 2)])
        log.flush()


def logs() -> dict[str, bytes]:
    found = {}
    with tempfile.TemporaryDirectory() as root:

        def write(name: str, count: int, size: int, snapshot: int = 0) -> None:
            folder = Path(root) / name
            with WriteAheadLog(folder, CLUSTER, HOST, segment_bytes=SEGMENT_BYTES, sync=False) as log:
                fill_log(log, count, size)
                if snapshot:
                    log.add_snapshot(GROUP, snapshot, 1, (1, 2, 3), (1, 2), (4,), (5,), True)
                    log.add_snapshot(8, count // 3, 2, (1,))
                    log.flush()
                    log.add(GROUP, entries=[(1, count + 1, b"behind")])
                    log.flush()
            found[name] = archive.pack(folder)

        write("new", 0, 0)
        write("short", 4, 10)
        write("snapshot", 4, 10, 3)
        write("all-behind", 6, 0, 6)
        write("two-segments", 12, 1300)
        write("compacted", 12, 1300, 12)
    return found


def histories() -> dict[str, bytes]:
    chance = random.Random(7)
    hard, entries, snapshot, flush = 0x00, 0x05, 0x0B, 0x0F

    def program(damages: list[bytes], steps: list[tuple[int, ...]]) -> bytes:
        return bytes([len(damages)]) + b"".join(damages) + b"".join(bytes(step) for step in steps)

    def writes(count: int, shape: int, step: int) -> list[tuple[int, ...]]:
        return [part for _ in range(count) for part in ((entries, shape, step), (hard, 3, 4), (flush,))]

    long = writes(8, 0x83, 0x7C)
    found = {
        "plain": program([], [*writes(3, 2, 16), (snapshot, 3), (flush,)]),
        "overwrites": program([], [*writes(2, 3, 17), (entries, 4 * 3 + 1, 19), (flush,)]),
        "groups": program([], [(entries | 0x10, 1, 8), (entries | 0x20, 1, 8), (snapshot | 0x10, 1), (flush,)]),
        "turns-over": program([], long),
        "compacts": program([], [*long, (snapshot, 15), (flush,), *writes(2, 1, 8)]),
        "voided": program([], [*writes(2, 3, 16), (snapshot, 0x8F), (flush,), (entries, 0, 4), (flush,)]),
    }
    for kind in range(8):
        damage = struct.pack("<BBHH", kind, 1, chance.randrange(1 << 16), chance.randrange(1 << 16))
        found[f"damage-{kind}"] = program([damage], [*long, (snapshot, 9), (flush,), *writes(2, 1, 8)])
    return found


def snapshots() -> dict[str, bytes]:
    found = {}
    shapes = {
        "empty": (records.Snapshot(1, 1, (1,), (), (), (), False), []),
        "one": (records.Snapshot(40, 4, (1, 2, 3), (), (4,), (), False), [b"state"]),
        "joint": (records.Snapshot(2**40, 9, (1, 2, 3), (1, 2), (4,), (5,), True), [b"a" * 100, b"b", bytes(300)]),
    }
    with tempfile.TemporaryDirectory() as root:
        for name, (snapshot, pieces) in shapes.items():
            folder = Path(root) / name
            folder.mkdir()
            SnapshotFolder(folder, CLUSTER, sync=False).write(GROUP, snapshot, pieces)
            (path,) = folder.iterdir()
            found[name] = path.read_bytes()
    return found


# ---- the store


def commands() -> dict[str, bytes]:
    at = codec.hint(1000)
    found = {
        "set": codec.encode_set(b"k", b"1", hint_ts=at, until_ms=2000, get=True),
        "set-last": codec.encode_set(b"k", b"0", hint_ts=2**63 - 1),
        "set-nx": codec.encode_set(b"k", b"2", hint_ts=at, nx=True),
        "set-keepttl": codec.encode_set(b"k", b"3", hint_ts=at, xx=True, keepttl=True),
        "getset": codec.encode_getset(b"k", b"4", hint_ts=at),
        "setnx": codec.encode_setnx(b"n", b"5", hint_ts=at),
        "getdel": codec.encode_getdel(b"k", hint_ts=at),
        "del": codec.encode_del([b"k", b"n", b"none"], hint_ts=at),
        "mset": codec.encode_mset([(b"a", b"1"), (b"b", b"x" * 40)], hint_ts=at),
        "append": codec.encode_append(b"b", b"tail", hint_ts=at),
        "incrby": codec.encode_incrby(b"a", -(2**63), hint_ts=at),
        "cas": codec.encode_cas(b"a", b"1", b"6", hint_ts=at, keepttl=True),
        "cas-absent": codec.encode_cas(b"c", None, b"7", hint_ts=at, until_ms=1001),
        "expireat": codec.encode_expireat(b"a", 999, hint_ts=at),
        "persist": codec.encode_persist(b"c", hint_ts=at),
        "flushall": codec.encode_flushall(hint_ts=at),
        "collect": codec.encode_collect([b"a", b"c"], hint_ts=codec.hint(5000)),
        "ceiling": codec.encode_ceiling(9000, hint_ts=at),
    }
    found["batch"] = codec.encode_batch([found[name] for name in ("mset", "append", "flushall", "incrby")], hint_ts=at)
    return found


def programs() -> dict[str, bytes]:
    def program(until_dump: int, names: list[str]) -> bytes:
        single = commands()
        return bytes([until_dump]) + b"".join(struct.pack("<H", len(single[name])) + single[name] for name in names)

    found = {name: program(0, ["mset", name, "incrby"]) for name in commands()}
    found["all"] = program(9, list(commands()))
    return found


def dumps() -> dict[str, bytes]:
    found = {}
    machine = KeyValueMachine(seed=(1, 2))
    found["empty"] = machine.dump()
    for name in ("ceiling", "mset", "set", "cas-absent"):
        machine.apply(commands()[name])
        found[name] = machine.dump()
    return found


def seeds() -> dict[str, dict[str, bytes]]:
    return {
        "frame": frames(),
        "message": messages(),
        "handshake": handshakes(),
        "roster": rosters(),
        "resp": resp(),
        "redis": redis(),
        "log": logs(),
        "history": histories(),
        "snapshot": snapshots(),
        "command": programs(),
        "dump": dumps(),
        "core": cores(),
    }


def main() -> None:
    for target, inputs in seeds().items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob("seed-*"):
            stale.unlink()
        for name, content in inputs.items():
            (folder / f"seed-{name}").write_bytes(content)
        print(f"{target}: {len(inputs)} seeds, {sum(map(len, inputs.values()))} bytes")


if __name__ == "__main__":
    main()
