"""Groups that change while they run: who joins, who leaves, what a restart remembers."""

from __future__ import annotations

import time

import pytest

from tenure import errors
from tenure._host.core import BOOK_MEMBERS
from tenure._kv import codec
from tenure._kv.machine import KeyValueMachine
from tenure.config import Config
from tenure.engine import Change, MemberChange, Members, NativeEngine, State
from tenure.engine import roster as rosters

from .cluster import CLUSTER_ID, FAST, Cluster, Dictionary, free_addresses

SMALL_SNAPSHOTS = Config(heartbeat_s=0.05, election_timeout_s=0.4, segment_bytes=4 << 20, snapshot_every=50)


def eventually(condition, timeout_s=15.0):
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.01)
    return found


def join(cluster: Cluster, id: int, *, config=None) -> NativeEngine:
    """Open a member that the group may know already, or will; it begins with what the others began with."""
    began = tuple(sorted(cluster.members))
    addresses = free_addresses([id])
    machine = cluster.machine()
    engine = NativeEngine(
        machine,
        directory=cluster.folder / str(id),
        cluster_id=CLUSTER_ID,
        member_id=id,
        members={**cluster.members, **addresses},
        bootstrap=began,
        config=config or cluster.config,
    )
    cluster.engines[id], cluster.machines[id] = engine, machine
    cluster.joined[id] = addresses[id]
    return engine


def write(cluster: Cluster, count: int, *, name: bytes = b"k") -> None:
    """Writes through whoever leads; an unknown outcome is repeated, which sets the same again."""
    for number in range(count):
        command = (
            b"%b%d=%d" % (name, number, number)
            if cluster.machine is Dictionary
            else codec.encode_set(b"%b%d" % (name, number), b"%d" % number, hint_ts=0)
        )
        for _ in range(50):
            try:
                cluster.leader().propose(command)
                break
            except (errors.Refused, errors.OutcomeUnknown):
                time.sleep(0.02)
        else:
            raise AssertionError("no write in fifty tries")


def same_everywhere(cluster: Cluster) -> None:
    if cluster.machine is Dictionary:
        leader = cluster.leader()
        eventually(lambda: len({engine.applied_index for engine in cluster.engines.values()}) == 1)
        wanted = cluster.machines[leader.member_id].values
        assert all(machine.values == wanted for machine in cluster.machines.values())
    else:
        eventually(
            lambda: (
                len({(engine.applied_index, cluster.machines[id].state_hash) for id, engine in cluster.engines.items()})
                == 1
            )
        )


@pytest.fixture
def grow(clusters):
    def make(size, **how):
        cluster = clusters(size, **how)
        cluster.joined = {}
        cluster.leader()
        return cluster

    return make


@pytest.mark.parametrize("machine", [Dictionary, KeyValueMachine])
def test_one_member_becomes_three(grow, machine):
    cluster = grow(1, machine=machine)
    first = cluster.engines[1]
    assert isinstance(first, Members)
    write(cluster, 20)
    for id in (2, 3):
        engine = join(cluster, id)
        seen = first.add_learner(id, cluster.joined[id])
        assert id in seen.learners
        assert seen.member(id).address == cluster.joined[id]
        eventually(lambda engine=engine: engine.applied_index >= first.applied_index)
        seen = first.promote(id)
        assert id in seen.voters
        assert not seen.joint
    write(cluster, 20, name=b"m")
    same_everywhere(cluster)
    assert [cluster.engines[id].configuration().voters for id in (1, 2, 3)] == [(1, 2, 3)] * 3


def test_the_new_members_carry_the_group_on(grow):
    """The one that was there first goes: the others know each other, although no file of theirs ever named them."""
    cluster = grow(1, machine=KeyValueMachine)
    for id in (2, 3):
        join(cluster, id)
        cluster.engines[1].add_voter(id, cluster.joined[id])
    write(cluster, 10)
    eventually(lambda: all(engine.configuration().voters == (1, 2, 3) for engine in cluster.engines.values()))
    cluster.engines.pop(1).close(graceful=False)
    cluster.machines.pop(1)
    write(cluster, 10, name=b"after")
    same_everywhere(cluster)


