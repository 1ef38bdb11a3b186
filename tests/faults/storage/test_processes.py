"""Real processes that lose power, in effect, at any moment; and a disk that is really full."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tenure import errors
from tenure._storage.wal import WriteAheadLog

CLUSTER = bytes(range(16))
WRITER = Path(__file__).with_name("writer.py")


def start(folder, flushes, faults):
    return subprocess.Popen(
        [sys.executable, str(WRITER), str(folder), str(flushes)],
        env={**os.environ, "TENURE_STORAGE_FAULTS": faults},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def kill(child):
    child.send_signal(signal.SIGKILL)
    out, _ = child.communicate(timeout=30)
    return [int(line) for line in out.splitlines() if line.isdigit()]


def recovered(folder):
    with WriteAheadLog(folder, CLUSTER, 7, segment_bytes=1 << 16) as log:
        assert log.torn_offset == 0
        found = log.recovered().get(1)
        entries = found.entries if found else []
        assert [entry.index for entry in entries] == list(range(1, len(entries) + 1))
        assert all(entry.data == entry.index.to_bytes(8, "big") * 200 for entry in entries)
        assert found is None or found.hard.term == len(entries)
        return len(entries)


def test_acknowledged_batches_survive_and_unsynced_ones_do_not(tmp_path):
    """The last sync but one is stalled for ever: its batch was written, and is lost with the process."""
    folder = tmp_path / "host"
    child = start(folder, 500, "hold_unsynced,stall_sync=100:until_told")
    acknowledged = 0
    for line in child.stdout:
        acknowledged = int(line)
        if acknowledged >= 80:
            break
    time.sleep(1)  # it stands in the stalled sync by now
    acknowledged = max([acknowledged, *kill(child)])
    assert 80 <= acknowledged < 100
    assert recovered(folder) == acknowledged


def test_without_the_seam_the_kernel_keeps_what_a_killed_process_wrote(tmp_path):
    """The other side of the test above: it is the seam that loses the batch, not the signal."""
    folder = tmp_path / "host"
    child = start(folder, 500, "stall_sync=100:until_told")
    seen = 0
    for line in child.stdout:
        seen = int(line)
        if seen >= 80:
            break
    time.sleep(1)
    seen = max([seen, *kill(child)])
    assert recovered(folder) == seen + 1


def test_killed_at_random_moments_again_and_again(tmp_path):
    folder = tmp_path / "host"
    acknowledged = 0
    for delay in (0.0, 0.003, 0.01, 0.02, 0.04, 0.08):
        child = start(folder, 5000, "hold_unsynced")
        first = int(child.stdout.readline())
        assert first == acknowledged + 1
        time.sleep(delay)
        acknowledged = max([first, *kill(child)])
        last = recovered(folder)
        assert acknowledged <= last <= acknowledged + 1
        acknowledged = last
    assert acknowledged > 20


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small tmpfs")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_is_really_full(small_disk):
    folder = small_disk / "host"
    log = WriteAheadLog(folder, CLUSTER, 7, segment_bytes=1 << 17)
    index, reason = 0, None
    try:
        while index < 5000:
            log.add(1, hard=(1, 1, index, 0), entries=[(1, index + 1, bytes(1000))])
            log.flush()
            index += 1
    except errors.DiskFull as full:
        reason = full.errno
    assert reason == errno.ENOSPC
    with pytest.raises(errors.DiskFull):
        log.flush()
    log.close()
    assert 500 < index < 1100
    (small_disk / "ballast").write_bytes(b"")
    try:
        with (small_disk / "ballast").open("wb") as ballast:
            while True:
                ballast.write(bytes(4096))
                ballast.flush()
    except OSError:
        pass
    # a start replaces the identity, which needs a page: a disk without even that is refused, typed, and unharmed
    with pytest.raises(errors.DiskFull):
        WriteAheadLog(folder, CLUSTER, 7, segment_bytes=1 << 17)
    os.truncate(small_disk / "ballast", (small_disk / "ballast").stat().st_size - 8192)
    with WriteAheadLog(folder, CLUSTER, 7, segment_bytes=1 << 17) as log:
        assert len(log.recovered()[1].entries) == index
        log.add(1, hard=(2, 3, index, 0))  # a vote on a full disk
        log.flush()
    (small_disk / "ballast").unlink()
    with WriteAheadLog(folder, CLUSTER, 7, segment_bytes=1 << 17) as log:
        assert log.recovered()[1].hard == (2, 3, index, 0)
        log.add_snapshot(1, index, 1, (1,))
        log.flush()
        assert log.segments <= 2
        log.add(1, entries=[(2, index + 1, b"goes on")])
        log.flush()
    with WriteAheadLog(folder, CLUSTER, 7, segment_bytes=1 << 17) as log:
        assert [entry.data for entry in log.recovered()[1].entries] == [b"goes on"]
