"""Hosts that join, learn, are promoted, are removed and come back: real processes, driven by the commands."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import threading

import pytest

from .processes import FAST, TENURE, Served, environment, free_ports, tenure, wait_until

pytestmark = pytest.mark.timeout(180)

TOKEN = "correct-horse-battery-staple"


class Hosts:
    """A cluster of three from a file, and hosts that join it."""

    def __init__(self, folder, *, token=False):
        self.folder = folder
        self.running = {}
        self.all = []
        self.ports = free_ports(24)
        self.more = []
        lines = ['cluster = "three"']
        if token:
            (folder / "token").write_text(TOKEN)
            lines.append(f'admin_token_file = "{folder}/token"')
            self.more = ["--admin-token-file", f"{folder}/token"]
        lines += ["", "[config]", "snapshot_every = 300", *(f"{name} = {value}" for name, value in FAST.items())]
        for id in (1, 2, 3):
            lines += ["", f"[members.{id}]", f'directory = "{folder}/{id}"']
            lines += [f'{name} = "{self.address(id, name)}"' for name in ("peer", "admin", "redis")]
        self.file = folder / "cluster.toml"
        self.file.write_text("\n".join(lines) + "\n")

    def address(self, id, what):
        return f"127.0.0.1:{self.ports[3 * id + ('peer', 'admin', 'redis').index(what)]}"

    def start(self, id, *arguments):
        one = Served(*(arguments or (str(self.file), "--id", str(id))), log=self.folder / f"{id}.log")
        self.all.append(one)
        self.running[id] = one
        return one

    def join_flags(self, id, *more, contacts=(1, 2, 3)):
        flags = [f"--{name}={self.address(id, name)}" for name in ("peer", "admin", "redis")]
        flags += [f"--join={self.address(contact, 'admin')}" for contact in contacts]
        return ["--id", str(id), *flags, "--directory", str(self.folder / str(id)), *self.more, *more]

    def join(self, id, *more, contacts=(1, 2, 3)):
        return self.start(id, *self.join_flags(id, *more, contacts=contacts))

    def stop(self, id, number=signal.SIGTERM):
        return self.running.pop(id).end(number)

    def admins(self):
        return [f"--admin={self.address(id, 'admin')}" for id in self.running]

    def command(self, *arguments, expect=0):
        token = ["--token-file", str(self.folder / "token")] if self.more else []
        done = tenure(*arguments, "--json", *token, *self.admins())
        assert done.returncode == expect, done.stderr
        return json.loads(done.stdout)

    def whole(self):
        done = tenure("status", "--wait", "30", *(self.address(id, "admin") for id in self.running), timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr

    def leader(self):
        def found():
            leading = [id for id, one in self.running.items() if one.status()["state"] == "leader"]
            return leading[0] if len(leading) == 1 else None

        return wait_until(found, "a leader")

    def hashes(self):
        """The state of all running members once they have applied the same."""

        def same():
            reports = [one.status() for one in self.running.values()]
            if len({report["applied_index"] for report in reports}) != 1:
                return None
            return {report["state_hash"] for report in reports}

        return wait_until(same, "members at one index")

    def clean_up(self):
        for one in self.all:
            one.clean_up()


@pytest.fixture
def hosts(tmp_path):
    made = Hosts(tmp_path)
    for id in (1, 2, 3):
        made.start(id)
    made.leader()
    made.whole()
    yield made
    made.clean_up()


def write(hosts, count):
    """`count` acknowledged writes, by a Redis client of the leader's."""
    host, port = hosts.address(hosts.leader(), "redis").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as client, client.makefile("rb") as replies:
        for begin in range(0, count, 100):
            client.sendall(b"".join(b"SET key%d %d\r\n" % (n, n) for n in range(begin, begin + 100)))
            assert [replies.readline() for _ in range(100)] == [b"+OK\r\n"] * 100


def test_a_host_joins_with_one_command_and_votes(hosts):
    joined = hosts.join(4)
    assert joined.ready["member"] == 4
    assert joined.ready["cluster"] == "three"
    made = hosts.command("members", "list")
    assert made["voters"] == [1, 2, 3, 4]
    assert made["learners"] == []
    assert {one["id"]: one["address"] for one in made["members"]} == {
        id: hosts.address(id, "peer") for id in (1, 2, 3, 4)
    }
    hosts.whole()
    assert len(hosts.hashes()) == 1

    # It is a member like any other: it leads, and goes on when two of the others are gone.
    assert hosts.command("transfer-leader", "4") == {"leader": 4}
    hosts.command("members", "remove", "3")
    hosts.stop(3)
    hosts.stop(2)
    assert hosts.leader() in (1, 4)


