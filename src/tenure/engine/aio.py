"""The engine for asyncio: the same calls, awaited.

Each event loop that uses an engine has one completion inbox: the host puts finished submissions there, one readable
descriptor announces all of them, and the loop hands them out in a batch. The number of submissions outstanding is
bounded by the inbox, so a completion always finds room. Cancelling, like a timeout, means giving up: the operation
goes on, and whoever gave up does not learn its outcome. A read that the lease covers never suspends.

An `AsyncEngine` may be used from any number of event loops; what belongs to one loop is touched by that loop's thread
alone.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tenure._host.core import PROPOSE, READ, STEP_DOWN, TRANSFER, CompletionInbox
from tenure.engine.outcome import OK, Call, is_transient, timed_out
from tenure.engine.protocol import ProposalResult
from tenure.errors import Closed, Overloaded, Timeout

if TYPE_CHECKING:
    from tenure.engine.outcome import Outcome
    from tenure.errors import TenureError

__all__ = ["AsyncEngine"]


class Submitter(Protocol):
    """What is asked of the engine whose calls are awaited; `NativeEngine` says what each is."""

    attempt_s: float
    retry_s: float

    @property
    def leader(self) -> int | None: ...
    def try_lease_read(self) -> int | None: ...
    def check(self) -> None: ...
    def command(self, data: bytes) -> bytes: ...
    def limit_s(self, timeout_s: float | None) -> float: ...
    def member(self, target: int | None) -> int: ...
    def post(self, kind: int, data: bytes | None, argument: int, inbox: CompletionInbox, tag: int) -> None: ...
    def error(self, call: Call, code: int, leader: int = 0, *, size_bytes: int = 0) -> TenureError: ...
    def verify(self, outcome: Outcome) -> None: ...
    def successor(self, term: int, target: int | None) -> int | None: ...
    async def end(self, *, graceful: bool, timeout_s: float | None) -> None: ...


class Pending(NamedTuple):
    """A submission under way, and the timer that gives it up."""

    future: asyncio.Future[Outcome]
    timer: asyncio.TimerHandle | None


class LoopInbox:
    """The completions of one event loop. That loop's thread alone calls anything here."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._inbox = CompletionInbox()
        self._capacity = self._inbox.capacity
        self._pending: dict[int, Pending] = {}
        self._finished: list[tuple[int, Outcome]] = []
        self._tags = itertools.count(1)
        self._retiring = False
        self._reading = True
        loop.add_reader(self._inbox.fileno(), self._drain)

    def submit(
        self, engine: Submitter, call: Call, kind: int, data: bytes | None, argument: int, timeout_s: float
    ) -> asyncio.Future[Outcome]:
        """Submit; the future ends with the outcome, or with what a deadline means for this kind of call."""
        if len(self._pending) >= self._capacity:
            raise Overloaded("too many calls of this event loop are under way", limit="inbox")
        tag = next(self._tags)
        future: asyncio.Future[Outcome] = self.loop.create_future()
        timer = None if math.isinf(timeout_s) else self.loop.call_later(timeout_s, expire, future, call)
        # Given up or not, the entry stays until the completion comes: that is what bounds the inbox.
        self._pending[tag] = Pending(future, timer)
        try:
            engine.post(kind, data, argument, self._inbox, tag)
        except BaseException:
            self._forget(tag)
            raise
        return future

    def _drain(self) -> None:
        # Where Ctrl-C ends a callback, nothing that was taken out of the inbox is lost, and nothing is done twice.
        try:
            self._inbox.drain(self._finished)
            for tag, outcome in self._finished:
                pending = self._pending.get(tag)
                if pending is not None and not pending.future.done():
                    pending.future.set_result(outcome)
                self._forget(tag)
            self._finished.clear()
        except BaseException:
            self.loop.call_soon(self._drain)
            raise
        if self._retiring:
            self.retire()

    def _forget(self, tag: int) -> None:
        pending = self._pending.pop(tag, None)
        if pending is not None and pending.timer is not None:
            pending.timer.cancel()

    def retire(self) -> None:
        """The host has stopped: every completion is in the inbox by now."""
        if not self._retiring:
            self._retiring = True
            self._drain()
        elif self._reading and not self._pending:
            self._reading = False
            self.loop.remove_reader(self._inbox.fileno())


def expire(future: asyncio.Future[Outcome], call: Call) -> None:
    """The deadline of a submission passed."""
    if not future.done():
        future.set_exception(timed_out(call))


