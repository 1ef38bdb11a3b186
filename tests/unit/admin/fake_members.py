"""A member whose group changes at once, or refuses to: what the admin endpoint drives in its tests."""

from __future__ import annotations

import threading

from tenure.engine.protocol import Change, MemberChange, MemberInfo, Membership
from tenure.errors import AlreadyMember, NotALearner, NotLeader, UnknownMember, WouldLoseQuorum


class FakeMembers:
    """An engine as far as `MemberControl` is concerned: it applies changes at once and remembers what it was asked."""

    def __init__(self, member_id: int = 1, *, leader: int | None = 1) -> None:
        self.member_id = member_id
        self.leader = leader
        self.index = 0
        self.voters = {1, 2, 3}
        self.learners: set[int] = set()
        self.addresses = {id: f"10.0.0.{id}:7101" for id in (1, 2, 3)}
        self.asked: list[tuple] = []
        self.refusals: list[Exception] = []
        self.gate = threading.Event()
        self.gate.set()

    def configuration(self) -> Membership:
        return Membership(
            index=self.index,
            voters=tuple(sorted(self.voters)),
            learners=tuple(sorted(self.learners)),
            members=tuple(
                MemberInfo(id, self.addresses.get(id), id in self.voters, id in self.learners, False, id == self.leader)
                for id in sorted(self.voters | self.learners)
            ),
        )

    def add_learner(self, id, address, *, timeout=None):
        return self.change_members([MemberChange(Change.ADD_LEARNER, id, address)], timeout=timeout)

    def add_voter(self, id, address, *, timeout=None):
        return self.change_members([MemberChange(Change.ADD_VOTER, id, address)], timeout=timeout)

    def promote(self, id, *, timeout=None):
        return self.change_members([MemberChange(Change.PROMOTE, id)], timeout=timeout)

    def demote(self, id, *, timeout=None):
        return self.change_members([MemberChange(Change.DEMOTE, id)], timeout=timeout)

    def remove(self, id, *, timeout=None):
        return self.change_members([MemberChange(Change.REMOVE, id)], timeout=timeout)

    def change_members(self, changes, *, timeout=None):
        self._begin(("change", tuple(changes), timeout))
        for one in changes:
            self._change(one)
        self.index += 1
        return self.configuration()

    def _change(self, one: MemberChange) -> None:
        known = one.id in self.voters | self.learners
        match one.change:
            case Change.ADD_LEARNER | Change.ADD_VOTER if known:
                raise AlreadyMember(f"member {one.id} is there already", id=one.id)
            case Change.ADD_LEARNER:
                self.learners.add(one.id)
            case Change.ADD_VOTER:
                self.voters.add(one.id)
            case _ if not known:
                raise UnknownMember(f"there is no member {one.id}", id=one.id)
            case Change.PROMOTE if one.id in self.voters:
                raise NotALearner(f"member {one.id} votes already", id=one.id)
            case Change.PROMOTE:
                self.learners.discard(one.id)
                self.voters.add(one.id)
            case _ if self.voters == {one.id}:
                raise WouldLoseQuorum("nobody would be left to vote")
            case Change.DEMOTE:
                self.voters.discard(one.id)
                self.learners.add(one.id)
            case Change.REMOVE:
                self.voters.discard(one.id)
                self.learners.discard(one.id)
        if one.address is not None:
            self.addresses[one.id] = one.address

    def take_snapshot(self, *, timeout=None):
        self._begin(("snapshot", timeout), anybody=True)
        return 4711

    def transfer_leadership(self, target=None, *, timeout=None):
        self._begin(("transfer", target, timeout))
        self.leader = target or 2
        return self.leader

    def _begin(self, what: tuple, *, anybody: bool = False) -> None:
        self.asked.append(what)
        self.gate.wait(30)
        if self.refusals:
            raise self.refusals.pop(0)
        if not anybody and self.leader != self.member_id:
            raise NotLeader("this member does not lead", leader=self.leader)
