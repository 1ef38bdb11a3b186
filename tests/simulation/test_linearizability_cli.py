"""`tenure check-history`: one exit code per verdict, and none of them by accident."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tenure.sim import Operation, write_history

SET = Operation("a", "set", "k", "1", None, 0, 10)
READ = Operation("b", "get", "k", None, "1", 20, 30)
STALE = Operation("b", "get", "k", None, None, 20, 30)


def tenure(*arguments: str, stdin: bytes = b"", code: str | None = None) -> subprocess.CompletedProcess[str]:
    start = [sys.executable, "-m", "tenure.cli"] if code is None else [sys.executable, "-c", code]
    done = subprocess.run(
        [*start, *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=60,
        env=os.environ | {"PYTHONUTF8": "1"},
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


def test_linearizable_is_0(file: Path) -> None:
    write_history(file, [SET, READ])
    done = tenure("check-history", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("linearizable: 2 operations")


def test_violation_is_1_and_explained(file: Path) -> None:
    write_history(file, [SET, STALE])
    done = tenure("check-history", str(file))
    assert done.returncode == 1
    assert done.stdout.startswith("violation")
    assert "STUCK" in done.stdout


def test_bad_line_is_2_and_named(file: Path) -> None:
    write_history(file, [SET])
    with file.open("ab") as stream:
        stream.write(b"{}\n")
    done = tenure("check-history", str(file))
    assert done.returncode == 2
    assert f"{file}:2:" in done.stderr


def test_missing_file_is_2(file: Path) -> None:
    done = tenure("check-history", str(file))
    assert done.returncode == 2
    assert str(file) in done.stderr


def test_wrong_usage_is_2(file: Path) -> None:
    assert tenure("check-history").returncode == 2
    write_history(file, [SET])
    assert tenure("check-history", str(file), "--max-steps", "-1").returncode == 2


def test_undecided_is_3(file: Path) -> None:
    crowd = [Operation(client, "set", "k", str(client), None, 0, 100) for client in range(24)]
    write_history(file, [*crowd, *(Operation("r", "get", "k", None, str(one), 110, 120) for one in range(2))])
    done = tenure("check-history", str(file), "--max-steps", "1000")
    assert done.returncode == 3
    assert done.stdout.startswith("undecided")
    assert "'k'" in done.stdout


def test_standard_input(file: Path) -> None:
    write_history(file, [SET, STALE])
    assert tenure("check-history", "-", stdin=file.read_bytes()).returncode == 1


def test_internal_error_is_no_verdict(file: Path) -> None:
    write_history(file, [SET])
    code = (
        "import sys; import tenure.cli.check_history as c\n"
        "def broken(*a, **k): raise RuntimeError('planted')\n"
        "c.check = broken\n"
        "from tenure.cli import main; main()"
    )
    done = tenure("check-history", str(file), code=code)
    assert done.returncode == 70
    assert "planted" in done.stderr


def test_missing_extra_is_told_in_one_sentence() -> None:
    code = "import sys; sys.modules['click'] = None\nfrom tenure.cli import main; main()"
    done = tenure(code=code)
    assert done.returncode == 69
    assert "tenure[cli]" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("module", ["tenure", "tenure.sim", "tenure.cli"])
def test_import_does_not_pull_in_click(module: str) -> None:
    code = f"import sys, {module}; sys.exit(any(name in sys.modules for name in ('click', 'rich')))"
    assert tenure(code=code).returncode == 0
