"""`benchmarks/failover.py` in short: leaders are killed, stopped and asked to hand over."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import failover

SHORTEST_MS = 750  # the promise that the last heartbeat has left, a heartbeat before the kill at worst
LONGEST_MS = 4_000  # one lost round of the election more than there should be
KILLS = 3  # the third leader's successor needs, at worst, the vote of one that was killed after it had made promises


@pytest.mark.timeout(120)
def test_a_successor_serves_soon_after_a_kill_and_at_once_after_a_hand_over(tmp_path: Path) -> None:
    """Fails when a successor serves while promises hold, a kill costs rounds of elections, or a hand-over costs one."""
    found = failover.measure({"kill": KILLS, "stop": 1, "transfer": 2}, seed=1, directory=tmp_path)
    for turn in found["kill"]:
        assert turn["new"] != turn["old"]
        assert SHORTEST_MS < turn["lease_read_ms"] < LONGEST_MS
        assert SHORTEST_MS < turn["write_ms"] < LONGEST_MS
    for turn in (*found["stop"], *found["transfer"]):
        assert turn["new"] != turn["old"]
        assert max(turn["lease_read_ms"], turn["write_ms"], turn["slowest_client_ms"]) < SHORTEST_MS
    assert {row["kind"] for row in failover.judge(found)} == {"kill", "stop", "transfer"}
