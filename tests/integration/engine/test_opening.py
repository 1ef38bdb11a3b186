"""What an engine makes of what it is opened with, and what is left of one that could not be opened."""

import contextlib
import gc
import linecache
import sys
import threading
import time

import pytest

from tenure import errors
from tenure._kv.codec import encode_set
from tenure._kv.machine import KeyValueMachine
from tenure._storage import file_faults
from tenure.config import Config
from tenure.engine import NativeEngine, State, native

from .cluster import CLUSTER_ID, FAST, Dictionary, free_addresses


def open_alone(directory, address, *, machine=KeyValueMachine, config=FAST):
    return NativeEngine(
        machine(), directory=directory, cluster_id=CLUSTER_ID, member_id=1, members={1: address}, config=config
    )


def test_the_directory_stays_the_one_it_was_when_the_working_directory_changes(tmp_path, monkeypatch):
    """Also when there is one of the same name: the log would go on there, and not be found at the next start."""
    (tmp_path / "here").mkdir()
    (tmp_path / "there" / "member").mkdir(parents=True)
    config = Config(heartbeat_s=0.05, election_timeout_s=0.4, segment_bytes=1 << 21, snapshot_every=0)
    monkeypatch.chdir(tmp_path / "here")
    with open_alone("member", free_addresses([1])[1], config=config) as engine:
        engine.wait_for_leader()
        monkeypatch.chdir(tmp_path / "there")
        for i in range(30):
            last = engine.propose(encode_set(b"k%d" % i, bytes(200_000), hint_ts=1)).index
    assert list((tmp_path / "there" / "member").iterdir()) == []
    monkeypatch.chdir(tmp_path / "here")
    with open_alone("member", free_addresses([1])[1], config=config) as engine:
        engine.wait_for_leader()
        assert engine.linearizable_read() >= last


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".example", "\ud800"])
def test_what_cannot_be_a_name_of_a_host_is_refused_by_name(tmp_path, host):
    with pytest.raises(errors.InvalidArgument, match="members"):
        open_alone(tmp_path / "1", f"{host}:7000")


def test_more_members_than_a_group_can_have_are_refused_by_name(tmp_path):
    members = dict.fromkeys(range(2, 60), "127.0.0.1:9") | free_addresses([1])
    with pytest.raises(errors.InvalidArgument, match="members"):
        NativeEngine(Dictionary(), directory=tmp_path / "1", cluster_id=CLUSTER_ID, member_id=1, members=members)


class CtrlC:
    """Raises KeyboardInterrupt at one line of the opening of an engine; `came` says whether there is such a line."""

    def __init__(self, at):
        self.left, self.came = at, False

    def look(self, frame, event, _):
        if frame.f_code.co_filename != native.__file__ or frame.f_code.co_name not in ("__init__", "_set_up"):
            return None
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        # between the end of a `with` block and its exit the interpreter looks for no signal
        if event == "line" and not line.startswith("with "):
            self.left -= 1
            if self.left == 0:
                self.came = True
                raise KeyboardInterrupt
        return self.look


def own_threads():
    return [one.name for one in threading.enumerate() if one.name.startswith("tenure")]


def test_ctrl_c_at_any_line_of_the_opening_leaves_nothing_open(tmp_path):
    address = free_addresses([1])[1]
    for at in range(1, 200):
        ctrl_c = CtrlC(at)
        sys.settrace(ctrl_c.look)
        try:
            with contextlib.suppress(KeyboardInterrupt):
                open_alone(tmp_path / "1", address, machine=Dictionary).close(graceful=False)
        finally:
            sys.settrace(None)
        gc.collect()
        deadline = time.monotonic() + 5
        while own_threads() and time.monotonic() < deadline:
            time.sleep(0.001)
        assert own_threads() == [], f"at line {at}"
        if not ctrl_c.came:
            break
    assert at > 30
    open_alone(tmp_path / "1", address, machine=Dictionary).close(graceful=False)


@pytest.fixture
def faults():
    yield file_faults
    file_faults.clear()


def test_a_write_that_a_new_leader_holds_back_is_answered_when_the_member_fails(tmp_path, faults):
    """Its own first entry is not applied yet, so nothing can be proposed; and then the disk fails."""
    config = Config(heartbeat_s=0.05, election_timeout_s=0.4, stall_limit_s=30)
    with open_alone(tmp_path / "1", free_addresses([1])[1], config=config) as engine:
        faults.configure("stall_sync=2:1s,fail_sync=2:EIO")  # the first is of the vote
        while engine.state is not State.LEADER:
            time.sleep(0.001)
        assert engine.status().applied_index == 0
        with pytest.raises(errors.MemberFailed):
            engine.propose(encode_set(b"k", b"v", hint_ts=1), timeout=20)
        assert engine.state is State.FAILED
