"""The event thread and the apply thread, over a host made of lists."""

import logging

import pytest

from tenure.engine.lifecycle import Lifecycle
from tenure.engine.outcome import Code
from tenure.engine.protocol import Command
from tenure.engine.pumps import ApplyPump, EventPump

from .fake_core import FakeCore

ROLE, LOST, FAILED, STALLED, MEMBERS = 1, 2, 3, 4, 5
FOLLOWER, LEADER = 0, 3


@pytest.fixture
def core():
    return FakeCore()


@pytest.fixture
def lifecycle(core):
    life = Lifecycle(core, 1.0)
    yield life
    life.close(graceful=False)


def run_events(core, lifecycle, *events):
    """Run the pump over these events to its end; the host has stopped already."""
    calls = []
    pump = EventPump(core, lifecycle)
    pump.register(lambda: calls.append("first"))
    pump.register(lambda: calls.append("second"))
    core.events.extend(events)
    lifecycle.stopped = True
    pump.run()
    return calls


def test_callbacks_run_in_order_of_registration(core, lifecycle):
    assert run_events(core, lifecycle, (ROLE, LEADER, 2, 1, 0), (LOST, FOLLOWER, 3, 0, 0)) == ["first", "second"]


def test_one_loss_is_told_once(core, lifecycle):
    events = [(ROLE, LEADER, 2, 1, 0), (LOST, FOLLOWER, 3, 0, 0), (ROLE, FOLLOWER, 3, 0, 0), (ROLE, FOLLOWER, 3, 2, 0)]
    assert run_events(core, lifecycle, *events) == ["first", "second"]


def test_a_follower_loses_nothing(core, lifecycle):
    assert run_events(core, lifecycle, (ROLE, FOLLOWER, 2, 3, 0), (ROLE, FOLLOWER, 3, 2, 0)) == []


@pytest.mark.parametrize(
    "end",
    [
        pytest.param([], id="stopped at once"),
        pytest.param([(FAILED, LEADER, 2, 1, 201)], id="failed"),
        pytest.param(
            [(ROLE, LEADER, 4, 1, 0), (LOST, FOLLOWER, 5, 0, 0)], id="lost and won between two looks", marks=[]
        ),
    ],
)
def test_every_end_of_a_leadership_is_a_loss(core, lifecycle, end):
    calls = run_events(core, lifecycle, (ROLE, LEADER, 2, 1, 0), *end)
    losses = 2 if len(end) == 2 else 1
    assert calls == ["first", "second"] * losses


def test_a_loss_counts_though_the_win_was_never_seen(core, lifecycle):
    assert run_events(core, lifecycle, (LOST, FOLLOWER, 3, 0, 0)) == ["first", "second"]


def test_a_callback_that_raises_harms_nobody(core, lifecycle, caplog):
    pump = EventPump(core, lifecycle)
    calls = []

    def bad():
        raise RuntimeError("mine")

    pump.register(bad)
    pump.register(lambda: calls.append(1))
    core.events.append((LOST, FOLLOWER, 3, 0, 0))
    lifecycle.stopped = True
    pump.run()
    assert calls == [1]
    assert "mine" in caplog.text


def test_what_fails_beside_the_callbacks_does_not_keep_them_from_being_called(core, lifecycle, caplog):
    def members_changed():
        raise RuntimeError("nobody expected that")

    calls = []
    pump = EventPump(core, lifecycle, members_changed)
    pump.register(lambda: calls.append("lost"))
    core.events.extend([(ROLE, LEADER, 2, 1, 0), (MEMBERS, LEADER, 2, 1, 0), (LOST, FOLLOWER, 3, 0, 0)])
    lifecycle.stopped = True
    pump.run()
    assert calls == ["lost"]
    assert "nobody expected that" in caplog.text


