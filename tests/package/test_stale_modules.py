"""The guard of `conftest.py`: a run about old code is stopped, with the command that helps."""

import importlib.machinery
import os
import subprocess
import sys
from pathlib import Path

import pytest

import compiled_sources
from compiled_sources import ROOT, built_module, compiled_modules, dependencies, trouble_with


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A source root and a package of one module, `tenure._core.word`, with a header; returns the built library."""
    monkeypatch.setattr(compiled_sources, "ROOT", tmp_path)
    monkeypatch.setattr(compiled_sources, "SOURCES", tmp_path / "cython")
    monkeypatch.setattr(compiled_sources, "PACKAGES", tmp_path / "src")
    sources = tmp_path / "cython" / "tenure" / "_core"
    sources.mkdir(parents=True)
    (sources / "word.pyx").write_text("from tenure._core.clock cimport clock_now_ns\n")
    (sources / "word.pxd").write_text('cdef extern from "tenure/_core/word.hpp" nogil:\n    pass\n')
    (sources / "word.hpp").write_text('#include "tenure/_core/bits.hpp"\n')
    (sources / "bits.hpp").write_text("")
    (sources / "clock.pxd").write_text("")
    (sources / "other.pxd").write_text("")
    library = built_module_path(tmp_path)
    library.parent.mkdir(parents=True)
    library.touch()
    for path in sources.iterdir():
        os.utime(path, (1000, 1000))
    os.utime(library, (2000, 2000))
    return tmp_path


def built_module_path(root: Path) -> Path:
    return root / "src" / "tenure" / "_core" / ("word" + importlib.machinery.EXTENSION_SUFFIXES[0])


def trouble(root: Path):
    return trouble_with("tenure._core.word", root / "cython/tenure/_core/word.pyx", root / "src/tenure")


def test_a_module_younger_than_its_sources_is_no_trouble(tree):
    assert trouble(tree) is None


@pytest.mark.parametrize("name", ["word.pyx", "word.pxd", "word.hpp", "bits.hpp", "clock.pxd"])
def test_a_touched_source_makes_its_module_stale(tree, name):
    os.utime(tree / "cython/tenure/_core" / name, (3000, 3000))
    assert trouble(tree) == f"tenure._core.word is older than cython/tenure/_core/{name}"


def test_a_source_the_module_does_not_use_does_not_matter(tree):
    os.utime(tree / "cython/tenure/_core/other.pxd", (3000, 3000))
    assert trouble(tree) is None


def test_a_missing_module_is_named(tree):
    built_module_path(tree).unlink()
    assert trouble(tree) == "tenure._core.word is not built for this interpreter"


def test_a_run_over_a_missing_module_stops_and_names_the_command(tmp_path):
    package = tmp_path / "tenure"
    package.mkdir()
    (package / "__init__.py").write_text("")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"],
        cwd=ROOT,
        check=False,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 3
    assert "tenure._core.lease is not built for this interpreter" in result.stdout + result.stderr
    assert "make build" in result.stdout + result.stderr


def test_the_real_lease_module_depends_on_the_clock():
    source = compiled_modules()["tenure._core.lease"]
    assert {path.name for path in dependencies(source)} >= {"lease.pyx", "lease.pxd", "lease.hpp", "clock.pxd"}


def test_this_run_uses_modules_that_exist():
    import tenure._core.lease as lease

    folder = Path(lease.__file__).parent.parent
    assert built_module("tenure._core.lease", folder) == Path(lease.__file__)
