"""The one end of an engine, however many ask for it.

The first `close` starts a thread that stops the host; everybody who closes waits for that same end, each no longer
than it wants to. Whoever loses patience, presses Ctrl-C or asks for no grace makes the end come at once. What is
still open when the interpreter exits is closed then, all engines together; an engine that was merely forgotten is
closed in the background.

A `Lifecycle` knows the host but not the engine, so the threads that hold it do not keep a forgotten engine alive. In
a forked child it does nothing at all: the threads are not there, and the sockets and the log belong to the parent.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import logging
import math
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING

from tenure.errors import Closed, ForkedProcess, InvalidArgument, Timeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenure._host.core import HostCore

__all__ = ["LAST_CALL_S", "Lifecycle"]

logger = logging.getLogger("tenure.engine")

LAST_CALL_S = 2.0  # after the order to stop at once: what a disk that still answers needs, and more
PUMP_STOP_S = 1.0
LONGEST_S = 1e6  # what the waiting calls of the standard library take, and as good as no limit

# Weak: nothing stays of one that was never started, for Ctrl-C came first; its engine and its threads hold any other.
open_ones: weakref.WeakSet[Lifecycle] = weakref.WeakSet()
open_ones_lock = threading.Lock()


class Flag:
    """A `threading.Event` that a signal handler may use while its thread stands in the middle of another use."""

    def __init__(self) -> None:
        self._changed = threading.Condition()  # reentrant, where that of an Event is not
        self._set = False

    def is_set(self) -> bool:
        """Whether it was ever set."""
        return self._set

    def set(self) -> None:
        """Set it for good, and wake everybody."""
        with self._changed:
            self._set = True
            self._changed.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; whether it is."""
        with self._changed:
            return self._changed.wait_for(self.is_set, timeout)


