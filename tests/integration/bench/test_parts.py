"""The parts of the benchmark, each by itself: percentiles, remote objects, the skeleton, compiled callers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tenure._bench import placement
from tenure._bench.bare import BareCluster
from tenure._bench.load import Commands, apply_all
from tenure._bench.processes import Remote, RemoteFailure
from tenure._bench.results import Finding, Goal
from tenure._bench.skeleton import READ, SkeletonHost
from tenure._bench.timing import percentile, summarize
from tenure._kv.machine import KeyValueMachine


@pytest.mark.parametrize(
    ("fraction", "expected"), [(0.0, 1), (0.1, 1), (0.11, 2), (0.5, 5), (0.9, 9), (0.99, 10), (1, 10)]
)
def test_a_percentile_is_a_value_that_occurred(fraction, expected):
    assert percentile(range(1, 11), fraction) == expected


def test_a_summary_takes_values_in_any_order():
    summary = summarize([5, 1, 3])
    assert (summary.n, summary.min, summary.p50, summary.max) == (3, 1, 3, 5)


def test_a_goal_is_judged_by_ratio_or_value():
    finding = Finding("x", 3.0, "us", reference=2.0, goal=Goal("ratio", "<=", 1.3), floor=Goal("value", ">=", 3.0))
    assert (finding.ratio, finding.met, finding.floor_met) == (1.5, False, True)
    with pytest.raises(ValueError, match="no ratio"):
        _ = Finding("x", 3.0, "us", goal=Goal("ratio", "<=", 1.3)).met


def test_a_remote_object_answers_fails_and_goes_on():
    remote = Remote("thing", dict, {"a": 1})
    try:
        assert remote.call("get", "a") == 1
        with pytest.raises(RemoteFailure, match="AttributeError"):
            remote.call("no_such_method")
        assert remote.call("get", "b") is None
    finally:
        remote.close()


def test_a_factory_that_raises_is_reported():
    remote = Remote("thing", int, "no number")
    try:
        with pytest.raises(RemoteFailure, match="ValueError"):
            remote.call("bit_length")
    finally:
        remote.close()


def test_the_leader_has_a_core_to_itself_where_there_is_a_second_one():
    assert placement.apart([3, 5, 8], 3).cores == ({3}, {5}, {8})
    assert placement.apart([3, 5], 3).cores == ({3}, {5}, {5})
    assert placement.apart([3], 3).cores == ({3}, {3}, {3})
    assert placement.together([3, 5], 3).cores == ({3}, {3}, {3})
    assert placement.anywhere([3, 5], 3).cores == ({3, 5}, {3, 5}, {3, 5})


def test_every_thread_of_a_process_is_put_where_it_belongs(bare):
    cores = placement.own_cores()
    try:
        placement.apart(cores, 3).apply(bare.processes)
        for process, expected in zip(bare.processes, placement.apart(cores, 3).cores, strict=True):
            threads = [int(thread.name) for thread in Path(f"/proc/{process}/task").iterdir()]
            assert len(threads) >= 2
            assert all(os.sched_getaffinity(thread) == expected for thread in threads)
    finally:
        placement.anywhere(cores, 3).apply(bare.processes)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    cluster = BareCluster(tmp_path_factory.mktemp("bare"), 64)
    yield cluster
    cluster.close()


def test_the_skeleton_times_every_round(bare):
    reads, writes = bare.reads(50), bare.writes(10)
    assert len(reads) == 50
    assert len(writes) == 10
    assert all(0 < value < 5e9 for value in [*reads, *writes])


def test_a_write_of_the_skeleton_costs_more_than_its_read(bare):
    assert summarize(bare.writes(50)).p50 > summarize(bare.reads(50)).p50


def test_without_followers_a_call_of_the_skeleton_fails(tmp_path):
    cluster = BareCluster(tmp_path, 64)
    try:
        cluster.reads(1)
        for follower in cluster.members[1:]:
            follower.close()
        with pytest.raises(RemoteFailure):
            cluster.reads(1)
    finally:
        cluster.members = cluster.members[:1]
        cluster.close()


def test_the_skeleton_refuses_what_cannot_run():
    with pytest.raises(ValueError, match="peers"):
        SkeletonHost([], -1, 1024, 128, 128)
    with pytest.raises(ValueError, match="frame"):
        SkeletonHost([(-1, -1)], -1, 1024, 8, 128)
    with pytest.raises(OSError, match="watched"):
        SkeletonHost([(-1, -1)], -1, 1024, 128, 128)


def test_a_skeleton_that_was_not_started_measures_nothing():
    reading, writing = os.pipe()
    try:
        host = SkeletonHost([(writing, reading)], -1, 1024, 128, 128)
        with pytest.raises(ValueError, match="does not run"):
            host.measure(READ, 1)
        host.close()
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("count", [1, 1000, 4097])
def test_distinct_commands_have_distinct_keys(count):
    machine = KeyValueMachine()
    assert apply_all(machine, Commands(count, value_bytes=8, key_space=count + 3, distinct=True)) > 0
    assert machine.size == count


def test_commands_are_a_function_of_their_seed():
    def hash_of(seed):
        machine = KeyValueMachine(seed=(1, 2))
        apply_all(machine, Commands(100, value_bytes=8, key_space=1000, seed=seed, hint_ms=1))
        return machine.state_hash

    assert hash_of(1) == hash_of(1) != hash_of(2)


def test_more_distinct_keys_than_there_are_is_refused():
    with pytest.raises(ValueError, match="fewer keys"):
        Commands(11, value_bytes=1, key_space=10, distinct=True)