def test_a_leader_that_removes_itself_hands_over(grow):
    cluster = grow(3, machine=KeyValueMachine)
    leader = cluster.leader()
    gone = leader.member_id
    leader.remove(gone)
    assert leader.try_lease_read() is None
    cluster.engines.pop(gone)
    cluster.machines.pop(gone)
    write(cluster, 5)
    same_everywhere(cluster)
    assert gone not in cluster.leader().configuration().voters
    with pytest.raises((errors.Refused, errors.Timeout)):
        leader.propose(codec.encode_set(b"k", b"v", hint_ts=0), timeout=0.3)
    assert leader.try_lease_read() is None
    leader.close()


def test_a_dead_member_is_replaced_by_one_change(grow):
    cluster = grow(3, machine=KeyValueMachine)
    leader = cluster.leader()
    dead = next(id for id in cluster.engines if id != leader.member_id)
    cluster.engines.pop(dead).close(graceful=False)
    cluster.machines.pop(dead)
    join(cluster, 4)
    seen = leader.change_members(
        [MemberChange(Change.ADD_VOTER, 4, cluster.joined[4]), MemberChange(Change.REMOVE, dead)], timeout=15
    )
    assert not seen.joint
    assert set(seen.voters) == {1, 2, 3, 4} - {dead}
    write(cluster, 10)
    same_everywhere(cluster)


def test_a_restart_remembers_the_group(grow):
    """The configuration comes from the log, the addresses from the file: the arguments name the first members only."""
    cluster = grow(1, machine=KeyValueMachine, config=SMALL_SNAPSHOTS)
    join(cluster, 2)
    cluster.engines[1].add_voter(2, cluster.joined[2])
    write(cluster, 120)  # snapshots cover the change, and the log forgets it
    eventually(lambda: all(rosters.read(cluster.folder / str(id)).entry(2) for id in (1, 2)))
    for id in (1, 2):
        cluster.engines[id].close()
    cluster.start(1)
    machine = KeyValueMachine()
    cluster.engines[2] = NativeEngine(
        machine,
        directory=cluster.folder / "2",
        cluster_id=CLUSTER_ID,
        member_id=2,
        members={2: cluster.joined[2]},
        config=cluster.config,
    )
    cluster.machines[2] = machine
    write(cluster, 5, name=b"again")
    same_everywhere(cluster)
    assert all(engine.configuration().voters == (1, 2) for engine in cluster.engines.values())


def test_a_learner_that_jumped_over_the_changes_finds_everybody(grow):
    """It gets a snapshot, not the entries that brought the others' addresses; its peers tell it where they are."""
    cluster = grow(1, machine=KeyValueMachine, config=SMALL_SNAPSHOTS)
    for id in (2, 3):
        join(cluster, id)
        cluster.engines[1].add_voter(id, cluster.joined[id])
    write(cluster, 300)
    first = cluster.leader()
    first.take_snapshot()
    began = cluster.members
    join(cluster, 4)
    cluster.leader().add_learner(4, cluster.joined[4])
    fourth = cluster.engines[4]
    eventually(lambda: fourth.applied_index >= 300)
    seen = eventually(lambda: (m := fourth.configuration()) and all(one.address for one in m.members) and m)
    assert {one.id for one in seen.members} == {1, 2, 3, 4}
    assert set(began) == {1}
    same_everywhere(cluster)


def test_a_member_whose_every_acquaintance_was_replaced_finds_the_group_again(grow):
    """While it was away, the two that it knew made room for two of whom it has never heard; they dial it."""
    cluster = grow(3, machine=KeyValueMachine)
    write(cluster, 10)
    same_everywhere(cluster)
    away = next(id for id in cluster.engines if id != cluster.leader().member_id)
    known = [id for id in cluster.engines if id != away]
    cluster.engines.pop(away).close(graceful=False)
    cluster.machines.pop(away)
    for old, new in zip(known, (4, 5), strict=True):
        join(cluster, new)
        cluster.leader().add_voter(new, cluster.joined[new], timeout=15)
        cluster.leader().remove(old, timeout=15)
        cluster.engines.pop(old).close()
        cluster.machines.pop(old)
    write(cluster, 10, name=b"after")
    cluster.start(away)  # its directory, and what it is started with, name the first three
    same_everywhere(cluster)
    assert set(cluster.engines[away].configuration().voters) == {4, 5, away}
    cluster.engines.pop(4).close(graceful=False)
    cluster.machines.pop(4)
    write(cluster, 10, name=b"carried by the one that was away")
    same_everywhere(cluster)


