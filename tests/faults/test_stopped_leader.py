"""The leader stands still, a successor acknowledges a write, and only then reads are queued into the old leader's
sockets.

When it goes on, its request threads run at once, before it has heard of anything: it still takes itself for the leader,
its word still holds a lease, and only the comparison of that lease's end with the clock stands between the readers and
a stale value. Every round asserts that the schedule was just that: the successor's write was acknowledged before the
first read was sent, and the reads were answered by the old process after SIGCONT. In even rounds the network delivers
nothing to the old leader until the reads are answered, so nobody tells it about its successor and it answers as a
leader, which is asserted too. In odd rounds everything is delivered at once and the race is whatever it is.

The readers are of two kinds: threads of Python that take a fence, and Redis clients, whose reads are answered by native
threads beside the loop (`io_threads`); their sockets are what these threads see first when they go on.

The control runs the same rounds over a build without that comparison (see `unguarded.py`) and must find stale reads.
"""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.faults.clients import Book, Connection
from tests.faults.cluster import Cluster, check_by_command, judge, wait_until
from tests.faults.unguarded import unguarded_packages

from tenure.sim.linearizability import Verdict, check

QUICK: dict[str, Any] = {"election_timeout_s": 0.4, "heartbeat_s": 0.05, "io_threads": 2}
READERS = 12
REDIS_READERS = 8
REDIS_READS = 3  # of each: pipelined


@dataclass
class Tally:
    """What became of the reads of all rounds."""

    reads: int = 0
    fresh: int = 0
    refused: int = 0
    stale_unaware: int = 0  # in rounds in which the old leader had heard nothing
    stale_racing: int = 0
    as_leader: int = 0  # answered while the old process took itself for the leader
    redis_reads: int = 0
    redis_fresh: int = 0
    redis_refused: int = 0
    redis_stale: int = 0


def stopped_leader_round(cluster: Cluster, book: Book, number: int, tally: Tally) -> None:
    old = cluster.leader()
    others = tuple(id for id in cluster.members if id != old)
    process = cluster.processes[old]
    unaware = number % 2 == 0
    key = f"round-{number}"
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(contextlib.closing(Connection(cluster.port(old))))
        readers = [stack.enter_context(contextlib.closing(Connection(cluster.port(old)))) for _ in range(READERS)]
        before = book.run(writer, "writer", "set", key, "before")
        assert before is not None
        assert before["status"] == "ok", before
        for i, reader in enumerate(readers):  # every reader's thread is there and the lease is held
            answer = book.run(reader, f"reader-{i}", "get", key, mode="lease_only")
            assert answer is not None
            assert answer["out"] == "before", answer
        clients = [stack.enter_context(contextlib.closing(redis_client(cluster, old))) for _ in range(REDIS_READERS)]
        for client in clients:
            assert redis_reads(client, key, 1) == [b"before"]
        term = cluster.leaders()[old]

        cluster.stop(old)
        if unaware:
            assert cluster.network is not None
            cluster.network.hold(*((other, old) for other in others))
        successor = cluster.leader(among=others, above_term=term)
        after = book.run(
            stack.enter_context(contextlib.closing(Connection(cluster.port(successor)))), "writer", "set", key, "after"
        )
        assert after is not None
        assert after["status"] == "ok", after
        acknowledged_ns = time.monotonic_ns()

        calls = []
        for i, reader in enumerate(readers):
            calls.append(time.monotonic_ns())
            mode = "lease" if i % 4 == 3 else "lease_only"
            reader.send(op="get", key=key, mode=mode, with_state=True, timeout=3.0)
        for client in clients:
            client.sendall(request(key) * REDIS_READS)
        assert min(calls) > acknowledged_ns
        resumed_ns = cluster.resume(old)
        for i, reader in enumerate(readers):
            if unaware and i % 4 == 3:
                continue  # a fallback needs the network
            settle_read(book, tally, reader, i, key, calls[i], process.pid, resumed_ns, unaware)
        if unaware:
            assert cluster.network is not None
            cluster.network.let_go()
            for i in range(3, READERS, 4):
                settle_read(book, tally, readers[i], i, key, calls[i], process.pid, resumed_ns, unaware)
        for client in clients:
            count_redis_reads(tally, replies(client, REDIS_READS))
            wait_until("a Redis client is answered again", lambda client=client: read_again(tally, client, key), 15.0)


