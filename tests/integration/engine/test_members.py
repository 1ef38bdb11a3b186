"""What an engine promises its callers, over real sockets and a real disk."""

import asyncio
import logging
import os
import threading
import time

import pytest

from tenure import errors
from tenure._core.clock import now_ns
from tenure._host.core import PROPOSE, READ, CompletionInbox
from tenure.config import Config
from tenure.engine import Engine, Lease, LeaseProvider, LeaseReader, NativeEngine, State

from .cluster import CLUSTER_ID, FAST, Cluster, Dictionary, free_addresses


def test_the_native_engine_has_every_capability(one):
    engine = one.engines[1]
    assert isinstance(engine, Engine)
    assert isinstance(engine, LeaseProvider)
    assert isinstance(engine, LeaseReader)


def test_a_write_is_applied_when_it_returns(one):
    engine = one.engines[1]
    first = engine.propose(b"a=1")
    assert first.value is None
    assert one.machines[1].values == {b"a": b"1"}
    second = engine.propose(b"a=2")
    assert second.value == b"1"
    assert second.index > first.index
    assert engine.applied_index >= second.index


@pytest.mark.parametrize("data", [bytearray(b"a=1"), memoryview(b"a=1")])
def test_any_buffer_is_a_command(one, data):
    one.engines[1].propose(data)
    assert one.machines[1].values == {b"a": b"1"}


def test_an_idle_cluster_sleeps_between_heartbeats(three):
    """Three loops that woke for every tick would take three hundred passes a second."""
    time.sleep(1.0)
    before = {id: engine.status().counters["passes"] for id, engine in three.engines.items()}
    time.sleep(2.0)
    passes = {id: engine.status().counters["passes"] - before[id] for id, engine in three.engines.items()}
    assert sum(passes.values()) < 300, passes
    assert min(passes.values()) > 5, passes


def test_an_empty_command_is_refused(one):
    with pytest.raises(errors.InvalidArgument, match="data"):
        one.engines[1].propose(b"")


def test_a_command_larger_than_a_message_is_refused(one):
    engine = one.engines[1]
    with pytest.raises(errors.TooLarge) as refusal:
        engine.propose(b"a=" + bytes(2 << 20))
    assert (refusal.value.size_bytes, refusal.value.limit_bytes) == (2 + (2 << 20), 1 << 20)
    engine.propose(b"a=1")


