"""The settings: defaults that agree with each other, and bad values refused by name."""

import dataclasses
import re
from fractions import Fraction

import pytest

from tenure._host.core import HostCore
from tenure.config import Config, UnsafeConfigWarning, check_listen_address
from tenure.errors import InvalidArgument


def test_the_defaults_are_the_published_ones():
    config = Config()
    assert config.options() == {
        "election_ticks": 100,
        "heartbeat_ticks": 10,
        "promise_ns": 990_000_000,
        "rate_numerator": 1,
        "rate_denominator": 8,
        "max_message_bytes": 1 << 20,
        "max_inflight_messages": 256,
        "max_inflight_bytes": 64 << 20,
        "max_uncommitted_bytes": 64 << 20,
        "max_pending_reads": 65_536,
        "tick_ns": 10_000_000,
        "stall_limit_ns": 1_000_000_000,
        "shutdown_limit_ns": 2_000_000_000,
        "segment_bytes": 64 << 20,
        "snapshot_every": 10_000,
        "snapshot_hold_bytes": 256 << 20,
        "fsync": True,
        "max_frame_bytes": 16 << 20,
        "max_queued_bytes": 64 << 20,
    }
    assert config.lease_ns == 770_000_000


def test_the_promise_follows_the_election_timeout():
    assert Config(election_timeout_s=2.0).promise_ns == 1_990_000_000
    assert Config(election_timeout_s=0.5, heartbeat_s=0.05, promise_s=0.3).promise_ns == 300_000_000
    assert Config(election_timeout_s=30.0).promise_ns == 10_000_000_000, "nobody promises for longer than 10 s"


def test_without_leases_nothing_is_promised():
    config = Config(reads="read_index")
    assert config.promise_ns == 0
    assert config.lease_ns == 0
    assert config.options()["promise_ns"] == 0


def test_a_tighter_rate_bound_is_a_longer_lease():
    assert Config(clock_rate_bound=Fraction(0)).lease_ns == 990_000_000
    assert Config(clock_rate_bound=Fraction(1, 100)).lease_ns == 990_000_000 * 99 // 101


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tick_s", 0),
        ("tick_s", 0.0001),
        ("tick_s", 2.0),
        ("tick_s", float("nan")),
        ("tick_s", float("inf")),
        ("tick_s", "10ms"),
        ("tick_s", True),
        ("tick_s", None),
        ("heartbeat_s", 0.105),
        ("heartbeat_s", 0.001),
        ("election_timeout_s", 0.1),
        ("election_timeout_s", -1.0),
        ("promise_s", 1.0),
        ("promise_s", 0.0),
        ("clock_rate_bound", 0.125),
        ("clock_rate_bound", Fraction(1)),
        ("clock_rate_bound", Fraction(-1, 8)),
        ("clock_rate_bound", Fraction(1, 1001)),
        ("reads", "follower"),
        ("fsync", True),
        ("insecure", 1),
        ("max_message_bytes", 0),
        ("max_pending_reads", 1.5),
        ("max_inflight_messages", True),
        ("max_frame_bytes", 1 << 20),
        ("max_queued_bytes", 1 << 20),
        ("max_uncommitted_bytes", 1000),
        ("segment_bytes", 4096),
        ("call_timeout_s", 0.0),
        ("shutdown_timeout_s", -2),
        ("stall_limit_s", 0),
        ("stall_limit_s", 1e10),
        ("shutdown_timeout_s", 1e300),
        ("election_timeout_s", 1e8),
        ("max_pending_reads", 1 << 31),
        ("max_inflight_messages", 1 << 40),
        ("max_frame_bytes", 1 << 32),
        ("max_uncommitted_bytes", 1 << 70),
        ("snapshot_every", 1 << 70),
    ],
)
def test_a_bad_value_is_refused_by_name(field, value):
    with pytest.raises(InvalidArgument, match=rf"^{re.escape(field)}: ") as refusal:
        Config(**{field: value})
    assert refusal.value.details["field"] == field


def test_the_largest_values_are_what_the_compiled_host_can_take(tmp_path):
    config = Config(
        tick_s=1.0, heartbeat_s=1.0, election_timeout_s=5e8, stall_limit_s=1e9, shutdown_timeout_s=1e9,
        max_inflight_messages=(1 << 31) - 1, max_pending_reads=(1 << 31) - 1, max_uncommitted_bytes=1 << 62,
        max_inflight_bytes=1 << 62, max_queued_bytes=1 << 62, max_frame_bytes=(1 << 32) - 1, snapshot_every=1 << 62,
        max_snapshot_hold_bytes=1 << 62,
    )  # fmt: skip
    core = HostCore(
        None, directory=str(tmp_path), cluster_id=bytes(16), member_id=1, addresses={1: (b"127.0.0.1", 0)}, voters=(1,),
        learners=(), options=config.options(),
    )  # fmt: skip
    core.close(True)


def test_a_promise_over_ten_seconds_is_refused():
    with pytest.raises(InvalidArgument, match="nobody promises for longer"):
        Config(election_timeout_s=20.0, promise_s=11.0)


def test_a_config_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().tick_s = 1.0


def test_no_fsync_warns_where_it_is_written():
    with pytest.warns(UnsafeConfigWarning, match="power cut") as caught:
        config = Config(fsync="never")
    assert config.options()["fsync"] is False
    assert caught[0].filename == __file__


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1"])
def test_loopback_needs_no_word(address):
    check_listen_address(address, insecure=False)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.7", "fe80::1"])
def test_any_other_address_needs_the_operators_word(address):
    with pytest.raises(InvalidArgument, match=r"^insecure: "):
        check_listen_address(address, insecure=False)
    check_listen_address(address, insecure=True)


def test_a_name_is_no_numeric_address():
    with pytest.raises(InvalidArgument, match="not a numeric address"):
        check_listen_address("localhost", insecure=True)
