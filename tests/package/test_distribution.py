"""What others get: a source distribution that builds, and a wheel with the modules, their types and no clutter."""

import subprocess
import tarfile
import zipfile
from pathlib import PurePosixPath

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