def test_writes_of_many_threads_are_applied_once_each_and_in_one_order(three):
    leader = three.leader()
    results = []

    def write(name):
        results.extend(leader.propose(b"%d-%d=%d" % (name, i, i)).index for i in range(50))

    threads = [threading.Thread(target=write, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(set(results)) == 400
    for engine in three.engines.values():
        engine.linearizable_read()
    applied = [machine.values for machine in three.machines.values()]
    assert len(applied[0]) == 400
    assert applied[0] == applied[1] == applied[2]
    assert three.machines[1].indexes == sorted(set(three.machines[1].indexes))


def test_a_follower_refuses_writes_and_names_the_leader(three):
    leader = three.leader()
    with pytest.raises(errors.NotLeader) as refusal:
        three.follower().propose(b"a=1")
    assert refusal.value.leader == leader.member_id
    assert refusal.value.address == three.members[leader.member_id]


def test_a_read_on_any_member_sees_what_was_written_before(three):
    leader = three.leader()
    for i in range(20):
        index = leader.propose(b"a=%d" % i).index
        for id, engine in three.engines.items():
            assert engine.linearizable_read() >= index
            assert three.machines[id].values[b"a"] == b"%d" % i


def test_only_the_leader_is_verified(three):
    leader = three.leader()
    leader.verify_leader()
    with pytest.raises(errors.NotLeader) as refusal:
        three.follower().verify_leader()
    assert refusal.value.leader == leader.member_id


def test_status_and_configuration(three):
    leader = three.leader()
    result = leader.propose(b"a=1")
    status = leader.status()
    assert status.state is State.LEADER
    assert status.leader == leader.member_id
    assert status.leader_address == three.members[leader.member_id]
    assert status.term == result.term
    assert status.commit_index >= status.applied_index >= 1
    assert 0 < status.lease_remaining_ns <= leader.lease_duration_ns
    assert status.failure is None
    assert status.counters["proposals"] >= 1
    configuration = leader.configuration()
    assert configuration.voters == (1, 2, 3)
    assert {one.id: one.address for one in configuration.members} == three.members
    assert [one.id for one in configuration.members if one.leader] == [leader.member_id]


# ----------------------------------------------------------------------------------------------------------- leases


def test_a_lease_holds_within_a_second_of_the_first_election(clusters):
    cluster = clusters(3, config=Config())
    began = time.monotonic()
    for engine in cluster.engines.values():
        engine.wait_for_leader()
    led = time.monotonic()
    cluster.leader()
    assert time.monotonic() - led < 1.0, f"the election took {led - began}"


def test_lease_reads_hit_and_ask_nobody(three):
    leader = three.leader()
    index = leader.propose(b"a=1").index
    before = leader.status().counters["reads"]
    for _ in range(100):
        assert leader.lease_read() >= index
    assert leader.status().counters["reads"] - before <= 2, "hits are answered locally"


def test_the_fence_is_the_compiled_method_itself(one):
    assert type(one.engines[1].try_lease_read).__name__ == "builtin_function_or_method"


def test_a_follower_has_no_lease_but_can_fall_back(three):
    index = three.leader().propose(b"a=1").index
    follower = three.follower()
    assert follower.try_lease_read() is None
    assert follower.lease_read() >= index
    assert follower.last_quorum_ack_ns == 0


def test_the_last_quorum_acknowledgement_moves_with_the_heartbeats(three):
    leader = three.leader()
    first = leader.last_quorum_ack_ns
    assert first > 0
    time.sleep(0.3)
    assert leader.last_quorum_ack_ns > first


def test_without_leases_every_read_asks_a_quorum(clusters):
    cluster = clusters(3, config=Config(heartbeat_s=0.05, election_timeout_s=0.4, reads="read_index"))
    leader = cluster.leader()
    index = leader.propose(b"a=1").index
    assert leader.lease_duration_ns == 0
    assert leader.try_lease_read() is None
    assert leader.lease_read() >= index
    assert leader.last_quorum_ack_ns == 0


def test_a_leader_cut_off_from_its_quorum_has_no_lease_and_leaves_writes_unknown(three):
    leader = three.leader()
    for engine in three.engines.values():
        if engine is not leader:
            engine.close(graceful=False)
    with pytest.raises((errors.OutcomeUnknown, errors.NotLeader)):
        leader.propose(b"a=1", timeout=0.3)
    time.sleep(leader.lease_duration_ns / 1e9)
    assert leader.try_lease_read() is None
    with pytest.raises(errors.Timeout):
        leader.lease_read(timeout=0.3)


# ------------------------------------------------------------------------------------------------------- leadership


def test_closing_the_leader_hands_over_fast(three):
    leader = three.leader()
    leader.propose(b"a=1")
    rest = [id for id in three.engines if id != leader.member_id]
    began = time.monotonic()
    leader.close()
    successor = three.leader(among=rest)
    assert time.monotonic() - began < 1.0
    assert successor.propose(b"a=2").value == b"1"


def test_a_leader_that_vanishes_is_replaced(three):
    leader = three.leader()
    leader.propose(b"a=1")
    rest = [id for id in three.engines if id != leader.member_id]
    leader.close(graceful=False)
    successor = three.leader(among=rest)
    assert successor.propose(b"a=2").value == b"1"


def test_leadership_goes_where_it_is_sent(three):
    leader = three.leader()
    target = three.follower().member_id
    assert leader.transfer_leadership(target) == target
    assert three.leader().member_id == target
    with pytest.raises(errors.NotLeader):
        leader.transfer_leadership()


def test_leadership_goes_to_somebody(three):
    leader = three.leader()
    assert leader.transfer_leadership() != leader.member_id


@pytest.mark.parametrize("target", [7, "self"])
def test_leadership_cannot_be_sent_to_nobody(three, target):
    leader = three.leader()
    with pytest.raises(errors.InvalidArgument):
        leader.transfer_leadership(leader.member_id if target == "self" else target)


def test_losing_leadership_is_told_once_and_in_order(three):
    leader = three.leader()
    calls = []
    told = threading.Event()
    leader.register_leader_loss_callback(lambda: calls.append(("first", leader.try_lease_read())))
    leader.register_leader_loss_callback(lambda: 1 / 0)
    taken_back = leader.register_leader_loss_callback(lambda: calls.append("taken back"))
    leader.register_leader_loss_callback(lambda: (calls.append("last"), told.set()))
    taken_back()
    taken_back()
    leader.transfer_leadership(three.follower().member_id)
    assert told.wait(2)
    leader.close()
    assert calls == [("first", None), "last"]


FAR_NS = 3600 * 10**9


def standing_lease(engine):
    """A lease registered with a leader, that stands for an hour; and what takes it back."""
    lease = Lease()
    take_back = engine.register_leader_loss_callback(lease)
    assert lease.extend(now_ns() + FAR_NS, lease.generation)
    return lease, take_back


def test_a_registered_lease_ends_before_anybody_is_called(three):
    leader = three.leader()
    seen, told = [], threading.Event()
    leader.register_leader_loss_callback(lambda: (seen.append(lease.valid()), told.set()))
    lease, _ = standing_lease(leader)
    other, take_back = standing_lease(leader)
    take_back()
    take_back()
    leader.linearizable_read()  # behind the taking back, in the queue of the loop
    leader.transfer_leadership(three.follower().member_id)
    assert told.wait(2)
    assert seen == [False]
    assert lease.generation != 0
    assert other.valid()


def test_a_lease_registered_where_nobody_leads_does_not_stand(three):
    follower = three.follower()
    lease = Lease()
    lease.extend(now_ns() + FAR_NS, lease.generation)
    follower.register_leader_loss_callback(lease)
    assert not lease.valid()


@pytest.mark.parametrize("graceful", [True, False])
def test_the_end_of_the_engine_closes_a_registered_lease(one, graceful):
    engine = one.engines[1]
    engine.wait_for_leader(timeout=10)
    lease, take_back = standing_lease(engine)
    engine.close(graceful=graceful)
    assert lease.generation == 0
    take_back()
    with pytest.raises(errors.Closed):
        engine.register_leader_loss_callback(lease)


@pytest.mark.parametrize("graceful", [True, False])
def test_closing_a_leader_is_a_loss_too(one, graceful):
    calls = []
    one.engines[1].register_leader_loss_callback(lambda: calls.append(1))
    one.engines[1].close(graceful=graceful)
    assert calls == [1]


# ------------------------------------------------------------------------------------------------------------- disk


def test_what_was_written_is_there_after_a_restart(clusters):
    cluster = clusters(3)
    for i in range(30):
        cluster.leader().propose(b"key%d=%d" % (i, i))
    cluster.close()
    for id in cluster.members:
        cluster.start(id)
    leader = cluster.leader()
    leader.linearizable_read()
    assert cluster.machines[leader.member_id].values == {b"key%d" % i: b"%d" % i for i in range(30)}


def test_one_member_keeps_its_data_through_an_end_at_once(one):
    for i in range(30):
        one.engines[1].propose(b"key%d=%d" % (i, i))
    one.engines[1].close(graceful=False)
    one.start(1)
    one.leader().linearizable_read()
    assert len(one.machines[1].values) == 30


def test_a_member_that_was_away_catches_up(three):
    away = three.follower()
    away.close()
    for i in range(50):
        three.leader(among=[id for id in three.members if id != away.member_id]).propose(b"key%d=1" % i)
    back = three.start(away.member_id)
    back.linearizable_read()
    assert len(three.machines[away.member_id].values) == 50


def open_one(folder, **changes):
    arguments = {
        "directory": folder,
        "cluster_id": CLUSTER_ID,
        "member_id": 1,
        "members": free_addresses([1, 2]),
        "config": FAST,
    }
    return NativeEngine(Dictionary(), **(arguments | changes))


def test_a_member_that_missed_very_many_small_writes_catches_up(clusters):
    """Each entry has a header in the message that carries it: payloads alone do not bound a frame."""
    config = Config(
        heartbeat_s=FAST.heartbeat_s,
        election_timeout_s=FAST.election_timeout_s,
        max_message_bytes=1 << 15,
        max_frame_bytes=1 << 16,
    )
    cluster = clusters(3, config=config)
    cluster.leader()
    follower = cluster.follower()
    follower.close()
    del cluster.engines[follower.member_id]
    leader = cluster.leader()

    async def write():
        return max(
            [r.index for r in await asyncio.gather(*[leader.aio.propose(b"k", timeout=20) for _ in range(9000)])]
        )

    last = asyncio.run(write())
    back = cluster.start(follower.member_id)
    deadline = time.monotonic() + 15
    while back.applied_index < last:
        assert time.monotonic() < deadline, f"{back.applied_index} of {last}"
        time.sleep(0.01)


def test_very_many_reads_that_fail_at_once_do_not_hold_the_loop_up(three):
    leader = three.leader()
    for id in [id for id in three.engines if id != leader.member_id]:
        three.engines.pop(id).close(graceful=False)
    inbox = CompletionInbox()
    asked = answered = 0
    deadline = time.monotonic() + 40
    while answered < 60_000:
        assert time.monotonic() < deadline, f"{answered} of {asked} were answered"
        try:
            while asked < 60_000:
                leader._core.post(READ, None, 0, inbox, asked)
                asked += 1
        except errors.Overloaded:
            time.sleep(0.001)
        finished = []
        inbox.drain(finished)
        answered += len(finished)
    assert leader._core.gauges()["longest_pass_ns"] < 2_000_000_000


def test_a_slow_machine_is_handed_few_and_large_batches(one):
    """However long it takes, the member does not fail for it."""
    engine, machine = one.engines[1], one.machines[1]
    engine.propose(b"a=0")
    machine.gate.clear()
    inbox = CompletionInbox()
    first = engine._core.gauges()["commit_index"]
    for number in range(1, 1501):
        engine._core.post(PROPOSE, b"a=%d" % number, 0, inbox, number)
        deadline = time.monotonic() + 10
        while engine._core.gauges()["commit_index"] < first + number:
            assert time.monotonic() < deadline
            time.sleep(0)
    machine.gate.set()
    assert engine.propose(b"a=end", timeout=20).value == b"1500"
    assert machine.batches <= 1030


def test_a_directory_has_one_user(one):
    with pytest.raises(errors.DirectoryLocked) as failure:
        open_one(one.folder / "1")
    assert failure.value.pid == os.getpid()
    one.engines[1].propose(b"a=1")


def test_a_directory_belongs_to_its_cluster_and_member(one):
    one.close()
    with pytest.raises(errors.ForeignCluster):
        open_one(one.folder / "1", cluster_id=bytes(16))
    with pytest.raises(errors.ForeignCluster):
        open_one(one.folder / "1", member_id=2)


def test_an_address_in_use_is_named(one, tmp_path):
    taken = {1: one.members[1]}
    with pytest.raises(errors.AddressUnavailable) as failure:
        open_one(tmp_path / "other", members=taken)
    assert failure.value.address == taken[1]


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("cluster_id", {"cluster_id": b"short"}),
        ("member_id", {"member_id": 0}),
        ("members", {"members": {}}),
        ("members", {"members": {2: "127.0.0.1:1"}}),
        ("members", {"members": {1: "127.0.0.1"}}),
        ("members", {"members": {1: "127.0.0.1:99999"}}),
        ("insecure", {"members": {1: "0.0.0.0:7001"}}),
        ("learners", {"learners": [1, 2]}),
        ("learners", {"learners": [9]}),
    ],
)
def test_bad_arguments_are_named_before_anything_is_opened(tmp_path, field, changes):
    with pytest.raises(errors.InvalidArgument) as refusal:
        open_one(tmp_path / "new", **changes)
    assert refusal.value.details["field"] == field
    assert not (tmp_path / "new").exists()


