"""`benchmarks/long_log.py` in short: snapshots leave nothing behind, and a laggard catches up while writes go on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import long_log


@pytest.mark.figures
@pytest.mark.timeout(120)
def test_hundreds_of_snapshots_leave_nothing_behind(tmp_path: Path) -> None:
    """Fails when segments, snapshot files, entries or descriptors are not let go of."""
    plan = long_log.Plan(snapshots=1600, snapshot_every=50, segment_bytes=2 << 20, sample_s=0.1, limit_s=60)
    found = long_log.long_log(plan, tmp_path)
    assert not found["problems"], found["problems"]
    assert all(one["taken"] >= 1600 for one in found["samples"][-1]["members"].values())


@pytest.mark.timeout(120)
def test_a_member_whose_entries_are_gone_catches_up_while_writes_go_on(tmp_path: Path) -> None:
    """Fails when it does not, does so without a snapshot, or when the leader refuses anybody meanwhile."""
    plan = long_log.Plan(laggard_every=500, laggard_keys=5_000, window_s=1.0, limit_s=40)
    found = long_log.laggard(plan, tmp_path)
    assert not found["problems"], found["problems"]
    assert found["received"] > 5_000 * plan.laggard_value_bytes
    assert all(row["writes"]["count"] and row["reads"]["count"] for row in found["rows"])
