"""Guards and fixtures for every test.

The first guard keeps a result from being about old code: a run stops when a compiled module is missing or older than
one of its sources. A run of the whole suite looks at every module first; a run of chosen tests looks at each as it is
imported.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import turns
from compiled_sources import ROOT, compiled_modules, trouble_with
from turns import needs_the_wheel, one_at_a_time, shared_folder

# How long one example takes says something of the machine, and of an instrumented build, not of what is tested.
hypothesis.settings.register_profile("tenure", deadline=None)
hypothesis.settings.load_profile("tenure")

REBUILD = "Build first: `make build` (or `python setup.py build_ext --inplace`), with the same interpreter."


def package_folder() -> Path:
    spec = importlib.util.find_spec("tenure")
    if spec is None or spec.origin is None:
        pytest.exit(f"The package tenure is not importable by {sys.executable}.\n{REBUILD}", returncode=3)
    return Path(spec.origin).resolve().parent


class FreshModulesOnly(importlib.abc.MetaPathFinder):
    """Stops the run at the import of a compiled module that does not stand for its sources."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.modules = compiled_modules()

    def find_spec(self, fullname, path=None, target=None):
        source = self.modules.get(fullname)
        if source is not None and (trouble := trouble_with(fullname, source, self.folder)):
            pytest.exit(f"{trouble}.\n{REBUILD}", returncode=3)
        return


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--allow-stale", action="store_true", help="run although a compiled module is older than a source of it"
    )


def pytest_configure(config: pytest.Config) -> None:
    # A run that a shell began in the background ignores Ctrl-C, and so would the processes of tests that send it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(turns, "turns")
    if config.getoption("--allow-stale"):
        return
    folder = package_folder()
    finder = FreshModulesOnly(folder)
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        troubles = [
            trouble for name, source in finder.modules.items() if (trouble := trouble_with(name, source, folder))
        ]
        if troubles:
            pytest.exit("\n".join([*troubles, REBUILD]), returncode=3)
    sys.meta_path.insert(0, finder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever asks for the wheel first waits for a whole build, whatever the limit of an ordinary test."""
    for item in items:
        if needs_the_wheel(item) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def distributions(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A source distribution of this checkout and the wheel built from it, once for all workers: (sdist, wheel)."""
    folder = shared_folder(request.config, tmp_path_factory) / "distributions"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TENURE_")}
    with one_at_a_time(folder.with_suffix(".lock")):
        if not (folder / "built").exists():
            built = subprocess.run(
                [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)],
                check=False, env=environment, capture_output=True, text=True,
            )  # fmt: skip
            assert built.returncode == 0, built.stdout + built.stderr
            (folder / "built").touch()
    (sdist,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="session")
def installed_python(distributions: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment in which nothing but the wheel is installed."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
    python = folder / "bin" / "python"
    subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", str(distributions[1])],
        check=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},  # else pip finds this checkout
        capture_output=True,
        text=True,
    )
    return python
