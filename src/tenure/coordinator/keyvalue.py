"""`KeyValue`: the native key-value store of a group as typed Python calls, every read fenced.

A read takes the fence of its own call (the lease where it holds, else a quorum) and looks the key up afterwards, in
this process. A write is a command: what it decides (does the key exist, what does it hold) is decided inside apply, so
two callers never race between a look and a write. Any thread may call anything; `aio` is the same for asyncio.

A key may be given a life. Once a read has said that it has ended, no read of any member shows it again, whatever their
clocks do. In the last moment of a life the group's time has to be settled first: the leader does that with a command
of its own, another member cannot and says `NotLeader`.

A command carries the proposer's clock as a hint, which the host of a native engine puts right. It never runs backwards
within one `KeyValue`, whatever the machine's clock does; the timestamps themselves are fixed in apply.
"""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from tenure._kv import codec
from tenure._kv.machine import CONFIRMED, LED, SETTLED, UNDECIDED, Answer
from tenure.errors import InvalidArgument, MemberFailed, OutcomeUnknown, TenureError, Timeout

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tenure._kv.machine import KeyValueMachine
    from tenure.engine.aio import AsyncEngine
    from tenure.engine.protocol import Engine, ProposalResult

__all__ = ["AsyncKeyValue", "KeyValue"]

T = TypeVar("T")

INT64_MAX = (1 << 63) - 1
NEVER_SETTLED = "whether a key has ended was not settled in time"


class Dispatcher(Protocol):
    """What carries the commands and fences the reads; `Coordinator` says what each call promises."""

    engine: Engine

    def check(self) -> None: ...
    def try_lease_read(self) -> int | None: ...
    def linearizable_read(self, timeout: float | None = None) -> int: ...
    def dispatch(self, command: bytes, *, timeout: float | None = None) -> ProposalResult: ...


class Commands:
    """What each call asks of the store, as bytes. Any thread."""

    def __init__(self, machine: KeyValueMachine) -> None:
        self._machine = machine
        self._lock = threading.Lock()
        self._last_ms = 0

    def _now_ms(self) -> int:
        """The wall clock, never below what it has shown before, nor behind the group's time."""
        with self._lock:
            self._last_ms = max(self._last_ms, self._machine.time_ms)
            return self._last_ms

    def _hint(self) -> int:
        return codec.hint(self._now_ms())

    def _until_ms(self, ex: float | None, px: int | None) -> int:
        """The instant at which a life that begins now ends; 0 for never."""
        return 0 if ex is None and px is None else self._now_ms() + life_ms(ex, px)

    def set(self, key: bytes, value: bytes, ex: float | None, px: int | None) -> bytes:
        return codec.encode_set(key, value, hint_ts=self._hint(), until_ms=self._until_ms(ex, px))

    def set_many(self, pairs: Mapping[bytes, bytes]) -> bytes:
        return codec.encode_mset(pairs.items(), hint_ts=self._hint())

    def set_if_absent(self, key: bytes, value: bytes, ex: float | None, px: int | None) -> bytes:
        return codec.encode_set(key, value, hint_ts=self._hint(), until_ms=self._until_ms(ex, px), nx=True)

    def compare_and_set(
        self, key: bytes, expected: bytes | None, value: bytes, ex: float | None, px: int | None
    ) -> bytes:
        return codec.encode_cas(key, expected, value, hint_ts=self._hint(), until_ms=self._until_ms(ex, px))

    def delete(self, keys: tuple[bytes, ...]) -> bytes:
        return codec.encode_del(keys, hint_ts=self._hint())

    def increment(self, key: bytes, delta: int) -> bytes:
        return codec.encode_incrby(key, checked_delta(delta), hint_ts=self._hint())

    def append(self, key: bytes, value: bytes) -> bytes:
        return codec.encode_append(key, value, hint_ts=self._hint())

    def expire(self, key: bytes, ex: float | None, px: int | None, *, nx: bool, xx: bool, gt: bool, lt: bool) -> bytes:
        if (nx and (xx or gt or lt)) or (gt and lt):
            raise InvalidArgument("nx goes with none of xx, gt and lt, and gt not with lt", field="nx" if nx else "gt")
        until_ms = self._now_ms() + life_ms(ex, px)
        return codec.encode_expireat(key, until_ms, hint_ts=self._hint(), nx=nx, xx=xx, gt=gt, lt=lt)

    def persist(self, key: bytes) -> bytes:
        return codec.encode_persist(key, hint_ts=self._hint())

    def mark(self) -> bytes:
        """A command whose timestamp is all that is wanted of it."""
        return codec.encode_ceiling(1, hint_ts=self._hint())