# ---------------------------------------------------------------------------------------------- a machine in Python


def test_a_machine_that_raises_stops_its_member_and_says_so(one, caplog):
    engine = one.engines[1]
    with pytest.raises((errors.OutcomeUnknown, errors.MemberFailed)):
        engine.propose(b"!")
    deadline = time.monotonic() + 5
    while engine.state is not State.FAILED and time.monotonic() < deadline:
        time.sleep(0.01)
    assert engine.state is State.FAILED
    assert engine.status().failure == "state_machine"
    assert engine.try_lease_read() is None
    with pytest.raises(errors.MemberFailed) as failure:
        engine.propose(b"a=1")
    assert failure.value.cause == "state_machine"
    with pytest.raises(errors.MemberFailed):
        engine.linearizable_read()
    assert "told to raise" in caplog.text
    engine.close()


def test_a_slow_machine_leaves_late_writes_unknown_but_applied(one):
    engine, machine = one.engines[1], one.machines[1]
    machine.gate.clear()
    with pytest.raises(errors.OutcomeUnknown):
        engine.propose(b"a=1", timeout=0.2)
    machine.gate.set()
    deadline = time.monotonic() + 10  # it may not even have been durable when its caller gave up
    while machine.values != {b"a": b"1"} and time.monotonic() < deadline:
        time.sleep(0.01)
    assert machine.values == {b"a": b"1"}


