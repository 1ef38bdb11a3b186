"""What the documents show is true: every fenced example is run, in the order in which a reader meets it.

Python blocks of one document share a namespace; console blocks share a shell. A block of TOML whose first line is a
comment with a file name becomes that file. Ports in the documents are exchanged for free ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import tenure

ROOT = Path(__file__).parents[3]
DOCUMENTS = [
    "README.md",
    "docs/guide.md",
    "docs/operations.md",
    "docs/simulator.md",
    "docs/model.md",
    "docs/lease-safety.md",
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)  # no language: nothing to run
PORT = re.compile(r"\b71\d\d\b")

pytestmark = pytest.mark.timeout(300)


@dataclass
class Block:
    language: str
    text: str
    line: int


def blocks(document: str) -> list[Block]:
    text = (ROOT / document).read_text(encoding="utf-8")
    found = [Block(m[1], m[2], text[: m.start()].count("\n") + 2) for m in FENCE.finditer(text)]
    assert text.count("```") == 2 * len(found), "a fence is not closed"
    return with_free_ports(found)


def with_free_ports(found: list[Block]) -> list[Block]:
    used = sorted({port for block in found for port in PORT.findall(block.text)})
    with contextlib.ExitStack() as stack:
        free = {}
        for port in used:
            one = stack.enter_context(socket.socket())
            one.bind(("127.0.0.1", 0))
            free[port] = str(one.getsockname()[1])
    for block in found:
        block.text = PORT.sub(lambda match: free[match[0]], block.text)
    return found


@pytest.fixture
def place(tmp_path):
    """A directory to work in, and an environment in which `tenure` is a command."""
    command = tmp_path / "bin" / "tenure"
    command.parent.mkdir()
    preload = os.environ.get("LD_PRELOAD", "")  # bash and curl do not stand a sanitizer's library: tenure alone gets it
    command.write_text(f'#!/bin/sh\nexec env LD_PRELOAD="{preload}" "{sys.executable}" -m tenure.cli "$@"\n')
    command.chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    environment = os.environ | {
        "PATH": f"{command.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(tenure.__file__).parent.parent),
    }
    return work, environment


def write_files(found: list[Block], work: Path) -> None:
    for block in found:
        if block.language == "toml":
            name = re.match(r"# (\S+)\n", block.text)
            assert name, f"line {block.line}: a TOML block names its file in its first line"
            (work / name[1]).write_text(block.text)


def run(command: list[str], script: str, work: Path, environment: dict[str, str]) -> str:
    """Run a script; whatever it leaves behind is ended."""
    process = subprocess.Popen(
        command,
        cwd=work,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(script, timeout=240)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate(timeout=10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, output
    return output


@pytest.mark.parametrize("document", DOCUMENTS)
def test_python_examples(document, place):
    work, environment = place
    found = [block for block in blocks(document) if block.language == "python"]
    if not found:
        pytest.skip("no Python in it")
    # The blank lines make the line numbers of a traceback those of the document.
    script = ""
    for block in found:
        script += "\n" * (block.line - 1 - script.count("\n")) + block.text
    run([sys.executable, "-W", "error", "-"], script, work, environment)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_console_examples(document, place):
    work, environment = place
    found = blocks(document)
    write_files(found, work)
    commands = [
        line.removeprefix("$ ")
        for block in found
        if block.language == "console"
        for line in block.text.splitlines()
        if line.startswith("$ ")
    ]
    if not commands:
        pytest.skip("no commands in it")
    missing = [tool for tool in ("redis-cli", "curl") if any(tool in c for c in commands) and not shutil.which(tool)]
    if missing:
        pytest.skip(f"needs {missing}")
    environment.pop("LD_PRELOAD", None)
    output = run(["bash", "-eu", "-o", "pipefail"], "\n".join(commands) + "\n", work, environment)
    assert "Traceback" not in output
    if document == "docs/guide.md":
        assert output.count('"ready": true') == 3
        assert "tenure_term " in output
        assert '{"healthy": true}' in output
        assert "OK\ngreen" in output
        assert output.count("leader") >= 2
    if document == "docs/operations.md":
        assert (
            output.count("\ngreen\n") == 3
        )  # after every member was restarted, in the new cluster, and on who joined it
        assert json.loads((work / "shop-4.ready").read_text())["member"] == 4
        assert json.loads((work / "shop-5.ready").read_text())["member"] == 5
        assert (work / "shop-2" / "before-recovery" / "identity").exists()


def test_only_known_languages_are_shown():
    shown = {block.language for document in DOCUMENTS for block in blocks(document)}
    assert shown <= {"python", "console", "toml", ""}
