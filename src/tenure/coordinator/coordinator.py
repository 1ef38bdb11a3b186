"""`Coordinator`: commands and fenced reads over the engine of one group, whichever engine it is.

It is thin. Over an engine that keeps the lease itself (a `LeaseReader` whose duration is not zero), `lease_read` and
`try_lease_read` are the engine's own methods, bound once: no frame of this module stands on the hot path. Over an
engine that only reports how long a confirmation by a quorum is worth (a `LeaseProvider`), the coordinator keeps a lease
word of its own, which commits extend. Over any other engine, and where the duration is zero, every lease read asks a
quorum. Any thread may call anything.

Nothing here remembers that a lease is held: each read loads the word and the clock anew, and the applied index after
them. The instant from which an extension counts, and the generation it belongs to, are taken before the command is
handed to the engine; an engine that lost leadership in between finds the generation gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from tenure._core.clock import granularity_ns, now_ns
from tenure._core.lease import Lease
from tenure.engine.protocol import LeaseProvider, LeaseReader, State
from tenure.errors import Closed, InvalidArgument, MemberFailed, NotLeader

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenure._kv.machine import KeyValueMachine
    from tenure.coordinator.keyvalue import KeyValue
    from tenure.engine.protocol import Engine, ProposalResult

__all__ = ["Coordinator"]


class Coordinator:
    """Commands and reads of one group.

    Attributes:
        engine: the engine below.
        lease_read: `lease_read(timeout=None)`: by the lease where it holds, else by a quorum; returns the applied
            index. What the calling thread then reads from this member's state machine is linearizable.
        try_lease_read: the applied index if a lease covers this instant, else None. Never blocks. One answer serves the
            call that it was made for and none that begins later.
    """

    lease_read: Callable[..., int]
    try_lease_read: Callable[[], int | None]

    def __init__(self, engine: Engine, *, machine: KeyValueMachine | None = None, close_engine: bool = True) -> None:
        """Stand before `engine`.

        Args:
            engine: one member of the group.
            machine: the key-value store that the engine applies to, for `kv`.
            close_engine: whether `close` closes the engine as well.
        """
        self.engine = engine
        self._machine = machine
        self._kv: KeyValue | None = None
        self._close_engine = close_engine
        self._closed = False
        self._own: OwnLease | None = None
        duration_ns = engine.lease_duration_ns if isinstance(engine, LeaseProvider) else 0
        if duration_ns > 0 and isinstance(engine, LeaseReader):
            self.lease_read = engine.lease_read
            self.try_lease_read = engine.try_lease_read
        elif duration_ns > 0 and isinstance(engine, LeaseProvider):
            self._own = OwnLease(engine, engine)
            self.lease_read = self._read_by_own_lease
            self.try_lease_read = self._own.try_read
        else:
            self.lease_read = self._read_by_quorum
            self.try_lease_read = no_lease

    # ------------------------------------------------------------------------------------------------------ writes

    def dispatch(self, command: bytes, *, timeout: float | None = None) -> ProposalResult:
        """Replicate a command and return what the state machine answered, once it was applied here.

        Args:
            command: the command, at least one byte.
            timeout: seconds; None: the engine's own limit.

        Raises:
            NotLeader: only the leader takes commands; the error names it.
            OutcomeUnknown: submitted, but no outcome was learnt.
            Refused: and its other kinds: the command never takes effect.
        """
        self.check()
        own = self._own
        if own is None:
            return self.engine.propose(command, timeout=timeout)
        return own.dispatch(command, timeout)

    # ------------------------------------------------------------------------------------------------------- reads

    def lease_read_for_key(self, key: bytes, timeout: float | None = None) -> int:
        """A `lease_read` on the group that owns `key`, which is this one."""
        return self.lease_read(timeout=timeout)

    def linearizable_read(self, timeout: float | None = None) -> int:
        """Confirm with a quorum, whatever leases say; returns the applied index.

        Raises:
            Timeout: no quorum confirmed in time.
        """
        self.check()
        return self.engine.linearizable_read(timeout=timeout)

    def _read_by_own_lease(self, timeout: float | None = None) -> int:
        index = self.try_lease_read()
        return self.linearizable_read(timeout) if index is None else index

    def _read_by_quorum(self, timeout: float | None = None) -> int:
        return self.linearizable_read(timeout)

    @property
    def lease_remaining_ns(self) -> int:
        """How long lease reads are covered from now on; 0 without a lease."""
        if self._own is not None:
            return self._own.lease.remaining_ns
        return 0 if self._closed else self.engine.status().lease_remaining_ns

    @property
    def kv(self) -> KeyValue:
        """The keys and values of this group, fenced; needs the `machine` that the engine applies to."""
        if self._kv is None:
            from tenure.coordinator.keyvalue import KeyValue

            if self._machine is None:
                raise InvalidArgument("Coordinator(engine, machine=...) has not been told the store", field="machine")
            self._kv = KeyValue(self, self._machine)
        return self._kv

    # --------------------------------------------------------------------------------------------------------- end

    def close(self, *, graceful: bool = True, timeout: float | None = None) -> None:
        """End the lease for good and, unless told otherwise at the start, close the engine. May be repeated."""
        self._closed = True
        self.lease_read = self._read_by_quorum  # which says that it is closed, whatever becomes of the engine
        self.try_lease_read = no_lease
        if self._own is not None:
            self._own.close()
        if self._close_engine:
            self.engine.close(graceful=graceful, timeout=timeout)

    def check(self) -> None:
        """Pass while the coordinator may be used; raises `Closed`."""
        if self._closed:
            raise Closed("the coordinator is closed")

    def __enter__(self) -> Self:
        self.check()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Coordinator over {self.engine!r}>"


def no_lease() -> None:
    """Where there is no lease to be had."""
    return


class OwnLease:
    """The lease that a coordinator keeps over an engine which reports a duration and nothing else.

    Commits extend it, losses of leadership end it; a conflict, a bad command or a deadline does neither. It is never
    extended beyond what the engine's duration is worth, counted from before the engine saw the command.
    """

    def __init__(self, engine: Engine, provider: LeaseProvider) -> None:
        self.lease = Lease()
        self._engine = engine
        self._provider = provider
        self._granularity_ns = max(1, granularity_ns())
        self._deregister = provider.register_leader_loss_callback(self.lease)

    def try_read(self) -> int | None:
        """The applied index, loaded after the word and the clock; None without a lease."""
        return self._provider.applied_index if self.lease.valid() else None

    def dispatch(self, command: bytes, timeout: float | None) -> ProposalResult:
        """Propose, and lean the lease on the quorum that the command has reached."""
        generation = self.lease.generation
        base_ns = now_ns()
        try:
            result = self._engine.propose(command, timeout=timeout)
        except (NotLeader, MemberFailed, Closed):
            self.lease.invalidate()
            raise
        if base_ns > 0 and result.index > 0 and self._leads(result.term):
            self.lease.extend(base_ns + self._provider.lease_duration_ns - self._granularity_ns, generation)
        return result

    def _leads(self, term: int) -> bool:
        """Whether this member leads in the very term in which the command was committed."""
        if self._engine.state is not State.LEADER:
            return False
        status = self._engine.status()
        return status.state is State.LEADER and status.term == term

    def close(self) -> None:
        """No lease from here on."""
        self.lease.close()
        self._deregister()