def test_deregistering_twice_takes_back_only_its_own(core, lifecycle):
    pump = EventPump(core, lifecycle)
    calls = []

    def fn():
        calls.append(1)

    first = pump.register(fn)
    pump.register(fn)
    first()
    first()
    core.events.append((LOST, FOLLOWER, 3, 0, 0))
    lifecycle.stopped = True
    pump.run()
    assert calls == [1]


def test_a_callback_may_take_back_a_later_one(core, lifecycle):
    pump = EventPump(core, lifecycle)
    calls = []
    deregister = []
    pump.register(lambda: [fn() for fn in deregister])
    deregister.append(pump.register(lambda: calls.append("later")))
    core.events.append((LOST, FOLLOWER, 3, 0, 0))
    lifecycle.stopped = True
    pump.run()
    assert calls == []


def test_role_changes_failures_and_stalls_are_logged_with_fields(core, lifecycle, caplog):
    with caplog.at_level(logging.INFO, "tenure.engine"):
        run_events(core, lifecycle, (ROLE, LEADER, 2, 1, 0), (STALLED, LEADER, 2, 1, 0), (FAILED, LEADER, 2, 1, 202))
    records = {record.event: record for record in caplog.records}
    assert (records["role"].term, records["role"].state) == (2, "leader")
    assert records["stalled"].levelno == logging.ERROR
    assert records["failed"].cause == "disk_full"
    assert records["leader_lost"].levelno == logging.WARNING


def test_being_closed_is_not_logged_as_a_failure(core, lifecycle, caplog):
    run_events(core, lifecycle, (FAILED, FOLLOWER, 2, 1, 102))
    assert caplog.records == []


# ------------------------------------------------------------------------------------------------------------- apply


class Machine:
    def __init__(self, answer=None):
        self.batches = []
        self.answer = answer or (lambda batch: [b"=" + command.data for command in batch])

    def apply(self, batch):
        self.batches.append(list(batch))
        return self.answer(batch)


def run_apply(core, lifecycle, machine, *batches):
    core.batches.extend(batches)

    def next_batch(deadline_ns, take=core.next_batch):
        lifecycle.stopped = not core.batches[1:]
        return take(deadline_ns)

    core.next_batch = next_batch
    ApplyPump(core, lifecycle, machine).run()


def test_commands_are_applied_in_batches_and_answered_in_order(core, lifecycle):
    machine = Machine()
    run_apply(core, lifecycle, machine, [(1, 1, 0, None), (2, 1, 0, b"a"), (3, 1, 0, b"b")], [(4, 1, 0, b"c")])
    assert machine.batches == [[Command(2, 1, b"a"), Command(3, 1, b"b")], [Command(4, 1, b"c")]]
    assert core.applied == [(3, [None, b"=a", b"=b"]), (4, [b"=c"])]


def test_entries_of_the_core_never_reach_the_machine(core, lifecycle):
    machine = Machine()
    run_apply(core, lifecycle, machine, [(1, 1, 0, None), (2, 1, 1, b"a change of the members")])
    assert machine.batches == []
    assert core.applied == [(2, [None, None])]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (lambda batch: 1 / 0, Code.STATE_MACHINE_RAISED),
        (lambda batch: [], Code.STATE_MACHINE_RESULTS),
        (lambda batch: [None, None], Code.STATE_MACHINE_RESULTS),
        (lambda batch: None, Code.STATE_MACHINE_RESULTS),
        (lambda batch: b"x", Code.STATE_MACHINE_RESULTS),
        (lambda batch: ["text"], Code.STATE_MACHINE_RESULTS),
    ],
    ids=["raises", "too few", "too many", "nothing", "no list", "no bytes"],
)
def test_a_machine_that_misbehaves_stops_the_member(core, lifecycle, caplog, answer, code):
    machine = Machine(answer)
    run_apply(core, lifecycle, machine, [(2, 1, 0, b"a")], [(3, 1, 0, b"b")])
    assert core.failures == [code]
    assert core.applied == []
    assert len(machine.batches) == 1, "nothing is applied after a failure"
    assert "Machine.apply" in caplog.text
