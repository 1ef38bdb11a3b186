"""The build without the expiry check gets nowhere but into its own folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.faults.unguarded import ROOT


@pytest.mark.uninstrumented
@pytest.mark.parametrize(
    "command",
    [
        ["build_ext", "--inplace"],
        ["build_ext", "--build-lib", "build/lib-elsewhere"],
        ["build_py"],
        ["bdist_wheel", "--dist-dir", "wheels"],
        ["editable_wheel", "--dist-dir", "wheels"],
    ],
    ids=" ".join,
)
def test_nothing_unguarded_is_installed_or_packaged(command: list[str], tmp_path: Path) -> None:
    """Fails when the switch is accepted by anything that could end up on somebody's machine."""
    command = [str(tmp_path / part) if part in ("wheels", "build/lib-elsewhere") else part for part in command]
    refused = subprocess.run(
        [sys.executable, "setup.py", "--quiet", *command],
        cwd=ROOT,
        env={**os.environ, "TENURE_WITHOUT_EXPIRY_CHECK": "1", "TENURE_ONLY": "_core.fence"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode != 0
    assert "TENURE_WITHOUT_EXPIRY_CHECK=1 is unsafe" in refused.stderr
    assert not list(tmp_path.rglob("*.so")) + list(tmp_path.rglob("*.whl"))
