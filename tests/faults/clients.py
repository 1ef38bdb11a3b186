"""Clients of a cluster under test, and the book in which each writes what it asked and what it was told.

No client ever repeats an operation: what was refused for certain is `fail`, what was answered is `ok`, everything else
is `unknown`, for it may still take effect. A read without an answer is `fail`: it has no effect. `Load` runs several
clients in threads; each has its own random source, so that a seed decides what is asked, though not how it
interleaves.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenure.sim.history import HistoryWriter, Operation

if TYPE_CHECKING:
    from tests.faults.cluster import Cluster

ANSWER_S = 8.0
IDLE_S = 0.02


class NoAnswerError(Exception):
    """The connection ended or the time passed; `sent`: the request may have been taken."""

    def __init__(self, why: object, *, sent: bool) -> None:
        super().__init__(str(why))
        self.sent = sent


class Connection:
    """One connection to one member; used by one thread at a time."""

    def __init__(self, port: int, timeout_s: float = ANSWER_S) -> None:
        try:
            self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        except OSError as error:
            raise NoAnswerError(error, sent=False) from None
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.lines = self.socket.makefile("rb")

    def send(self, **request: Any) -> None:
        try:
            self.socket.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise NoAnswerError(error, sent=True) from None

    def receive(self, timeout_s: float = ANSWER_S) -> dict[str, Any]:
        self.socket.settimeout(timeout_s)
        try:
            line = self.lines.readline()
        except OSError as error:
            raise NoAnswerError(error, sent=True) from None
        if not line.endswith(b"\n"):
            raise NoAnswerError("the connection ended", sent=True)
        return json.loads(line)

    def ask(self, timeout_s: float = ANSWER_S, **request: Any) -> dict[str, Any]:
        self.send(**request)
        return self.receive(timeout_s)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.lines.close()
        with contextlib.suppress(OSError):
            self.socket.close()


class Book:
    """The history of a test: a file, and the same in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writer = HistoryWriter(path)
        self.operations: list[Operation] = []

    def write(self, operation: Operation) -> None:
        self.writer.write(operation)
        self.operations.append(operation)

    def close(self) -> None:
        self.writer.close()

    def note(
        self, client: str, op: str, key: str, value: Any, call_ns: int, answer: dict[str, Any] | None
    ) -> dict[str, Any] | None:
        """Write down an operation and its answer; None: there was none."""
        ret_ns = time.monotonic_ns()
        status = "unknown" if answer is None else answer["status"]
        if op == "get" and status == "unknown":
            status = "fail"
        out = answer.get("out") if answer is not None and status == "ok" else None
        if isinstance(value, list):
            value = tuple(value)
        self.write(Operation(client, op, key, value, out, call_ns, ret_ns if status == "ok" else None, status))
        return answer

    def run(
        self,
        connection: Connection,
        client: str,
        op: str,
        key: str,
        value: Any = None,
        *,
        timeout_s: float = ANSWER_S,
        **more: Any,
    ) -> dict[str, Any] | None:
        """Ask, and write down; NoAnswerError once that is done, if there was none."""
        call_ns = time.monotonic_ns()
        try:
            answer = connection.ask(timeout_s, op=op, key=key, value=value, **more)
        except NoAnswerError:
            self.note(client, op, key, value, call_ns, None)
            raise
        return self.note(client, op, key, value, call_ns, answer)


