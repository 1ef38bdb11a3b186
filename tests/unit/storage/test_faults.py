"""Failing, stalling and short file operations: nothing acknowledged is lost, and a dead log stays dead."""

from __future__ import annotations

import errno
import threading
import time

import pytest

from tenure import errors
from tenure._storage import file_faults


def indexes(log, group=1):
    found = log.recovered().get(group)
    return [entry.index for entry in found.entries] if found else []


def append(log, index, size=100, group=1):
    log.add(group, hard=(1, 2, index, 3), entries=[(1, index, bytes(size))])
    log.flush()


def test_one_write_and_one_sync_for_a_batch_of_many_groups(open_log):
    file_faults.configure("short_write=1000000")  # counts, and changes nothing
    log = open_log()
    before, syncs = file_faults.calls(), log.syncs
    for group in range(50):
        log.add(group, hard=(1, 1, 1, 1), entries=[(1, 1, b"x" * 50), (1, 2, b"y")])
    log.flush()
    after = file_faults.calls()
    assert (after["write"] - before["write"], after["sync"] - before["sync"], log.syncs - syncs) == (1, 1, 1)
    log.flush()
    assert file_faults.calls() == after


@pytest.mark.parametrize("reason", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("kind", ["sync", "write"])
def test_after_a_failure_the_log_is_dead_and_nothing_acknowledged_is_lost(open_log, kind, reason):
    log = open_log()
    append(log, 1)
    file_faults.configure(f"hold_unsynced,fail_{kind}=2:{reason}")
    append(log, 2)
    expected = errors.DiskFull if reason == "ENOSPC" else errors.StorageError
    for _ in range(2):
        with pytest.raises(expected) as caught:
            append(log, 3)
        assert caught.value.errno == getattr(errno, reason)
        assert caught.value.path == log.path
    calls = file_faults.calls()
    for call in (log.flush, log.compact, lambda: log.add_snapshot(1, 1, 1)):
        with pytest.raises(expected):
            call()
    assert file_faults.calls() == calls  # a failed sync is not asked again
    file_faults.lose_power()
    log.close()
    file_faults.clear()
    assert indexes(open_log()) == [1, 2]


@pytest.mark.parametrize("kind", ["sync", "write", "rename", "preallocate", "open"])
@pytest.mark.parametrize("lost", [True, False])
def test_turning_over_may_fail_at_every_step(open_log, folder, kind, lost):
    """Each step in turn: what was acknowledged is there after a restart, with or without a loss of power."""
    folder.mkdir()
    for nth in range(1, 6):
        path = folder / f"{kind}{nth}"
        log = open_log(path)
        acknowledged = 0
        while log.tail < 13_000:
            acknowledged += 1
            append(log, acknowledged, 500)
        file_faults.configure(f"hold_unsynced,fail_{kind}={nth}:EIO" if lost else f"fail_{kind}={nth}:EIO")
        try:
            for index in range(acknowledged + 1, acknowledged + 6):
                append(log, index, 2000)
                acknowledged = index
        except errors.StorageError:
            if lost:
                file_faults.lose_power()
        log.close()
        file_faults.clear()
        with open_log(path) as log:
            assert indexes(log)[:acknowledged] == list(range(1, acknowledged + 1))
            assert len(indexes(log)) <= acknowledged + 1
            append(log, len(indexes(log)) + 1)


def test_power_may_fail_before_every_sync(open_log, folder):
    """Every sync of a life with turns and deletions is the last one: what was acknowledged before it is there."""
    folder.mkdir()
    nth, finished = 0, False
    while not finished:
        nth += 1
        path = folder / str(nth)
        file_faults.configure(f"hold_unsynced,fail_sync={nth}+:EIO")
        acknowledged, snapshot = 0, 0
        log = None
        try:
            log = open_log(path)
            for index in range(1, 25):
                log.add(1, entries=[(1, index, bytes(3000))])
                if index % 10 == 9:
                    log.add_snapshot(1, index - 2, 1, (1, 2))
                log.flush()
                acknowledged, snapshot = index, index - 2 if index % 10 == 9 else snapshot
            finished = True
        except errors.StorageError:
            pass
        file_faults.lose_power()
        if log is not None:
            log.close()
        file_faults.configure("hold_unsynced")
        with open_log(path) as log:
            found = log.recovered().get(1)
            last = (found.snapshot.index if found.snapshot else 0) + len(found.entries) if found else 0
            assert acknowledged <= last <= acknowledged + 1
            assert not snapshot or found.snapshot.index >= snapshot
    assert nth > 30


def test_short_writes_are_continued(open_log):
    file_faults.configure("short_write=7")
    with open_log() as log:
        for index in range(1, 40):
            append(log, index, 700)
    file_faults.clear()
    assert indexes(open_log()) == list(range(1, 40))


def test_a_stalled_sync_is_waited_for(open_log):
    with open_log() as log:
        file_faults.configure("stall_sync=50ms")
        begin = time.monotonic()
        append(log, 1)
        assert time.monotonic() - begin >= 0.05


def test_a_sync_may_stall_until_told_without_holding_the_interpreter(open_log):
    with open_log() as log:
        file_faults.configure("stall_sync=until_told")
        done = threading.Event()
        thread = threading.Thread(target=lambda: (append(log, 1), done.set()))
        thread.start()
        assert not done.wait(0.1)
        file_faults.let_syncs_go()
        assert done.wait(10)
        thread.join()


FULL = "fail_preallocate=1+:ENOSPC"


def test_on_a_full_disk_terms_and_votes_still_persist(open_log):
    log = open_log()
    index = 0
    file_faults.configure(FULL)
    try:
        while True:
            append(log, index + 1, 500)
            index += 1
    except errors.DiskFull:
        pass
    log.close()
    with open_log() as log:  # still full
        found = log.recovered()[1]
        assert [entry.index for entry in found.entries] == list(range(1, index + 1))
        assert found.hard == (1, 2, index, 3)  # of the batch whose entries found no room; but its commit index is void
        for term in range(2, 12):
            log.add(1, hard=(term, 5, index, 9))
            log.flush()
        with pytest.raises(errors.DiskFull):
            append(log, index + 1, 500)
    file_faults.clear()
    with open_log() as log:  # room again
        found = log.recovered()[1]
        assert len(found.entries) == index
        append(log, index + 1, 500)
    with open_log() as log:
        assert len(indexes(log)) == index + 1


def test_a_full_disk_never_commits_what_another_leader_wrote(open_log):
    """The entries that a batch commits found no room: those that stand at their indexes are of a leader that lost."""
    with open_log() as log:
        index = 0
        while log.tail < 13_000:
            index += 1
            log.add(1, hard=(1, 2, 3, 4), entries=[(1, index, bytes(400))])
            log.flush()
        file_faults.configure(FULL)
        log.add(1, hard=(2, 5, 5, 6), entries=[(2, 4, bytes(3000)), (2, 5, b"")])
        with pytest.raises(errors.DiskFull):
            log.flush()
    file_faults.clear()
    with open_log() as log:
        found = log.recovered()[1]
        assert {entry.term for entry in found.entries} == {1}
        assert found.hard == (2, 5, 3, 6)


def test_the_reserve_ends_too_and_says_so(open_log):
    log = open_log()
    file_faults.configure(FULL)
    term = 0
    try:
        while True:
            log.add(1, hard=(term + 1, 1, 0, 0))
            log.flush()
            term += 1
    except errors.DiskFull:
        pass
    log.close()
    file_faults.clear()
    with open_log() as log:
        assert log.recovered()[1].hard.term == term


@pytest.mark.parametrize(
    "specification", ["", "hold", "fail_sync=1:EWHAT", "stall_sync=5", "fail_nothing=1:EIO", "short_write=x"]
)
def test_a_specification_with_a_mistake_is_refused(specification):
    with pytest.raises(ValueError):
        file_faults.configure(specification)
