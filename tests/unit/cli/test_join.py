"""Joining a cluster: what an invitation holds, whom it refuses, and the steps of a host that joins."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import uuid

import pytest

from tenure.admin import AdminClient, AdminServer, MemberControl
from tenure.cli import join
from tenure.cli.join import Joiner, invitation_json, invite, joining_settings
from tenure.cli.settings import MemberAddresses, cluster_uuid, parse_settings
from tenure.engine import roster as rosters
from tenure.engine.roster import Roster
from tenure.errors import (
    AlreadyMember,
    ChangeInProgress,
    InvalidArgument,
    LearnerBehind,
    OutcomeUnknown,
    ProtocolError,
    Refused,
    StorageError,
    Timeout,
)
from unit.admin.fake_members import FakeMembers

PEERS = {1: "127.0.0.1:7101", 2: "127.0.0.1:7102", 3: "127.0.0.1:7103"}


class NoReport:
    def status(self):
        return {"member_id": 1}

    def healthy(self):
        return True


class Cluster:
    """A fake leader with a directory that says what the cluster began with, and its admin endpoint."""

    def __init__(self, folder, stack, name="shop", **how):
        self.engine = FakeMembers()
        self.engine.addresses = dict(PEERS)
        table = {"cluster": name, "members": {str(id): {"peer": peer} for id, peer in PEERS.items()}}
        self.settings = parse_settings(table, member_id=1, directory=str(folder / "1"), overrides={"tick_s": "0.02"})
        self.settings.directory.mkdir()
        rosters.write(self.settings.directory, Roster.beginning(cluster_uuid(name), PEERS), sync=False)
        control = MemberControl(
            self.engine, admins={2: "127.0.0.1:7202"}, cluster=lambda: invitation_json(self.settings)
        )
        self.server = stack.enter_context(AdminServer(NoReport(), "127.0.0.1", 0, control=control, **how))
        self.admin = f"127.0.0.1:{self.server.port}"


@pytest.fixture
def cluster(tmp_path):
    with contextlib.ExitStack() as stack:
        yield Cluster(tmp_path, stack)


def newcomer(tmp_path, contact, *, table=None, **flags):
    directory = tmp_path / "4"
    flags = {"member_id": 4, "peer": "127.0.0.1:7104", "token": None} | flags
    return joining_settings([contact], table or {}, directory=str(directory), **flags)


# ---------------------------------------------------------------------------------------------------------- invitations


def test_an_id_an_address_and_a_directory_are_all_a_new_host_needs(cluster, tmp_path):
    settings, _ = newcomer(tmp_path, cluster.admin)
    assert settings.cluster == "shop"
    assert settings.member_id == 4
    assert {id: one.peer for id, one in settings.members.items()} == {**PEERS, 4: "127.0.0.1:7104"}
    assert settings.members[2].admin == "127.0.0.1:7202"
    assert settings.roster.base_voters == (1, 2, 3)
    assert settings.config == cluster.settings.config


def test_what_concerns_one_machine_alone_is_not_taken_over(cluster, tmp_path):
    cluster.settings = dataclasses.replace(
        cluster.settings, config=dataclasses.replace(cluster.settings.config, insecure=True, call_timeout_s=3)
    )
    settings, _ = newcomer(tmp_path, cluster.admin)
    assert settings.config.insecure is False
    assert settings.config.call_timeout_s == 10


def test_own_settings_win(cluster, tmp_path):
    table = {
        "cluster": "shop",
        "config": {"snapshot_every": 7},
        "members": {"2": {"peer": "127.0.0.1:1", "redis": "127.0.0.1:7302"}, "9": {"peer": "127.0.0.1:9"}},
    }
    settings, _ = newcomer(tmp_path, cluster.admin, table=table, overrides={"election_timeout_s": "2"})
    assert (settings.config.snapshot_every, settings.config.election_timeout_s, settings.config.tick_s) == (7, 2, 0.02)
    assert settings.members[2] == MemberAddresses("127.0.0.1:7102", "127.0.0.1:7302", "127.0.0.1:7202")
    assert 9 not in settings.members  # who belongs to the cluster, the cluster knows


def test_a_name_that_does_not_make_the_identity_gives_way_to_it(cluster, tmp_path):
    other = uuid.uuid4()
    rosters.write(cluster.settings.directory, Roster.beginning(other, PEERS), sync=False)
    settings, _ = newcomer(tmp_path, cluster.admin)
    assert cluster_uuid(settings.cluster) == other


def test_another_cluster_than_the_one_named_is_refused(cluster, tmp_path):
    with pytest.raises(InvalidArgument, match="shop"):
        newcomer(tmp_path, cluster.admin, cluster="bank")


def test_an_address_that_is_another_members_is_refused(cluster, tmp_path):
    with pytest.raises(InvalidArgument, match="address of member 2"):
        newcomer(tmp_path, cluster.admin, peer=PEERS[2])


def test_an_empty_directory_is_refused_under_an_id_that_was_used(cluster, tmp_path):
    with pytest.raises(AlreadyMember, match="belongs to"):
        newcomer(tmp_path, cluster.admin, member_id=3)
    cluster.engine.voters.discard(3)
    with pytest.raises(AlreadyMember, match="was removed"):
        newcomer(tmp_path, cluster.admin, member_id=3)


def test_a_directory_that_is_there_comes_back_under_its_id(cluster, tmp_path):
    (tmp_path / "4").mkdir()
    (tmp_path / "4" / "identity").touch()
    settings, _ = newcomer(tmp_path, cluster.admin, member_id=3)
    assert settings.member_id == 3


def test_a_restart_needs_nobodys_answer(cluster, tmp_path):
    first, answer = newcomer(tmp_path, cluster.admin)
    first.directory.mkdir()
    (first.directory / "identity").touch()
    join.keep(first.directory, answer)
    cluster.server.close()
    again, _ = newcomer(tmp_path, cluster.admin)
    assert again == first


def test_without_an_answer_and_without_a_former_one_there_is_no_joining(cluster, tmp_path):
    cluster.server.close()
    with pytest.raises(Refused, match="nobody invites"):
        newcomer(tmp_path, cluster.admin)
    with pytest.raises(InvalidArgument):
        newcomer(tmp_path, "nowhere")


@pytest.mark.parametrize("content", ["", "{", '{"version": 2, "invitation": {}}', '{"version": 1}', "[]"])
def test_a_damaged_former_invitation_is_named(cluster, tmp_path, content):
    directory = tmp_path / "4"
    directory.mkdir()
    (directory / "identity").touch()
    (directory / "joined").write_text(content)
    cluster.server.close()
    with pytest.raises(StorageError, match="joined"):
        newcomer(tmp_path, cluster.admin)


def test_a_member_without_a_roster_does_not_invite(cluster, tmp_path):
    (cluster.settings.directory / "members").unlink()
    with pytest.raises(Refused, match="began with"):
        newcomer(tmp_path, cluster.admin)


@pytest.mark.parametrize("damage", ["roster", "membership", "config", "cluster"])
def test_an_answer_that_is_no_invitation_is_refused(cluster, damage):
    answer = AdminClient([cluster.admin]).get("/v1/cluster")
    assert invite(answer).belonging == {1, 2, 3}
    del answer[damage]
    with pytest.raises(ProtocolError):
        invite(answer)


# -------------------------------------------------------------------------------------------------------------- joining


class Newcomer:
    """The engine of a host that joins: it sees of the group what it has applied."""

    member_id = 4

    def __init__(self, leader: FakeMembers) -> None:
        self.leader = leader
        self.failures: list[Exception] = []
        self.caught_up = 0

    def configuration(self):
        return self.leader.configuration()

    def linearizable_read(self, *, timeout=None):
        if self.failures:
            raise self.failures.pop(0)
        self.caught_up += 1
        return 1


@pytest.fixture
def joins(cluster):
    def start(engine=None, *, learner=False, limit_s=20.0, peer="127.0.0.1:7104"):
        client = AdminClient([cluster.admin])
        own = MemberAddresses(peer, admin="127.0.0.1:7204")
        joiner = Joiner(engine or Newcomer(cluster.engine), client, own, learner=learner, limit_s=limit_s)
        joiner.start()
        assert joiner.done.wait(30)
        return joiner

    return start


def test_a_host_is_added_catches_up_and_is_promoted(cluster, joins):
    engine = Newcomer(cluster.engine)
    assert joins(engine).error is None
    assert cluster.engine.voters == {1, 2, 3, 4}
    assert engine.caught_up == 1
    assert cluster.engine.addresses[4] == "127.0.0.1:7104"
    members = AdminClient([cluster.admin]).get("/v1/members")["members"]
    assert members[-1]["admin"] == "127.0.0.1:7204"


def test_a_learner_stays_one(cluster, joins):
    assert joins(learner=True).error is None
    assert cluster.engine.learners == {4}


def test_what_may_pass_is_waited_for(cluster, joins):
    cluster.engine.refusals = [ChangeInProgress("wait"), OutcomeUnknown("lost"), LearnerBehind("slow", id=4)]
    engine = Newcomer(cluster.engine)
    engine.failures = [Timeout("no quorum"), Timeout("no quorum")]
    assert joins(engine).error is None
    assert cluster.engine.voters == {1, 2, 3, 4}


def test_what_happened_before_a_restart_is_not_asked_for_again(cluster, joins):
    cluster.engine.learners.add(4)
    assert joins().error is None
    assert [one[1][0].change for one in cluster.engine.asked] == ["promote"]
    cluster.engine.asked.clear()
    assert joins().error is None
    assert cluster.engine.asked == []


def test_a_change_whose_outcome_was_lost_but_that_happened(cluster, joins):
    class Late(Newcomer):
        """It has not applied its own addition yet."""

        def configuration(self):
            whole = super().configuration()
            if self.caught_up:
                return whole
            return dataclasses.replace(whole, members=tuple(one for one in whole.members if one.id != 4))

    cluster.engine.learners.add(4)
    assert joins(Late(cluster.engine)).error is None
    assert cluster.engine.voters == {1, 2, 3, 4}


def test_two_hosts_that_join_at_once_under_one_id(cluster, joins):
    """The second one asked for its invitation before the first was added, so nobody has refused it yet."""

    class NotAddedYet(Newcomer):
        def configuration(self):
            whole = super().configuration()
            return dataclasses.replace(whole, members=tuple(one for one in whole.members if one.id != 4))

    cluster.engine.learners.add(4)
    cluster.engine.addresses[4] = "127.0.0.1:7999"
    second = NotAddedYet(cluster.engine)
    error = joins(second, limit_s=5.0).error
    assert isinstance(error, AlreadyMember)
    assert "127.0.0.1:7999" in str(error)
    assert second.caught_up == 0
    assert cluster.engine.learners == {4}


def test_the_cluster_is_told_the_address_that_this_host_listens_on(cluster, joins):
    assert joins(peer="localhost:7104").error is None
    assert cluster.engine.addresses[4] == "127.0.0.1:7104"


def test_a_member_that_was_removed_is_told_so(cluster, joins):
    cluster.engine.refusals = [AlreadyMember("an id is used once", id=4)]
    error = joins().error
    assert isinstance(error, AlreadyMember)
    assert "never used" in str(error)


def test_a_refusal_for_good_ends_it(cluster, joins):
    cluster.engine.refusals = [InvalidArgument("no such address", field="address")]
    assert isinstance(joins().error, InvalidArgument)


def test_it_gives_up_in_time_and_says_why(cluster, joins):
    engine = Newcomer(cluster.engine)
    engine.failures = [Timeout("no quorum")] * 10_000
    begin = time.monotonic()
    error = joins(engine, limit_s=0.5).error
    assert isinstance(error, Timeout)
    assert "caught up" in str(error)
    assert str(error.__cause__) == "no quorum"
    assert time.monotonic() - begin < 10


def test_an_answer_that_makes_no_sense_is_no_membership(cluster, joins, monkeypatch):
    """A member of another make, or a defect: whatever it is, this host has not joined, and says so."""
    monkeypatch.setattr(MemberControl, "members", lambda self: {"members": "none"})
    engine = Newcomer(cluster.engine)
    engine.failures = [Timeout("no quorum")]
    assert joins(engine).error is not None
    assert engine.caught_up == 0


def test_it_gives_up_when_it_is_told_to(cluster):
    engine = Newcomer(cluster.engine)
    engine.failures = [Timeout("no quorum")] * 10_000
    joiner = Joiner(engine, AdminClient([cluster.admin]), MemberAddresses("127.0.0.1:7104"), learner=False, limit_s=60)
    joiner.start()
    joiner.stop()
    assert joiner.done.wait(10)
    assert isinstance(joiner.error, Refused)