class Lifecycle:
    """Open, closing, closed. Any thread may call anything, and a signal handler in the middle of any of it.

    So nothing here holds a lock that the thread which ends the host would need: who comes first is who takes the only
    item out of a list.
    """

    def __init__(self, core: HostCore, shutdown_timeout_s: float) -> None:
        self._core = core
        self._shutdown_timeout_s = shutdown_timeout_s
        self._pid = os.getpid()
        self._pumps: list[threading.Thread] = []
        self._at_end: collections.deque[Callable[[], None]] = collections.deque()
        self._drained: Callable[[], bool] | None = None
        self._ended = Flag()
        self._limit_s: dict[str, float] = {}  # of who closed first
        self._at_once = False
        self._turn: list[None] = [None]  # taken by the thread that ends the host
        self._tasks_due = False
        self.closing = Flag()
        self.stopped = False  # the host's threads are gone; the pumps end when they see it
        with open_ones_lock:
            open_ones.add(self)

    @property
    def forked(self) -> bool:
        """Whether this process is a fork of the one that opened the engine."""
        return os.getpid() != self._pid

    @property
    def ended(self) -> bool:
        """Whether everything is over."""
        return self._ended.is_set()

    def check(self) -> None:
        """Pass while the engine may be used.

        Raises:
            ForkedProcess: not in this process.
            Closed: no longer.
        """
        if os.getpid() != self._pid:
            raise ForkedProcess("this process is a fork: the engine belongs to its parent")
        if self.closing.is_set():
            raise Closed("the engine is closed")

    def pump(self, name: str, body: Callable[[], None]) -> None:
        """Run `body` in a thread that ends when it sees `stopped`."""
        thread = threading.Thread(target=body, name=name, daemon=True)
        self._pumps.append(thread)
        thread.start()

    def before_stop(self, drained: Callable[[], bool]) -> None:
        """Let a graceful end wait, within its limit, until `drained` says True."""
        self._drained = drained

    def grace_s(self, timeout_s: float | None) -> float:
        """How long an end may take before it is made to come at once."""
        limit_s = self._shutdown_timeout_s if timeout_s is None else timeout_s
        if math.isnan(limit_s):
            raise InvalidArgument("timeout: is not a number", field="timeout")
        return min(max(0.0, limit_s), LONGEST_S)

    def stuck(self) -> Timeout:
        """The error for an end that does not come."""
        return Timeout("the member has not stopped: its disk or its state machine does not answer")

    def at_end(self, fn: Callable[[], None]) -> None:
        """Have `fn` called once the host has stopped; at once when it has."""
        self._at_end.append(fn)
        if self._tasks_due:
            self._run_tasks()

    def _run_tasks(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                fn = self._at_end.popleft()
                try:
                    fn()
                except Exception:
                    logger.exception("a task of the shutdown failed")

    def begin(self, *, graceful: bool = True, limit_s: float | None = None) -> None:
        """Start the end, or hasten one that is under way. Returns at once."""
        if self.forked:
            return
        if not graceful:
            self._at_once = True
        self._limit_s.setdefault("s", self.grace_s(limit_s))
        self.closing.set()
        if self._turn:  # also when Ctrl-C took who closed first away from here: then nobody else would
            try:
                threading.Thread(target=self._finish, name="tenure-close", daemon=True).start()
            except RuntimeError:  # the interpreter is past starting threads
                self._finish()
        elif not graceful:
            self._hurry()

    def _hurry(self) -> None:
        self._at_once = True
        if not self.stopped:
            self._core.hurry()

    def close(self, *, graceful: bool = True, timeout: float | None = None) -> None:
        """Start the end and wait for it.

        Raises:
            Timeout: the host has not stopped: its disk or its state machine does not answer.
        """
        if self.forked:
            return
        limit_s = self.grace_s(timeout)
        try:
            self.begin(graceful=graceful, limit_s=limit_s)
            if threading.current_thread() in self._pumps:
                return  # a callback or a state machine that closes its own engine: the end waits for it
            if self._ended.wait(limit_s):
                return
            self._wait_at_once()
        except BaseException:
            self.begin(graceful=False)
            raise

    def _wait_at_once(self) -> None:
        give_up = time.monotonic() + LAST_CALL_S
        while time.monotonic() < give_up:
            self._hurry()
            if self._ended.wait(0.1):
                return
        raise self.stuck()

    def _drain(self, until: float) -> None:
        while self._drained is not None and not (self._drained() or self._at_once or time.monotonic() > until):
            time.sleep(0.001)

    def _finish(self) -> None:
        try:
            self._turn.pop()
        except IndexError:  # somebody else was faster
            return
        until = time.monotonic() + self._limit_s["s"]
        try:
            self._drain(until)
        except Exception:
            logger.exception("whether everything is applied could not be told")
        try:
            self._core.close(self._at_once, max(0, int((until - time.monotonic()) * 1e9)))
        except Exception:
            logger.exception("the host did not stop cleanly")
        self.stopped = True
        for thread in self._pumps:
            thread.join(PUMP_STOP_S)
            if thread.is_alive():
                logger.warning("thread %s is still busy and is left behind", thread.name)
        self._tasks_due = True
        self._run_tasks()
        self._ended.set()
        with open_ones_lock:
            open_ones.discard(self)

    def abandon(self) -> None:
        """The engine was forgotten: stop in the background, and never in a forked child."""
        if not self.forked and not self.closing.is_set():
            logger.warning("an engine was not closed; it is being closed now")
            self.begin()


def close_what_is_open() -> None:
    """At exit: every engine, side by side, so that exiting takes no longer than the slowest."""
    with open_ones_lock:
        left = [one for one in open_ones if not one.forked]
    for one in left:
        one.begin()
    for one in left:
        try:
            one.close()
        except Timeout:
            logger.warning("an engine could not be closed before the interpreter exits")


def after_fork_in_child() -> None:
    """The child owns no engine, and a lock held by a thread of the parent would stay held for ever."""
    global open_ones_lock
    open_ones_lock = threading.Lock()
    open_ones.clear()


atexit.register(close_what_is_open)
os.register_at_fork(after_in_child=after_fork_in_child)
