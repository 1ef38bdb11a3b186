"""Leadership that is handed over, and hand-overs that come to nothing: the caller learns which, and soon."""

from __future__ import annotations

import asyncio
import time

import pytest

from tenure.config import Config
from tenure.errors import InvalidArgument, NotLeader, ProposalRefused

from .cluster import Cluster

ELECTION_S = 0.6


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(tmp_path, 3, config=Config(heartbeat_s=0.05, election_timeout_s=ELECTION_S))
    yield cluster
    cluster.close(graceful=False)


def in_threads(engine, target):
    return engine.transfer_leadership(target, timeout=30)


def awaited(engine, target):
    return asyncio.run(engine.aio.transfer_leadership(target, timeout=30))


@pytest.mark.parametrize("transfer", [in_threads, awaited])
def test_whoever_was_chosen_leads(cluster, transfer):
    for _ in range(20):
        leader = cluster.leader()
        target = next(id for id in cluster.engines if id != leader.member_id)
        assert transfer(leader, target) == target


@pytest.mark.parametrize("transfer", [in_threads, awaited])
def test_a_target_that_is_gone_is_given_up_after_an_election_timeout(cluster, transfer):
    leader = cluster.leader()
    target = next(id for id in cluster.engines if id != leader.member_id)
    cluster.engines.pop(target).close(graceful=False)
    leader.propose(b"what=the target misses")
    began = time.monotonic()
    with pytest.raises(ProposalRefused, match="did not take over"):
        transfer(leader, target)
    assert time.monotonic() - began < 15  # not the caller's limit
    assert leader.propose(b"the leader=leads on").index > 0
    assert cluster.leader() is leader


def test_whom_leadership_cannot_go_to(cluster):
    leader = cluster.leader()
    for target in (leader.member_id, 99):
        with pytest.raises(InvalidArgument):
            leader.transfer_leadership(target)
    with pytest.raises(NotLeader):
        cluster.follower().transfer_leadership(leader.member_id)
