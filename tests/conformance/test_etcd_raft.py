"""etcd/raft's own data files against this core: all of them pass, and it is known which ones there are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.conformance.datadriven import find_files, main, run_file

FOLDER = (
    Path(os.environ.get("TENURE_CONFORMANCE") or Path(__file__).resolve().parents[3] / "shared" / "conformance")
    / "etcd-raft"
)

PASSING = {
    "confchange/joint_autoleave.txt",
    "confchange/joint_idempotency.txt",
    "confchange/simple_idempotency.txt",
    "confchange/simple_promote_demote.txt",
    "confchange/update.txt",
    "confchange/zero.txt",
    "interaction/async_storage_writes.txt",
    "interaction/campaign.txt",
    "interaction/campaign_learner_must_vote.txt",
    "interaction/checkquorum.txt",
    "interaction/confchange_disable_validation.txt",
    "interaction/confchange_v1_add_single.txt",
    "interaction/confchange_v1_remove_leader.txt",
    "interaction/confchange_v2_add_double_auto.txt",
    "interaction/confchange_v2_add_double_implicit.txt",
    "interaction/confchange_v2_add_single_auto.txt",
    "interaction/confchange_v2_add_single_explicit.txt",
    "interaction/forget_leader.txt",
    "interaction/forget_leader_prevote_checkquorum.txt",
    "interaction/forget_leader_read_only_lease_based.txt",
    "interaction/heartbeat_resp_recovers_from_probing.txt",
    "interaction/prevote.txt",
    "interaction/replicate_pause.txt",
    "interaction/single_node.txt",
    "interaction/snapshot_succeed_via_app_resp.txt",
    "quorum/joint_vote.txt",
    "quorum/majority_commit.txt",
}


@pytest.fixture(scope="module")
def folder() -> Path:
    if not FOLDER.is_dir():
        message = f"no conformance data in {FOLDER}; set TENURE_CONFORMANCE"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return FOLDER


def test_every_file_is_accounted_for(folder: Path) -> None:
    assert {str(path.relative_to(folder)) for path in find_files([folder])} == PASSING


@pytest.mark.parametrize("name", sorted(PASSING))
def test_passes(folder: Path, name: str) -> None:
    outcome = run_file(folder / name)
    assert (outcome.verdict, outcome.reason) == ("PASS", "")


def test_the_command_line_prints_a_line_a_file_and_the_totals(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(PASSING) + 1
    assert lines[-1] == f"{len(PASSING)} passed, 0 failed"
