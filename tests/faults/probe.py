"""Somebody who asks one member one thing without pause, whatever becomes of it, and remembers each answer."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.faults.clients import Connection, NoAnswerError

if TYPE_CHECKING:
    from tests.faults.clients import Book


@dataclass(frozen=True)
class Read:
    """One read by the lease alone, and how it ended."""

    call_ns: int
    served: bool
    out: str | None
    state: str | None


class LeaseProbe:
    """Reads of `key` by the lease alone on the member at `port`, a few hundred a second, while the block runs."""

    def __init__(self, book: Book, port: int, key: str, *, name: str = "lease-probe", every_s: float = 0.004) -> None:
        self.book = book
        self.port = port
        self.key = key
        self.name = name
        self.every_s = every_s
        self.reads: list[Read] = []
        self.over = threading.Event()
        self.trouble: BaseException | None = None
        self.thread = threading.Thread(target=self.run, daemon=True, name=name)

    def run(self) -> None:
        try:
            self.work()
        except BaseException as error:  # noqa: BLE001 - told at the end of the block
            self.trouble = error

    def work(self) -> None:
        connection: Connection | None = None
        while not self.over.wait(self.every_s):
            call_ns = time.monotonic_ns()
            try:
                connection = connection or Connection(self.port)
                answer = self.book.run(
                    connection, self.name, "get", self.key, mode="lease_only", with_state=True, timeout_s=2.0
                )
            except NoAnswerError:
                if connection is not None:
                    connection.close()
                connection = None
                continue
            assert answer is not None
            served = answer["status"] == "ok"
            self.reads.append(Read(call_ns, served, answer.get("out"), answer.get("state")))
        if connection is not None:
            connection.close()

    def between(self, begin_ns: int, end_ns: int) -> list[Read]:
        """The reads that were asked for in that time."""
        return [one for one in list(self.reads) if begin_ns <= one.call_ns < end_ns]

    def __enter__(self) -> LeaseProbe:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join(10.0)
        assert not self.thread.is_alive(), "the probe never got an answer"
        if self.trouble is not None:
            raise self.trouble
