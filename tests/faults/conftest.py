"""How long, with which seed and over which network: TENURE_FAULTS_LONG=1, TENURE_FAULTS_SEED=N and
TENURE_FAULTS_NETWORK=netns or proxy (see CONTRIBUTING).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.faults import netns
from tests.faults.clients import Book

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG = os.environ.get("TENURE_FAULTS_LONG") == "1"
LONG_TIMEOUT_S = 1800


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if Path(item.path).is_relative_to(here):
            item.add_marker(pytest.mark.alone)
        if LONG and Path(item.path).parent == here:
            item.add_marker(pytest.mark.timeout(LONG_TIMEOUT_S), append=False)


def networks() -> list[str]:
    """What a test whose links are cut runs over: namespaces where there can be any; in the long version both."""
    chosen = os.environ.get("TENURE_FAULTS_NETWORK")
    if chosen:
        assert chosen == "proxy" or (chosen == "netns" and netns.available()), f"no network {chosen!r} here"
        return [chosen]
    if not netns.available():
        return ["proxy"]
    return ["netns", "proxy"] if LONG else ["netns"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "network" in metafunc.fixturenames:
        metafunc.parametrize("network", networks())


@pytest.fixture
def long() -> bool:
    """Whether this is the long version."""
    return LONG


@pytest.fixture
def seed() -> int:
    """What the clients' choices are drawn from; a failure shows it."""
    number = int(os.environ.get("TENURE_FAULTS_SEED", "1"))
    print(f"TENURE_FAULTS_SEED={number}")
    return number


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    """The history of the test, in history.jsonl of its folder."""
    history = Book(tmp_path / "history.jsonl")
    yield history
    history.close()
