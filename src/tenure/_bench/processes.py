"""Objects that live in processes of their own: what a benchmark drives is never in the process that judges it.

`Remote(factory, ...)` spawns a process, makes `factory(...)` there, and forwards calls over a pipe, one at a time. An
exception over there is raised here as `RemoteFailure` with its traceback. A process whose parent is gone ends itself.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

__all__ = ["Remote", "RemoteFailure", "close_all"]

CALL_LIMIT_S = 30.0
END_LIMIT_S = 5.0


class RemoteFailure(RuntimeError):
    """A call in another process raised, or the process is gone."""


def serve(connection: Connection, factory: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """The body of the process: one request, one answer, until the other side closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends this process
    served = None
    try:
        try:
            served = factory(*arguments)
            connection.send((True, None))
        except Exception:  # noqa: BLE001 - whatever it is, the other side is told
            connection.send((False, traceback.format_exc()))
            return
        while True:
            method, positional = connection.recv()
            try:
                answer = (True, getattr(served, method)(*positional))
            except Exception:  # noqa: BLE001 - as above
                answer = (False, traceback.format_exc())
            connection.send(answer)
    except (EOFError, OSError):
        return
    finally:
        close = getattr(served, "close", None)
        if close is not None:
            close()


class Remote:
    """An object in a process of its own. One thread at a time."""

    def __init__(self, name: str, factory: Callable[..., Any], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = name
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, factory, arguments), name=name, daemon=True)
        self._process.start()
        theirs.close()
        self._ready = False

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process.pid is not None
        return self._process.pid

    def call(self, method: str, *arguments: Any, limit_s: float = CALL_LIMIT_S) -> Any:
        """`method(*arguments)` over there.

        Raises:
            RemoteFailure: it raised, took longer than `limit_s`, or the process is gone.
        """
        self.send(method, *arguments, limit_s=limit_s)
        return self.result(limit_s)

    def send(self, method: str, *arguments: Any, limit_s: float = CALL_LIMIT_S) -> None:
        """Begin a call whose outcome `result` fetches."""
        if not self._ready:
            self.result(limit_s)
            self._ready = True
        try:
            self._connection.send((method, arguments))
        except OSError as error:
            raise RemoteFailure(f"{self.name}: the process is gone: {error}") from None

    def result(self, limit_s: float = CALL_LIMIT_S) -> Any:
        """The outcome of the call begun last."""
        try:
            if not self._connection.poll(limit_s):
                raise RemoteFailure(f"{self.name}: no answer within {limit_s:g} s")
            good, answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise RemoteFailure(f"{self.name}: the process is gone: {error!r}") from None
        if not good:
            raise RemoteFailure(f"{self.name}: {answer}")
        return answer

    def hang_up(self) -> None:
        """Ask the process to end; returns at once."""
        with contextlib.suppress(OSError):
            self._connection.close()

    def close(self) -> None:
        """End the process, by force if it does not end by itself."""
        self.hang_up()
        self._process.join(END_LIMIT_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()


def close_all(remotes: list[Remote]) -> None:
    """End them together: none waits for another's grace."""
    for remote in remotes:
        remote.hang_up()
    for remote in remotes:
        remote.close()
