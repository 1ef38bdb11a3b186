"""`MemberControl`: what may be asked of a running member from outside, one method for each request.

It turns a checked request into a call of the engine and its result into what goes back as JSON; errors pass through.
Any thread; a bounded number of operations at a time, so that status and metrics are never kept waiting by them. It
knows admin addresses, which the group itself does not: from the settings, and from members that were added through it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any

from tenure.admin import wire
from tenure.engine.protocol import Change, Members
from tenure.errors import NotLeader, Overloaded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tenure.engine.protocol import Engine, MemberChange, Membership

__all__ = ["MemberControl"]

logger = logging.getLogger("tenure.admin")

AT_A_TIME = 4


class MemberControl:
    """Carries out requests on one member."""

    def __init__(
        self,
        engine: Engine,
        *,
        admins: Mapping[int, str] | None = None,
        cluster: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        """Control `engine`.

        Args:
            engine: the member. One that is no `Members` can tell who its members are, and no more.
            admins: admin addresses of members, by id, as far as the settings know them.
            cluster: what a host that joins must know: see `tenure.cli.join`.
        """
        self._engine = engine
        self._admins = dict(admins or {})
        self._cluster = cluster
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(AT_A_TIME)

    def members(self) -> dict[str, Any]:
        """Who belongs to the group, as this member knows it."""
        return {
            "asked": self._engine.member_id,
            "leader": self._engine.leader,
            **wire.membership_json(self._engine.configuration(), self.admins),
        }

    def cluster(self) -> dict[str, Any]:
        """What a host that joins must know, and who belongs to the group."""
        return {**self._cluster(), "membership": self.members()}

    def change_members(self, request: Mapping[str, Any], who: str) -> dict[str, Any]:
        """Add, promote, demote or remove; returns the membership that the change made."""
        changes, admins = wire.changes_of(request)
        timeout = wire.timeout_of(request)
        with self._operation() as engine:
            logger.info(
                "%s asks for: %s",
                who,
                ", ".join(f"{one.change} {one.id}" for one in changes),
                extra={"event": "change_asked", "member": self._engine.member_id, "who": who},
            )
            made = change(engine, changes, timeout)
        with self._lock:
            self._admins |= admins
        return wire.membership_json(made, self.admins)

    def transfer_leader(self, request: Mapping[str, Any], who: str) -> dict[str, Any]:
        """Hand leadership over; returns who leads afterwards."""
        wire.fields(request, "target", "timeout_s")
        target, timeout = wire.target_of(request), wire.timeout_of(request)
        if target is not None and target == self._engine.member_id == self._engine.leader:
            return {"leader": target}  # as it is to be
        with self._slot():
            logger.info(
                "%s asks for a leader other than this one: %s",
                who,
                target or "any",
                extra={"event": "transfer_asked", "member": self._engine.member_id, "who": who},
            )
            return {"leader": self._engine.transfer_leadership(target, timeout=timeout)}

    def take_snapshot(self, request: Mapping[str, Any], who: str) -> dict[str, Any]:
        """Take a snapshot of this member's state; returns the index that it covers."""
        wire.fields(request, "timeout_s")
        timeout = wire.timeout_of(request)
        with self._operation() as engine:
            logger.info("%s asks for a snapshot", who, extra={"event": "snapshot_asked", "who": who})
            return {"member": self._engine.member_id, "index": engine.take_snapshot(timeout=timeout)}

    @property
    def admins(self) -> dict[int, str]:
        """The admin addresses that are known, by member."""
        with self._lock:
            return dict(self._admins)

    def leader_hint(self, error: NotLeader) -> tuple[int | None, str | None]:
        """Who leads, as far as this member knows, and the leader's admin address."""
        leader = error.leader or self._engine.leader
        if leader is None or leader == self._engine.member_id:
            return None, None
        return leader, self.admins.get(leader)

    @contextlib.contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._slots.acquire(blocking=False):
            raise Overloaded("too many operations are under way", limit="admin_operations")
        try:
            yield
        finally:
            self._slots.release()

    @contextlib.contextmanager
    def _operation(self) -> Iterator[Members]:
        engine = self._engine
        if not isinstance(engine, Members):
            raise wire.HttpRefusal(f"{type(engine).__name__} cannot do that", http_code="unsupported")
        with self._slot():
            yield engine


def change(engine: Members, changes: list[MemberChange], timeout: float) -> Membership:
    """One change by the call that is made for it, several as one."""
    if len(changes) > 1:
        return engine.change_members(changes, timeout=timeout)
    one = changes[0]
    match one.change:
        case Change.ADD_LEARNER:
            return engine.add_learner(one.id, one.address or "", timeout=timeout)
        case Change.ADD_VOTER:
            return engine.add_voter(one.id, one.address or "", timeout=timeout)
        case Change.PROMOTE:
            return engine.promote(one.id, timeout=timeout)
        case Change.DEMOTE:
            return engine.demote(one.id, timeout=timeout)
        case Change.REMOVE:
            return engine.remove(one.id, timeout=timeout)