def test_what_no_group_can_do_is_refused(grow):
    cluster = grow(3, machine=KeyValueMachine)
    leader, follower = cluster.leader(), cluster.follower()
    with pytest.raises(errors.AlreadyMember):
        leader.add_learner(2, "127.0.0.1:1")
    with pytest.raises(errors.UnknownMember):
        leader.remove(9)
    with pytest.raises(errors.UnknownMember):
        leader.promote(9)
    with pytest.raises(errors.NotALearner):
        leader.promote(follower.member_id)
    with pytest.raises(errors.InvalidArgument):
        leader.add_learner(0, "127.0.0.1:1")
    with pytest.raises(errors.InvalidArgument):
        leader.add_learner(9, "nonsense")
    with pytest.raises(errors.InvalidArgument):
        leader.change_members([])
    with pytest.raises(errors.NotLeader):
        follower.add_learner(9, "127.0.0.1:1")
    assert leader.configuration().voters == (1, 2, 3)
    cluster.engines.pop(follower.member_id).close(graceful=False)
    cluster.machines.pop(follower.member_id)
    other = next(id for id in cluster.engines if id != leader.member_id)
    time.sleep(3 * FAST.election_timeout_s)  # until the leader knows that one of them is gone
    with pytest.raises(errors.WouldLoseQuorum):
        leader.remove(other)
    leader.remove(follower.member_id)
    with pytest.raises(errors.AlreadyMember):
        leader.add_learner(follower.member_id, "127.0.0.1:1")


def test_the_last_voter_cannot_go(grow):
    cluster = grow(1)
    with pytest.raises(errors.WouldLoseQuorum):
        cluster.engines[1].remove(1)
    assert cluster.engines[1].state is State.LEADER


def test_a_snapshot_on_demand(grow):
    cluster = grow(1, machine=KeyValueMachine)
    write(cluster, 5)
    engine = cluster.engines[1]
    index = engine.take_snapshot()
    assert index >= 6
    assert engine.take_snapshot() == index  # nothing new: the one that is there covers it
    with pytest.raises(errors.InvalidArgument):
        grow(1).engines[1].take_snapshot()


def test_two_operators_who_add_one_id_at_once(grow):
    """The second one looks at the group before the first one's change is made, and proposes after it."""
    cluster = grow(1)
    engine = cluster.engines[1]
    here, there = free_addresses([4])[4], free_addresses([5])[5]
    call, overtaken = engine._call, []

    def slow(*arguments):
        if not overtaken:
            overtaken.append(True)
            engine.add_learner(4, here)
        return call(*arguments)

    engine._call = slow
    with pytest.raises(errors.ChangeInProgress) as refusal:
        engine.add_learner(4, there)
    assert refusal.value.retryable
    assert engine.configuration().member(4).address == here
    with pytest.raises(errors.AlreadyMember):
        engine.add_learner(4, there)


def test_a_removal_in_between_does_not_let_an_id_come_back(grow):
    cluster = grow(1)
    engine = cluster.engines[1]
    address = free_addresses([4])[4]
    call, overtaken = engine._call, []

    def slow(*arguments):
        if not overtaken:
            overtaken.append(True)
            engine.add_learner(4, address)
            engine.remove(4)
        return call(*arguments)

    engine._call = slow
    with pytest.raises(errors.ChangeInProgress):
        engine.add_learner(4, address)
    with pytest.raises(errors.AlreadyMember):
        engine.add_learner(4, address)


def test_a_full_book_of_addresses_takes_nobody_more(tmp_path):
    """Nobody could be told where the member is: it would count and never be reached."""
    nobody_there = dict.fromkeys(range(2, BOOK_MEMBERS + 1), "127.0.0.1:1")
    with NativeEngine(
        Dictionary(),
        directory=tmp_path / "1",
        cluster_id=CLUSTER_ID,
        member_id=1,
        members={**free_addresses([1]), **nobody_there},
        bootstrap=(1,),
        config=FAST,
    ) as engine:
        engine.wait_for_leader(timeout=15)
        eventually(lambda: engine.state is State.LEADER)
        with pytest.raises(errors.InvalidArgument, match="256"):
            engine.add_voter(BOOK_MEMBERS + 1, "127.0.0.1:1", timeout=5)
        assert engine.configuration().voters == (1,)
        engine.propose(b"a=1", timeout=5)
