"""The admin endpoint: what it says, to whom, and what it does with clients that misbehave."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from contextlib import suppress

import pytest

from tenure._kv.machine import KeyValueMachine
from tenure.admin import AdminServer, Latencies, ask_status
from tenure.admin import server as server_module
from tenure.admin.client import split_address
from tenure.admin.latency import KEPT, Ring
from tenure.admin.report import MemberReport, metrics_text
from tenure.coordinator import Coordinator
from tenure.engine import NativeEngine
from tenure.errors import AddressUnavailable, ProtocolError, Timeout

REPORT = {
    "member_id": 2,
    "state": "leader",
    "term": 7,
    "commit_index": 41,
    "applied_index": 40,
    "last_index": 42,
    "keys": 3,
    "lease_remaining_ns": 750_000_000,
    "counters": {"lapses_deadline": 2, "lapses_withdrawn": 1, "reads": 9, "state_hash": 12345},
    "fences": {"hits": 100, "misses": 4},
    "latencies": {"lease_read": {"count": 5, "p50_ns": 120, "p99_ns": 1500}, "write": {"count": 0}},
}


class FixedReport:
    """Stands in for a member."""

    def __init__(self, *, healthy: bool = True) -> None:
        self.is_healthy = healthy

    def status(self):
        return REPORT

    def healthy(self):
        return self.is_healthy


@pytest.fixture
def server():
    with AdminServer(FixedReport(), "127.0.0.1", 0) as running:
        yield running


def fetch(server: AdminServer, path: str, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_status_is_json(server):
    code, body = fetch(server, "/status?pretty")
    assert code == 200
    assert json.loads(body) == REPORT


def test_health_follows_the_member():
    for healthy, expected in ((True, 200), (False, 503)):
        with AdminServer(FixedReport(healthy=healthy), "127.0.0.1", 0) as running:
            code, body = fetch(running, "/health")
            assert (code, json.loads(body)) == (expected, {"healthy": healthy})


def test_other_paths_and_methods_are_refused(server):
    assert fetch(server, "/")[0] == 404
    assert fetch(server, "/status", "POST")[0] == 405
    assert fetch(server, "/status", "PUT")[0] == 501


def test_metrics_are_prometheus_text(server):
    code, body = fetch(server, "/metrics")
    assert code == 200
    samples = {}
    described = set()
    for line in body.splitlines():
        if line.startswith("# "):
            described.add(line.split()[2])
            continue
        name, value = line.rsplit(" ", 1)
        assert name.partition("{")[0] in described
        samples[name] = float(value)
    assert samples["tenure_up"] == 1
    assert samples['tenure_state{state="leader"}'] == 1
    assert samples['tenure_state{state="follower"}'] == 0
    assert samples["tenure_term"] == 7
    assert samples["tenure_lease_remaining_seconds"] == 0.75
    assert samples['tenure_lease_lapses_total{cause="deadline"}'] == 2
    assert samples["tenure_fence_hits_total"] == 100
    assert samples['tenure_latency_seconds{call="lease_read",quantile="0.99"}'] == 1.5e-06
    assert not any("state_hash" in name for name in samples)  # a hash is no number to draw


def test_metrics_of_a_closed_member():
    assert "tenure_up 0" in metrics_text({"member_id": 1, "state": "closed"})


def test_a_client_that_says_nothing_keeps_nobody_out_for_long(monkeypatch):
    monkeypatch.setattr(server_module, "REQUEST_S", 0.3)
    monkeypatch.setattr(server_module.AdminHandler, "timeout", 0.3)
    with AdminServer(FixedReport(), "127.0.0.1", 0) as running:
        silent = [socket.create_connection((running.host, running.port)) for _ in range(server_module.AT_A_TIME)]
        begin = time.monotonic()
        assert fetch(running, "/status")[0] == 200
        assert time.monotonic() - begin < 5
        for one in silent:
            one.close()


def test_a_client_that_sends_a_byte_at_a_time_is_hung_up_on(monkeypatch):
    monkeypatch.setattr(server_module, "REQUEST_S", 0.3)
    with (
        AdminServer(FixedReport(), "127.0.0.1", 0) as running,
        socket.create_connection((running.host, running.port), timeout=5) as slow,
    ):
        begin = time.monotonic()
        with pytest.raises(OSError):
            trickle(slow, 5)
        assert time.monotonic() - begin < 4


def trickle(client: socket.socket, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        client.sendall(b"G")
        time.sleep(0.05)


def test_silent_clients_do_not_hold_up_the_end():
    with contextlib.ExitStack() as stack:
        running = AdminServer(FixedReport(), "127.0.0.1", 0)
        for _ in range(2 * server_module.AT_A_TIME):
            stack.enter_context(socket.create_connection((running.host, running.port)))
        time.sleep(0.3)  # until the places are taken, and the next one waits for one
        begin = time.monotonic()
        running.close()
        assert time.monotonic() - begin < server_module.REQUEST_S / 2


def test_a_request_that_no_thread_can_watch_gives_its_place_back(monkeypatch):
    class NoThread(threading.Timer):
        def start(self):
            raise RuntimeError("can't start new thread")

    with AdminServer(FixedReport(), "127.0.0.1", 0) as running:
        with monkeypatch.context() as limited:
            limited.setattr(server_module.threading, "Timer", NoThread)
            for _ in range(server_module.AT_A_TIME + 1):
                with socket.create_connection((running.host, running.port), timeout=5) as client, suppress(OSError):
                    client.sendall(b"GET /status HTTP/1.0\r\n\r\n")
                    assert client.recv(1) == b""
        assert fetch(running, "/status")[0] == 200


def test_an_address_in_use_is_a_typed_error(server):
    with pytest.raises(AddressUnavailable) as caught:
        AdminServer(FixedReport(), "127.0.0.1", server.port)
    assert caught.value.address == f"127.0.0.1:{server.port}"


def test_ask_status(server):
    assert ask_status(f"127.0.0.1:{server.port}") == REPORT


def test_ask_status_of_nobody_and_of_strangers():
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        address = f"127.0.0.1:{stranger.getsockname()[1]}"
        with pytest.raises(Timeout):
            ask_status(address, timeout=0.2)
    with pytest.raises(ConnectionError):
        ask_status(address, timeout=1)


def test_ask_status_of_another_http_server(monkeypatch):
    monkeypatch.setattr(FixedReport, "status", lambda self: ["no member"])
    with AdminServer(FixedReport(), "127.0.0.1", 0) as running, pytest.raises(ProtocolError):
        ask_status(f"127.0.0.1:{running.port}")


@pytest.mark.parametrize(
    ("text", "found"),
    [("10.0.0.1:80", ("10.0.0.1", 80)), ("[::1]:7001", ("::1", 7001)), ("localhost:0", ("localhost", 0))],
)
def test_addresses(text, found):
    assert split_address(text) == found


@pytest.mark.parametrize(
    "text", ["", "host", ":80", "host:", "host:http", "host:70000", "host:-1", "a\r\nB: c:80", "a b:80"]
)
def test_what_is_no_address(text):
    with pytest.raises(ValueError, match="host:port"):
        split_address(text)


def test_a_ring_keeps_the_last_samples():
    ring = Ring(kept=100)
    assert ring.summary() == {"count": 0}
    for value in range(1, 1001):
        ring.record(value)
    assert ring.summary() == {"count": 1000, "p50_ns": 950, "p99_ns": 999}


def test_percentiles_of_few_samples():
    latencies = Latencies("read")
    latencies["read"].record(5)
    assert latencies.summary() == {"read": {"count": 1, "p50_ns": 5, "p99_ns": 5}}
    latencies["read"].record(9)
    assert latencies.summary() == {"read": {"count": 2, "p50_ns": 5, "p99_ns": 9}}
    assert KEPT >= 1000  # or a 99th percentile means little


def test_a_member_that_is_closed_while_it_reports_says_what_can_still_be_said(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    machine = KeyValueMachine()
    engine = NativeEngine(machine, directory=tmp_path, cluster_id=bytes(16), member_id=1, members={1: address})
    status = engine.status

    def status_at_the_end():
        found = status()
        engine.status = status
        engine.close()
        return found

    engine.status = status_at_the_end
    report = MemberReport(Coordinator(engine, machine=machine), facts={})
    with AdminServer(report, "127.0.0.1", 0) as server:
        code, body = fetch(server, "/status")
    assert (code, json.loads(body)["state"]) == (200, "closed")
