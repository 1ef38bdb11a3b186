"""What the compiled core is made of, read from its sources: modules, what each depends on, who cimports whom.

Used by `conftest.py` (is a module older than a source it was made from?) and by the import contract. It reads text
with a few patterns, so it sees every `cimport` and every quoted include of ours, wherever they stand.
"""

from __future__ import annotations

import importlib.machinery
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "cython"
PACKAGES = ROOT / "src"

FROM_IMPORT = re.compile(r"^[ \t]*from[ \t]+([\w.]+)[ \t]+c?import[ \t]+(\([^)]*\)|[^\n#]+)", re.MULTILINE)
PLAIN_IMPORT = re.compile(r"^[ \t]*c?import[ \t]+([\w., \t]+)", re.MULTILINE)
INCLUDE = re.compile(r"""(?:#\s*include|cdef extern from|^include)\s+["'](tenure/[^"']+)["']""", re.MULTILINE)


def module_name(source: Path) -> str:
    return ".".join(source.relative_to(SOURCES).with_suffix("").parts)


def compiled_modules() -> dict[str, Path]:
    """The main source of every module that `setup.py` builds, proof copies included, by dotted name."""
    found = {module_name(source): source for source in sorted(SOURCES.rglob("*.pyx"))}
    copies = {
        name.replace("tenure._raft.", "tenure._proof.raft."): source
        for name, source in found.items()
        if name.startswith("tenure._raft.")
    }
    return found | copies


def imported_names(source: Path) -> Iterator[str]:
    """Dotted names of ours that a source imports or cimports; `from a import b` gives `a.b`."""
    text = source.read_text()
    for package, names in FROM_IMPORT.findall(text):
        if package == "tenure" or package.startswith("tenure."):
            for name in names.strip("()").split(","):
                if words := name.split():
                    yield f"{package}.{words[0]}"
    for names in PLAIN_IMPORT.findall(text):
        for name in names.split(","):
            if (words := name.split()) and words[0].startswith("tenure."):
                yield words[0]


def dependencies(source: Path) -> set[Path]:
    """Every file of ours that goes into the compilation of `source`, itself included."""
    found: set[Path] = set()
    waiting = [source]
    while waiting:
        path = waiting.pop()
        if path in found or not path.exists():
            continue
        found.add(path)
        if path.suffix == ".pyx":
            waiting.append(path.with_suffix(".pxd"))
        waiting.extend(SOURCES / name for name in INCLUDE.findall(path.read_text()))
        if path.suffix != ".hpp":
            for name in imported_names(path):
                # The proof build cimports copies that live outside `cython/`; what they are made from does.
                parts = name.replace("tenure._proof.raft", "tenure._raft").split(".")
                waiting.extend(
                    SOURCES.joinpath(*parts[:length]).with_suffix(".pxd") for length in (len(parts), len(parts) - 1)
                )
    return found


def built_module(name: str, package_folder: Path) -> Path | None:
    """The shared library this interpreter would load for `name`, if there is one."""
    stem = package_folder.parent.joinpath(*name.split("."))
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        candidate = stem.with_name(stem.name + suffix)
        if candidate.exists():
            return candidate
    return None


def trouble_with(name: str, source: Path, package_folder: Path) -> str | None:
    """Why the module `name` may not be tested as it is: it is missing, or older than something it is made from."""
    built = built_module(name, package_folder)
    if built is None:
        return f"{name} is not built for this interpreter"
    if package_folder != PACKAGES / "tenure":
        return None  # an installed or instrumented copy: its age says nothing about these sources
    built_ns = built.stat().st_mtime_ns
    newer = sorted(str(path.relative_to(ROOT)) for path in dependencies(source) if path.stat().st_mtime_ns > built_ns)
    return f"{name} is older than {', '.join(newer)}" if newer else None


if __name__ == "__main__":
    print(*compiled_modules())  # for `make lint`, which holds each of them against its stub
