"""What one caller submits takes effect in that order, also while a new leader holds writes back."""

from __future__ import annotations

import time

import pytest

from tenure._host.core import PROPOSE, CompletionInbox
from tenure._kv import codec
from tenure._kv.machine import KeyValueMachine
from tenure.config import Config
from tenure.coordinator import Coordinator
from tenure.errors import Overloaded

from .cluster import Cluster

ENOUGH = 1000
PATIENCE_S = 20.0


def stream(engine) -> list[tuple[int, int]]:
    """Submit without pause until enough of it was taken; (place in the stream, index in the log) of what was."""
    inbox, finished, tag, taken = CompletionInbox(), [], 0, 0
    command = codec.encode_append(b"k", b"x", hint_ts=0)
    deadline = time.monotonic() + PATIENCE_S
    while taken < ENOUGH:
        assert time.monotonic() < deadline, "nobody leads"
        tag += 1
        try:
            engine._core.post(PROPOSE, command, 0, inbox, tag)
        except Overloaded:
            time.sleep(0.0005)
        if tag % 16 == 0:
            before = len(finished)
            inbox.drain(finished)
            taken += sum(outcome[0] == 0 for _, outcome in finished[before:])
    engine.linearizable_read()
    inbox.drain(finished)
    return sorted((tag, outcome[1]) for tag, outcome in finished if outcome[0] == 0)


@pytest.mark.parametrize("restarts", [4])
def test_nothing_overtakes_what_a_new_leader_holds_back(tmp_path, restarts):
    config = Config(heartbeat_s=0.05, election_timeout_s=0.3)
    cluster = Cluster(tmp_path, 1, machine=KeyValueMachine, config=config)
    try:
        for _ in range(restarts):
            engine = cluster.engines[1]
            taken = stream(engine)
            assert [index for _, index in taken] == sorted(index for _, index in taken)
            with Coordinator(engine, machine=cluster.machines[1], close_engine=False) as coordinator:
                coordinator.kv.set(b"ends", b"", ex=3600)  # so that there is a time to be kept, too
                coordinator.kv.get(b"ends")
                coordinator.kv.delete(b"k")
            engine.close()
            cluster.start(1)
    finally:
        cluster.close()
