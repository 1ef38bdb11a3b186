"""Quorum reads that cannot be confirmed: whichever way a call goes, time limit, errors and answers are the same."""

from __future__ import annotations

import os
import threading
import time

import pytest

from tenure.config import Config
from tenure.errors import Closed, Timeout

from .cluster import Cluster

LIMIT_S = 2.0
ATTEMPT_S = 1.5  # an election timeout: after that, a read is put again


@pytest.fixture
def left_alone(tmp_path):
    """A follower whose leader, and the third member, have just gone without a word: its next question is lost."""
    cluster = Cluster(tmp_path, 3, config=Config(election_timeout_s=ATTEMPT_S, call_timeout_s=LIMIT_S))
    follower = cluster.follower()
    follower.linearizable_read()
    others = [engine for engine in cluster.engines.values() if engine is not follower]
    threads = [threading.Thread(target=engine.close, kwargs={"graceful": False}) for engine in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    yield follower
    cluster.close(graceful=False)


@pytest.mark.parametrize("timeout", [None, LIMIT_S])
def test_what_the_first_attempt_took_is_part_of_the_time_limit(left_alone, timeout):
    began = time.monotonic()
    with pytest.raises(Timeout, match="no quorum"):
        left_alone.linearizable_read(timeout=timeout)
    assert LIMIT_S <= time.monotonic() - began < LIMIT_S + ATTEMPT_S - 0.4


def test_a_read_without_a_leader_is_confirmed_once_there_is_one(tmp_path):
    cluster = Cluster(tmp_path, 3)
    try:
        assert all(engine.linearizable_read() >= 1 for engine in cluster.engines.values())
    finally:
        cluster.close()


def test_a_read_that_waits_learns_that_the_engine_is_closed(left_alone):
    found = []

    def read():
        try:
            found.append(left_alone.linearizable_read())
        except Closed as closed:
            found.append(closed)

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.3)
    left_alone.close(graceful=False)
    reader.join(10)
    assert isinstance(found[0], Closed)
    with pytest.raises(Closed):
        left_alone.linearizable_read()


def test_the_status_is_never_behind_an_answer(tmp_path):
    """On one core: whoever is woken by an answer runs at once, ahead of what the loop has still to do."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # threads that are started now inherit it
    try:
        cluster = Cluster(tmp_path, 1)
        try:
            engine = cluster.leader()
            for number in range(300):
                index = engine.propose(b"k=%d" % number).index
                assert engine.status().applied_index >= index
                assert engine.status().applied_index >= engine.linearizable_read()
        finally:
            cluster.close()
    finally:
        os.sched_setaffinity(0, cores)
