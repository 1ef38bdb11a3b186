"""`tenure recover`: nothing happens before somebody typed what is about to happen."""

from __future__ import annotations

import json
import uuid

import pytest
from click.testing import CliRunner

from tenure._storage.directory import identity_of
from tenure._storage.wal import WriteAheadLog
from tenure.cli.app import app

OLD = uuid.UUID("5f0c9d9e-7f6b-4f0e-9d5a-0c7c3f1c2b11")
UNDERSTOOD = "--yes-i-understand-that-writes-may-be-lost"


@pytest.fixture
def directory(tmp_path):
    with WriteAheadLog(tmp_path / "2", OLD.bytes, 2) as log:
        log.add(0, hard=(7, 2, 1, 0), entries=[(7, 1, b""), (7, 2, b"two")])
        log.flush()
    return tmp_path / "2"


def recover(directory, *more, member="2", address="10.0.0.2:7101", typed=""):
    return CliRunner().invoke(
        app, ["recover", str(directory), "--id", member, "--address", address, *more], input=typed
    )


def cluster_of(directory):
    return uuid.UUID(bytes=identity_of(directory)[0])


def test_typing_it_does_it(directory):
    done = recover(directory, typed="recover member 2\n")
    assert done.exit_code == 0, done.output
    assert "ends at index 2 of term 7; 1 are known to be committed" in done.stderr
    new = cluster_of(directory)
    assert new != OLD
    assert f"tenure serve --cluster {new} --id 2 --member 2=10.0.0.2:7101 --directory {directory}" in done.stdout


@pytest.mark.parametrize("typed", ["", "\n", "y\n", "yes\n", "recover member 1\n", "recover\n"])
def test_nothing_else_does(directory, typed):
    done = recover(directory, typed=typed)
    assert done.exit_code == 2
    assert "nothing was changed" in done.stderr
    assert cluster_of(directory) == OLD
    assert not (directory / "recovered").exists()


def test_scripts_say_that_they_understand(directory):
    done = recover(directory, UNDERSTOOD, "--json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert answer == {
        "cluster": str(cluster_of(directory)),
        "member": 2,
        "base_index": 2,
        "kept": str(directory / "before-recovery"),
    }


def test_what_cannot_be_recovered_ends_with_1(directory, tmp_path):
    (tmp_path / "nothing").mkdir()
    for where, member in ((directory, "3"), (tmp_path / "nothing", "2")):
        done = recover(where, UNDERSTOOD, member=member)
        assert done.exit_code == 1
        assert done.stderr.startswith("tenure: ")
    assert cluster_of(directory) == OLD


@pytest.mark.parametrize("address", ["", "10.0.0.2", "10.0.0.2:0", "10.0.0.2:port"])
def test_an_address_that_nobody_can_reach_is_refused(directory, address):
    assert recover(directory, UNDERSTOOD, address=address).exit_code == 2
    assert cluster_of(directory) == OLD
