"""What an engine is, whichever one it is: the protocols, and the values that they speak in.

An `Engine` replicates commands. `LeaseProvider` is an optional capability, which a coordinator looks for with
`isinstance`; an engine without it, or with a duration of zero, works all the same: reads then ask a quorum.
`LeaseReader` is for engines that keep the lease themselves and offer its check as one compiled call.

Timeouts are seconds; None stands for the engine's own default, `math.inf` for no limit.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = [
    "Command",
    "Configuration",
    "Engine",
    "LeaseProvider",
    "LeaseReader",
    "ProposalResult",
    "State",
    "StateMachine",
    "Status",
]


class State(enum.StrEnum):
    """What a member is doing."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"
    FAILED = "failed"
    CLOSED = "closed"


@dataclass(slots=True)
class Command:
    """One committed command on its way into a state machine."""

    index: int
    term: int
    data: bytes


@dataclass(frozen=True, slots=True)
class ProposalResult:
    """A command that took effect: where it stands in the log, and what the state machine answered."""

    index: int
    term: int
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Configuration:
    """Who belongs to the group, by member id, and where each listens ("address:port")."""

    voters: tuple[int, ...]
    learners: tuple[int, ...] = ()
    addresses: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Status:
    """A member's numbers. Each is exact by itself; together they are a picture taken while things moved.

    `failure` says why a member is in state `failed`. `counters` holds whatever else the engine counts, by name.
    """

    member_id: int
    state: State
    term: int
    leader: int | None
    leader_address: str | None
    commit_index: int
    applied_index: int
    first_index: int
    last_index: int
    lease_remaining_ns: int
    failure: str | None
    counters: Mapping[str, int]


class StateMachine(Protocol):
    """A state machine written in Python; `tenure` itself knows nothing of what the commands mean."""

    def apply(self, batch: Sequence[Command]) -> Sequence[bytes | None]:
        """Apply committed commands in order and return one answer for each, in a list or a tuple.

        Called by one thread, one batch at a time, with every command exactly once and in order since the engine was
        opened: the log is replayed at each start. It must be deterministic, for every member applies the same commands.
        An exception stops this member for good.
        """
        ...


@runtime_checkable
class Engine(Protocol):
    """One member of a replicated group. Any thread may call anything."""

    @property
    def member_id(self) -> int:
        """This member."""
        ...

    @property
    def state(self) -> State:
        """What this member is doing; never raises."""
        ...

    @property
    def leader(self) -> int | None:
        """The member that this one takes for the leader; a hint, never a proof."""
        ...

    def propose(self, data: bytes, *, timeout: float | None = None) -> ProposalResult:
        """Replicate a command and return once it was applied here.

        Raises:
            NotLeader: only the leader takes commands; the error names it.
            OutcomeUnknown: submitted, but no outcome was learnt.
            Refused: and its other kinds: the command never takes effect.
        """
        ...

    def linearizable_read(self, *, timeout: float | None = None) -> int:
        """Confirm with a quorum; what is read locally afterwards is linearizable. Returns the applied index.

        Raises:
            Timeout: no quorum confirmed in time.
        """
        ...

    def verify_leader(self, *, timeout: float | None = None) -> None:
        """Return if this member led, by the word of a quorum, at some instant of the call.

        Raises:
            NotLeader: it did not; the error names who does, where known.
            Timeout: no quorum answered in time.
        """
        ...

    def transfer_leadership(self, target: int | None = None, *, timeout: float | None = None) -> int:
        """Hand leadership to `target`, or to the most suitable member, and return who leads afterwards.

        Raises:
            NotLeader: this member does not lead.
            InvalidArgument: the target cannot lead.
            ProposalRefused: the target did not take over, or a hand-over was already on its way.
            Timeout: nobody has taken over in time, as far as this member knows.
        """
        ...

    def status(self) -> Status:
        """The member's numbers, without asking anybody."""
        ...

    def configuration(self) -> Configuration:
        """Who belongs to the group."""
        ...

    def close(self, *, graceful: bool = True, timeout: float | None = None) -> None:
        """Stop. May be repeated, and called from several threads: all return at the same end."""
        ...


@runtime_checkable
class LeaseProvider(Protocol):
    """What an engine must tell so that others can lean a lease on it. Reading the properties never raises."""

    @property
    def lease_duration_ns(self) -> int:
        """How long one confirmation by a quorum is worth; 0 where leases are not to be had."""
        ...

    @property
    def applied_index(self) -> int:
        """The last index whose effects local reads see."""
        ...

    @property
    def last_quorum_ack_ns(self) -> int:
        """An instant of the lease clock, not after the sending of what a quorum last answered; 0 = none to lean on."""
        ...

    def register_leader_loss_callback(self, fn: Callable[[], None]) -> Callable[[], None]:
        """Have `fn` called after each loss of leadership; returns what takes it back."""
        ...


@runtime_checkable
class LeaseReader(Protocol):
    """An engine that keeps the lease itself."""

    def try_lease_read(self) -> int | None:
        """The applied index if the lease covers this instant, else None. Never blocks, never raises."""
        ...

    def lease_read(self, *, timeout: float | None = None) -> int:
        """By the lease where it holds, else by a quorum; returns the applied index."""
        ...
