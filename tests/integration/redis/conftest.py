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


@pytest.fixture(params=[0, 2], ids=["loop", "threads"], scope="module")
def io_threads(request: pytest.FixtureRequest) -> int:
    """How many threads serve the clients of a member; 0: its loop does."""
    return int(request.param)


@pytest.fixture
def one(tmp_path: Path, io_threads: int) -> Iterator[clusters.Member]:
    """A member alone, leading."""
    with clusters.cluster(tmp_path, 1, redis_io_threads=io_threads) as made:
        yield made.leader()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, io_threads: int) -> Iterator[clusters.Cluster]:
    """Three members for tests that break nothing."""
    with clusters.cluster(tmp_path_factory.mktemp("shared"), 3, redis_io_threads=io_threads) as made:
        made.leader()
        made.follower()
        yield made


@pytest.fixture
def trio(tmp_path: Path, io_threads: int) -> Iterator[clusters.Cluster]:
    with clusters.cluster(tmp_path, 3, redis_io_threads=io_threads) as made:
        made.leader()
        made.follower()
        yield made


@pytest.fixture
def network() -> Iterator[Network]:
    made = Network()
    yield made
    made.close()


@pytest.fixture
def held_apart(tmp_path: Path, network: Network, io_threads: int) -> Iterator[clusters.Cluster]:
    """Three members whose links can be held up."""
    with clusters.cluster(tmp_path, 3, network=network, redis_io_threads=io_threads) as made:
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