class KeyValue:
    """Keys and values of one group. Made by `Coordinator.kv`.

    Every call takes `timeout` in seconds; None stands for the engine's own limit. A write raises `NotLeader` on a
    follower and `OutcomeUnknown` when it was submitted and no outcome was learnt: `increment` and
    `compare_and_set` may then have happened. A life is given in seconds (`ex`) or in whole milliseconds (`px`).
    """

    def __init__(self, coordinator: Dispatcher, machine: KeyValueMachine) -> None:
        self._coordinator = coordinator
        self._machine = machine
        self._commands = Commands(machine)

    # ------------------------------------------------------------------------------------------------------- reads

    def get(self, key: bytes, *, timeout: float | None = None) -> bytes | None:
        """The value of `key`, None without one."""
        deadline = deadline_of(timeout)
        value = self._machine.read(key, self._fence(timeout))
        if value is UNDECIDED:
            self._settle(deadline)
            value = self._machine.read(key, SETTLED)
        return settled(value)

    def get_many(self, keys: Iterable[bytes], *, timeout: float | None = None) -> list[bytes | None]:
        """The values of `keys`, all of the same instant."""
        wanted, deadline = list(keys), deadline_of(timeout)
        values = self._machine.read_many(wanted, self._fence(timeout))
        if values is UNDECIDED:
            self._settle(deadline)
            values = self._machine.read_many(wanted, SETTLED)
        return settled(values)

    def exists(self, key: bytes, *, timeout: float | None = None) -> bool:
        """Whether `key` has a value."""
        return self.ttl(key, timeout=timeout) is not None

    def ttl(self, key: bytes, *, timeout: float | None = None) -> float | None:
        """The seconds that are left of the life of `key`: `math.inf` when it never ends, None without the key."""
        deadline = deadline_of(timeout)
        left_ms = self._machine.read_life(key, self._fence(timeout))
        if left_ms is UNDECIDED:
            self._settle(deadline)
            left_ms = self._machine.read_life(key, SETTLED)
        return seconds(settled(left_ms))

    def _fence(self, timeout: float | None) -> int:
        if self._coordinator.try_lease_read() is not None:
            return LED
        self._coordinator.linearizable_read(timeout=timeout)
        return CONFIRMED

    def _settle(self, deadline: float | None) -> None:
        """Have the group agree on an instant behind this one."""
        try:
            self._coordinator.dispatch(self._commands.mark(), timeout=left_of(deadline))
        except OutcomeUnknown as unknown:  # of a command that changes nothing
            raise Timeout(NEVER_SETTLED) from unknown

    # ------------------------------------------------------------------------------------------------------ writes

    def set(
        self,
        key: bytes,
        value: bytes,
        *,
        ex: float | None = None,
        px: int | None = None,
        timeout: float | None = None,
    ) -> None:
        """Give `key` a value, whatever it had, for a life of `ex` seconds or `px` milliseconds, else for ever."""
        self._run(self._commands.set(key, value, ex, px), timeout)

    def set_many(self, pairs: Mapping[bytes, bytes], *, timeout: float | None = None) -> None:
        """Give several keys their values at one instant: no reader sees some without the others."""
        if pairs:
            self._run(self._commands.set_many(pairs), timeout)

    def set_if_absent(
        self,
        key: bytes,
        value: bytes,
        *,
        ex: float | None = None,
        px: int | None = None,
        timeout: float | None = None,
    ) -> bool:
        """Give `key` a value unless it has one; whether it was given."""
        return bool(self._run(self._commands.set_if_absent(key, value, ex, px), timeout))

    def delete(self, *keys: bytes, timeout: float | None = None) -> int:
        """Take the keys away; returns how many existed."""
        return whole(self._run(self._commands.delete(keys), timeout)) if keys else 0

    def increment(self, key: bytes, delta: int = 1, *, timeout: float | None = None) -> int:
        """Add `delta` to the number at `key`, 0 without one; returns the sum.

        Raises:
            InvalidArgument: the value is no number, or the sum does not fit into 64 bits; nothing was changed.
        """
        return whole(self._run(self._commands.increment(key, delta), timeout))

    def append(self, key: bytes, value: bytes, *, timeout: float | None = None) -> int:
        """Add bytes to the end of the value; returns its size."""
        return whole(self._run(self._commands.append(key, value), timeout))

    def compare_and_set(
        self,
        key: bytes,
        expected: bytes | None,
        value: bytes,
        *,
        ex: float | None = None,
        px: int | None = None,
        timeout: float | None = None,
    ) -> bool:
        """Give `key` a value if it has exactly `expected` now (None: no value); whether it was given."""
        return bool(self._run(self._commands.compare_and_set(key, expected, value, ex, px), timeout))

    def expire(
        self,
        key: bytes,
        *,
        ex: float | None = None,
        px: int | None = None,
        nx: bool = False,
        xx: bool = False,
        gt: bool = False,
        lt: bool = False,
        timeout: float | None = None,
    ) -> bool:
        """Give `key`, if it exists, a life that begins now; whether it was given.

        Only if it never ends (`nx`), if it does (`xx`), if it ends later (`gt`) or earlier (`lt`) than before; to
        never end is to end after everything else.
        """
        command = self._commands.expire(key, ex, px, nx=nx, xx=xx, gt=gt, lt=lt)
        return bool(self._run(command, timeout))

    def persist(self, key: bytes, *, timeout: float | None = None) -> bool:
        """Let `key` never end; whether it would have."""
        return bool(self._run(self._commands.persist(key), timeout))

    def _run(self, command: bytes, timeout: float | None) -> Any:
        return outcome(self._coordinator.dispatch(command, timeout=timeout))

    # ------------------------------------------------------------------------------------------------------- facts

    def __len__(self) -> int:
        """How many keys this member holds by now, without a fence; those that have ended until they are removed."""
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
        return AsyncKeyValue(self._coordinator, engine, self._machine, self._commands)


