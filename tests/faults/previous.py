"""A build of another commit, so that a cluster can have members of both: compiled once for each, below build/previous.

The sources come out of the repository by `git archive`, and only what a member runs is compiled. The commit is the one
before HEAD, or what TENURE_FAULTS_PREVIOUS names.
"""

from __future__ import annotations

import fcntl
import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PREVIOUS = ROOT / "build" / "previous"
WHAT_A_MEMBER_RUNS = "_core,_raft,_kv,_net,_storage,_host"


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True).stdout


def previous_commit() -> str:
    """The full name of the commit whose build is the other one."""
    return git("rev-parse", os.environ.get("TENURE_FAULTS_PREVIOUS", "HEAD~1") + "^{commit}").decode().strip()


def previous_packages(commit: str) -> Path:
    """The folder from which that build is imported; builds it when it is not there."""
    PREVIOUS.mkdir(parents=True, exist_ok=True)
    with (PREVIOUS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        interpreter = f"{sys.implementation.cache_tag}{getattr(sys, 'abiflags', '')}"
        folder = PREVIOUS / f"{commit[:16]}-{interpreter}"
        if not (folder / "whole").exists():
            shutil.rmtree(folder, ignore_errors=True)
            with tarfile.open(fileobj=io.BytesIO(git("archive", commit))) as archive:
                archive.extractall(folder, filter="data")
            subprocess.run(
                [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
                cwd=folder,
                env={**os.environ, "TENURE_ONLY": WHAT_A_MEMBER_RUNS, "SETUPTOOLS_SCM_PRETEND_VERSION": "0.0.0"},
                check=True,
            )
            (folder / "whole").touch()
        return folder / "src"
