"""Everything tenure raises on purpose: one tree under `TenureError`.

Each class has a `code`, a short name that never changes and that protocols and logs may carry, and says by
`retryable` whether the same call may succeed later, unchanged. What a program needs to act (the leader to go to, the
file and offset that are damaged) is an attribute, and every error survives pickling.

Catch at the level you mean: `Refused` is certain not to have taken effect, `OutcomeUnknown` may have, and
`StorageError` ends the member that reported it. A write that was under way when its member failed or was closed is an
`OutcomeUnknown`; `MemberFailed` and `Closed` answer the calls that come after.
"""

from __future__ import annotations

from typing import Any, ClassVar


class TenureError(Exception):
    """The root of the tree."""

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str = "", /, **details: Any) -> None:
        super().__init__(message or self.code.replace("_", " "))
        self.details = details

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args[0], self.details)


def _rebuild(kind: type[TenureError], message: str, details: dict[str, Any]) -> TenureError:
    return kind(message, **details)


class Refused(TenureError):
    """The call was not carried out and never will be: repeating it cannot do the work twice."""

    code = "refused"


class NotLeader(Refused):
    """Only the leader can do this. `leader` is the member to ask instead, `address` where it listens, where known."""

    code = "not_leader"
    retryable = True

    def __init__(self, message: str = "", /, *, leader: int | None = None, address: str | None = None) -> None:
        super().__init__(message, leader=leader, address=address)
        self.leader = leader
        self.address = address


class LeaseUnavailable(Refused):
    """No valid lease covers this instant, and the caller asked for nothing else."""

    code = "lease_unavailable"
    retryable = True


class ClockUnavailable(LeaseUnavailable):
    """The lease clock cannot be read on this machine: no lease will ever be held here."""

    code = "clock_unavailable"
    retryable = False


class Overloaded(Refused):
    """A queue or a limit is full; waiting a little helps. `limit` names it."""

    code = "overloaded"
    retryable = True

    def __init__(self, message: str = "", /, *, limit: str | None = None) -> None:
        super().__init__(message, limit=limit)
        self.limit = limit


class ProposalRefused(Refused):
    """The group took no proposal now: leadership is moving, or a membership change is still under way."""

    code = "proposal_refused"
    retryable = True


class InvalidArgument(Refused, ValueError):
    """The call can never succeed as it stands."""

    code = "invalid_argument"