class AsyncKeyValue:
    """The awaitable calls of a `KeyValue`; get it as `kv.aio`. A read that the lease covers never suspends."""

    def __init__(
        self, coordinator: Dispatcher, engine: AsyncEngine, machine: KeyValueMachine, commands: Commands
    ) -> None:
        self._coordinator = coordinator
        self._engine = engine
        self._machine = machine
        self._commands = commands

    # ------------------------------------------------------------------------------------------------------- reads

    async def get(self, key: bytes, *, timeout: float | None = None) -> bytes | None:  # noqa: ASYNC109
        """As `KeyValue.get`."""
        deadline = deadline_of(timeout)
        value = self._machine.read(key, await self._fence(timeout))
        if value is UNDECIDED:
            await self._settle(deadline)
            value = self._machine.read(key, SETTLED)
        return settled(value)

    async def get_many(self, keys: Iterable[bytes], *, timeout: float | None = None) -> list[bytes | None]:  # noqa: ASYNC109
        """As `KeyValue.get_many`."""
        wanted, deadline = list(keys), deadline_of(timeout)
        values = self._machine.read_many(wanted, await self._fence(timeout))
        if values is UNDECIDED:
            await self._settle(deadline)
            values = self._machine.read_many(wanted, SETTLED)
        return settled(values)

    async def exists(self, key: bytes, *, timeout: float | None = None) -> bool:  # noqa: ASYNC109
        """As `KeyValue.exists`."""
        return await self.ttl(key, timeout=timeout) is not None

    async def ttl(self, key: bytes, *, timeout: float | None = None) -> float | None:  # noqa: ASYNC109
        """As `KeyValue.ttl`."""
        deadline = deadline_of(timeout)
        left_ms = self._machine.read_life(key, await self._fence(timeout))
        if left_ms is UNDECIDED:
            await self._settle(deadline)
            left_ms = self._machine.read_life(key, SETTLED)
        return seconds(settled(left_ms))

    async def _fence(self, timeout_s: float | None) -> int:
        if self._coordinator.try_lease_read() is not None:
            return LED
        self._coordinator.check()
        await self._engine.linearizable_read(timeout=timeout_s)
        return CONFIRMED

    async def _settle(self, deadline: float | None) -> None:
        self._coordinator.check()
        try:
            await self._engine.propose(self._commands.mark(), timeout=left_of(deadline))
        except OutcomeUnknown as unknown:  # of a command that changes nothing
            raise Timeout(NEVER_SETTLED) from unknown

    # ------------------------------------------------------------------------------------------------------ writes

    async def set(
        self,
        key: bytes,
        value: bytes,
        *,
        ex: float | None = None,
        px: int | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> None:
        """As `KeyValue.set`."""
        await self._run(self._commands.set(key, value, ex, px), timeout)

    async def set_many(self, pairs: Mapping[bytes, bytes], *, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """As `KeyValue.set_many`."""
        if pairs:
            await self._run(self._commands.set_many(pairs), timeout)

    async def set_if_absent(
        self,
        key: bytes,
        value: bytes,
        *,
        ex: float | None = None,
        px: int | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> bool:
        """As `KeyValue.set_if_absent`."""
        return bool(await self._run(self._commands.set_if_absent(key, value, ex, px), timeout))

    async def delete(self, *keys: bytes, timeout: float | None = None) -> int:  # noqa: ASYNC109
        """As `KeyValue.delete`."""
        return whole(await self._run(self._commands.delete(keys), timeout)) if keys else 0

    async def increment(self, key: bytes, delta: int = 1, *, timeout: float | None = None) -> int:  # noqa: ASYNC109
        """As `KeyValue.increment`."""
        return whole(await self._run(self._commands.increment(key, delta), timeout))

    async def append(self, key: bytes, value: bytes, *, timeout: float | None = None) -> int:  # noqa: ASYNC109
        """As `KeyValue.append`."""
        return whole(await self._run(self._commands.append(key, value), timeout))

    async def compare_and_set(
        self,
        key: bytes,
        expected: bytes | None,
        value: bytes,
        *,
        ex: float | None = None,
        px: int | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> bool:
        """As `KeyValue.compare_and_set`."""
        return bool(await self._run(self._commands.compare_and_set(key, expected, value, ex, px), timeout))

    async def expire(
        self,
        key: bytes,
        *,
        ex: float | None = None,
        px: int | None = None,
        nx: bool = False,
        xx: bool = False,
        gt: bool = False,
        lt: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> bool:
        """As `KeyValue.expire`."""
        command = self._commands.expire(key, ex, px, nx=nx, xx=xx, gt=gt, lt=lt)
        return bool(await self._run(command, timeout))

    async def persist(self, key: bytes, *, timeout: float | None = None) -> bool:  # noqa: ASYNC109
        """As `KeyValue.persist`."""
        return bool(await self._run(self._commands.persist(key), timeout))

    async def _run(self, command: bytes, timeout_s: float | None) -> Any:
        self._coordinator.check()
        return outcome(await self._engine.propose(command, timeout=timeout_s))


# ------------------------------------------------------------------------------------------------------ time and lives


def deadline_of(timeout: float | None) -> float | None:
    """The instant of `time.monotonic` at which a time limit ends."""
    return None if timeout is None else time.monotonic() + timeout


def left_of(deadline: float | None) -> float | None:
    """What is left until then, as a time limit."""
    return None if deadline is None else deadline - time.monotonic()


def life_ms(ex: float | None, px: int | None) -> int:
    """A life of `ex` seconds or of `px` milliseconds, whichever is given, in milliseconds."""
    if (ex is None) == (px is None):
        raise InvalidArgument("a life is given in seconds, ex, or in milliseconds, px", field="ex")
    field = "px" if ex is None else "ex"
    life: object = px
    if ex is not None:
        life = math.ceil(ex * 1000) if math.isfinite(ex) else None
    if isinstance(life, bool) or not isinstance(life, int) or not 0 < life < INT64_MAX // 2:
        raise InvalidArgument(
            f"{field}: a life is a number, longer than nothing, and its end fits into 64 bits", field=field
        )
    return life


def seconds(left_ms: int | None) -> float | None:
    """What the store says of a life."""
    if left_ms is None:
        return None
    return left_ms / 1000 if left_ms >= 0 else math.inf


def settled(value: T | Literal[Answer.UNDECIDED]) -> T:
    """The answer that a read came to in the end."""
    if value is UNDECIDED:
        raise TypeError("the store left a settled read undecided")
    return value


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
