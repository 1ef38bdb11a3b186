"""A log in a temporary directory, and a model of what it must remember."""

from __future__ import annotations

import pytest

from tenure._storage import file_faults
from tenure._storage.wal import WriteAheadLog

CLUSTER = bytes(range(16))
HOST = 7
SMALL = 16384


@pytest.fixture(autouse=True)
def _no_faults_left():
    yield
    file_faults.clear()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "host"


@pytest.fixture
def open_log(folder):
    opened = []

    def opener(path=folder, *, cluster=CLUSTER, host=HOST, segment_bytes=SMALL, sync=True):
        log = WriteAheadLog(path, cluster, host, segment_bytes=segment_bytes, sync=sync)
        opened.append(log)
        return log

    yield opener
    for log in opened:
        log.close()
