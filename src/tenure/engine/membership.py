"""`GroupMembership`: what an engine knows of its group, keeps in the file `members`, and does to change it.

The core decides: it takes a change, or says why not. Here a change is looked at first, so that what cannot be meant
gets a clear error; what others do at the same moment is still the core's to find. The address book follows the log: the
events thread writes it anew when the core says that it changed. If a crash comes first, the log or a peer repeats it.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from tenure._host.core import BOOK_MEMBERS, CHANGE, HostCore
from tenure.engine import roster as rosters
from tenure.engine.outcome import OK, Call, Code
from tenure.engine.protocol import Change, MemberChange, MemberInfo, Membership
from tenure.engine.roster import Roster, RosterEntry
from tenure.errors import (
    AlreadyMember,
    ChangeInProgress,
    Closed,
    ForeignCluster,
    InvalidArgument,
    LearnerBehind,
    NotALearner,
    OutcomeUnknown,
    Overloaded,
    StorageError,
    TenureError,
    Timeout,
    UnknownMember,
    WouldLoseQuorum,
)

if TYPE_CHECKING:
    import os
    import uuid
    from collections.abc import Callable, Mapping, Sequence

    from tenure.engine.outcome import Outcome

__all__ = ["GroupMembership", "open_roster"]

logger = logging.getLogger("tenure.engine")

# Kinds of change and transitions of `_raft/types.pxd`.
ADD_VOTER, REMOVE, ADD_LEARNER = 0, 1, 3
TRANSITION_AUTO = 0
KINDS = {
    Change.ADD_LEARNER: ADD_LEARNER,
    Change.ADD_VOTER: ADD_VOTER,
    Change.PROMOTE: ADD_VOTER,
    Change.DEMOTE: ADD_LEARNER,
    Change.REMOVE: REMOVE,
}
ASK_NS = 1_000_000_000
# A learner is close enough to be promoted when the leader's log has at most so many entries more.
CLOSE_ENTRIES = 1_000


def open_roster(
    directory: str | os.PathLike[str],
    cluster_id: uuid.UUID,
    addresses: Mapping[int, str],
    *,
    bootstrap: Sequence[int],
    learners: Sequence[int],
) -> Roster:
    """What the directory remembers of its group; of a new directory, what the arguments say.

    The address of a member that no change of the group has brought is what the arguments say, as it always was.
    """
    found = rosters.read(directory)
    if found is None:
        found = Roster(
            cluster_id=cluster_id, base_voters=tuple(sorted(bootstrap)), base_learners=tuple(sorted(learners))
        )
    if found.cluster_id != cluster_id:
        raise ForeignCluster(
            f"{directory} belongs to cluster {found.cluster_id}, not to {cluster_id}",
            path=str(directory),
            found=str(found.cluster_id),
            expected=str(cluster_id),
        )
    book = {one.id: one for one in found.entries}
    for id, address in addresses.items():
        if id not in book or book[id].index == 0:
            book[id] = RosterEntry(id, address, 0)
    return Roster(
        cluster_id=found.cluster_id,
        base_voters=found.base_voters,
        base_learners=found.base_learners,
        base_index=found.base_index,
        entries=tuple(book[id] for id in sorted(book)),
    )


class GroupMembership:
    """The membership of one member's group. Any thread; it does not own the core."""

    def __init__(
        self,
        core: HostCore,
        member_id: int,
        directory: str | os.PathLike[str],
        roster: Roster,
        *,
        sync: bool,
        settle_s: float,
    ) -> None:
        """`roster` is on disk already, or is written by the first `refresh`.

        Within `settle_s`, the election timeout, a leader hears of everybody that it can reach.
        """
        self._core = core
        self._member_id = member_id
        self._directory = directory
        self._roster = roster
        self._written: Roster | None = None
        self._sync = sync
        self._settle_ns = round(settle_s * 1e9)
        self._lock = threading.Lock()
        self._seen: Membership | None = None
        self.addresses: dict[int, str] = dict(roster.addresses)

    # ---- what is known

    def refresh(self) -> None:
        """Look what has changed, and keep it. Called by the events thread, and once at the start."""
        try:
            self.current(time.monotonic_ns() + ASK_NS)
        except TenureError:
            return  # stopped, or busy: whatever is missed is in the log, and asked for again
        self.keep()

    def keep(self) -> None:
        """Write the roster if the file does not say the same."""
        with self._lock:
            if self._written == self._roster:
                return
            try:
                rosters.write(self._directory, self._roster, sync=self._sync)
            except StorageError as error:
                logger.error(
                    "member %d cannot write its list of members: %s",
                    self._member_id,
                    error,
                    extra={"event": "members_unwritten", "member": self._member_id},
                )
            else:
                self._written = self._roster

    def current(self, deadline_ns: int) -> Membership:
        """The configuration that this member has applied, and the book.

        Raises:
            Timeout: the host did not answer in time.
            Closed: it has stopped.
        """
        return self._membership(self._ask(deadline_ns))

    def _ask(self, deadline_ns: int) -> dict[str, Any]:
        found = self._core.members(deadline_ns)
        if found is None:
            if 0 <= deadline_ns <= time.monotonic_ns():
                raise Timeout("the host did not say in time who belongs to the group")
            raise Closed("the member has stopped")
        return found

    def _membership(self, found: dict[str, Any]) -> Membership:
        with self._lock:
            for id, index, address in found["roster"]:
                self._roster = self._roster.with_entry(id, address or None, index)
            addresses = self._roster.addresses
        self.addresses.update(addresses)
        leader = self._core.gauges()["leader"]
        everybody = sorted({*found["voters"], *found["outgoing"], *found["learners"], *found["learners_next"]})
        membership = Membership(
            index=found["index"],
            voters=tuple(found["voters"]),
            outgoing=tuple(found["outgoing"]),
            learners=tuple(found["learners"]),
            learners_next=tuple(found["learners_next"]),
            auto_leave=found["auto_leave"],
            members=tuple(
                MemberInfo(
                    id=id,
                    address=addresses.get(id),
                    voter=id in found["voters"],
                    learner=id in found["learners"],
                    outgoing=id in found["outgoing"],
                    leader=id == leader,
                )
                for id in everybody
            ),
        )
        self._tell(membership)
        return membership

    def _tell(self, membership: Membership) -> None:
        with self._lock:
            seen, self._seen = self._seen, membership
        if seen is not None and (seen.voters, seen.outgoing, seen.learners) == (
            membership.voters,
            membership.outgoing,
            membership.learners,
        ):
            return
        logger.info(
            "member %d: the group at index %d: voters %s%s, learners %s",
            self._member_id,
            membership.index,
            list(membership.voters),
            f" and {list(membership.outgoing)}" if membership.joint else "",
            list(membership.learners),
            extra={"event": "members", "member": self._member_id, "index": membership.index},
        )

    # ---- changes

    def change(
        self,
        changes: Sequence[MemberChange],
        call: Callable[[Call, int, bytes | None, int, int], Outcome],
        error: Callable[[int, int], TenureError],
        pause: Callable[[int], None],
        deadline_ns: int,
    ) -> Membership:
        """Propose the changes as one and return when they are applied and no joint configuration is left.

        `call`, `error` and `pause` are the engine's: submit, turn a code into an error, wait a little.
        """
        give_up_ns = time.monotonic_ns() + self._settle_ns
        while True:
            found = self._ask(deadline_ns)
            voters = self._judge(changes, found)
            unreachable = self._unreachable(changes, voters, found)
            if unreachable is None:
                break
            # at each check of the quorum a leader forgets who has replied, until the next heartbeat is answered
            if time.monotonic_ns() > give_up_ns:
                raise unreachable
            pause(deadline_ns)
        single = len(changes) == 1
        encoded = [(KINDS[one.change], one.id, (one.address or "").encode()) for one in changes]
        payload = HostCore.encode_change(encoded, TRANSITION_AUTO, single)
        # at the configuration that was judged: the loop refuses it when another change was applied in between
        code, index, _, leader, _ = call(Call.WRITE, CHANGE, payload, found["index"] << 1 | single, deadline_ns)
        if code != OK:
            raise self._refusal(code) or error(code, leader)
        try:
            while (membership := self.current(deadline_ns)).index < index or membership.joint:
                if 0 <= deadline_ns <= time.monotonic_ns():
                    raise Timeout("not left yet")
                pause(deadline_ns)
        except (Timeout, Closed, Overloaded) as late:
            raise OutcomeUnknown("the change is in the log; when the group has settled is not known yet") from late
        return membership

    @staticmethod
    def _refusal(code: int) -> TenureError | None:
        if code in (Code.CHANGE_PENDING, Code.ALREADY_JOINT, Code.SIMPLE_IN_JOINT):
            return ChangeInProgress("another change of the group came first, or is not applied yet: one at a time")
        if code in (Code.NO_VOTERS, Code.JOINT_WITHOUT_VOTERS):
            return WouldLoseQuorum("nobody would be left to vote")
        if code == Code.TOO_MANY_MEMBERS:
            return InvalidArgument("the group would have too many members of a kind", field="id")
        return None

    def _judge(self, changes: Sequence[MemberChange], found: dict[str, Any]) -> set[int]:
        """Refuse what makes no sense; the voters that it would leave."""
        if not changes:
            raise InvalidArgument("no change was given", field="changes")
        if len({one.id for one in changes}) != len(changes):
            raise InvalidArgument("one change for each member", field="changes")
        voters, learners = set(found["voters"]), {*found["learners"], *found["learners_next"]}
        known = voters | learners | set(found["outgoing"])
        for one in changes:
            self._judge_one(one, voters, known, found)
            if one.change in (Change.ADD_VOTER, Change.PROMOTE):
                voters.add(one.id)
            else:
                voters.discard(one.id)
        if not voters:
            raise WouldLoseQuorum("nobody would be left to vote")
        book = {id for id, _, _ in found["roster"]}
        if len(book.union(one.id for one in changes)) > max(BOOK_MEMBERS, len(book)):
            raise InvalidArgument(
                f"the group's book of addresses is full: it holds {BOOK_MEMBERS} members, those removed among them",
                field="id",
            )
        return voters

    def _unreachable(
        self, changes: Sequence[MemberChange], voters: set[int], found: dict[str, Any]
    ) -> WouldLoseQuorum | None:
        """Why a change that takes a vote would leave too few voters that can be reached, if it would."""
        progress = found["progress"]
        if progress and self._shrinks(changes):  # a leader's own view; whoever does not lead is told so by the core
            reached = [id for id in voters if id not in progress or progress[id][1]]
            if len(reached) <= len(voters) // 2:
                return WouldLoseQuorum(f"of the voters {sorted(voters)} only {sorted(reached)} can be reached")
        return None

    @staticmethod
    def _shrinks(changes: Sequence[MemberChange]) -> bool:
        return any(one.change in (Change.REMOVE, Change.DEMOTE) for one in changes)

    def _judge_one(self, one: MemberChange, voters: set[int], known: set[int], found: dict[str, Any]) -> None:
        adds = one.change in (Change.ADD_LEARNER, Change.ADD_VOTER)
        if adds != (one.address is not None):
            raise InvalidArgument("an address belongs to a member that is added, and to no other", field="address")
        if adds:
            removed = any(id == one.id and not address for id, _, address in found["roster"])
            if one.id in known or removed:
                raise AlreadyMember(f"member {one.id} belongs to the group, or once did", id=one.id)
            return
        if one.id not in known:
            raise UnknownMember(f"member {one.id} does not belong to the group", id=one.id)
        if one.change is Change.PROMOTE:
            if one.id in voters:
                raise NotALearner(f"member {one.id} votes already", id=one.id)
            behind = found["last_index"] - found["progress"].get(one.id, (found["last_index"], True))[0]
            if behind > CLOSE_ENTRIES:
                raise LearnerBehind(f"member {one.id} is {behind} entries behind", id=one.id)
        elif one.change is Change.DEMOTE and one.id not in voters:
            raise InvalidArgument(f"member {one.id} is a learner", field="id")
