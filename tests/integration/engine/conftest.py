"""Clusters that end with their test."""

import pytest

from .cluster import Cluster


@pytest.fixture
def clusters(tmp_path):
    """Makes clusters; each is closed at the end."""
    made = []

    def make(size, **how):
        folder = tmp_path / f"cluster{len(made)}"
        folder.mkdir()
        made.append(Cluster(folder, size, **how))
        return made[-1]

    yield make
    for cluster in made:
        cluster.close(graceful=False)


@pytest.fixture
def one(clusters):
    """A cluster of one member that leads."""
    cluster = clusters(1)
    cluster.leader()
    return cluster


@pytest.fixture
def three(clusters):
    """A cluster of three members, one of which leads."""
    cluster = clusters(3)
    cluster.leader()
    return cluster
