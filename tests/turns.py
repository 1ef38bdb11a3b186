"""Who may run beside whom when a run is shared by several workers (`pytest -n 2 --dist loadfile`).

An ordinary test runs beside any other. One that is marked `alone`, or `figures`, runs while no other test does: what
it says depends on how soon its threads and processes get a processor. The workers agree by two locks of the kernel, on
files of the run, which end with whoever holds them: all pass the door, ordinary tests stay in the room together, and
one that must be alone keeps the door until the room is its own, so that a stream of others cannot keep it waiting.

A plugin of pytest; `conftest.py` registers it.
"""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


def is_alone(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) for name in ("alone", "figures"))


def needs_the_wheel(item: pytest.Item) -> bool:
    return "distributions" in getattr(item, "fixturenames", ())


def in_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """By files: first those that wait for the wheel, which all processors compile; last those of lonely tests."""
    wheel = {item.path for item in items if needs_the_wheel(item)}
    lonely = {item.path for item in items if is_alone(item)}
    return sorted(items, key=lambda item: (item.path in lonely, item.path not in wheel))


class Turns:
    """The two locks, as one worker sees them."""

    def __init__(self, folder: Path) -> None:
        self.door = (folder / "turns-door").open("wb")
        self.room = (folder / "turns-room").open("wb")

    @contextmanager
    def turn(self, alone: bool) -> Iterator[None]:
        """Hold the room, with others or alone. Unlocks by name: a forked child may still have the descriptors."""
        fcntl.flock(self.door, fcntl.LOCK_EX)
        try:
            fcntl.flock(self.room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        finally:
            fcntl.flock(self.door, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(self.room, fcntl.LOCK_UN)

    def close(self) -> None:
        self.door.close()
        self.room.close()


TURNS = pytest.StashKey[Turns]()


def shared_folder(config: pytest.Config, factory: pytest.TempPathFactory) -> Path:
    """A folder of this run, the same for every worker of it: theirs are inside."""
    folder = factory.getbasetemp()
    return folder.parent if hasattr(config, "workerinput") else folder


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        config.stash[TURNS] = Turns(Path(config.option.basetemp).parent)


def pytest_unconfigure(config: pytest.Config) -> None:
    if (turns := config.stash.get(TURNS, None)) is not None:
        turns.close()


@pytest.hookimpl(trylast=True)  # others may add marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = in_order(items)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Wait for the turn before the clock of the test's own limit runs."""
    turns = item.config.stash.get(TURNS, None)
    if turns is None:
        return (yield)
    with turns.turn(is_alone(item)):
        return (yield)


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
