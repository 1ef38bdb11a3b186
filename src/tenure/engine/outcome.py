"""The one table from the core's codes to `tenure.errors`.

A submission ends with a code; `Outcomes` knows what each means for the kind of call that met it. The numbers are
those of `_raft/types.pxd`, `_host/member.pxd` and `_storage/error.pxd`; the last family, from 301, is minted here, for
state machines written in Python. What is wrong with a directory that cannot be opened, the storage says itself.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Protocol, TypeAlias

from tenure.errors import (
    AddressUnavailable,
    Closed,
    CorruptLog,
    DirectoryLocked,
    DiskFull,
    ForeignCluster,
    InvalidArgument,
    MemberFailed,
    NewerFormat,
    NotLeader,
    OutcomeUnknown,
    Overloaded,
    ProposalRefused,
    Refused,
    StateDiverged,
    StorageError,
    TenureError,
    Timeout,
    TooLarge,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "OK",
    "Call",
    "Code",
    "Outcome",
    "Outcomes",
    "failure_name",
    "is_transient",
    "opening_error",
    "state_diverged",
    "timed_out",
]

OK = 0
Outcome: TypeAlias = "tuple[int, int, int, int, bytes | None]"  # code, index, term, leader, value


class Code(enum.IntEnum):
    """Every way in which the core says no."""

    MEMORY = 1
    INVARIANT = 2
    NOT_LEADER = 3
    NO_LEADER = 4
    OVERLOADED = 5
    TRANSFER = 6
    TOO_LARGE = 7
    REMOVED = 8
    BAD_TARGET = 11
    STEPPED_DOWN = 12
    CHANGE_PENDING = 14
    ALREADY_JOINT = 15
    NOT_JOINT = 16
    SIMPLE_IN_JOINT = 17
    NEEDS_JOINT = 18
    NO_VOTERS = 19
    JOINT_WITHOUT_VOTERS = 20
    TOO_MANY_MEMBERS = 21
    BAD_CHANGE = 22
    UNKNOWN = 101
    CLOSED = 102
    FAILED = 103
    LOST = 104
    DIVERGED = 105
    STORAGE_IO = 201
    STORAGE_FULL = 202
    STORAGE_CORRUPT = 203
    STORAGE_NEWER_FORMAT = 204
    STORAGE_FOREIGN = 205
    STORAGE_LOCKED = 206
    STORAGE_MEMORY = 207
    STORAGE_BAD_DIRECTORY = 208
    STORAGE_MISUSE = 209
    STATE_MACHINE_RAISED = 301
    STATE_MACHINE_RESULTS = 302


class Call(enum.Enum):
    """What kind of call met the code: only a write can have an unknown outcome."""

    WRITE = "write"
    READ = "read"
    CONTROL = "control"


# Why a member stopped, as `MemberFailed.cause` and `Status.failure` say it.
FAILURES: Mapping[int, str] = {
    Code.MEMORY: "memory",
    Code.INVARIANT: "invariant",
    Code.DIVERGED: StateDiverged.code,
    Code.STORAGE_IO: StorageError.code,
    Code.STORAGE_FULL: DiskFull.code,
    Code.STORAGE_CORRUPT: CorruptLog.code,
    Code.STORAGE_NEWER_FORMAT: NewerFormat.code,
    Code.STORAGE_FOREIGN: ForeignCluster.code,
    Code.STORAGE_LOCKED: DirectoryLocked.code,
    Code.STORAGE_MEMORY: "memory",
    Code.STORAGE_BAD_DIRECTORY: StorageError.code,
    Code.STORAGE_MISUSE: "invariant",
    Code.STATE_MACHINE_RAISED: "state_machine",
    Code.STATE_MACHINE_RESULTS: "state_machine_results",
}

# Why a change of membership was refused: for now, or for what it is.
REFUSED_FOR_NOW: Mapping[int, str] = {
    Code.CHANGE_PENDING: "an earlier change of membership is not applied yet",
    Code.ALREADY_JOINT: "the joint configuration has to be left first",
    Code.NOT_JOINT: "there is no joint configuration to leave",
    Code.SIMPLE_IN_JOINT: "the joint configuration has to be left first",
}
REFUSED_FOR_GOOD: Mapping[int, str] = {
    Code.NEEDS_JOINT: "more than one voter would change at once",
    Code.NO_VOTERS: "nobody would be left to vote",
    Code.JOINT_WITHOUT_VOTERS: "a group without voters cannot enter a joint configuration",
    Code.TOO_MANY_MEMBERS: "the group would have too many members",
    Code.BAD_CHANGE: "this is no change of membership",
}

# A read that ended so may be asked again at once, under a new id: it is only looking for the leader.
TRANSIENT = frozenset({Code.NOT_LEADER, Code.NO_LEADER, Code.TRANSFER, Code.STEPPED_DOWN})


def is_transient(code: int) -> bool:
    """Whether a fresh submission of the same read may fare better."""
    return code in TRANSIENT


def failure_name(code: int) -> str | None:
    """Why a member stopped; None while it has not, or when it was only closed."""
    if code in (OK, Code.CLOSED):
        return None
    return FAILURES.get(code, f"code_{code}")


def timed_out(call: Call) -> TenureError:
    """The deadline passed while waiting for the outcome of something submitted."""
    if call is Call.WRITE:
        return OutcomeUnknown("no outcome before the deadline: the command may take effect now, later or never")
    return Timeout("the deadline passed")


class Outcomes:
    """Turns codes into errors for one member. Immutable; any thread may ask."""

    __slots__ = ("_addresses", "_failure", "_gauges", "_max_message_bytes")

    def __init__(
        self,
        addresses: Mapping[int, str],
        max_message_bytes: int,
        failure: Callable[[], str | None] = lambda: None,
        gauges: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        """`failure` is asked, when a call finds the member failed, why it did, and `gauges` for the particulars."""
        self._addresses = addresses
        self._max_message_bytes = max_message_bytes
        self._failure = failure
        self._gauges = gauges

    def error(self, call: Call, code: int, leader: int = 0, *, size_bytes: int = 0) -> TenureError:
        """The error for `code`, which is not OK, with which a call of this kind ended; `leader` is 0 where unknown."""
        match code:
            case Code.NOT_LEADER:
                return self._not_leader("this member does not lead", leader)
            case Code.NO_LEADER:
                return self._not_leader("no leader is known", 0)
            case Code.STEPPED_DOWN:
                return self._not_leader("the leader stepped down before it could answer", leader)
            case Code.LOST:
                return self._not_leader("another leader's entry took its place: it never takes effect", leader)
            case Code.REMOVED:
                return self._not_leader("this member does not belong to the group", leader)
            case Code.OVERLOADED:
                limit = "uncommitted_bytes" if call is Call.WRITE else "pending_reads"
                return Overloaded(f"too much is under way: {limit}", limit=limit)
            case Code.TRANSFER:
                return ProposalRefused("leadership is being handed over")
            case Code.TOO_LARGE:
                return TooLarge(
                    f"a command of {size_bytes} bytes, where one message may have {self._max_message_bytes}",
                    size_bytes=size_bytes,
                    limit_bytes=self._max_message_bytes,
                )
            case Code.BAD_TARGET:
                return InvalidArgument("the target is not another voter of this group", field="target")
            case Code.CLOSED:
                return Closed("the engine is closed")
            case Code.FAILED:
                cause = self._failure()
                if cause == StateDiverged.code:
                    return state_diverged(self._gauges())
                return MemberFailed(f"this member has stopped for good: {cause or 'closed'}", cause=cause)
            case Code.UNKNOWN:
                if call is Call.WRITE:
                    return OutcomeUnknown("the member stopped before the outcome was known")
                return Closed("the member stopped before it could answer")
        if code in REFUSED_FOR_NOW:
            return ProposalRefused(REFUSED_FOR_NOW[code])
        if code in REFUSED_FOR_GOOD:
            return InvalidArgument(REFUSED_FOR_GOOD[code], field="change")
        if code == Code.DIVERGED:
            return state_diverged(self._gauges())
        if code in FAILURES:
            return MemberFailed(f"this member has stopped for good: {FAILURES[code]}", cause=FAILURES[code])
        if call is Call.WRITE:
            return OutcomeUnknown(f"the core ended the call with the unexpected code {code}")
        return Refused(f"the core ended the call with the unexpected code {code}", code=code)

    def _not_leader(self, message: str, leader: int) -> NotLeader:
        if not leader:
            return NotLeader(message)
        return NotLeader(f"{message}; ask member {leader}", leader=leader, address=self._addresses.get(leader))


def state_diverged(gauges: Mapping[str, int]) -> StateDiverged:
    """The error of a member that found its state different from the leader's."""
    index, own, leader = (gauges.get(name, 0) for name in ("diverged_index", "diverged_hash", "leader_hash"))
    return StateDiverged(
        "this member has stopped for good: "
        f"its state at index {index} has the hash {own:016x}, the leader's {leader:016x}",
        index=index,
        own_hash=own,
        leader_hash=leader,
    )


class OpeningFailure(Protocol):
    """What is asked of the core's `CoreError`."""

    kind: str
    errno: int
    path: str


def opening_error(failure: OpeningFailure) -> TenureError:
    """The error for a host that could not be opened; what is wrong with a directory, the storage says itself."""
    errno = failure.errno or None
    if failure.kind == "network":
        return AddressUnavailable(f"cannot listen on {failure.path}: {failure}", address=failure.path, errno=errno)
    if failure.kind == "machine":
        return InvalidArgument("state_machine: an engine has used it up: make another", field="state_machine")
    return InvalidArgument(f"the core refused its configuration: {failure}")
