"""`tenure log`: what it says of whole, torn and damaged directories, and that it changes nothing."""

from __future__ import annotations

import json
import os
import struct

import pytest
from click.testing import CliRunner

from tenure._storage.records import Snapshot
from tenure._storage.snapshot import SnapshotFolder
from tenure._storage.wal import WriteAheadLog, crc32c
from tenure.cli.app import app

CLUSTER = bytes(range(16))


@pytest.fixture
def folder(tmp_path):
    """Three segments; group 3 begins behind a snapshot, group 4 has none."""
    path = tmp_path / "host"
    with WriteAheadLog(path, CLUSTER, 7, segment_bytes=16384) as log:
        log.add(4, hard=(2, 0, 0, 0), entries=[(2, 1, b"only", 1)])
        for index in range(1, 41):
            log.add(3, hard=(1, 2, index, 9), entries=[(1, index, b"%04d" % index * 200)])
            log.flush()
        log.add_snapshot(3, 20, 1, (1, 2), (), (5,))
        log.flush()
    SnapshotFolder(path, CLUSTER).write(3, Snapshot(20, 1, (1, 2), (), (5,)), [b"state" * 1000])
    SnapshotFolder(path, CLUSTER).write(3, Snapshot(30, 1, (1, 2)), [b"later"])
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["log", *map(str, arguments)])


def verify(folder):
    """(exit code, the report)"""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = run("verify", folder, "--json")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before, "it only looks"
    plain = run("verify", folder)
    assert plain.exit_code == result.exit_code
    return result.exit_code, json.loads(result.stdout) if result.stdout else None


def segments(folder):
    return sorted(folder.glob("wal-*.log"))


def test_a_whole_directory(folder):
    code, report = verify(folder)
    assert code == 0
    assert (report["verdict"], report["host_id"], report["starts"]) == ("whole", 7, 1)
    assert report["cluster_id"] == CLUSTER.hex()
    assert [segment["name"] for segment in report["segments"]] == [path.name for path in segments(folder)]
    assert [segment["closed"] for segment in report["segments"]] == [True] * (len(segments(folder)) - 1) + [False]
    assert report["groups"]["3"]["snapshot"]["index"] == 20
    assert (report["groups"]["3"]["first_index"], report["groups"]["3"]["last_index"]) == (21, 40)
    assert (report["groups"]["3"]["term"], report["groups"]["3"]["commit"]) == (1, 40)
    assert (report["groups"]["4"]["first_index"], report["groups"]["4"]["snapshot"]) == (1, None)
    assert [(found["index"], found["sound"], found["joins"]) for found in report["snapshots"]] == [
        (20, True, True),
        (30, True, True),
    ]


def test_a_torn_tail(folder):
    path = segments(folder)[-1]
    content = bytearray(path.read_bytes())
    with WriteAheadLog(folder, CLUSTER, 7, segment_bytes=16384) as log:
        tail = log.tail
    content[tail : tail + 100] = b"x" * 100
    path.write_bytes(content)
    code, report = verify(folder)
    assert code == 1
    assert report["torn"] == {
        "path": path.name,
        "offset": tail,
        "what": "a torn tail; the next start cuts it off",
    }
    dumped = run("dump", folder)
    assert dumped.exit_code == 1
    assert f"{path.name}, offset {tail}: a torn tail" in dumped.stderr


@pytest.mark.parametrize("which", [0, -1])
def test_a_flipped_bit_below_what_was_synced(folder, which):
    path = segments(folder)[which]
    content = bytearray(path.read_bytes())
    content[300] ^= 4
    path.write_bytes(content)
    code, report = verify(folder)
    assert code == 3
    (damage,) = [found for found in report["damage"] if found["path"] == path.name]
    assert damage["offset"] <= 300
    dumped = run("dump", folder)
    assert dumped.exit_code == 3
    assert f"{path.name}, offset {damage['offset']}: damaged" in dumped.stderr
    assert (len(dumped.stdout.splitlines()) > 30) == (which == -1)


def test_a_batch_whose_records_make_no_sense(folder):
    """The checksums hold: somebody forged it, or a bug did."""
    path = segments(folder)[-1]
    content = bytearray(path.read_bytes())
    begin = 128
    (body,) = struct.unpack_from("<Q", content, begin + 32)
    struct.pack_into("<I", content, begin + 64, 0xFFFFFFF0)  # the length of its first record
    (previous,) = struct.unpack_from("<I", content, begin + 48)
    struct.pack_into("<I", content, begin + 52, crc32c(content[begin + 64 : begin + 64 + body], previous))
    struct.pack_into("<I", content, begin + 4, crc32c(content[begin + 8 : begin + 64]))
    path.write_bytes(content)
    assert verify(folder)[0] == 3
    assert run("dump", folder).exit_code == 3