def test_a_host_that_joins_late_gets_a_snapshot(hosts):
    while hosts.running[hosts.leader()].status()["first_index"] == 1:
        write(hosts, 1000)
    joined = hosts.join(4)
    assert joined.status()["counters"]["snapshots_installed"] >= 1
    assert hosts.command("members", "list")["voters"] == [1, 2, 3, 4]
    assert len(hosts.hashes()) == 1


def test_a_learner_stays_one_until_somebody_promotes_it(hosts):
    hosts.join(4, "--learner")
    assert hosts.command("members", "list")["learners"] == [4]
    assert hosts.running[4].status()["state"] == "follower"
    assert hosts.command("members", "promote", "4")["voters"] == [1, 2, 3, 4]
    assert hosts.command("members", "demote", "4")["learners"] == [4]
    assert hosts.command("members", "remove", "4")["learners"] == []


def test_a_member_that_joined_comes_back_without_anybodys_answer(hosts):
    hosts.join(4)
    for id in (1, 2, 3, 4):
        hosts.stop(id)
    starting = [
        threading.Thread(target=hosts.join, args=(4,)),
        *(threading.Thread(target=hosts.start, args=(id,)) for id in (1, 2, 3)),
    ]
    for thread in starting:
        thread.start()
    for thread in starting:
        thread.join(60)
    hosts.whole()
    assert hosts.command("members", "list")["voters"] == [1, 2, 3, 4]


def test_a_host_that_is_killed_while_it_joins_finishes_when_it_starts_again(hosts):
    write(hosts, 5000)
    for seconds in (0.4, 0.8, 1.2):
        with (hosts.folder / "4.log").open("a") as log:
            process = subprocess.Popen(
                [*TENURE, "serve", *hosts.join_flags(4)], stdout=subprocess.DEVNULL, stderr=log, env=environment()
            )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        process.kill()
        process.wait(10)
    assert hosts.join(4).ready["member"] == 4
    assert hosts.command("members", "list")["voters"] == [1, 2, 3, 4]


def test_an_empty_directory_is_not_let_in_under_a_used_id(hosts):
    hosts.join(4)
    hosts.stop(4, signal.SIGKILL)
    shutil.rmtree(hosts.folder / "4")
    done = tenure("serve", *hosts.join_flags(4))
    assert done.returncode == 2
    assert "never used" in done.stderr
    hosts.command("members", "remove", "4")
    done = tenure("serve", *hosts.join_flags(4))
    assert done.returncode == 2
    assert "was removed" in done.stderr
    hosts.join(5)
    assert hosts.command("members", "list")["voters"] == [1, 2, 3, 5]


def test_a_removed_member_does_not_come_back(hosts):
    hosts.join(4)
    hosts.stop(4)
    hosts.command("members", "remove", "4")
    done = tenure("serve", *hosts.join_flags(4), "--join-timeout", "20", timeout=60)
    assert done.returncode == 1
    assert "removed" in done.stderr
    assert "Traceback" not in done.stderr


def test_changes_that_make_no_sense_are_refused(hosts):
    for arguments, code in [
        (("promote", "1"), "not_a_learner"),
        (("promote", "9"), "unknown_member"),
        (("remove", "9"), "unknown_member"),
        (("add-learner", "1", "127.0.0.1:1"), "already_member"),
    ]:
        assert hosts.command("members", *arguments, expect=1)["error"]["code"] == code


def test_a_leader_that_is_removed_hands_over(hosts):
    leader = hosts.leader()
    made = hosts.command("members", "remove", str(leader))
    assert leader not in made["voters"]
    hosts.stop(leader)
    assert hosts.leader() != leader
    hosts.whole()


def test_a_member_takes_a_snapshot_when_it_is_told_to(hosts):
    write(hosts, 100)
    id = hosts.leader()
    answer = json.loads(tenure("snapshot", "--json", "--admin", hosts.address(id, "admin")).stdout)
    assert answer["member"] == id
    assert answer["index"] > 0
    assert list((hosts.folder / str(id)).glob("snap-*"))


def test_a_token_guards_it_all(tmp_path):
    hosts = Hosts(tmp_path, token=True)
    try:
        for id in (1, 2, 3):
            hosts.start(id)
        hosts.leader()
        assert tenure("members", "list", *hosts.admins()).returncode == 1
        hosts.join(4)
        assert hosts.command("members", "list")["voters"] == [1, 2, 3, 4]
    finally:
        hosts.clean_up()


def test_who_is_not_invited_ends_with_2(tmp_path):
    hosts = Hosts(tmp_path)
    done = tenure("serve", *hosts.join_flags(4))
    assert done.returncode == 2
    assert "nobody invites" in done.stderr
    assert not (tmp_path / "4").exists()
