"""`KeyValue`: the native key-value store of a group as typed Python calls, every read fenced.

A read takes the fence of its own call (the lease where it holds, else a quorum) and looks the key up afterwards, in
this process. A write is a command: what it decides (does the key exist, what does it hold) is decided inside apply, so
two callers never race between a look and a write. Any thread may call anything; `aio` is the same for asyncio.

A command carries the proposer's clock as a hint. It never runs backwards within one `KeyValue`, whatever the machine's
clock does; the timestamps themselves are fixed in apply.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from tenure._core.clock import wall_ms
from tenure._kv import codec
from tenure.errors import InvalidArgument, MemberFailed, TenureError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tenure._kv.machine import KeyValueMachine
    from tenure.coordinator.coordinator import Coordinator
    from tenure.engine.aio import AsyncEngine
    from tenure.engine.protocol import ProposalResult

__all__ = ["AsyncKeyValue", "KeyValue"]

INT64_MAX = (1 << 63) - 1


class Hints:
    """The proposer's clock in the form that commands carry. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_ms = 0

    def next(self) -> int:
        """A hint that is not below any given before."""
        with self._lock:
            self._last_ms = max(self._last_ms, wall_ms())
            return codec.hint(self._last_ms)


class KeyValue:
    """Keys and values of one group. Made by `Coordinator.kv`.

    Every call takes `timeout` in seconds; None stands for the engine's own limit. A write raises `NotLeader` on a
    follower and `OutcomeUnknown` when it was submitted and no outcome was learnt: `increment` and
    `compare_and_set` may then have happened.
    """

    def __init__(self, coordinator: Coordinator, machine: KeyValueMachine) -> None:
        self._coordinator = coordinator
        self._lease_read = coordinator.lease_read
        self._machine = machine
        self._hints = Hints()

    # ------------------------------------------------------------------------------------------------------- reads

    def get(self, key: bytes, *, timeout: float | None = None) -> bytes | None:
        """The value of `key`, None without one."""
        self._lease_read(timeout=timeout)
        return self._machine.get(key)

    def get_many(self, keys: Iterable[bytes], *, timeout: float | None = None) -> list[bytes | None]:
        """The values of `keys`, all of the same instant."""
        wanted = list(keys)
        self._lease_read(timeout=timeout)
        return self._machine.get_many(wanted)

    def exists(self, key: bytes, *, timeout: float | None = None) -> bool:
        """Whether `key` has a value."""
        self._lease_read(timeout=timeout)
        return self._machine.expiry(key) is not None

    # ------------------------------------------------------------------------------------------------------ writes

    def set(self, key: bytes, value: bytes, *, timeout: float | None = None) -> None:
        """Give `key` a value, whatever it had."""
        self._run(codec.encode_set(key, value, hint_ts=self._hints.next()), timeout)

    def set_many(self, pairs: Mapping[bytes, bytes], *, timeout: float | None = None) -> None:
        """Give several keys their values at one instant: no reader sees some without the others."""
        if pairs:
            self._run(codec.encode_mset(pairs.items(), hint_ts=self._hints.next()), timeout)

    def set_if_absent(self, key: bytes, value: bytes, *, timeout: float | None = None) -> bool:
        """Give `key` a value unless it has one; whether it was given."""
        return bool(self._run(codec.encode_setnx(key, value, hint_ts=self._hints.next()), timeout))

    def delete(self, *keys: bytes, timeout: float | None = None) -> int:
        """Take the keys away; returns how many existed."""
        if not keys:
            return 0
        return whole(self._run(codec.encode_del(keys, hint_ts=self._hints.next()), timeout))

    def increment(self, key: bytes, delta: int = 1, *, timeout: float | None = None) -> int:
        """Add `delta` to the number at `key`, 0 without one; returns the sum.

        Raises:
            InvalidArgument: the value is no number, or the sum does not fit into 64 bits; nothing was changed.
        """
        return whole(self._run(codec.encode_incrby(key, checked_delta(delta), hint_ts=self._hints.next()), timeout))

    def append(self, key: bytes, value: bytes, *, timeout: float | None = None) -> int:
        """Add bytes to the end of the value; returns its size."""
        return whole(self._run(codec.encode_append(key, value, hint_ts=self._hints.next()), timeout))

    def compare_and_set(
        self, key: bytes, expected: bytes | None, value: bytes, *, timeout: float | None = None
    ) -> bool:
        """Give `key` a value if it has exactly `expected` now (None: no value); whether it was given."""
        return bool(self._run(codec.encode_cas(key, expected, value, hint_ts=self._hints.next()), timeout))

    def _run(self, command: bytes, timeout: float | None) -> Any:
        return outcome(self._coordinator.dispatch(command, timeout=timeout))

    # ------------------------------------------------------------------------------------------------------- facts

    def __len__(self) -> int:
        """How many keys this member holds by now, without a fence."""
        return self._machine.size

    @property
    def state_hash(self) -> int:
        """Equal on all members that have applied the same entries; this member's, without a fence."""
        return self._machine.state_hash

    @property
    def aio(self) -> AsyncKeyValue:
        """The same calls for asyncio; over an engine that has `aio` itself."""
        engine: Any = getattr(self._coordinator.engine, "aio", None)
        if engine is None:
            raise InvalidArgument("this engine has no calls for asyncio", field="engine")
        return AsyncKeyValue(engine, self._machine, self._hints)


