"""A change of the group, as its caller is told of it."""

from __future__ import annotations

import uuid

import pytest

from tenure.engine.membership import GroupMembership
from tenure.engine.protocol import Change, MemberChange
from tenure.engine.roster import Roster
from tenure.errors import Closed, OutcomeUnknown, Overloaded, Timeout

NEVER = -1


class FakeCore:
    """A leader of three whose host can be asked for its members once, before the change."""

    def __init__(self, then: Exception) -> None:
        self.then = then
        self.asked = 0

    def members(self, deadline_ns):
        self.asked += 1
        if self.asked > 1:
            raise self.then
        return {
            "index": 1, "last_index": 5, "auto_leave": False, "voters": (1, 2, 3), "outgoing": (), "learners": (),
            "learners_next": (), "progress": {}, "roster": [],
        }  # fmt: skip

    def gauges(self):
        return {"leader": 1}


@pytest.mark.parametrize("then", [Overloaded("full", limit="submissions"), Timeout("late"), Closed("closed")])
def test_a_change_that_is_in_the_log_is_not_refused_whatever_comes_behind_it(tmp_path, then):
    """A refusal would be repeated, or taken for one: the member would go all the same."""
    group = GroupMembership(
        FakeCore(then), 1, tmp_path, Roster(uuid.uuid4(), (1, 2, 3)), sync=False, settle_s=1.0
    )  # fmt: skip

    def call(*_):
        return 0, 6, 2, 1, None

    with pytest.raises(OutcomeUnknown) as unknown:
        group.change([MemberChange(Change.REMOVE, 3)], call, lambda *_: AssertionError(), lambda _: None, NEVER)
    assert unknown.value.__cause__ is then
