"""The settings of `tenure serve`, from a file and from flags."""

from __future__ import annotations

import tomllib
import uuid
from fractions import Fraction
from pathlib import Path

import pytest

from tenure.cli.settings import cluster_uuid, load, member_flag, parse_settings
from tenure.errors import InvalidArgument

FILE = """
cluster = "shop"

[members.1]
peer = "127.0.0.1:7101"
admin = "127.0.0.1:7201"
directory = "/data/1"

[members.2]
peer = "127.0.0.1:7102"
learner = true

[config]
election_timeout_s = 0.5
clock_rate_bound = "1/16"
"""


def table():
    return tomllib.loads(FILE)


def test_a_file_describes_every_member():
    settings = parse_settings(table(), member_id=1)
    assert (settings.cluster, settings.member_id, settings.directory) == ("shop", 1, Path("/data/1"))
    assert settings.own.admin == "127.0.0.1:7201"
    assert settings.members[2].learner
    assert settings.config.election_timeout_s == 0.5
    assert settings.config.clock_rate_bound == Fraction(1, 16)


def test_flags_win():
    settings = parse_settings(
        table(),
        member_id=2,
        cluster="other",
        directory="/elsewhere",
        members=dict([member_flag("3=127.0.0.1:7103,redis=127.0.0.1:6379,admin=127.0.0.1:7203")]),
        admin="127.0.0.1:9999",
        overrides={"election_timeout_s": "0.7", "fsync": "always"},
    )
    assert (settings.cluster, settings.directory) == ("other", Path("/elsewhere"))
    assert settings.own.admin == "127.0.0.1:9999"
    assert settings.members[3].redis == "127.0.0.1:6379"
    assert settings.config.election_timeout_s == 0.7


def test_threads_for_redis_clients():
    assert parse_settings(table(), member_id=1).io_threads == 0
    assert parse_settings({"io_threads": 3} | table(), member_id=1).io_threads == 3
    assert parse_settings({"io_threads": 3} | table(), member_id=1, io_threads=0).io_threads == 0


def test_flags_alone_suffice():
    settings = parse_settings(
        {}, member_id=1, cluster="c", directory="d", members=dict([member_flag("1=127.0.0.1:7101")])
    )
    assert settings.own.peer == "127.0.0.1:7101"
    assert settings.own.admin is None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"clutser": "x"}, "clutser"),
        ({"cluster": ""}, "cluster"),
        ({"cluster": 7}, "cluster"),
        ({"members": {"one": {"peer": "127.0.0.1:1"}}}, "members.one"),
        ({"members": {"1": {}}}, "members.1: needs peer"),
        ({"members": {"1": {"peer": "nowhere", "directory": "d"}}}, "members.1.peer"),
        ({"members": {"1": {"peer": 7101, "directory": "d"}}}, "members.1.peer"),
        ({"members": {"1": {"peer": "127.0.0.1:1", "port": 3}}}, "port"),
        ({"members": {"2": {"peer": "127.0.0.1:1"}}}, "id: this member"),
        ({"members": {"1": {"peer": "127.0.0.1:1"}}}, "directory"),
        ({"members": []}, "members"),
        ({"config": {"tick": 1}}, "tick"),
        ({"config": {"tick_s": -1}}, "config: tick_s"),
        ({"config": {"clock_rate_bound": "fast"}}, "clock_rate_bound"),
        ({"config": 3}, "config"),
    ],
)
def test_every_mistake_is_named(change, named):
    with pytest.raises(InvalidArgument, match=named):
        parse_settings(table() | change, member_id=1)


@pytest.mark.parametrize("text", ["127.0.0.1:7101", "=127.0.0.1:7101", "x=127.0.0.1:7101"])
def test_what_is_no_member_flag(text):
    with pytest.raises(InvalidArgument, match="ID=HOST:PORT"):
        member_flag(text)


def test_a_member_flag_with_an_unknown_part_is_refused():
    with pytest.raises(InvalidArgument, match="colour"):
        parse_settings(
            {}, member_id=1, cluster="c", directory="d", members=dict([member_flag("1=127.0.0.1:7101,colour=red")])
        )


def test_files_that_are_of_no_use(tmp_path):
    with pytest.raises(InvalidArgument, match="cannot read"):
        load(tmp_path / "none.toml")
    bad = tmp_path / "bad.toml"
    bad.write_text("cluster = [")
    with pytest.raises(InvalidArgument, match="not TOML"):
        load(bad)
    bad.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidArgument, match="not TOML"):
        load(bad)


def test_a_cluster_is_its_name_or_its_uuid():
    identity = uuid.uuid4()
    assert cluster_uuid(str(identity)) == identity
    assert cluster_uuid("shop") == cluster_uuid("shop") != cluster_uuid("shed")


def test_the_admin_token_comes_from_a_file_that_the_settings_name(tmp_path):
    file = tmp_path / "token"
    file.write_text("correct-horse-battery-staple\n")
    named = table() | {"admin_token_file": str(file)}
    assert parse_settings(named, member_id=1).admin_token == "correct-horse-battery-staple"
    assert parse_settings(named, member_id=1, token="another-horse-battery").admin_token == "another-horse-battery"
    assert parse_settings(table(), member_id=1).admin_token is None


@pytest.mark.parametrize("name", ["/nonexistent/token", 5, "/"])
def test_a_token_file_that_cannot_be_read_is_named(name):
    with pytest.raises(InvalidArgument) as caught:
        parse_settings(table() | {"admin_token_file": name}, member_id=1)
    assert caught.value.details["field"] == "admin_token_file"


def test_the_own_address_may_be_said_by_itself():
    settings = parse_settings({"cluster": "c"}, member_id=4, peer="127.0.0.1:7104", directory="d")
    assert settings.own.peer == "127.0.0.1:7104"
    assert parse_settings(table(), member_id=2, peer="127.0.0.1:1", directory="d").own.peer == "127.0.0.1:1"