@dataclass
class Client:
    """One client: it goes to whom it takes for the leader, and elsewhere when that turns out wrong."""

    name: str
    cluster: Cluster
    book: Book
    seed: int
    pause_s: float = 0.002
    answer_s: float = 1.5  # then it goes elsewhere: a member that stands still must not hold all clients
    shared_keys: int = 4
    counters: int = 2
    value_bytes: int = 0
    targets: tuple[int, ...] = ()
    stop: threading.Event = field(default_factory=threading.Event)
    gate: threading.Event = field(default_factory=threading.Event)  # shut: nothing new is asked
    waiting: threading.Event = field(default_factory=threading.Event)  # at the shut gate, with nothing under way
    acknowledged: list[tuple[int, int]] = field(default_factory=list)  # (call_ns, ret_ns) of writes
    codes: dict[str, int] = field(default_factory=dict)
    slowest_ns: int = 0
    trouble: BaseException | None = None

    def run(self) -> None:
        try:
            self.work()
        except BaseException as error:  # noqa: BLE001 - told by Load.finish
            self.trouble = error

    def work(self) -> None:
        source = random.Random(self.seed)
        seen: dict[str, str | None] = {}
        target = source.choice(self.whom())
        connection: Connection | None = None
        number = 0
        while not self.stop.is_set():
            if not self.gate.is_set():
                self.waiting.set()
                self.gate.wait(IDLE_S)
                continue
            self.waiting.clear()
            if connection is None:
                try:
                    connection = Connection(self.cluster.port(target))
                except NoAnswerError:
                    target = source.choice(self.whom())
                    self.stop.wait(IDLE_S)
                    continue
            number += 1
            op, key, value = self.choose(source, number, seen)
            began_ns = time.monotonic_ns()
            try:
                answer = self.book.run(connection, self.name, op, key, value, timeout_s=self.answer_s)
            except NoAnswerError:
                self.count("no_answer")
                connection.close()
                connection = None
                target = source.choice(self.whom())
                continue
            finally:
                self.slowest_ns = max(self.slowest_ns, time.monotonic_ns() - began_ns)
            assert answer is not None
            if answer["status"] == "ok":
                self.learn(op, key, value, answer["out"], seen)
                if op != "get":
                    self.acknowledged.append((began_ns, time.monotonic_ns()))
            else:
                self.count(answer["code"])
                hint = answer.get("leader")
                connection.close()
                connection = None
                target = hint if hint in self.whom() else source.choice(self.whom())
                self.stop.wait(IDLE_S)
            self.stop.wait(self.pause_s)
        if connection is not None:
            connection.close()

    def whom(self) -> tuple[int, ...]:
        """Who may be asked; members come and go."""
        return self.targets or tuple(self.cluster.members)

    def count(self, code: str) -> None:
        self.codes[code] = self.codes.get(code, 0) + 1

    def choose(self, source: random.Random, number: int, seen: dict[str, str | None]) -> tuple[str, str, Any]:
        text = f"{self.name}-{number}" + "." * self.value_bytes
        key = f"k{source.randrange(self.shared_keys)}"
        kind = source.random()
        if kind < 0.25:
            return "set", f"own/{self.name}/{number}", text
        if kind < 0.40:
            return "set", key, text
        if kind < 0.50:
            return "cas", key, [seen.get(key), text]
        if kind < 0.55:
            return "del", key, None
        if kind < 0.70:
            return "incr", f"n{source.randrange(self.counters)}", 1 + source.randrange(3)
        return "get", key if kind < 0.95 else f"n{source.randrange(self.counters)}", None

    @staticmethod
    def learn(op: str, key: str, value: Any, out: Any, seen: dict[str, str | None]) -> None:
        if op == "get":
            seen[key] = out
        elif op == "set":
            seen[key] = value
        elif op == "del":
            seen[key] = None
        elif op == "cas" and out:
            seen[key] = value[1]


class Load:
    """Several clients at once; a context manager, so that none outlives its test."""

    def __init__(self, cluster: Cluster, book: Book, *, clients: int, seed: int, **settings: Any) -> None:
        self.book = book
        self.clients = [Client(f"c{i}", cluster, book, seed * 1000 + i, **settings) for i in range(clients)]
        self.threads = [threading.Thread(target=client.run, daemon=True, name=client.name) for client in self.clients]

    def __enter__(self) -> Load:
        self.go_on()
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.finish()

    def finish(self) -> None:
        """Stop, and wait for the answers that are still to come."""
        for client in self.clients:
            client.stop.set()
        for thread in self.threads:
            thread.join(ANSWER_S + 5)
        assert not any(thread.is_alive() for thread in self.threads), "a client never got an answer"
        for client in self.clients:
            if client.trouble is not None:
                raise client.trouble

    def hush(self) -> None:
        """Ask nothing new, and wait until everything that was asked is answered."""
        for client in self.clients:
            client.waiting.clear()
            client.gate.clear()
        for client in self.clients:
            assert client.waiting.wait(ANSWER_S), "a client never got an answer"

    def go_on(self) -> None:
        """Ask again."""
        for client in self.clients:
            client.gate.set()

    def acknowledged(self) -> list[tuple[int, int]]:
        """(call_ns, ret_ns) of every acknowledged write so far, by the time of its answer."""
        return sorted((pair for client in self.clients for pair in list(client.acknowledged)), key=lambda pair: pair[1])

    def codes(self) -> dict[str, int]:
        """How often each refusal was met."""
        together: dict[str, int] = {}
        for client in self.clients:
            for code, count in client.codes.items():
                together[code] = together.get(code, 0) + count
        return together

    def wait_for_writes(self, count: int, timeout_s: float = 20.0) -> None:
        """Wait for that many more acknowledged writes."""
        goal = sum(len(client.acknowledged) for client in self.clients) + count
        end = time.monotonic() + timeout_s
        while sum(len(client.acknowledged) for client in self.clients) < goal:
            assert time.monotonic() < end, f"no {count} writes within {timeout_s} s; refusals {self.codes()}"
            time.sleep(0.01)
