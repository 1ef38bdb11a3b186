"""The project's own scenarios: what the lease contract promises, as transcripts of a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conformance.datadriven import find_files, run_file

SCENARIOS = find_files([Path(__file__).parent / "scenarios"])


def test_there_are_scenarios() -> None:
    assert SCENARIOS


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario(path: Path) -> None:
    outcome = run_file(path)
    assert (outcome.verdict, outcome.reason) == ("PASS", "")