class AsyncKeyValue:
    """The awaitable calls of a `KeyValue`; get it as `kv.aio`. A read that the lease covers never suspends."""

    def __init__(self, engine: AsyncEngine, machine: KeyValueMachine, hints: Hints) -> None:
        self._engine = engine
        self._machine = machine
        self._hints = hints

    async def get(self, key: bytes, *, timeout: float | None = None) -> bytes | None:  # noqa: ASYNC109
        """The value of `key`, None without one."""
        await self._engine.lease_read(timeout=timeout)
        return self._machine.get(key)

    async def get_many(self, keys: Iterable[bytes], *, timeout: float | None = None) -> list[bytes | None]:  # noqa: ASYNC109
        """The values of `keys`, all of the same instant."""
        wanted = list(keys)
        await self._engine.lease_read(timeout=timeout)
        return self._machine.get_many(wanted)

    async def set(self, key: bytes, value: bytes, *, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Give `key` a value, whatever it had."""
        await self._run(codec.encode_set(key, value, hint_ts=self._hints.next()), timeout)

    async def set_if_absent(self, key: bytes, value: bytes, *, timeout: float | None = None) -> bool:  # noqa: ASYNC109
        """Give `key` a value unless it has one; whether it was given."""
        return bool(await self._run(codec.encode_setnx(key, value, hint_ts=self._hints.next()), timeout))

    async def delete(self, *keys: bytes, timeout: float | None = None) -> int:  # noqa: ASYNC109
        """Take the keys away; returns how many existed."""
        if not keys:
            return 0
        return whole(await self._run(codec.encode_del(keys, hint_ts=self._hints.next()), timeout))

    async def increment(self, key: bytes, delta: int = 1, *, timeout: float | None = None) -> int:  # noqa: ASYNC109
        """Add `delta` to the number at `key`; as `KeyValue.increment`."""
        command = codec.encode_incrby(key, checked_delta(delta), hint_ts=self._hints.next())
        return whole(await self._run(command, timeout))

    async def compare_and_set(
        self,
        key: bytes,
        expected: bytes | None,
        value: bytes,
        *,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> bool:
        """Give `key` a value if it has exactly `expected` now (None: no value); whether it was given."""
        return bool(await self._run(codec.encode_cas(key, expected, value, hint_ts=self._hints.next()), timeout))

    async def _run(self, command: bytes, timeout_s: float | None) -> Any:
        return outcome(await self._engine.propose(command, timeout=timeout_s))


def outcome(result: ProposalResult) -> Any:
    """What the store answered to a command that was applied.

    Raises:
        InvalidArgument: the store refused the command; nothing was changed.
    """
    if result.value is None:
        return None
    answer = codec.decode_result(result.value)
    if isinstance(answer, codec.CommandError):
        raise refusal(answer.name) from answer
    return answer


def refusal(name: str) -> TenureError:
    """The error for the store's word on a command that it did not carry out."""
    if name == "failed":
        return MemberFailed("this member's store ran out of memory", cause="memory")
    return InvalidArgument(REFUSALS.get(name, f"the store refused the command: {name}"), reason=name)


REFUSALS = {
    "not_an_integer": "the value is not a number of 64 bits",
    "overflow": "the sum does not fit into 64 bits",
    "too_large": "the value would be too large",
}


def checked_delta(delta: int) -> int:
    """`delta` as the store takes it."""
    if not -INT64_MAX - 1 <= delta <= INT64_MAX:
        raise InvalidArgument(f"{delta} does not fit into 64 bits", field="delta")
    return delta


def whole(answer: Any) -> int:
    """An answer that is a number."""
    if not isinstance(answer, int):
        raise TypeError(f"the store answered {answer!r} where a number was wanted")
    return answer
