"""The judges of the demo's load: they count what is stale, and only that."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import SimpleNamespace

import pytest

from tenure.cli.demo_redis import RedisClients, RedisConnection, RedisError
from tenure.cli.exercise import COUNTER, Exerciser
from tenure.engine.protocol import State
from tenure.errors import OutcomeUnknown, Timeout


class Replies:
    """A server that answers INCR and GET with what a test decides."""

    def __init__(self, answer) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            while request := client.recv(4096):
                client.sendall(self._answer(b"INCR" if b"INCR" in request else b"GET"))

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def serve():
    running = []

    def start(answer) -> str:
        running.append(Replies(answer))
        return running[-1].address

    yield start
    for one in running:
        one.close()


def counts_after(address: str, calls: int) -> dict[str, int]:
    clients = RedisClients([address], rate=1000)
    deadline = time.monotonic() + 20
    while sum(clients.counts.values()) < calls and time.monotonic() < deadline:
        time.sleep(0.005)
    clients.close()
    return clients.counts


def test_a_counter_that_only_grows_is_not_stale(serve):
    value = 0

    def answer(command: bytes) -> bytes:
        nonlocal value
        value += command == b"INCR"
        return b":%d\r\n" % value if command == b"INCR" else b"$%d\r\n%d\r\n" % (len(str(value)), value)

    counts = counts_after(serve(answer), 50)
    assert counts["stale"] == counts["errors"] == counts["unanswered"] == 0
    assert counts["gets"] > counts["incrs"] > 0


def test_a_counter_that_shrinks_is_stale(serve):
    values = iter(range(1000, 0, -1))
    counts = counts_after(serve(lambda command: b":%d\r\n" % next(values)), 20)
    assert counts["stale"] >= counts["gets"] + counts["incrs"] - 1


def test_an_increment_that_was_lost_is_stale(serve):
    counts = counts_after(serve(lambda command: b":7\r\n"), 40)
    assert counts["stale"] == counts["incrs"] > 0


def test_errors_and_silence_are_counted_as_such(serve):
    counts = counts_after(serve(lambda command: b"-NOTLEADER try again\r\n"), 1)
    assert (counts["errors"], counts["stale"]) == (1, 0)
    counts = counts_after(serve(lambda command: b""), 1)
    assert (counts["unanswered"], counts["stale"]) == (1, 0)


def test_replies_of_every_kind(serve):
    replies = iter([b"$-1\r\n", b"+OK\r\n", b"$3\r\na\r\n\r\n", b"$0\r\n\r\n", b"_\r\n", b"-ERR no\r\n"])
    connection = RedisConnection(serve(lambda command: next(replies)))
    assert [connection.call(b"GET", b"k") for _ in range(5)] == [None, b"OK", b"a\r\n", b"", None]
    with pytest.raises(RedisError, match="ERR no"):
        connection.call(b"GET", b"k")
    connection.close()


class FakeGroup:
    """A coordinator with a counter, whose reads a test may falsify."""

    def __init__(self) -> None:
        self.value = 0
        self.shown = lambda value: value
        self.increment_error: Exception | None = None
        self.lease = True
        self.engine = SimpleNamespace(state=State.LEADER, status=lambda: SimpleNamespace(term=1))
        self.kv = SimpleNamespace(increment=self.increment)

    def increment(self, key: bytes, *, timeout: float) -> int:
        assert key == COUNTER
        if self.increment_error is not None:
            raise self.increment_error
        self.value += 1
        return self.value

    def try_lease_read(self):
        return self.value if self.lease else None

    def lease_read(self, *, timeout: float) -> int:
        return self.value

    def linearizable_read(self, *, timeout: float) -> int:
        return self.value

    def get(self, key: bytes) -> bytes:
        return b"%d" % self.shown(self.value)


def exercised(group: FakeGroup) -> dict:
    exerciser = Exerciser(group, group, rate=2000)
    try:
        deadline = time.monotonic() + 20
        while sum(exerciser.report()["fences"].values()) < 100 and time.monotonic() < deadline:
            time.sleep(0.005)
        return exerciser.report()
    finally:
        exerciser.close()


def test_an_exerciser_finds_nothing_wrong_with_a_store_that_is_right():
    report = exercised(FakeGroup())
    fences = report["fences"]
    assert fences["stale"] == fences["misses"] == fences["unknown"] == fences["failed"] == 0
    assert fences["hits"] > fences["quorum_reads"] > 0
    assert fences["writes"] > 0
    assert report["leadership"]["term"] == 1
    assert report["leadership"]["first_write_ns"] > 0
    assert report["latencies"]["lease_read"]["count"] > 0


def test_an_exerciser_reports_reads_that_lag_behind():
    group = FakeGroup()
    group.shown = lambda value: value - 1
    assert exercised(group)["fences"]["stale"] > 50


def test_an_exerciser_tells_misses_from_hits():
    group = FakeGroup()
    group.lease = False
    fences = exercised(group)["fences"]
    assert fences["hits"] == 0
    assert fences["misses"] > 0


def test_an_exerciser_tells_unknown_from_failed():
    group = FakeGroup()
    group.increment_error = OutcomeUnknown()
    fences = exercised(group)["fences"]
    assert fences["unknown"] > 0
    assert fences["failed"] == fences["writes"] == 0
    group = FakeGroup()
    group.increment_error = Timeout()
    fences = exercised(group)["fences"]
    assert fences["failed"] > 0
    assert fences["unknown"] == 0
