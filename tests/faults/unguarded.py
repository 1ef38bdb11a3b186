"""The build whose leases never expire: compiled once per state of the sources, below build/unguarded.

`setup.py` refuses to package or to install such a build. It exists so that the test of the stopped leader can be seen
to fail. Only the modules whose generated code looks at a lease word are compiled again; everything else is linked from
the tree.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UNGUARDED = ROOT / "build" / "unguarded"
HEADER = "tenure/_core/lease.hpp"
LEAF = re.compile(r'^\s*#\s*include\s+"(tenure/[^"]+)"', re.MULTILINE)


def source_hash() -> str:
    digest = hashlib.sha256(sys.version.encode())
    for folder, pattern in (("cython", "**/*"), ("src", "**/*.py"), (".", "setup.py")):
        for path in sorted((ROOT / folder).glob(pattern)):
            if path.is_file():
                content = path.read_bytes()
                digest.update(f"{path.relative_to(ROOT)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def headers_that_reach_the_lease() -> set[str]:
    """The header of the lease word and every header of ours that includes it, at any depth."""
    includes = {
        str(path.relative_to(ROOT / "cython")): set(LEAF.findall(path.read_text()))
        for path in (ROOT / "cython").rglob("*.hpp")
    }
    found = {HEADER}
    while more := {name for name, included in includes.items() if included & found} - found:
        found |= more
    return found


def modules_that_look_at_leases() -> list[str]:
    """Names below `tenure.`, from the C++ that Cython made of them."""
    headers = headers_that_reach_the_lease()
    generated = ROOT / "build" / "cython" / "cpp" / "cython" / "tenure"
    return [
        ".".join(path.relative_to(generated).with_suffix("").parts)
        for path in sorted(generated.rglob("*.cpp"))
        if not path.is_relative_to(generated / "_proof") and set(LEAF.findall(path.read_text())) & headers
    ]


def unguarded_packages() -> Path:
    """The folder from which the unguarded build is imported; builds it when the sources have changed."""
    UNGUARDED.mkdir(parents=True, exist_ok=True)
    with (UNGUARDED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        key = source_hash()
        folder = UNGUARDED / key
        if (folder / "whole").exists():
            return folder
        for old in UNGUARDED.iterdir():
            if old.is_dir() and old.name not in ("temp", key):
                shutil.rmtree(old)
        shutil.copytree(
            ROOT / "src" / "tenure",
            folder / "tenure",
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("__pycache__", "*.pyi"),
        )
        modules = modules_that_look_at_leases()
        assert "_core.fence" in modules
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        for name in modules:  # a guarded copy must not stand in for one that failed to build
            folder.joinpath("tenure", *name.split(".")).with_suffix(suffix).unlink(missing_ok=True)
        subprocess.run(
            [
                sys.executable,
                "setup.py",
                "--quiet",
                "build_ext",
                "--build-lib",
                str(folder),
                "--build-temp",
                str(UNGUARDED / "temp"),
            ],
            cwd=ROOT,
            env={**os.environ, "TENURE_WITHOUT_EXPIRY_CHECK": "1", "TENURE_ONLY": ",".join(modules)},
            check=True,
        )
        (folder / "whole").touch()
        return folder