def test_a_lost_segment(folder):
    segments(folder)[1].unlink()
    code, report = verify(folder)
    assert code == 3
    assert "not a whole directory" in report["damage"][0]["what"]


def test_a_damaged_snapshot_is_named_and_the_log_judged_by_the_other(folder):
    newest = max(folder.glob("snap-*"))
    newest.write_bytes(newest.read_bytes()[:-1])
    code, report = verify(folder)
    assert code == 3
    assert [found["path"] for found in report["damage"]] == [newest.name]
    newest.unlink()
    assert verify(folder)[0] == 0
    oldest = next(folder.glob("snap-*"))
    oldest.write_bytes(b"")
    code, report = verify(folder)
    assert code == 3
    assert "no sound snapshot joins the log of group 3" in report["damage"][-1]["what"]


def test_what_was_never_finished_is_named(folder):
    (folder / "snapnew-00000003-0000000000000028-0000000000000001").write_bytes(b"half")
    code, report = verify(folder)
    assert code == 0
    assert report["unfinished"] == ["snapnew-00000003-0000000000000028-0000000000000001"]


def test_a_running_member_is_left_alone(folder):
    with WriteAheadLog(folder, CLUSTER, 7, segment_bytes=16384):
        result = run("verify", folder)
        assert result.exit_code == 4
        assert "another process uses" in result.stderr
        assert run("dump", folder).exit_code == 4
    assert run("verify", folder).exit_code == 0


def test_what_is_no_directory_of_a_member(folder, tmp_path):
    assert run("verify", tmp_path).exit_code == 4
    assert run("verify", tmp_path / "nowhere").exit_code == 4
    (folder / "identity").write_bytes(bytes(64))
    assert run("verify", folder).exit_code == 4
    assert run("verify").exit_code == 2


def test_a_newer_format_leaves_no_verdict(folder):
    path = segments(folder)[0]
    content = bytearray(path.read_bytes())
    content[8] += 1
    struct.pack_into("<I", content, 12, crc32c(content[16:128], crc32c(content[:12])))
    path.write_bytes(content)
    result = run("verify", folder)
    assert result.exit_code == 4
    assert "newer" in result.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write whatever the mode says")
def test_a_directory_that_may_only_be_read(folder):
    for path in folder.iterdir():
        path.chmod(0o400)
    folder.chmod(0o500)
    try:
        assert run("verify", folder).exit_code == 0
    finally:
        folder.chmod(0o700)


def records(folder, *arguments):
    result = run("dump", folder, "--json", *arguments)
    assert result.exit_code == 0
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_the_dump_has_every_record_in_its_order(folder):
    found = records(folder, "--group", "3", "--data")
    entries = [record for record in found if record["what"] == "entry"]
    assert [record["index"] for record in entries] == list(range(1, 41))
    assert bytes.fromhex(entries[6]["data"]) == b"0007" * 200
    assert {record["size"] for record in entries} == {800}
    hard = [record for record in found if record["what"] == "hard_state" and not record["repeated"]]
    assert [record["commit"] for record in hard] == list(range(1, 41))
    assert [record["index"] for record in found if record["what"] == "snapshot"] == [20]
    assert any(record["repeated"] for record in found)
    numbers = [record["batch"] for record in found]
    assert numbers == sorted(numbers)


def test_the_dump_of_a_range(folder):
    entries = [r for r in records(folder, "--group", "3", "--first", "8", "--last", "11") if r["what"] == "entry"]
    assert [record["index"] for record in entries] == [8, 9, 10, 11]
    assert "data" not in entries[0]
    (lone,) = [record for record in records(folder, "--group", "4") if record["what"] == "entry"]
    assert (lone["term"], lone["index"], lone["kind"], lone["size"]) == (2, 1, "conf_change", 4)


def test_the_plain_dump_is_one_line_a_record(folder):
    lines = run("dump", folder).stdout.splitlines()
    assert lines[0] == "wal-0000000000000001.log @192 #2 group 4 hard_state term=2 vote=0 commit=0 promise_bound_ns=0"
    assert lines[1] == "wal-0000000000000001.log @192 #2 group 4 entry 2/1 kind=conf_change size=4"
    assert len(lines) == len(records(folder))
