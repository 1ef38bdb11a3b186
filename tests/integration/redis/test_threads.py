"""Threads that serve clients beside the loop: what is theirs, what they share, how they end."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tenure._host.core import MOST_IO_THREADS, TRANSFER
from tenure._kv.machine import KeyValueMachine
from tenure.engine import NativeEngine
from tenure.errors import InvalidArgument

from .cluster import CLUSTER_ID, Cluster, Member, cluster, free_port, wait_until
from .wire import Error, Status, Wire, encode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.proxy import Network


REFUSALS = (b"UNKNOWN", b"CLUSTERDOWN", b"TRYAGAIN")


@pytest.fixture
def threaded(tmp_path: Path) -> Iterator[Member]:
    """A member alone, with three threads."""
    with cluster(tmp_path, 1, redis_io_threads=3) as made:
        yield made.leader()


def names_of_threads() -> list[str]:
    found = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # others come and go
            found.append((task / "comm").read_text().strip())
    return found


def test_threads_have_names_and_end_with_their_member(tmp_path: Path) -> None:
    with cluster(tmp_path, 1, redis_io_threads=2) as made:
        made.leader()
        assert {"tenure-io-1", "tenure-io-2"} <= set(names_of_threads())
    assert not [name for name in names_of_threads() if name.startswith("tenure-io")]


def test_clients_are_shared_out_evenly_and_the_load_is_told(threaded: Member) -> None:
    wires = [Wire(threaded.port) for _ in range(9)]
    try:
        for wire in wires:
            assert wire.call("SET", "k", "v") == Status(b"OK")
            assert wire.call("GET", "k") == b"v"
        load = threaded.core.redis_threads()
        assert [one["clients"] for one in load] == [3, 3, 3]
        assert sum(one["commands"] for one in load) == threaded.counts()["commands"] == 18
        assert sum(one["lease_hits"] for one in load) == threaded.counts()["lease_hits"] == 9
        assert threaded.counts()["writes"] == 9
        assert all(one["busy_ns"] > 0 and one["passes"] > 0 for one in load)
        told = bytes(wires[0].call("INFO", "server")).decode().splitlines()
        assert "io_threads:3" in told
        assert [line for line in told if line.startswith("io_thread_3:clients=3,commands=")]
        # A thread that has lost its clients gets the next ones.
        for wire in wires[::3]:
            wire.close()
        wait_until(lambda: threaded.counts()["clients"] == 6)
        wires = [wire for i, wire in enumerate(wires) if i % 3]
        wires += [Wire(threaded.port) for _ in range(3)]
        wait_until(lambda: [one["clients"] for one in threaded.core.redis_threads()] == [3, 3, 3])
    finally:
        for wire in wires:
            wire.close()


def test_the_list_of_clients_has_those_of_every_thread(threaded: Member) -> None:
    wires = [Wire(threaded.port) for _ in range(12)]
    try:
        for i, wire in enumerate(wires):
            assert wire.call("CLIENT", "SETNAME", f"name-{i}") == Status(b"OK")
        # All of them ask at once, in the middle of other commands.
        for wire in wires:
            wire.send((encode("SET", "k", "v") + encode("CLIENT", "LIST") + encode("GET", "k")) * 5)
        for wire in wires:
            for _ in range(5):
                assert wire.reply() == Status(b"OK")
                listed = bytes(wire.reply()).decode().splitlines()
                assert sorted(part for line in listed for part in line.split() if part.startswith("name=")) == sorted(
                    f"name=name-{i}" for i in range(12)
                )
                assert wire.reply() == b"v"
        # Some do not wait for it.
        for wire in wires[:6]:
            wire.send(encode("CLIENT", "LIST") * 20)
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            wire.close()
        wait_until(lambda: threaded.counts()["clients"] == 6)
        assert len(bytes(wires[-1].call("CLIENT", "LIST")).splitlines()) == 6
    finally:
        for wire in wires:
            wire.close()


def test_several_keys_are_read_at_one_instant(threaded: Member) -> None:
    """While the loop applies, a thread sees all of an entry or nothing of it."""
    keys = [f"key-{i}" for i in range(2000)]
    stop = threading.Event()

    def write() -> None:
        with Wire(threaded.port) as wire:
            turn = 0
            while not stop.is_set():
                turn += 1
                wire.send(b"".join(encode("MSET", *(p for k in keys for p in (k, turn + n))) for n in range(4)))
                for _ in range(4):
                    assert wire.reply() == Status(b"OK")

    with Wire(threaded.port) as wire:
        wire.call("MSET", *(part for key in keys for part in (key, 0)))
        writer = threading.Thread(target=write)
        writer.start()
        seen = set()
        try:
            for _ in range(40):
                wire.send(encode("MGET", *keys) * 4)
                for _ in range(4):
                    values = wire.reply()
                    assert isinstance(values, list)
                    assert len(values) == len(keys)
                    assert len(set(values)) == 1
                    seen.add(values[0])
        finally:
            stop.set()
            writer.join()
        assert len(seen) > 1
        assert wire.call("EXISTS", *keys, "none", *keys) == 2 * len(keys)
        assert wire.call("MGET", "none", keys[0], "none") == [None, wire.call("GET", keys[0]), None]


def test_what_was_acknowledged_on_one_thread_is_read_on_another(threaded: Member) -> None:
    wires = [Wire(threaded.port) for _ in range(3)]
    try:
        for i in range(300):
            assert wires[i % 3].call("SET", "k", i) == Status(b"OK")
            for wire in wires:
                assert wire.call("GET", "k") == str(i).encode()
        assert threaded.counts()["lease_hits"] == 900
    finally:
        for wire in wires:
            wire.close()


@pytest.mark.parametrize("io_threads", [0, 2])
def test_an_answer_that_comes_after_its_time_meets_nobody(tmp_path: Path, network: Network, io_threads: int) -> None:
    """Commands are told their outcome when their time is up; what is known later is dropped, clients gone or not."""
    limits = {"redis_time_limit_ns": 400_000_000, "redis_io_threads": io_threads}
    with cluster(tmp_path, 3, network=network, **limits) as made:
        for where in (made.leader(), made.follower()):
            with Wire(where.port) as wire, Wire(where.port) as reader:
                assert wire.call("SET", "late", 0) == Status(b"OK")
                gone = [Wire(where.port) for _ in range(8)]
                network.hold(*made.links_of(where))
                wire.send(encode("INCR", "late") * 100)
                for one in gone:
                    one.send(encode("INCR", "late") * 10)
                wait_until(lambda where=where: where.counts()["commands"] >= 180)
                for one in gone:
                    one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
                    one.close()
                reader.send(encode("GET", "late") * 10)
                assert {bytes(wire.reply()).split()[0] for _ in range(100)} == {b"UNKNOWN"}
                network.let_go()
                for _ in range(10):
                    reader.reply()
                wait_until(lambda wire=wire: wire.call("SET", "late", 0) == Status(b"OK"))
                wait_until(lambda reader=reader: reader.call("GET", "late") == b"0")
            made.leader()
            made.follower()


@pytest.mark.timeout(120)
def test_leadership_moves_under_pipelines(tmp_path: Path) -> None:
    """Replies stay in order, and counters say what was acknowledged."""
    with cluster(tmp_path, 3, redis_io_threads=2) as made:
        made.leader()
        made.follower()
        stop = threading.Event()
        tallies: list[list[int]] = []
        failures: list[BaseException] = []

        def work(number: int, port: int) -> None:
            acknowledged = unknown = last = 0
            try:
                with Wire(port) as wire:
                    while not stop.is_set():
                        wire.send((encode("INCR", f"n{number}") + encode("GET", f"n{number}")) * 10)
                        for _ in range(10):
                            count, seen = wire.reply(), wire.reply()
                            if isinstance(count, Error):
                                unknown += bytes(count).startswith(b"UNKNOWN")
                            else:
                                acknowledged += 1
                                assert isinstance(count, int)
                                assert count > last
                                last = count
                            if not isinstance(seen, Error):
                                assert int(seen or 0) >= last  # type: ignore[call-overload]
            except BaseException as failure:  # noqa: BLE001 - told by the test's own thread
                failures.append(failure)
            tallies.append([number, acknowledged, unknown])

        ports = [member.port for member in made.members.values()] * 3
        workers = [threading.Thread(target=work, args=(i, port)) for i, port in enumerate(ports)]
        for worker in workers:
            worker.start()
        for _ in range(4):
            time.sleep(0.4)
            old = made.leader()
            target = made.follower()
            old.core.call(TRANSFER, None, target.id, -1)
            wait_until(target.leads)
        stop.set()
        for worker in workers:
            worker.join(30)
            assert not worker.is_alive()
        assert not failures, failures
        with Wire(made.leader().port) as wire:
            for number, acknowledged, unknown in tallies:
                assert acknowledged > 0
                assert acknowledged <= int(wire.call("GET", f"n{number}") or 0) <= acknowledged + unknown  # type: ignore[call-overload]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_member_closes_under_busy_clients(tmp_path: Path, at_once: bool) -> None:
    """Every command gets its reply, or an error that says what is known, or the connection ends; none is answered
    twice."""
    with cluster(tmp_path, 1, redis_io_threads=3) as made:
        member = made.leader()
        sent = encode("INCR", "n") * 20 + encode("GET", "n") * 20 + encode("CLIENT", "LIST") + encode("MGET", "n", "x")
        began = threading.Barrier(13)
        failures: list[BaseException] = []

        def work() -> None:
            with Wire(member.port) as wire:
                began.wait()
                try:
                    while True:
                        wire.send(sent)
                        for _ in range(20):
                            reply = wire.reply()
                            assert isinstance(reply, int | Error)
                            assert isinstance(reply, int) or reply.split()[0] in REFUSALS
                        for _ in range(22):
                            wire.reply()
                except (EOFError, OSError):
                    return
                except BaseException as failure:  # noqa: BLE001 - told by the test's own thread
                    failures.append(failure)

        workers = [threading.Thread(target=work) for _ in range(12)]
        for worker in workers:
            worker.start()
        began.wait()
        time.sleep(0.3)
        start = time.monotonic()
        member.close(at_once)
        assert time.monotonic() - start < 10
        for worker in workers:
            worker.join(20)
            assert not worker.is_alive()
        assert not failures, failures
        assert not [name for name in names_of_threads() if name.startswith("tenure-io")]


def test_a_member_closes_while_clients_do_not_read(tmp_path: Path) -> None:
    with cluster(tmp_path, 1, redis_io_threads=2) as made:
        member = made.leader()
        with Wire(member.port) as other:
            assert other.call("SET", "v", b"x" * 500_000) == Status(b"OK")
        slow = [Wire(member.port) for _ in range(4)]
        for wire in slow:
            wire.send(encode("GET", "v") * 100)
        wait_until(lambda: member.counts()["lease_hits"] >= 8)
        start = time.monotonic()
        member.close(False)
        assert time.monotonic() - start < 10
        for wire in slow:
            wire.close()


def test_a_forked_child_leaves_the_clients_alone(threaded: Member) -> None:
    with Wire(threaded.port) as wire:
        assert wire.call("SET", "k", "v") == Status(b"OK")
        child = os.fork()
        if child == 0:
            os._exit(0 if not [n for n in names_of_threads() if n.startswith("tenure-io")] else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert wire.call("GET", "k") == b"v"
        assert wire.call("INCR", "n") == 1


def test_numbers_of_threads_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    def open_with(io_threads: object, redis: str | None = "127.0.0.1:0") -> NativeEngine:
        return NativeEngine(
            KeyValueMachine(), directory=str(tmp_path / "member"), cluster_id=CLUSTER_ID, member_id=1,
            members={1: f"127.0.0.1:{free_port()}"}, redis=redis, io_threads=io_threads,  # type: ignore[arg-type]
        )  # fmt: skip

    for wrong in (-1, MOST_IO_THREADS + 1, True, "2", 1.5, None):
        with pytest.raises(InvalidArgument, match="io_threads"):
            open_with(wrong)
    with pytest.raises(InvalidArgument, match="io_threads"):
        open_with(2, redis=None)
    with open_with(2) as engine:
        assert [one["clients"] for one in engine.redis_threads] == [0, 0]
    with open_with(0) as engine:
        assert list(engine.redis_threads) == []


def test_the_loop_serves_the_clients_unless_told_otherwise(tmp_path: Path) -> None:
    made: Cluster
    with cluster(tmp_path, 1) as made:
        assert made.leader().core.redis_threads() == []
        assert not [name for name in names_of_threads() if name.startswith("tenure-io")]
