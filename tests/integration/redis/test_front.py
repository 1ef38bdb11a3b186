"""Redis clients, unmodified, against members: pipelines, sizes, slow and hostile clients, followers, lost leaders."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import redis

from tenure._host.core import TRANSFER
from tenure._kv.machine import KeyValueMachine
from tenure.config import Config
from tenure.engine import NativeEngine
from tenure.errors import InvalidArgument

from .cluster import CLUSTER_ID, Cluster, Member, cluster, free_port, wait_until
from .peers import lacking
from .wire import Error, Status, Wire, encode

CAPTURED: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 60}


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py(shared: Cluster, protocol: int) -> None:
    for member in (shared.leader(), shared.follower()):
        with redis.Redis(port=member.port, protocol=protocol, client_name="me") as client:
            client.flushall()
            assert client.set("a", "1", ex=100)
            assert client.get("a") == b"1"
            assert client.set("a", "2", get=True) == b"1"
            assert client.set("a", "3", nx=True) is None
            assert 0 < client.ttl("a") <= 100 or client.ttl("a") == -1
            assert client.incr("n", 5) == 5
            assert client.mset({"x": 1, "y": 2})
            assert client.mget("x", "y", "z") == [b"1", b"2", None]
            assert client.exists("x", "y", "z") == 2
            assert client.dbsize() == 4
            assert client.client_getname() in ("me", b"me")
            assert client.info("replication")["member_id"] == member.id
            assert client.config_get("save") in ({"save": ""}, {b"save": b""})
            assert client.command_count() > 30
            client.set("s", "text")
            with pytest.raises(redis.ResponseError, match="not an integer"):
                client.incr("s")
            with client.pipeline(transaction=False) as pipeline:
                for i in range(1000):
                    pipeline.set(f"k{i}", i).get(f"k{i}")
                answers = pipeline.execute()
            assert answers == [part for i in range(1000) for part in (True, str(i).encode())]


def test_redis_cli_and_benchmark(shared: Cluster) -> None:
    cli, bench = shutil.which("redis-cli"), shutil.which("redis-benchmark")
    if cli is None or bench is None:
        lacking("no redis tools are installed")
    for member in (shared.leader(), shared.follower()):
        port = str(member.port)
        done = subprocess.run([cli, "-p", port, "-3", "set", "a", "b"], check=False, **CAPTURED)
        assert done.stdout.strip() == "OK"
        done = subprocess.run(
            [cli, "-p", port],
            input="get a\ncommand docs get\nincr n\n",
            capture_output=True,
            check=False,
            text=True,
            timeout=20,
        )
        assert done.stdout.splitlines()[0] == "b"
        done = subprocess.run(
            [
                bench,
                "-p",
                port,
                "-n",
                "2000",
                "-P",
                "4",
                "-r",
                "100",
                "-d",
                "64",
                "-t",
                "get,set,incr,mset,ping",
                "--csv",
            ],
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0
        assert "rror" not in done.stdout + done.stderr
        assert len(done.stdout.splitlines()) == 7


def test_reads_are_lease_hits_on_the_leader_and_confirmed_by_a_quorum_elsewhere(trio: Cluster) -> None:
    leader, follower = trio.leader(), trio.follower()
    with Wire(leader.port) as first, Wire(follower.port) as second:
        for i in range(20):
            assert first.call("SET", "k", i) == Status(b"OK")
            assert second.call("GET", "k") == str(i).encode()
            assert second.call("SET", "k", -i) == Status(b"OK")
            assert first.call("GET", "k") == str(-i).encode()
    assert leader.counts()["lease_hits"] >= 20
    assert follower.counts()["lease_hits"] == 0
    assert follower.counts()["read_index_reads"] == 20
    assert follower.counts()["forwarded"] == 20


def test_one_pass_of_reads_needs_one_quorum_round(trio: Cluster) -> None:
    follower = trio.follower()
    before = follower.core.gauges()["reads"]
    with Wire(follower.port) as wire:
        wire.send(encode("GET", "k") * 50)
        assert [wire.reply() for _ in range(50)] == [None] * 50
    assert follower.core.gauges()["reads"] - before < 10


def test_without_leases_every_read_asks_a_quorum(tmp_path: Path, io_threads: int) -> None:
    with cluster(tmp_path, 3, promise_ns=0, redis_io_threads=io_threads) as made:
        leader = wait_until(lambda: next((m for m in made.members.values() if m.core.gauges()["role"] == 3), None))
        with Wire(leader.port) as wire:
            wait_until(lambda: wire.call("SET", "a", "b") == Status(b"OK"))
            assert wire.call("GET", "a") == b"b"
        assert leader.counts()["lease_hits"] == 0
        assert leader.counts()["read_index_reads"] >= 1


@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 16385, 65536, 1_000_000])
def test_values_of_any_size(shared: Cluster, size: int) -> None:
    value = bytes(i * 7 % 256 for i in range(size))
    for member in (shared.leader(), shared.follower()):
        with Wire(member.port) as wire:
            assert wire.call("SET", "big", value) == Status(b"OK")
            assert wire.call("GET", "big") == value
            assert wire.call("STRLEN", "big") == size


def test_a_command_that_fits_no_entry_is_refused(shared: Cluster) -> None:
    with Wire(shared.leader().port) as wire:
        reply = wire.call("SET", "big", b"x" * 3_000_000)
        assert isinstance(reply, Error)
        assert b"larger than an entry" in bytes(reply)
        assert wire.call("PING") == Status(b"PONG")


def test_byte_by_byte(shared: Cluster) -> None:
    with Wire(shared.leader().port) as wire:
        for byte in encode("SET", "drip", "v") + b"GET drip\r\n":
            wire.send(bytes([byte]))
        assert wire.reply() == Status(b"OK")
        assert wire.reply() == b"v"


def test_a_pipeline_is_answered_in_order(shared: Cluster) -> None:
    for member in (shared.leader(), shared.follower()):
        with Wire(member.port) as wire:
            wire.call("DEL", "n", "s")
            wire.send(
                b"".join(
                    encode("INCR", "n")
                    + encode("GET", "n")
                    + encode("PING", i)
                    + encode("SET", "s", i, "BAD")
                    + encode("INCR", "n")
                    + encode("INCRBY", "n", "x")
                    + encode("NOPE")
                    for i in range(200)
                )
            )
            for i in range(200):
                assert wire.reply() == 2 * i + 1
                assert wire.reply() == str(2 * i + 1).encode()
                assert wire.reply() == str(i).encode()
                assert wire.reply() == Error(b"ERR syntax error")
                assert wire.reply() == 2 * i + 2
                assert wire.reply() == Error(b"ERR value is not an integer or out of range")
                assert type(wire.reply()) is Error


def test_five_hundred_clients(shared: Cluster) -> None:
    member = shared.leader()
    wires = [Wire(member.port) for _ in range(500)]
    try:
        for i, wire in enumerate(wires):
            wire.send(encode("SET", f"c{i}", i) + encode("GET", f"c{i}"))
        for i, wire in enumerate(wires):
            assert wire.reply() == Status(b"OK")
            assert wire.reply() == str(i).encode()
        assert member.counts()["clients"] >= 500
    finally:
        for wire in wires:
            wire.close()
    wait_until(lambda: member.counts()["clients"] < 400)


def test_more_clients_than_allowed_are_told_so(tmp_path: Path, io_threads: int) -> None:
    with cluster(tmp_path, 1, redis_max_clients=3, redis_io_threads=io_threads) as made:
        port = made.leader().port
        wires = [Wire(port) for _ in range(3)]
        for wire in wires:
            assert wire.call("PING") == Status(b"PONG")
        with Wire(port) as late:
            assert late.reply() == Error(b"ERR max number of clients reached")
        wires[0].close()
        wait_until(lambda: made.leader().counts()["clients"] == 2)
        with Wire(port) as again:
            assert again.call("PING") == Status(b"PONG")
        for wire in wires:
            wire.close()


def test_a_client_that_does_not_read_is_not_read(tmp_path: Path, io_threads: int) -> None:
    with cluster(tmp_path, 1, redis_max_output_bytes=100_000, redis_io_threads=io_threads) as made:
        member = made.leader()
        with Wire(member.port) as slow, Wire(member.port) as other:
            assert other.call("SET", "v", b"x" * 50_000) == Status(b"OK")
            count = 2000
            sender = threading.Thread(target=slow.send, args=(encode("GET", "v") * count,))
            sender.start()
            time.sleep(0.5)
            # Neither all of it was executed, nor does anybody else wait.
            assert member.counts()["commands"] < count
            assert other.call("GET", "v") == b"x" * 50_000
            line = bytes(other.call("CLIENT", "LIST"))
            pending = max(int(part[5:]) for part in line.decode().split() if part.startswith("omem="))
            assert pending < 1_000_000
            for _ in range(count):
                assert len(slow.reply()) == 50_000
            sender.join()


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.figures
def test_what_a_slow_client_has_asked_for_takes_no_memory_before_it_reads(held_apart: Cluster) -> None:
    """Confirmed reads wait as requests, not as replies."""
    network = held_apart.network
    assert network is not None
    follower = held_apart.follower()
    with Wire(follower.port) as wire:
        assert wire.call("SET", "v", b"x" * 1_000_000) == Status(b"OK")
        assert len(wire.call("GET", "v")) == 1_000_000
        before, commands = resident_bytes(), follower.counts()["commands"]
        network.hold(*held_apart.links_of(follower))  # none is confirmed before all have been taken
        wire.send(encode("GET", "v") * 400)
        wait_until(lambda: follower.counts()["commands"] == commands + 400)
        network.let_go()
        wait_until(lambda: follower.counts()["read_index_reads"] >= 401)
        time.sleep(0.2)
        assert resident_bytes() - before < 60_000_000
        for _ in range(400):
            assert len(wire.reply()) == 1_000_000


def test_what_a_client_has_under_way_may_hold_so_many_bytes(held_apart: Cluster) -> None:
    """Large requests are not read before there is room for them, however few they are."""
    network = held_apart.network
    assert network is not None
    leader, follower = held_apart.leader(), held_apart.follower()
    size, count = 600_000, 150
    with Wire(follower.port, 60) as slow, Wire(follower.port) as other:
        assert other.call("SET", "v", b"." * size) == Status(b"OK")
        requests = encode("SET", "v", b"x" * size, "GET") * count
        before, commands = resident_bytes(), follower.counts()["commands"]
        network.hold((follower.id, leader.id))
        sender = threading.Thread(target=slow.send, args=(requests,))
        sender.start()
        wait_until(lambda: follower.counts()["commands"] > commands)
        time.sleep(0.7)
        held, taken = resident_bytes() - before, follower.counts()["commands"] - commands
        network.let_go()
        replies = [slow.reply() for _ in range(count)]
        sender.join()
        # ThreadSanitizer remembers accesses, in memory
        assert held < 60_000_000 * (
            8 if "libtsan" in os.environ.get("LD_PRELOAD", "") else 1
        )  # which remembers accesses
        assert taken < count // 5
        assert replies == [b"." * size] + [b"x" * size] * (count - 1)


def test_values_that_a_client_will_be_sent_count_before_they_are(one: Member) -> None:
    """Small requests with large replies."""
    size, count = 900_000, 40
    with Wire(one.port, 60) as slow, Wire(one.port) as other:
        for i in range(count):
            assert other.call("SET", f"v{i}", b"x" * size) == Status(b"OK")
        slow.send(b"".join(encode("GETDEL", f"v{i}") for i in range(count)))
        wait_until(lambda: other.call("DBSIZE") != count)
        time.sleep(0.5)
        assert other.call("DBSIZE") > count // 4
        assert [slow.reply() for _ in range(count)] == [b"x" * size] * count
        assert other.call("DBSIZE") == 0


def test_one_reply_has_a_limit(one: Member) -> None:
    with Wire(one.port) as wire:
        assert wire.call("SET", "v", b"x" * 1_000_000) == Status(b"OK")
        assert wire.call("MGET", *["v"] * 1000) == Error(
            b"ERR the reply would be too large: ask for fewer keys at once"
        )
        assert [len(value) for value in wire.call("MGET", *["v"] * 30)] == [1_000_000] * 30


def test_a_client_with_too_much_under_way_is_not_read(tmp_path: Path, io_threads: int) -> None:
    with (
        cluster(tmp_path, 1, redis_max_pending=10, redis_io_threads=io_threads) as made,
        Wire(made.leader().port) as wire,
    ):
        wire.send(encode("INCR", "n") * 5000)
        assert [wire.reply() for _ in range(5000)] == list(range(1, 5001))


def test_garbage_does_no_harm(shared: Cluster) -> None:
    port = shared.leader().port
    chance = random.Random(7)
    for _ in range(200):
        with Wire(port) as wire:
            data = bytes(chance.choices(b"*$0123456789\r\n GETSET\"'\x00\xff", k=chance.randrange(1, 400)))
            wire.send(data)
            wire.socket.shutdown(socket.SHUT_WR)
            while wire.socket.recv(65536):
                pass
    with Wire(port) as wire:
        assert wire.call("PING") == Status(b"PONG")


def test_clients_that_vanish_with_commands_under_way(shared: Cluster) -> None:
    for member in (shared.leader(), shared.follower()):
        for _ in range(50):
            wire = Wire(member.port)
            wire.send(encode("INCR", "gone") * 20 + encode("GET", "gone") * 20)
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            wire.close()
        with Wire(member.port) as wire:
            assert wire.call("PING") == Status(b"PONG")


def test_everything_sent_before_the_end_is_answered(shared: Cluster) -> None:
    with Wire(shared.leader().port) as wire:
        wire.send(encode("SET", "half", 1) * 300 + encode("GET", "half"))
        wire.socket.shutdown(socket.SHUT_WR)
        assert [wire.reply() for _ in range(300)] == [Status(b"OK")] * 300
        assert wire.reply() == b"1"
        with pytest.raises(EOFError):
            wire.reply()


def test_a_password(tmp_path: Path, io_threads: int) -> None:
    with cluster(tmp_path, 1, redis_password=b"secret", redis_io_threads=io_threads) as made:
        port = made.leader().port
        with Wire(port) as wire:
            denied = Error(b"NOAUTH Authentication required.")
            for request in (["GET", "a"], ["PING"], ["CLIENT", "ID"], ["INFO"]):
                assert wire.call(*request) == denied
            assert type(wire.call("NOPE")) is Error
            assert type(wire.call("HELLO", 3)) is Error
            assert bytes(wire.call("AUTH", "secreT")).startswith(b"WRONGPASS")
            assert bytes(wire.call("AUTH", "default", "x")).startswith(b"WRONGPASS")
            assert wire.call("GET", "a") == denied
            assert wire.call("AUTH", "secret") == Status(b"OK")
            assert wire.call("GET", "a") is None
        with Wire(port) as wire:
            assert isinstance(wire.call("HELLO", 3, "AUTH", "default", "secret"), dict)
            assert wire.call("GET", "a") is None
        with Wire(port) as wire:
            wire.send(b"*11\r\n")
            assert wire.reply() == Error(b"ERR Protocol error: unauthenticated multibulk length")
        with redis.Redis(port=port, password="secret") as client:
            assert client.ping()


# ------------------------------------------------------------------------------------------------------------ expiry


@pytest.mark.parametrize("where", ["leader", "follower"])
def test_keys_end_in_time_and_stay_ended_everywhere(trio: Cluster, where: str) -> None:
    leader, follower = trio.leader(), trio.follower()
    with Wire(leader.port) as first, Wire(follower.port) as second:
        writer = first if where == "leader" else second
        for i in range(5):
            began = time.monotonic()
            assert writer.call("SET", f"e{i}", "v", "PX", 150) == Status(b"OK")
            assert first.call("GET", f"e{i}") == b"v" or time.monotonic() - began > 0.1
            left = first.call("PTTL", f"e{i}")
            assert isinstance(left, int)
            assert left <= 150
            while first.call("GET", f"e{i}") is not None:
                assert time.monotonic() - began < 5
            assert time.monotonic() - began > 0.14
            # Once somebody has seen it gone, nobody sees it again.
            assert second.call("GET", f"e{i}") is None
            assert second.call("EXISTS", f"e{i}") == 0
            assert first.call("TTL", f"e{i}") == -2
        # Nobody asks for these any more: they are removed all the same.
        wait_until(lambda: first.call("DBSIZE") == 0)
    assert leader.counts()["marks"] + follower.counts()["marks"] > 0


def test_what_nobody_asks_for_any_more_is_removed_as_fast_as_it_comes(one: Member) -> None:
    count = 20_000
    with Wire(one.port) as wire:
        for begin in range(0, count, 500):
            wire.send(b"".join(encode("SET", f"gone{i}", "", "PX", 1) for i in range(begin, begin + 500)))
            assert [wire.reply() for _ in range(500)] == [Status(b"OK")] * 500
        wait_until(lambda: wire.call("DBSIZE") == 0, 4)


@pytest.mark.figures
@pytest.mark.timeout(120)
def test_commands_that_take_long_do_not_take_the_loop_for_long(tmp_path: Path, io_threads: int) -> None:
    """Each hashes a large value again. Between two of them everybody else has a turn."""
    patience = {"redis_time_limit_ns": 60_000_000_000}
    with cluster(tmp_path, 1, redis_io_threads=io_threads, **patience) as made, Wire(made.leader().port) as wire:
        one = made.leader()
        for _ in range(4):
            wire.call("APPEND", "large", b"x" * 1_000_000)
        before = one.core.gauges()["passes"]
        wire.socket.settimeout(60)
        wire.send(encode("EXPIRE", "large", 1000) * 512)
        assert [wire.reply() for _ in range(512)] == [1] * 512
        assert one.core.gauges()["passes"] - before > 32


def test_ended_keys_with_long_names_cost_nobody_else_a_command(one: Member) -> None:
    """Together they fit no entry of the log."""
    with Wire(one.port) as wire:
        end_ms = time.time_ns() // 1_000_000 + 2000
        for i in range(300):
            assert wire.call("SET", b"%06d" % i * 1000, "", "PXAT", end_ms) == Status(b"OK")

        def all_but_one_are_gone() -> bool:
            wire.send(encode("SET", "k", "v") * 64)
            assert [wire.reply() for _ in range(64)] == [Status(b"OK")] * 64
            return wire.call("DBSIZE") == 1

        wait_until(all_but_one_are_gone)


def test_keys_that_will_end_are_told(one: Member) -> None:
    with Wire(one.port) as wire:
        wire.call("MSET", "a", 1, "b", 2, "c", 3)
        wire.call("EXPIRE", "a", 1000)
        wire.call("EXPIRE", "b", 1000)
        assert b"db0:keys=3,expires=2,avg_ttl=0" in bytes(wire.call("INFO", "keyspace"))
        wire.call("PERSIST", "a")
        assert b"db0:keys=3,expires=1,avg_ttl=0" in bytes(wire.call("INFO", "keyspace"))


# -------------------------------------------------------------------------------------------------- lost leaders


def outcome_kind(reply: object) -> str:
    if not isinstance(reply, Error):
        return "ok"
    word = bytes(reply).split()[0].decode()
    assert word in ("UNKNOWN", "TRYAGAIN", "CLUSTERDOWN"), reply
    return word


@pytest.mark.timeout(120)
@pytest.mark.parametrize("through", ["leader", "follower"])
def test_a_lost_leader_leaves_every_outcome_explicit(trio: Cluster, through: str) -> None:
    """Counters: what was acknowledged is there, what was refused is not, what is unknown may be."""
    leader = trio.leader()
    survivor = next(m for m in trio.members.values() if m is not leader)
    target: Member = leader if through == "leader" else trio.follower()
    tallies: list[dict[str, int]] = []
    stop = threading.Event()

    def work(number: int) -> None:
        tally = {"ok": 0, "UNKNOWN": 0, "TRYAGAIN": 0, "CLUSTERDOWN": 0, "closed": 0, "in_flight": 0}
        tallies.append(tally)
        wire = Wire(target.port)
        try:
            while not stop.is_set():
                tally["in_flight"] = 1
                kind = outcome_kind(wire.call("INCR", f"count{number}"))
                tally["in_flight"] = 0
                tally[kind] += 1
                if kind != "ok":
                    time.sleep(0.02)
        except (EOFError, OSError):
            tally["closed"] += 1  # the member itself was taken down
        finally:
            wire.close()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    leader.close(at_once=True)
    new = wait_until(lambda: next((m for m in trio.members.values() if m.open and m.leads()), None), 30)
    time.sleep(0.5 if through == "leader" else 6.0)  # a follower's clients wait out the time limit at most
    stop.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert survivor.open
    with Wire(new.port) as wire:
        for i, tally in enumerate(tallies):
            value = int(wire.call("GET", f"count{i}") or 0)
            assert tally["ok"] <= value <= tally["ok"] + tally["UNKNOWN"] + tally["in_flight"]
            assert tally["ok"] > 0
            if through == "follower":
                assert tally["closed"] == 0


def test_without_a_quorum_everything_is_answered(trio: Cluster) -> None:
    leader = trio.leader()
    others = [m for m in trio.members.values() if m is not leader]
    with Wire(leader.port) as wire, Wire(others[0].port) as third:
        assert wire.call("SET", "a", 1) == Status(b"OK")
        assert third.call("GET", "a") == b"1"
        others[1].close()
        leader.close()
        replies = [third.call("GET", "a"), third.call("SET", "a", 2), third.call("GET", "a")]
        assert [outcome_kind(r) for r in replies].count("ok") == 0
        assert third.call("PING") == Status(b"PONG")


def test_an_overtaken_leader_serves_nothing_stale(trio: Cluster) -> None:
    """Leadership moves; a client that stays where it was keeps reading what is true."""
    old = trio.leader()
    with Wire(old.port) as wire:
        assert wire.call("SET", "t", "old") == Status(b"OK")
        target = trio.follower()
        old.core.call(TRANSFER, None, target.id, -1)
        wait_until(target.leads)
        with Wire(target.port) as there:
            for i in range(200):
                assert there.call("SET", "t", i) == Status(b"OK")
                assert wire.call("GET", "t") == str(i).encode()
    assert old.counts()["read_index_reads"] >= 200


def test_an_empty_password_is_no_password_by_mistake(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="redis_password"):
        NativeEngine(
            KeyValueMachine(), directory=str(tmp_path / "member"), cluster_id=CLUSTER_ID, member_id=1,
            members={1: f"127.0.0.1:{free_port()}"}, redis="127.0.0.1:0", redis_password="",
        )  # fmt: skip


def test_only_loopback_is_listened_on_unless_somebody_says_so(tmp_path: Path) -> None:
    def open_on(address: str, *, insecure: bool = False) -> NativeEngine:
        return NativeEngine(
            KeyValueMachine(), directory=str(tmp_path / "member"), cluster_id=CLUSTER_ID, member_id=1,
            members={1: f"127.0.0.1:{free_port()}"}, redis=f"{address}:0", config=Config(insecure=insecure),
        )  # fmt: skip

    with pytest.raises(InvalidArgument):
        open_on("0.0.0.0")
    with open_on("0.0.0.0", insecure=True) as engine:
        assert engine.redis_address is not None