def read_again(tally: Tally, client: socket.socket, key: str) -> bool:
    fresh = tally.redis_fresh
    count_redis_reads(tally, redis_reads(client, key, 1))
    return tally.redis_fresh > fresh


def redis_client(cluster: Cluster, id: int) -> socket.socket:
    status = cluster.status(id)
    assert status is not None
    host, _, port = status["redis"].rpartition(":")
    return socket.create_connection((host, int(port)), 20)


def request(key: str) -> bytes:
    return b"*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n" % (len(key), key.encode())


def redis_reads(client: socket.socket, key: str, count: int) -> list[bytes]:
    client.sendall(request(key) * count)
    return replies(client, count)


def replies(client: socket.socket, count: int) -> list[bytes]:
    """Values, or errors with their mark."""
    found = []
    with client.makefile("rb") as stream:
        for _ in range(count):
            line = stream.readline()
            assert line.endswith(b"\r\n"), line
            found.append(stream.read(int(line[1:]) + 2)[:-2] if line.startswith(b"$") else line[:-2])
    return found


def count_redis_reads(tally: Tally, answers: list[bytes]) -> None:
    """In the order of one connection: what has been seen is not unseen."""
    for answer in answers:
        tally.redis_reads += 1
        if answer.startswith(b"-"):
            assert answer.split()[0] in (b"-TRYAGAIN", b"-CLUSTERDOWN"), answer
            tally.redis_refused += 1
        elif answer == b"after":
            tally.redis_fresh += 1
        else:
            assert answer == b"before", answer
            tally.redis_stale += 1


def settle_read(
    book: Book,
    tally: Tally,
    reader: Connection,
    i: int,
    key: str,
    call_ns: int,
    pid: int,
    resumed_ns: int,
    unaware: bool,
) -> None:
    answer = reader.receive()
    book.note(f"reader-{i}", "get", key, None, call_ns, answer)
    assert answer["pid"] == pid, "the read was answered by another process"
    assert answer["answered_ns"] > resumed_ns, "the read was answered before the leader went on"
    tally.reads += 1
    tally.as_leader += answer.get("state") == "leader"
    if answer["status"] != "ok":
        tally.refused += 1
    elif answer["out"] == "after":
        tally.fresh += 1
    else:
        assert answer["out"] == "before", answer
        assert answer["how"] == "lease", answer
        tally.stale_unaware += unaware
        tally.stale_racing += not unaware


@pytest.mark.timeout(120)
def test_a_leader_that_stood_still_serves_no_stale_read(tmp_path: Path, book: Book, seed: int, long: bool) -> None:
    """Fails when a read is served from a lease that has ended; see the control below."""
    rounds = 50 if long else 10
    tally = Tally()
    with Cluster(tmp_path, seed=seed, proxied=True, **QUICK) as cluster:
        assert all(process.expiry_checked for process in cluster.processes.values())
        for number in range(rounds):
            stopped_leader_round(cluster, book, number, tally)
        print(tally)
        assert tally.stale_unaware == tally.stale_racing == 0, f"stale reads: {tally}"
        assert tally.redis_stale == 0, f"stale reads: {tally}"
        assert tally.redis_fresh >= rounds * REDIS_READERS
        assert tally.reads == rounds * READERS
        assert tally.as_leader >= rounds // 2 * READERS // 2, f"the old leader was told too early: {tally}"
        judge(cluster, book)


@pytest.mark.uninstrumented
@pytest.mark.timeout(600)
def test_without_the_expiry_check_stale_reads_are_found(tmp_path: Path, book: Book, seed: int) -> None:
    """The control: the same rounds on a build whose leases never end by themselves."""
    packages = unguarded_packages()
    tally = Tally()
    with Cluster(tmp_path, seed=seed, proxied=True, packages=packages, **QUICK) as cluster:
        assert not any(process.expiry_checked for process in cluster.processes.values())
        for number in range(10):
            stopped_leader_round(cluster, book, number, tally)
            if tally.stale_unaware and tally.stale_racing and tally.redis_stale:
                break
    print(f"{tally} after {number + 1} rounds")
    assert tally.stale_unaware, f"no stale read was found without the expiry check: {tally}"
    assert tally.redis_stale, f"no stale read by a Redis client was found without the expiry check: {tally}"
    book.close()
    assert check(book.operations).verdict is Verdict.VIOLATION
    told = check_by_command(book.path)
    assert told.returncode == 1, told.stdout + told.stderr
    print(told.stdout)
