from __future__ import annotations

import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
import redis
from tests.faults.proxy import Network

from . import cluster as clusters
from .peers import lacking

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def one(tmp_path: Path) -> Iterator[clusters.Member]:
    """A member alone, leading."""
    with clusters.cluster(tmp_path, 1) as made:
        yield made.leader()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[clusters.Cluster]:
    """Three members for tests that break nothing."""
    with clusters.cluster(tmp_path_factory.mktemp("shared"), 3) as made:
        made.leader()
        made.follower()
        yield made


@pytest.fixture
def trio(tmp_path: Path) -> Iterator[clusters.Cluster]:
    with clusters.cluster(tmp_path, 3) as made:
        made.leader()
        made.follower()
        yield made


@pytest.fixture
def network() -> Iterator[Network]:
    made = Network()
    yield made
    made.close()


@pytest.fixture
def held_apart(tmp_path: Path, network: Network) -> Iterator[clusters.Cluster]:
    """Three members whose links can be held up."""
    with clusters.cluster(tmp_path, 3, network=network) as made:
        made.leader()
        made.follower()
        yield made


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a real redis-server."""
    binary = shutil.which("redis-server")
    if binary is None:
        lacking("no redis-server is installed")
    port = clusters.free_port()
    process = subprocess.Popen(
        [binary, "--port", str(port), "--save", "", "--appendonly", "no", "--bind", "127.0.0.1"],
        cwd=tmp_path_factory.mktemp("redis-server"),
        stdout=subprocess.DEVNULL,
    )
    try:
        give_up = time.monotonic() + 10
        while True:
            try:
                with redis.Redis(port=port) as client:
                    client.ping()
                break
            except redis.ConnectionError:
                assert time.monotonic() < give_up
                time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait()
