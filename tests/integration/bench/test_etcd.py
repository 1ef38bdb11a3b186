"""The peer beside us: what etcd is asked for arrives, and what is not there is named."""

from __future__ import annotations

import json
import os
import urllib.request

import pytest

from tenure._bench import etcd, redis
from tenure._bench.live import LiveCluster

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def installed():
    gone = etcd.missing()
    if gone is not None:
        assert not os.environ.get("CI"), gone
        pytest.skip(gone)


def test_what_is_missing_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert etcd.missing() == "etcd side by side: etcd and wrk and redis-benchmark not found"


def test_a_port_where_nobody_is_does_not_lead(tmp_path):
    assert not etcd.leads(1)


@pytest.mark.usefixtures("installed")
def test_both_clusters_write_what_they_count(tmp_path):
    live = LiveCluster(tmp_path, 64)
    try:
        port = live.on_leader("redis_port")
        applied = live.on_leader("state_hash")[0]
        with etcd.three_members(tmp_path) as peer_port:
            load = redis.Load(requests=500, pipelined_requests=0, rounds=1, limit_s=0.0)
            finding = etcd.compare(port, peer_port, tmp_path, load, 64)
            with urllib.request.urlopen(f"http://127.0.0.1:{peer_port}/v2/stats/store", timeout=5) as answer:
                stored = json.load(answer)["setsSuccess"]
        assert live.on_leader("state_hash")[0] >= applied + 1000
    finally:
        live.close()
    assert finding.reference is not None
    assert stored > 0.5 * finding.reference  # of a load of a second
    assert finding.value > 0
