"""`tenure serve` and `tenure status`: real processes, told by files, flags and signals."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import threading
import time
import urllib.request

import pytest

from .processes import FAST, Served, free_ports, tenure, wait_until

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def serve(tmp_path):
    started = []

    def start(*arguments: str) -> Served:
        one = Served(*arguments, log=tmp_path / f"serve-{len(started)}.log")
        started.append(one)
        return one

    yield start
    for one in started:
        one.clean_up()


def alone(tmp_path, *more: str) -> list[str]:
    """The flags of a cluster of one."""
    peer, admin, redis = free_ports(3)
    return [
        "--id", "1", "--cluster", "alone", "--directory", str(tmp_path / "alone"),
        "--member", f"1=127.0.0.1:{peer}", "--admin", f"127.0.0.1:{admin}", "--redis", f"127.0.0.1:{redis}",
        *(f"--set={name}={value}" for name, value in FAST.items()), *more,
    ]  # fmt: skip


def cluster_file(tmp_path) -> str:
    ports = iter(free_ports(9))
    lines = ['cluster = "three"', "", "[config]", *(f"{name} = {value}" for name, value in FAST.items())]
    for id in (1, 2, 3):
        lines += ["", f"[members.{id}]", f'directory = "{tmp_path}/{id}"']
        lines += [f'{name} = "127.0.0.1:{next(ports)}"' for name in ("peer", "admin", "redis")]
    path = tmp_path / "cluster.toml"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def leader_of(members: list[Served]) -> Served:
    def found():
        leading = [one for one in members if one.status()["state"] == "leader"]
        return leading[0] if len(leading) == 1 else None

    return wait_until(found, "a leader")


def test_one_member_from_flags_serves_leads_and_stops(serve, tmp_path):
    member = serve(*alone(tmp_path, "--exercise", "200"))
    assert member.ready["ready"] is True
    assert member.ready["member"] == 1
    assert member.ready["pid"] == member.process.pid
    report = wait_until(
        lambda: (s := member.status())["state"] == "leader" and s["latencies"]["write"]["count"] > 2 and s, "load"
    )
    assert report["fences"]["hits"] > 0
    assert report["fences"]["stale"] == 0
    assert report["keys"] == 1
    assert 0 < report["latencies"]["lease_read"]["p50_ns"] <= report["latencies"]["lease_read"]["p99_ns"]
    assert [event["state"] for event in report["events"] if event["event"] == "role"][-1] == "leader"
    assert member.end() == 0
    assert "stopped" in member.log.read_text()
    assert member.process.stdout.read() == ""  # standard output is the ready line and nothing else


def test_redis_clients_are_served(serve, tmp_path):
    member = serve(*alone(tmp_path))
    host, port = member.ready["redis"].split(":")
    wait_until(lambda: member.status()["state"] == "leader", "a leader")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(b"SET k v\r\nGET k\r\n")
        replies = b""
        while replies.count(b"\r\n") < 3:
            replies += client.recv(100)
    assert replies == b"+OK\r\n$1\r\nv\r\n"
    assert member.status()["redis"]["commands"] >= 2


def test_redis_clients_are_served_by_threads(serve, tmp_path):
    member = serve(*alone(tmp_path, "--io-threads", "2"))
    host, port = member.ready["redis"].split(":")
    wait_until(lambda: member.status()["state"] == "leader", "a leader")
    with (
        socket.create_connection((host, int(port)), timeout=10) as first,
        socket.create_connection((host, int(port)), timeout=10) as second,
    ):
        for client in (first, second):
            client.sendall(b"SET k v\r\n")
            assert client.recv(100) == b"+OK\r\n"
        report = member.status()
        assert [(one["clients"], one["commands"]) for one in report["redis_threads"]] == [(1, 1), (1, 1)]
        with urllib.request.urlopen(f"http://{member.ready['admin']}/metrics", timeout=10) as answer:
            metrics = answer.read().decode()
        assert 'tenure_redis_thread_clients{thread="2"} 1\n' in metrics
        assert 'tenure_redis_thread_commands_total{thread="1"} 1\n' in metrics
        assert 'tenure_redis_thread_busy_seconds_total{thread="1"} ' in metrics


def test_threads_for_redis_clients_that_make_no_sense_are_refused(tmp_path):
    done = tenure("serve", *alone(tmp_path, "--io-threads", "1000"))
    assert done.returncode == 2
    assert "io_threads" in done.stderr


def test_what_was_acknowledged_survives_a_kill(serve, tmp_path):
    flags = alone(tmp_path)
    member = serve(*flags, "--exercise", "200")
    wait_until(lambda: member.status().get("keys") == 1, "a key")
    member.end(signal.SIGKILL)
    again = serve(*flags)
    wait_until(lambda: again.status()["state"] == "leader" and again.status()["keys"] == 1, "the key, again")


def test_the_load_ends_on_sigusr1(serve, tmp_path):
    member = serve(*alone(tmp_path, "--exercise", "500"))
    wait_until(lambda: member.status().get("fences", {}).get("writes", 0) > 1, "load")
    member.process.send_signal(signal.SIGUSR1)

    def quiet():
        first = member.status()["fences"]
        threading.Event().wait(0.3)
        return member.status()["fences"] == first

    wait_until(quiet, "quiet")
    assert member.end() == 0


def test_three_members_from_one_file_and_their_status(serve, tmp_path):
    file = cluster_file(tmp_path)
    members = [serve(file, "--id", str(id)) for id in (1, 2, 3)]
    leader = leader_of(members)
    wait_until(lambda: all(one.status()["leader"] == leader.ready["member"] for one in members), "all follow")
    shown = tenure("status", members[0].admin)
    assert shown.returncode == 0, shown.stderr
    for one in members:
        assert one.admin in shown.stdout
    assert shown.stdout.count("leader") == 2  # the heading and one member
    assert shown.stdout.count("follower") == 2
    reports = [json.loads(line) for line in tenure("status", "--json", members[2].admin).stdout.splitlines()]
    assert [report["member_id"] for report in reports] == [1, 2, 3]
    assert len({report["state_hash"] for report in reports}) == 1

    # A graceful end hands leadership over: no election timeout passes without a leader.
    assert leader.end() == 0
    rest = [one for one in members if one is not leader]
    successor = leader_of(rest)
    assert successor.status()["term"] > reports[0]["term"]
    shown = tenure("status", successor.admin)
    assert shown.returncode == 1
    assert "no answer" in shown.stdout


def test_status_waits_until_the_cluster_is_whole(serve, tmp_path):
    file = cluster_file(tmp_path)
    first = serve(file, "--id", "1")
    begin = time.monotonic()
    assert tenure("status", "--wait", "1", "--timeout", "0.5", first.admin).returncode == 1
    assert time.monotonic() - begin >= 1
    for id in (2, 3):
        serve(file, "--id", str(id))
    shown = tenure("status", "--wait", "30", first.admin, timeout=60)
    assert shown.returncode == 0, shown.stdout
    assert "no answer" not in shown.stdout


def test_an_admin_address_for_strangers_wants_an_explicit_word(serve, tmp_path):
    flags = alone(tmp_path)
    admin = flags.index("--admin") + 1
    flags[admin] = flags[admin].replace("127.0.0.1", "0.0.0.0")
    done = tenure("serve", *flags)
    assert done.returncode == 2
    assert "not loopback" in done.stderr
    serve(*flags, "--set", "insecure=true")


def test_a_member_without_its_peers_is_not_healthy(serve, tmp_path):
    member = serve(cluster_file(tmp_path), "--id", "2")
    host, port = member.admin.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    connection.request("GET", "/health")
    assert connection.getresponse().status == 503
    connection.close()
    assert tenure("status", member.admin, "--timeout", "1").returncode == 1
    assert member.end(signal.SIGINT) == 0


def test_a_second_signal_ends_it_at_once(serve, tmp_path):
    """The first one waits for a write that no quorum can acknowledge; the second does not."""
    file = cluster_file(tmp_path)
    patient = ("--set", "election_timeout_s=3", "--exercise", "1000")
    members = [serve(file, "--id", str(id), *patient) for id in (1, 2, 3)]
    leader = leader_of(members)
    wait_until(lambda: leader.status()["fences"]["writes"] > 0, "load")
    for one in members:
        if one is not leader:
            one.process.send_signal(signal.SIGSTOP)
    written = -1
    while written != (written := leader.status()["fences"]["writes"]):
        time.sleep(0.2)  # acknowledgements that were on their way
    leader.process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        leader.process.wait(0.5)
    begin = time.monotonic()
    assert leader.end(signal.SIGTERM) == 128 + signal.SIGTERM
    assert time.monotonic() - begin < 3


def test_it_stops_with_the_process_that_holds_its_input(serve, tmp_path):
    member = serve(*alone(tmp_path, "--until-input-ends"))
    member.process.stdin.close()
    assert member.process.wait(10) == 0


def test_a_directory_in_use_is_refused(serve, tmp_path):
    member = serve(*alone(tmp_path))
    wait_until(lambda: member.status()["state"] == "leader", "a leader")
    second = tenure("serve", *alone(tmp_path), timeout=20)  # the same directory, other ports
    assert second.returncode == 2
    assert "another process" in second.stderr
    assert second.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.toml"], "cannot read"),
        (["--id", "1"], "id: this member"),
        (["--id", "1", "--member", "1=127.0.0.1:1"], "cluster"),
        (["--id", "1", "--member", "1=127.0.0.1:1", "--cluster", "c"], "directory"),
        (["--id", "1", "--member", "1=8.8.8.8:1", "--cluster", "c", "--directory", "d"], "loopback"),
        (["--id", "1", "--member", "1=nowhere", "--cluster", "c", "--directory", "d"], "host:port"),
        (["--set", "x"], "NAME=VALUE"),
    ],
)
def test_settings_that_are_of_no_use(tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    done = tenure("serve", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_taken_admin_address_leaves_nothing_open(serve, tmp_path):
    flags = alone(tmp_path)
    admin = flags[flags.index("--admin") + 1].split(":")
    with socket.create_server((admin[0], int(admin[1]))):
        done = tenure("serve", *flags)
    assert done.returncode == 2
    assert "cannot listen" in done.stderr
    serve(*flags)  # the directory is free again


def test_status_of_what_is_no_address_and_of_nobody():
    assert tenure("status", "nobody").returncode == 2
    port = free_ports(1)[0]
    done = tenure("status", f"127.0.0.1:{port}")
    assert done.returncode == 1
    assert "no answer" in done.stdout


def test_help_imports_no_simulator_and_no_host():
    code = "import sys; from tenure.cli.app import app; app(['--help'], standalone_mode=False); "
    code += "assert not [m for m in sys.modules if m.startswith(('tenure._proof', 'tenure._host', 'tenure.sim'))]"
    done = subprocess.run(
        [__import__("sys").executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    for name in ("demo", "serve", "status", "check-history"):
        assert name in done.stdout
