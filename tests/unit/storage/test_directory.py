"""Whose directory it is: refusals are typed and leave it as it was."""

from __future__ import annotations

import os
import struct
import subprocess
import sys

import pytest

from tenure import errors
from tenure._storage import file_faults
from tenure._storage.wal import WriteAheadLog, crc32c

OTHER = b"another cluster!"


def everything(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_start_is_counted_and_only_the_first_is_fresh(open_log):
    seen = []
    for _ in range(3):
        with open_log() as log:
            seen.append((log.fresh, log.start_counter))
    assert seen == [(True, 1), (False, 2), (False, 3)]


def test_a_new_log_makes_its_directory_s_name_durable_whoever_made_it(open_log, tmp_path):
    """A process that was killed may have made it and not synced the name."""
    syncs = []
    for name in ("new", "there"):
        if name == "there":
            (tmp_path / name).mkdir()
        file_faults.configure("short_write=1000000")  # counts, and changes nothing
        open_log(tmp_path / name).close()
        syncs.append(file_faults.calls()["sync"])
    assert syncs == [7, 7]


def test_a_counted_start_survives_a_loss_of_power(open_log):
    file_faults.configure("hold_unsynced")
    for expected in (1, 2, 3):
        with open_log() as log:
            assert log.start_counter == expected
            file_faults.lose_power()


def test_another_clusters_or_hosts_directory_is_refused_and_left_alone(open_log, folder):
    open_log().close()
    before = everything(folder)
    for stranger in ({"cluster": OTHER}, {"host": 8}):
        with pytest.raises(errors.ForeignCluster) as caught:
            open_log(**stranger)
        assert caught.value.path == str(folder / "identity")
    assert everything(folder) == before


def test_a_newer_identity_is_refused(open_log, folder):
    open_log().close()
    identity = bytearray((folder / "identity").read_bytes())
    identity[8] = 9
    struct.pack_into("<I", identity, 12, crc32c(identity[16:], crc32c(identity[:12])))
    (folder / "identity").write_bytes(identity)
    with pytest.raises(errors.NewerFormat) as caught:
        open_log()
    assert (caught.value.found, caught.value.supported) == (9, 1)


def test_a_damaged_identity_is_refused_at_every_bit(open_log, folder):
    open_log().close()
    identity = (folder / "identity").read_bytes()
    for position in range(len(identity) * 8):
        broken = bytearray(identity)
        broken[position // 8] ^= 1 << position % 8
        (folder / "identity").write_bytes(broken)
        with pytest.raises(errors.StorageError, match="not a whole directory"):
            open_log()


def test_somebody_elses_directory_is_not_touched(open_log, folder):
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(errors.StorageError) as caught:
        open_log()
    assert caught.value.path == str(folder / "thesis.txt")
    assert everything(folder) == {"thesis.txt": b"years of work"}


def test_a_log_without_identity_is_not_a_fresh_directory(open_log, folder):
    open_log().close()
    (folder / "identity").unlink()
    with pytest.raises(errors.StorageError) as caught:
        open_log()
    assert "wal-" in caught.value.path


def test_a_second_process_is_refused_while_the_first_lives(open_log, folder):
    code = (
        "import sys; from tenure import errors; from tenure._storage.wal import WriteAheadLog\n"
        "try: WriteAheadLog(sys.argv[1], bytes(range(16)), 7)\n"
        "except errors.DirectoryLocked as error: print('locked by', error.pid)\n"
        "else: print('opened')\n"
    )

    def other_process():
        return subprocess.run(
            [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True
        ).stdout.strip()

    with open_log() as log:
        assert other_process() == f"locked by {os.getpid()}"
        with pytest.raises(errors.DirectoryLocked):
            open_log()
        log.add(1, hard=(1, 1, 1, 1))
        log.flush()
    assert other_process() == "opened"


def test_a_path_too_long_is_refused(tmp_path):
    with pytest.raises(errors.StorageError):
        WriteAheadLog("/" + "x" * 600, OTHER, 1)
