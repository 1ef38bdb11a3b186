"""A small Cython package of somebody else's is compiled against tenure and asks a fence without the GIL."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
import textwrap
import threading
import time
from pathlib import Path
from types import ModuleType

import pytest

import tenure
from tenure._core import clock
from tenure._core.applied_index import AppliedIndex
from tenure._core.fence import Fence
from tenure._core.lease import Lease

HERE = Path(__file__).parent
PACKAGE = Path(tenure.__file__).parent


def interface_folder() -> Path:
    """The folder that holds `tenure/capi.pxd`: beside an installed package, or the sources of one built in place."""
    for folder in (PACKAGE.parent, HERE.parents[2] / "cython"):
        if (folder / "tenure" / "capi.pxd").exists() and (folder / "tenure" / "capi.hpp").exists():
            return folder
    pytest.fail("this tenure ships no C interface: capi.pxd and capi.hpp are missing from the package")


def build_guest(folder: Path, include: Path) -> Path:
    """Compile the guest as its own author would, against the package in `include`; returns the module's file."""
    (folder / "guest.pyx").write_text((HERE / "guest.pyx").read_text())
    (folder / "setup.py").write_text(
        textwrap.dedent(f"""
            from Cython.Build import cythonize
            from setuptools import Extension, setup
            include = {str(include)!r}
            extension = Extension("guest", ["guest.pyx"], language="c++", include_dirs=[include])
            directives = {{"language_level": 3, "freethreading_compatible": True}}
            modules = cythonize([extension], include_path=[include], compiler_directives=directives)
            setup(name="guest", ext_modules=modules)
        """)
    )
    built = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--inplace"],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "LD_PRELOAD"},  # no sanitizer in a compiler
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / f"guest{sysconfig.get_config_var('EXT_SUFFIX')}"


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    path = build_guest(tmp_path_factory.mktemp("guest"), interface_folder())
    spec = importlib.util.spec_from_file_location("guest", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def member() -> tuple[Lease, AppliedIndex, Fence]:
    lease, applied = Lease(), AppliedIndex()
    applied.publish(17)
    return lease, applied, Fence(lease, applied)


def test_a_guest_reads_under_the_lease_and_only_then(
    guest: ModuleType, member: tuple[Lease, AppliedIndex, Fence]
) -> None:
    lease, applied, fence = member
    reader = guest.Reader(fence)
    assert reader.read() == -1
    assert reader.lease_remaining_ns() == 0
    lease.extend(clock.now_ns() + 10**12, lease.generation)
    assert reader.read() == 17
    assert 0 < reader.lease_remaining_ns() <= 10**12
    applied.publish(18)
    assert reader.read() == reader.applied_index() == 18
    lease.invalidate()
    assert reader.read() == -1
    assert reader.applied_index() == 18


def test_the_handle_outlives_the_python_objects(guest: ModuleType) -> None:
    lease, applied = Lease(), AppliedIndex()
    lease.extend(clock.now_ns() + 10**12, 1)
    applied.publish(3)
    reader = guest.Reader(Fence(lease, applied))
    reader.retain_and_release(1000)
    del lease, applied
    assert reader.read() == 3


def test_the_loop_runs_without_the_gil(guest: ModuleType, member: tuple[Lease, AppliedIndex, Fence]) -> None:
    """The loop ends because this thread, which needs the GIL for it, withdraws the lease while the loop runs."""
    lease, _, fence = member
    lease.extend(clock.now_ns() + 10**12, lease.generation)
    reader = guest.Reader(fence)
    held: list[int] = []
    thread = threading.Thread(target=lambda: held.append(reader.read_until_refused(1 << 62)), daemon=True)
    thread.start()
    time.sleep(0.05)
    lease.invalidate()
    thread.join(10)
    assert held
    assert held[0] > 1000


@pytest.mark.parametrize("other", [None, 1, Lease(), AppliedIndex()])
def test_nothing_but_a_fence_is_taken_for_one(guest: ModuleType, other: object) -> None:
    with pytest.raises(TypeError):
        guest.Reader(other)


@pytest.mark.uninstrumented
@pytest.mark.timeout(900)  # the first test that needs the wheel waits until it is built
def test_a_guest_built_against_the_wheel_runs_where_the_wheel_is_installed(
    installed_python: Path, tmp_path: Path
) -> None:
    (site,) = installed_python.parent.parent.glob("lib/python*/site-packages")
    build_guest(tmp_path, site)
    program = """
        import guest, tenure
        from tenure._core import clock
        from tenure._core.applied_index import AppliedIndex
        from tenure._core.fence import Fence
        from tenure._core.lease import Lease
        lease, applied = Lease(), AppliedIndex()
        applied.publish(17)
        reader = guest.Reader(Fence(lease, applied))
        refused = reader.read()
        lease.extend(clock.now_ns() + 10**12, 1)
        print(refused, reader.read(), tenure.__file__)
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ran = subprocess.run(
        [str(installed_python), "-c", textwrap.dedent(program)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    refused, held, where = ran.stdout.split()
    assert (refused, held) == ("-1", "17")
    assert Path(where).is_relative_to(site)
