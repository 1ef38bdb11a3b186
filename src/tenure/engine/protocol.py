"""What an engine is, whichever one it is: the protocols, and the values that they speak in.

An `Engine` replicates commands. `LeaseProvider` is an optional capability, which a coordinator looks for with
`isinstance`; an engine without it, or with a duration of zero, works all the same: reads then ask a quorum.
`LeaseReader` is for engines that keep the lease themselves and offer its check as one compiled call. `Members` is for
engines whose group can change while it runs.

Timeouts are seconds; None stands for the engine's own default, `math.inf` for no limit.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = [
    "Change",
    "Command",
    "Engine",
    "LeaseProvider",
    "LeaseReader",
    "MemberChange",
    "MemberInfo",
    "Members",
    "Membership",
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
class MemberInfo:
    """One member of a group, as the member that was asked sees it.

    Attributes:
        id: above 0, and never used for another member of the same group.
        address: where other members reach it, "host:port"; None where that is not known.
        voter: it belongs to a majority and may lead.
        learner: it follows, and has no vote.
        outgoing: it still votes, in the half of a joint configuration that is being left.
        leader: the member that was asked takes it for the leader; a hint, never a proof.
    """

    id: int
    address: str | None
    voter: bool
    learner: bool
    outgoing: bool
    leader: bool


@dataclass(frozen=True, slots=True)
class Membership:
    """Who belongs to a group: the configuration that a member has applied, and its address book.

    Attributes:
        index: the entry that made it so; 0 for the one that the group began with.
        voters: whose majority decides; while `joint`, the half that is being entered.
        outgoing: while `joint`, the half that is being left, whose majority decides as well.
        learners: who follows without a vote.
        learners_next: voters of the outgoing half that become learners when it is left.
        auto_leave: a joint configuration is left by itself.
        members: everybody named above, by id.
    """

    index: int
    voters: tuple[int, ...]
    outgoing: tuple[int, ...] = ()
    learners: tuple[int, ...] = ()
    learners_next: tuple[int, ...] = ()
    auto_leave: bool = False
    members: tuple[MemberInfo, ...] = ()

    @property
    def joint(self) -> bool:
        """Whether two majorities have to agree, until the outgoing half is left."""
        return bool(self.outgoing)

    def member(self, id: int) -> MemberInfo | None:
        """The member of that id; None when it does not belong to the group."""
        return next((one for one in self.members if one.id == id), None)


class Change(enum.StrEnum):
    """What is to become of one member."""

    ADD_LEARNER = "add-learner"
    ADD_VOTER = "add"
    PROMOTE = "promote"
    DEMOTE = "demote"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class MemberChange:
    """One part of a change of the group; `address` ("host:port") is for members that are added."""

    change: Change
    id: int
    address: str | None = None


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

    def configuration(self) -> Membership:
        """Who belongs to the group, as this member has applied it, without asking anybody."""
        ...

    def close(self, *, graceful: bool = True, timeout: float | None = None) -> None:
        """Stop. May be repeated, and called from several threads: all return at the same end."""
        ...


@runtime_checkable
class Members(Protocol):
    """An engine whose group can change while it runs. Only the leader changes anything.

    Every change returns once this member has applied it, with the membership that it made. One change at a time: the
    next may be asked for when the one before it is applied. All of them raise, besides what they name:

    - NotLeader: only the leader takes changes; the error names it.
    - ChangeInProgress: an earlier change is not applied yet; nothing was submitted, and a repetition may succeed.
    - WouldLoseQuorum: nobody would be left to vote, or too few voters that can be reached; nothing was submitted.
    - OutcomeUnknown: submitted, but its outcome was not learnt. `configuration` shows it, sooner or later, and asking
      again for what has happened already is an error of its own kind, never a second change.
    - InvalidArgument: an id or an address makes no sense.
    """

    def configuration(self) -> Membership:
        """Who belongs to the group, as this member has applied it, without asking anybody."""
        ...

    def add_learner(self, id: int, address: str, *, timeout: float | None = None) -> Membership:
        """Let a new member follow, without a vote. It may be started before or afterwards.

        Raises:
            AlreadyMember: the id belongs to the group, or once did.
        """
        ...

    def add_voter(self, id: int, address: str, *, timeout: float | None = None) -> Membership:
        """Let a new member vote at once. Until it has caught up the group tolerates less: rather add a learner first.

        Raises:
            AlreadyMember: the id belongs to the group, or once did.
        """
        ...

    def promote(self, id: int, *, timeout: float | None = None) -> Membership:
        """Give a learner a vote.

        Raises:
            UnknownMember: it does not belong to the group.
            NotALearner: it votes already.
            LearnerBehind: it has not caught up yet; a repetition may succeed.
        """
        ...

    def demote(self, id: int, *, timeout: float | None = None) -> Membership:
        """Take a voter's vote; it follows on.

        Raises:
            UnknownMember: it does not belong to the group.
            InvalidArgument: it is a learner.
        """
        ...

    def remove(self, id: int, *, timeout: float | None = None) -> Membership:
        """Take a member out of the group for good. A leader that removes itself hands leadership over.

        Raises:
            UnknownMember: it does not belong to the group.
        """
        ...

    def change_members(self, changes: Sequence[MemberChange], *, timeout: float | None = None) -> Membership:
        """Several changes as one, through a joint configuration; returns when that is left again.

        Raises:
            UnknownMember, AlreadyMember, NotALearner, LearnerBehind: as the single changes.
        """
        ...

    def take_snapshot(self, *, timeout: float | None = None) -> int:
        """Take a snapshot of this member's state now; returns the index that a durable one covers. Any member.

        Raises:
            InvalidArgument: the state machine cannot be dumped.
            Timeout: it was not durable in time; it may still become so.
        """
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
        """Have `fn` called after each loss of leadership; returns what takes it back.

        `fn` may be a `Lease`, which can be called too: an engine with compiled leases of its own withdraws it without
        a call, in the step that loses the leadership.
        """
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
