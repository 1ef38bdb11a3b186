"""`tenure demo`, as scripts and people see it."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import threading
import time

import pytest

from tenure._core.clock import now_ns
from tenure.cli.demo_cluster import Member, read_ready_line
from tenure.cli.demo_view import Failover, Scene, Totals, lease_bar, plain_line, render, totals

from .processes import TENURE, environment, plain, tenure

pytestmark = pytest.mark.timeout(180)


def facts(line: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in line.split())


def test_plain_lines_for_scripts(tmp_path):
    done = tenure("demo", "--plain", "--seconds", "6", "--dir", str(tmp_path / "kept"), timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    samples = [facts(line) for line in done.stdout.splitlines() if line.startswith("t=")]
    last = samples[-1]
    assert len(samples) >= 4
    assert last["leader"] in "123"
    assert int(last["hits"]) > 100
    assert last["stale"] == "0"
    assert int(last["redis_gets"]) > 0
    assert 0 < float(last["lease_read_p50_us"]) < float(last["linearizable_read_p50_us"])
    assert 0 < float(last["lease_ms"]) <= 770
    assert sorted(last["roles"].split("/")) == ["follower", "follower", "leader"]
    assert not [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert (tmp_path / "kept" / "cluster.toml").exists()
    assert (tmp_path / "kept" / "member-1.log").read_text()


@pytest.mark.parametrize("how", ["pause", "kill"])
def test_the_fail_over_of_a_leader(how):
    done = tenure("demo", "--plain", "--seconds", "18", "--fail-leader", "--how", how, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    story = [line for line in done.stdout.splitlines() if line.startswith("failover ")]
    instants = [int(re.match(r"failover \+(\d+)ms ", line)[1]) for line in story]
    assert instants == sorted(instants)
    said = "\n".join(story)
    order = ["leader of term", "the lease of member", "is elected in term", "acknowledges a write", "follows member"]
    assert [said.index(part) for part in order] == sorted(said.index(part) for part in order)
    assert re.search(r"ok .* the old lease was over at least \d+ ms before member", done.stdout)


def test_without_plain_it_draws_a_picture():
    done = tenure("demo", "--seconds", "4", timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    for part in ("cluster", "lease remaining", "latency", "quorum read", "redis-cli -p", "✓ 0 stale reads"):
        assert part in done.stdout


def test_a_member_that_dies_by_itself_fails_the_demo(tmp_path):
    with start_demo("--seconds", "30", "--dir", str(tmp_path)) as demo:
        victim = wait_for_member(tmp_path)
        os.kill(victim, signal.SIGKILL)
        output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert "ended by itself" in output
    assert not members_of(tmp_path)


def test_ctrl_c_ends_an_endless_demo_with_its_verdict(tmp_path):
    with start_demo("--dir", str(tmp_path)) as demo:
        wait_for_line(demo, "leader=1", "leader=2", "leader=3", ahead=2)
        demo.send_signal(signal.SIGINT)
        output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 0, output
    assert "stale reads" in output
    assert not members_of(tmp_path)


def test_members_do_not_outlive_a_demo_that_is_killed(tmp_path):
    with start_demo("--dir", str(tmp_path)) as demo:
        wait_for_member(tmp_path)
        demo.kill()
    deadline = time.monotonic() + 20
    while members_of(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not members_of(tmp_path)


def test_a_fail_over_needs_time():
    done = tenure("demo", "--seconds", "5", "--fail-leader")
    assert done.returncode == 2
    assert "needs 12 s" in done.stderr


def start_demo(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*TENURE, "demo", "--plain", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment() | {"PYTHONUNBUFFERED": "1"},
    )


def members_of(directory) -> list[int]:
    found = subprocess.run(
        ["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, timeout=10, check=True, env=plain()
    ).stdout
    marker = f"serve {directory}/cluster.toml"
    return [int(line.split()[0]) for line in found.splitlines() if marker in line]


def wait_for_member(directory) -> int:
    """The process of a member, once all three write their logs."""
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        logs = [path.read_text() for path in directory.glob("member-*.log")]
        if len(logs) == 3 and all("follower" in log or "leader" in log for log in logs) and members_of(directory):
            return members_of(directory)[0]
        time.sleep(0.05)
    raise AssertionError("the members did not start")


def wait_for_line(demo, *parts: str, ahead: int = 1) -> None:
    deadline = time.monotonic() + 40
    while ahead and time.monotonic() < deadline:
        line = demo.stdout.readline()
        assert line, "the demo ended"
        ahead -= any(part in line for part in parts)
    assert not ahead


# ------------------------------------------------------------------------------------------------- the picture itself


def failover(**instants: int) -> Failover:
    return Failover(
        old=1,
        old_term=3,
        how="pause",
        stopped_ns=1,
        lease_left_ns=700_000_000,
        lease_duration_ns=770_000_000,
        **instants,
    )


def test_a_successor_elected_inside_the_old_lease_is_not_safe():
    assert not failover(elected_ns=1 + 769_000_000).safe
    assert not failover(elected_ns=1 + 770_000_000).safe
    assert failover(elected_ns=2 + 770_000_000).safe
    assert not failover().safe


def test_a_story_is_told_in_order_of_time():
    told = failover(
        new=2, new_term=4, elected_ns=900_000_001, first_write_ns=950_000_001, first_lease_read_ns=940_000_001
    ).story()
    assert [since // 1_000_000 for since, _, _ in told] == [0, 700, 900, 940, 950]
    assert "200 ms after the lease's end" in told[2][2]


@pytest.mark.parametrize(("left", "cells"), [(0, 0), (385, 8), (770, 16), (2000, 16)])
def test_a_lease_bar_drains(left, cells):
    bar = lease_bar(left * 1_000_000, 770_000_000, "green").plain
    assert bar.count("█") == cells
    assert bar.startswith("█" * cells + "·" * (16 - cells))


@pytest.mark.parametrize("width", [60, 80, 110, 200])
def test_an_empty_scene_is_drawn_at_any_width(width):
    from rich.console import Console

    scene = Scene(
        members=[], elapsed_s=0.0, seconds=None, totals=Totals(), latencies={}, measured_in=0, directory="d",
        connect=[("Redis", "redis-cli")],
        failover=Failover(
            old=1, old_term=1, how="kill", stopped_ns=now_ns(), lease_left_ns=10**8, lease_duration_ns=10**9
        ),
    )  # fmt: skip
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(render(scene, width))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    assert "leader=-" in plain_line(scene)


def test_a_member_that_has_only_said_that_it_is_ready_can_be_drawn(tmp_path):
    """The first picture is often drawn before the first report has come."""
    member = Member(id=1, peer="p", admin="a", redis="r", log_path=tmp_path / "log")
    line = '{"ready": true, "member": 1, "pid": 7, "redis": "127.0.0.1:7121", "admin": "127.0.0.1:7131"}\n'
    read_ready_line(member, io.StringIO(line), threading.Event())
    assert member.report["pid"] == 7
    assert totals([member.report]) == Totals()