class AsyncEngine:
    """The awaitable calls of a `NativeEngine`; get it as `engine.aio`.

    Timeouts are seconds; None stands for the engine's own limit, `math.inf` for none. Errors are those of the calls
    of the same name of `tenure.engine.protocol.Engine`.
    """

    def __init__(self, engine: Submitter) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._inboxes: dict[int, LoopInbox] = {}
        self._retired = False

    def _inbox(self) -> LoopInbox:
        loop = asyncio.get_running_loop()
        inbox = self._inboxes.get(id(loop))
        if inbox is not None and inbox.loop is loop:
            return inbox
        with self._lock:
            for key, old in list(self._inboxes.items()):  # also a closed loop whose id this one has now
                if old.loop.is_closed():
                    del self._inboxes[key]
            if self._retired:  # since it was asked whether the engine is open
                raise Closed("the engine is closed")
            inbox = self._inboxes[id(loop)] = LoopInbox(loop)
        return inbox

    def retire(self) -> None:
        """The host has stopped: let every event loop read its last completions, then forget the inboxes. Any thread."""
        with self._lock:
            self._retired = True
            inboxes = list(self._inboxes.values())
            self._inboxes.clear()
        for inbox in inboxes:
            try:
                inbox.loop.call_soon_threadsafe(inbox.retire)
            except RuntimeError:  # that event loop is closed, and nobody waits in it any more
                continue

    async def _call(self, call: Call, kind: int, data: bytes | None, argument: int, timeout_s: float) -> Outcome:
        self._engine.check()
        if timeout_s <= 0:
            raise Timeout("the deadline passed before anything was submitted")
        return await self._inbox().submit(self._engine, call, kind, data, argument, timeout_s)

    async def propose(self, data: bytes, *, timeout: float | None = None) -> ProposalResult:  # noqa: ASYNC109
        """Replicate a command and return once it was applied here. Cancelled, its outcome is unknown."""
        data = self._engine.command(data)
        code, index, term, leader, value = await self._call(Call.WRITE, PROPOSE, data, 0, self._engine.limit_s(timeout))
        if code != OK:
            raise self._engine.error(Call.WRITE, code, leader, size_bytes=len(data))
        return ProposalResult(index, term, value)

    async def linearizable_read(self, *, timeout: float | None = None) -> int:  # noqa: ASYNC109
        """Confirm with a quorum; returns the applied index."""
        return (await self._read(timeout))[1]

    async def _read(self, timeout_s: float | None) -> Outcome:
        engine = self._engine
        deadline = time.monotonic() + engine.limit_s(timeout_s)
        error: BaseException | None = None
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Timeout("no quorum confirmed in time") from error
            try:
                outcome = await self._call(Call.READ, READ, None, 0, min(left, engine.attempt_s))
            except Timeout as late:
                error = late
                continue
            if outcome[0] == OK:
                return outcome
            error = engine.error(Call.READ, outcome[0], outcome[3])
            if not is_transient(outcome[0]):
                raise error
            await asyncio.sleep(min(engine.retry_s, max(0.0, deadline - time.monotonic())))

    async def lease_read(self, *, timeout: float | None = None) -> int:  # noqa: ASYNC109
        """By the lease where it holds, and then without suspending; else by a quorum. Returns the applied index."""
        index = self._engine.try_lease_read()
        if index is not None:
            return index
        return await self.linearizable_read(timeout=timeout)

    async def verify_leader(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Return if this member led, by the word of a quorum, at some instant of the call."""
        self._engine.verify(await self._read(timeout))

    async def transfer_leadership(
        self,
        target: int | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> int:
        """Hand leadership to `target`, or to the most suitable member, and return who leads afterwards."""
        engine = self._engine
        deadline = time.monotonic() + engine.limit_s(timeout)
        kind = STEP_DOWN if target is None else TRANSFER
        code, _, term, leader, _ = await self._call(
            Call.CONTROL, kind, None, engine.member(target), deadline - time.monotonic()
        )
        if code != OK:
            raise engine.error(Call.CONTROL, code, leader)
        while (successor := engine.successor(term, target)) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Timeout("nobody has taken over in time, as far as this member knows")
            await asyncio.sleep(min(engine.retry_s, left))
        return successor

    async def wait_for_leader(self, *, timeout: float | None = None) -> int:  # noqa: ASYNC109
        """Wait until this member knows a leader; returns its id."""
        engine = self._engine
        deadline = time.monotonic() + engine.limit_s(timeout)
        while (leader := engine.leader) is None:
            engine.check()
            left = deadline - time.monotonic()
            if left <= 0:
                raise Timeout("no leader is known")
            await asyncio.sleep(min(engine.retry_s, left))
        return leader

    async def close(self, *, graceful: bool = True, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Stop, without blocking the event loop. Cancelled, the end comes all the same."""
        await self._engine.end(graceful=graceful, timeout_s=timeout)

    async def __aenter__(self) -> AsyncEngine:
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        await self.close()