class TooLarge(InvalidArgument):
    """A value is over a limit: `size_bytes` against `limit_bytes`."""

    code = "too_large"

    def __init__(self, message: str = "", /, *, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(message, size_bytes=size_bytes, limit_bytes=limit_bytes)
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class ChangeInProgress(Refused):
    """Another change of the group came first, or is not applied yet: one at a time."""

    code = "change_in_progress"
    retryable = True


class WouldLoseQuorum(Refused):
    """The change would leave the group without a voter, or without a majority of voters that can be reached."""

    code = "would_lose_quorum"


class UnknownMember(InvalidArgument):
    """Member `id` does not belong to the group."""

    code = "unknown_member"

    def __init__(self, message: str = "", /, *, id: int) -> None:
        super().__init__(message, id=id)
        self.id = id


class AlreadyMember(InvalidArgument):
    """Member `id` belongs to the group, or once did: an id is used for one member and never again."""

    code = "already_member"

    def __init__(self, message: str = "", /, *, id: int) -> None:
        super().__init__(message, id=id)
        self.id = id


class NotALearner(InvalidArgument):
    """Only a learner can be promoted, and member `id` votes already."""

    code = "not_a_learner"

    def __init__(self, message: str = "", /, *, id: int) -> None:
        super().__init__(message, id=id)
        self.id = id


class LearnerBehind(Refused):
    """Learner `id` has not caught up with the leader yet; promoted now, it would cost the group its safety margin."""

    code = "learner_behind"
    retryable = True

    def __init__(self, message: str = "", /, *, id: int) -> None:
        super().__init__(message, id=id)
        self.id = id


class Timeout(Refused, TimeoutError):
    """The deadline passed while reading, or before a write was submitted; one submitted is `OutcomeUnknown`."""

    code = "timeout"
    retryable = True


class OutcomeUnknown(TenureError):
    """The call was submitted and no answer came: it may take effect now, later or never.

    Retry only what may happen twice, or inside a session, with `request_id`, that makes it happen once.
    """

    code = "outcome_unknown"

    def __init__(self, message: str = "", /, *, request_id: int | None = None) -> None:
        super().__init__(message, request_id=request_id)
        self.request_id = request_id


class Closed(Refused):
    """The object was closed, by this program or at shutdown."""

    code = "closed"


class ForkedProcess(Refused):
    """This process is a fork of the one that owns the host; the child has no host. Start one of its own."""

    code = "forked_process"


class MemberFailed(Refused):
    """The member has stopped for good in this process; `cause` is the code of the error that stopped it."""

    code = "member_failed"

    def __init__(self, message: str = "", /, *, cause: str | None = None) -> None:
        super().__init__(message, cause=cause)
        self.cause = cause


class StateDiverged(MemberFailed):
    """The member stopped because its state at `index` is not the leader's: `own_hash` against `leader_hash`.

    A state machine that is not deterministic, or a defect of memory, disk or program. Its directory proves it: keep it.
    """

    code = "state_diverged"

    def __init__(
        self,
        message: str = "",
        /,
        *,
        index: int | None = None,
        own_hash: int | None = None,
        leader_hash: int | None = None,
    ) -> None:
        super().__init__(message, cause=self.code)
        self.details = {"index": index, "own_hash": own_hash, "leader_hash": leader_hash}
        self.index = index
        self.own_hash = own_hash
        self.leader_hash = leader_hash


class Unauthorized(Refused):
    """The admin endpoint wants a token that the request did not carry."""

    code = "unauthorized"


class AddressUnavailable(Refused):
    """The member cannot listen on `address`; `errno` says why."""

    code = "address_unavailable"
    retryable = True

    def __init__(self, message: str = "", /, *, address: str | None = None, errno: int | None = None) -> None:
        super().__init__(message, address=address, errno=errno)
        self.address = address
        self.errno = errno


class StorageError(TenureError):
    """The directory, its log or its disk cannot be relied on. `path` and `errno` say where and what, where known."""

    code = "storage"

    def __init__(self, message: str = "", /, *, path: str | None = None, errno: int | None = None, **more: Any) -> None:
        super().__init__(message, path=path, errno=errno, **more)
        self.path = path
        self.errno = errno


class CorruptLog(StorageError):
    """Durable records are damaged at `offset` of `path`; nothing was changed."""

    code = "corrupt_log"

    def __init__(self, message: str = "", /, *, path: str, offset: int, errno: int | None = None) -> None:
        super().__init__(message, path=path, errno=errno, offset=offset)
        self.offset = offset


class DirectoryLocked(StorageError):
    """Another process, `pid` where known, uses this directory."""

    code = "directory_locked"
    retryable = True

    def __init__(self, message: str = "", /, *, path: str, pid: int | None = None, errno: int | None = None) -> None:
        super().__init__(message, path=path, errno=errno, pid=pid)
        self.pid = pid


class ForeignCluster(StorageError):
    """The directory belongs to another cluster or member: `found` where `expected` was asked for."""

    code = "foreign_cluster"

    def __init__(self, message: str = "", /, *, path: str, found: str, expected: str, errno: int | None = None) -> None:
        super().__init__(message, path=path, errno=errno, found=found, expected=expected)
        self.found = found
        self.expected = expected


class NewerFormat(StorageError):
    """A newer tenure wrote this directory: format `found`, while this one knows up to `supported`."""

    code = "newer_format"

    def __init__(
        self, message: str = "", /, *, path: str, found: int, supported: int, errno: int | None = None
    ) -> None:
        super().__init__(message, path=path, errno=errno, found=found, supported=supported)
        self.found = found
        self.supported = supported


class DiskFull(StorageError):
    """No space is left for the log; what was acknowledged is safe."""

    code = "disk_full"


class ProtocolError(TenureError):
    """A peer or client sent what the protocol does not allow; the connection was closed."""

    code = "protocol"


class HandshakeRefused(ProtocolError):
    """The peer would not talk to us, or we not to it; `reason` is the wire's own word for why."""

    code = "handshake_refused"

    def __init__(self, message: str = "", /, *, reason: str | None = None) -> None:
        super().__init__(message, reason=reason)
        self.reason = reason