def test_consensus_does_not_wait_for_a_machine(one):
    machine = one.machines[1]
    machine.gate.clear()
    time.sleep(1.0)
    assert one.engines[1].try_lease_read() is not None
    machine.gate.set()


@pytest.mark.parametrize("timeout", [0, -1.0])
def test_a_deadline_already_passed_submits_nothing(one, timeout):
    engine = one.engines[1]
    for call in (lambda: engine.propose(b"a=1", timeout=timeout), lambda: engine.linearizable_read(timeout=timeout)):
        with pytest.raises(errors.Timeout):
            call()
    engine.linearizable_read()
    assert one.machines[1].values == {}


def test_elections_are_logged_with_fields(caplog, tmp_path):
    with caplog.at_level(logging.INFO, "tenure.engine"):
        cluster = Cluster(tmp_path, 1)
        cluster.leader()
        cluster.close()
    roles = [record for record in caplog.records if getattr(record, "event", None) == "role"]
    assert any(record.state == "leader" and record.member == 1 for record in roles)


# --------------------------------------------------------------------------------------------------- a native machine


def test_the_native_machine(clusters):
    machine = pytest.importorskip("tenure._kv.machine")
    codec = pytest.importorskip("tenure._kv.codec")
    cluster = clusters(3, machine=machine.KeyValueMachine)
    leader = cluster.leader()
    leader.propose(codec.encode_set(b"k", b"v", hint_ts=codec.hint(1_000)))
    for i in range(100):
        leader.propose(codec.encode_incrby(b"n", 1, hint_ts=codec.hint(2_000 + i)))
    for id, engine in cluster.engines.items():
        engine.linearizable_read()
        assert cluster.machines[id].get(b"k") == b"v"
        assert cluster.machines[id].get(b"n") == b"100"
    hashes = {id: machine.state_hash for id, machine in cluster.machines.items()}
    assert len(set(hashes.values())) == 1
