"""A process is killed, or loses power, while it takes snapshots, at moments nobody chose: what it acknowledged is there."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = '''
import asyncio, sys
from tenure._kv.codec import encode_set
from tenure._kv.machine import KeyValueMachine
from tenure.config import Config
from tenure.engine import NativeEngine

folder, port, first = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
machine = KeyValueMachine()
engine = NativeEngine(
    machine, directory=folder, cluster_id=bytes(16), member_id=1, members={1: f"127.0.0.1:{port}"},
    config=Config(heartbeat_s=0.05, election_timeout_s=0.2, segment_bytes=4 << 20, snapshot_every=200),
)
engine.wait_for_leader()
engine.linearizable_read(timeout=10)
held = 0
while machine.get(b"%08d" % (held + 1), now_ms=0) is not None:
    held += 1
counters = engine.status().counters
print("held", held, machine.size, counters["snapshot_index"], counters["applied_entries"], flush=True)

async def run():
    number = held
    while True:
        batch = range(number + 1, number + 51)
        await asyncio.gather(*[
            engine.aio.propose(encode_set(b"%08d" % n, bytes(500), hint_ts=n << 16), timeout=20) for n in batch])
        number += 50
        print("acked", number, flush=True)

asyncio.run(run())
'''


def free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def live_and_die(folder: Path, seconds: float, faults: str):
    """(held at the start, snapshot it began with, entries applied since, last acknowledged write)."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), str(free_port()), "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TENURE_STORAGE_FAULTS": faults},
        text=True,
    )
    try:
        line = process.stdout.readline().split()
        assert line and line[0] == "held", process.stderr.read()
        time.sleep(seconds)
    finally:
        process.send_signal(signal.SIGKILL)
        out, err = process.communicate()
    held, size, began_with, applied = map(int, line[1:])
    assert held == size, f"{size} keys are there, but only the first {held} have no gap"
    acked = max([held] + [int(word.split()[1]) for word in out.splitlines() if word.startswith("acked ") and word[6:]])
    return held, began_with, applied, acked


@pytest.mark.timeout(180)
@pytest.mark.parametrize("faults", ["", "hold_unsynced"], ids=["killed", "power_lost"])
def test_at_whatever_moment_it_ends_nothing_acknowledged_is_lost(tmp_path, faults):
    source = random.Random(7)
    acked = began_with = 0
    for life in range(8):
        held, began_with, applied, now_acked = live_and_die(tmp_path / "host", source.uniform(0.1, 0.8), faults)
        assert held >= acked, f"life {life}: {acked} were acknowledged, {held} are there"
        assert applied <= 3000, f"life {life}: {applied} entries were applied again"
        acked = now_acked
        files = sorted(path.name for path in (tmp_path / "host").iterdir() if path.name.startswith("snap"))
        print(f"life {life}: held {held}, began with snapshot {began_with}, applied {applied}, acknowledged {acked}, {files}")
    assert began_with > 0, "no life began with a snapshot: the test has shown nothing"
