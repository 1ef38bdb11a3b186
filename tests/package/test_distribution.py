"""What others get: a source distribution that builds, and a wheel with the modules, their types and no clutter."""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path, PurePosixPath

import pytest

from compiled_sources import PACKAGES, compiled_modules


def test_the_wheel_has_every_module_with_its_types_and_no_source_of_them(distributions):
    _, wheel = distributions
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    libraries = {name.partition(".")[0] for name in names if name.endswith(".so")}
    expected = {name.replace(".", "/") for name in compiled_modules()}
    assert libraries == expected
    assert {name.removesuffix(".pyi") for name in names if name.endswith(".pyi")} >= expected
    assert "tenure/py.typed" in names
    assert {PurePosixPath(name).suffix for name in names} & {".pyx", ".cpp", ".c"} == set()
    # of the declarations, only the public interface
    assert {name for name in names if name.endswith((".pxd", ".hpp"))} <= {"tenure/capi.pxd", "tenure/capi.hpp"}
    python_sources = {str(path.relative_to(PACKAGES)) for path in PACKAGES.rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == python_sources
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_source_distribution_has_what_a_build_and_a_test_run_need(distributions):
    sdist, _ = distributions
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {"setup.py", "pyproject.toml", "LICENSE", "README.md", "tests/conftest.py", "src/tenure/py.typed"}
    sources = {f"cython/{name.replace('.', '/')}.pyx" for name in compiled_modules() if ".raft." not in name}
    assert names >= sources
    assert [name for name in names if name.endswith((".so", ".cpp", ".pyc")) or name.startswith("build/")] == []


def test_the_wheel_works_where_nothing_else_is_installed(installed_python, tmp_path):
    modules = ", ".join(sorted(compiled_modules()))
    program = f"import tenure, {modules}; print(tenure.__version__, tenure.__file__)"
    result = subprocess.run(
        [str(installed_python), "-I", "-W", "error", "-c", program],
        cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    version, path = result.stdout.split()
    assert version[0].isdigit()
    assert str(installed_python.parent.parent) in path


def requirements(*names):
    """The distributions of these names here, and those that they need."""
    found = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found[name] = metadata.distribution(name)
        # What is for an extra or another system, behind a semicolon, is not followed.
        waiting += [re.match(r"[\w.-]+", line)[0] for line in found[name].requires or () if ";" not in line]
    return found.values()


@pytest.fixture
def installed_command(distributions, tmp_path):
    """`tenure` of a fresh environment with the wheel and its extra `cli`, whose requirements are lent by this one."""
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for distribution in requirements("click", "rich"):
        for top in {path.parts[0] for path in distribution.files} - {"..", "__pycache__"}:
            (site / top).symlink_to(Path(distribution.locate_file(top)))
    subprocess.run(
        [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--no-index", f"{distributions[1]}[cli]"],
        check=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )
    return folder / "bin/tenure"


@pytest.mark.timeout(900)  # as above: the first one waits for the wheel
def test_the_installed_wheel_runs_the_demo(installed_command, tmp_path):
    done = subprocess.run(
        [str(installed_command), "demo", "--seconds", "4", "--plain"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stale=0" in [line for line in done.stdout.splitlines() if line.startswith("t=")][-1].split()
