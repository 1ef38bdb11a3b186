"""The commands that drive a running member, against an endpoint with a fake member behind it."""

from __future__ import annotations

import json
import socket

import pytest
from click.testing import CliRunner

from tenure.admin import AdminServer, MemberControl
from tenure.cli.app import app
from tenure.errors import LearnerBehind, OutcomeUnknown, WouldLoseQuorum
from unit.admin.fake_members import FakeMembers

TOKEN = "correct-horse-battery-staple"


class NoReport:
    def status(self):
        return {"member_id": 1}

    def healthy(self):
        return True


@pytest.fixture
def engine():
    return FakeMembers()


@pytest.fixture
def address(engine):
    with AdminServer(NoReport(), "127.0.0.1", 0, control=MemberControl(engine)) as server:
        yield f"127.0.0.1:{server.port}"


def tenure(*arguments: str, **environment: str):
    return CliRunner().invoke(app, arguments, env={"TENURE_ADMIN": None, "TENURE_ADMIN_TOKEN": None} | environment)


def test_members_are_listed(address):
    done = tenure("members", "list", "--admin", address)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert [line.split() for line in lines if "voter" in line] == [
        ["1", "10.0.0.1:7101", "voter", "leader", "-"],
        ["2", "10.0.0.2:7101", "voter", "-"],
        ["3", "10.0.0.3:7101", "voter", "-"],
    ]


def test_members_are_changed(address, engine):
    for arguments, voters, learners in [
        (("add-learner", "4", "10.0.0.4:7101"), {1, 2, 3}, {4}),
        (("promote", "4"), {1, 2, 3, 4}, set()),
        (("demote", "4"), {1, 2, 3}, {4}),
        (("remove", "4"), {1, 2, 3}, set()),
        (("add", "5", "10.0.0.5:7101"), {1, 2, 3, 5}, set()),
    ]:
        done = tenure("members", *arguments, "--admin", address)
        assert done.exit_code == 0, done.output
        assert (engine.voters, engine.learners) == (voters, learners)


def test_every_answer_may_be_json(address):
    for arguments, field, value in [
        (("members", "list"), "asked", 1),
        (("members", "add-learner", "4", "10.0.0.4:7101"), "learners", [4]),
        (("snapshot",), "index", 4711),
        (("transfer-leader", "3"), "leader", 3),
    ]:
        done = tenure(*arguments, "--json", "--admin", address)
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)[field] == value


def test_leadership_and_snapshots(address):
    assert tenure("snapshot", "--admin", address).stdout == "member 1 has a snapshot at index 4,711\n"
    assert tenure("transfer-leader", "--admin", address).stdout == "member 2 leads\n"
    assert tenure("transfer-leader", "3", "--admin", address, "--timeout", "0.3").exit_code == 1  # it leads no longer


def test_the_address_may_come_from_the_environment(address):
    assert tenure("members", "list", TENURE_ADMIN=address).exit_code == 0


def test_a_refusal_ends_with_1_and_its_reason(address, engine):
    engine.refusals = [WouldLoseQuorum("nobody would be left to vote")]
    done = tenure("members", "remove", "3", "--json", "--admin", address)
    assert done.exit_code == 1
    assert json.loads(done.stdout)["error"]["code"] == "would_lose_quorum"
    assert done.stderr == "tenure: nobody would be left to vote\n"


def test_an_unknown_outcome_ends_with_3(address, engine):
    engine.refusals = [OutcomeUnknown("no outcome before the deadline")]
    assert tenure("members", "remove", "3", "--admin", address).exit_code == 3
    assert len(engine.asked) == 1


def test_a_learner_is_waited_for(address, engine):
    engine.learners.add(4)
    engine.refusals = [LearnerBehind("behind", id=4)] * 3
    assert tenure("members", "promote", "4", "--admin", address).exit_code == 0
    assert 4 in engine.voters


def test_a_follower_that_does_not_know_the_way_says_who_leads(address, engine):
    engine.leader = 2
    done = tenure("members", "remove", "3", "--timeout", "0.3", "--admin", address)
    assert done.exit_code == 1
    assert "not leader, leader is 2" in done.stderr


def test_nobody_there():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = f"127.0.0.1:{gone.getsockname()[1]}"
    done = tenure("members", "list", "--admin", address)
    assert done.exit_code == 1
    assert address in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("members", "list"),
        ("members", "list", "--admin", "nowhere"),
        ("members", "remove", "zero", "--admin", "127.0.0.1:1"),
        ("members", "remove", "0", "--admin", "127.0.0.1:1"),
        ("members", "add", "4", "--admin", "127.0.0.1:1"),
        ("members", "list", "--admin", "127.0.0.1:1", "--token-file", "/nonexistent/token"),
    ],
)
def test_a_command_line_that_makes_no_sense_ends_with_2(arguments):
    assert tenure(*arguments).exit_code == 2


def test_a_token_from_a_file_or_the_environment(engine, tmp_path):
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    with AdminServer(NoReport(), "127.0.0.1", 0, control=MemberControl(engine), token=TOKEN) as server:
        address = f"127.0.0.1:{server.port}"
        assert tenure("members", "list", "--admin", address).exit_code == 1
        assert tenure("members", "list", "--admin", address, "--token-file", str(file)).exit_code == 0
        assert tenure("members", "list", "--admin", address, TENURE_ADMIN_TOKEN=TOKEN).exit_code == 0
