"""Engines that replicate nothing: one process, one member, everything in memory.

They keep a real log, a real term and a real role, apply what is proposed, and say what an engine has to say; a test
decides when leadership goes and what happens in the middle of a proposal.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from tenure.engine.protocol import Membership, ProposalResult, State, Status
from tenure.errors import Closed, NotLeader, Timeout


class SingleProcessEngine:
    """An `Engine` without any lease."""

    member_id = 1

    def __init__(self) -> None:
        self.log: list[tuple[int, bytes]] = []
        self.term = 1
        self.state = State.LEADER
        self.quorum_reads = 0
        self.quorum_reachable = True
        self.before_commit: Callable[[], None] = lambda: None
        self.after_commit: Callable[[], None] = lambda: None
        self.closed_with: list[bool] = []

    @property
    def leader(self) -> int | None:
        return 1 if self.state is State.LEADER else 2

    def propose(self, data: bytes, *, timeout: float | None = None) -> ProposalResult:
        self._check()
        if self.state is not State.LEADER:
            raise NotLeader("not here", leader=2)
        term = self.term
        self.before_commit()
        self.log.append((term, data))
        index = len(self.log)
        self.after_commit()
        return ProposalResult(index, term, data.upper())

    def linearizable_read(self, *, timeout: float | None = None) -> int:
        self._check()
        self.quorum_reads += 1
        if not self.quorum_reachable:
            raise Timeout("no quorum")
        return len(self.log)

    def verify_leader(self, *, timeout: float | None = None) -> None:
        self.linearizable_read(timeout=timeout)

    def transfer_leadership(self, target: int | None = None, *, timeout: float | None = None) -> int:
        self.lose_leadership()
        return 2

    def status(self) -> Status:
        return Status(
            member_id=1,
            state=self.state,
            term=self.term,
            leader=self.leader,
            leader_address=None,
            commit_index=len(self.log),
            applied_index=len(self.log),
            first_index=1,
            last_index=len(self.log),
            lease_remaining_ns=0,
            failure=None,
            counters=MappingProxyType({}),
        )

    def configuration(self) -> Membership:
        return Membership(index=0, voters=(1,))

    def close(self, *, graceful: bool = True, timeout: float | None = None) -> None:
        self.closed_with.append(graceful)
        self.state = State.CLOSED

    def lose_leadership(self) -> None:
        self.term += 1
        self.state = State.FOLLOWER

    def win_leadership(self) -> None:
        self.term += 1
        self.state = State.LEADER

    def _check(self) -> None:
        if self.state is State.CLOSED:
            raise Closed


class DurationEngine(SingleProcessEngine):
    """A `LeaseProvider` that only says how long a confirmation is worth."""

    def __init__(self, lease_duration_ns: int = 5_000_000_000) -> None:
        super().__init__()
        self.lease_duration_ns = lease_duration_ns
        self.callbacks: list[Callable[[], None]] = []

    @property
    def applied_index(self) -> int:
        return len(self.log)

    @property
    def last_quorum_ack_ns(self) -> int:
        return 0

    def register_leader_loss_callback(self, fn: Callable[[], None]) -> Callable[[], None]:
        self.callbacks.append(fn)

        def deregister() -> None:
            if fn in self.callbacks:
                self.callbacks.remove(fn)

        return deregister

    def lose_leadership(self) -> None:
        super().lose_leadership()
        for fn in list(self.callbacks):
            fn()


class LeaseKeepingEngine(DurationEngine):
    """An engine that keeps the lease itself: a `LeaseReader`."""

    def try_lease_read(self) -> int | None:
        return len(self.log) if self.state is State.LEADER else None

    def lease_read(self, *, timeout: float | None = None) -> int:
        index = self.try_lease_read()
        return self.linearizable_read(timeout=timeout) if index is None else index
