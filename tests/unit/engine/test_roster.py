"""The file `members`: what was written is read, what was damaged is refused, and an older address never wins."""

from __future__ import annotations

import json
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.engine import roster as module
from tenure.engine.roster import Roster, RosterEntry, read, write
from tenure.errors import InvalidArgument, NewerFormat, StorageError

CLUSTER = uuid.UUID("5f0c9d9e-7f6b-4f0e-9d5a-0c7c3f1c2b11")
THREE = Roster.beginning(CLUSTER, {1: "10.0.0.1:7101", 2: "10.0.0.2:7101", 3: "10.0.0.3:7101"}, learners=(3,))


def test_a_group_begins_with_its_members():
    assert THREE.base_voters == (1, 2)
    assert THREE.base_learners == (3,)
    assert THREE.base_index == 0
    assert THREE.addresses == {1: "10.0.0.1:7101", 2: "10.0.0.2:7101", 3: "10.0.0.3:7101"}


ids = st.integers(1, (1 << 64) - 1)
entries = st.lists(
    st.tuples(ids, st.none() | st.text(max_size=40), st.integers(0, 1 << 62)), unique_by=lambda one: one[0]
).map(lambda found: tuple(RosterEntry(*one) for one in sorted(found, key=lambda one: one[0])))
rosters = st.builds(
    lambda cluster, voters, learners, index, book: Roster(
        cluster, tuple(sorted(voters)), tuple(sorted(learners - voters)), index, book
    ),
    st.uuids(),
    st.sets(ids, min_size=1, max_size=5),
    st.sets(ids, max_size=5),
    st.integers(0, 1 << 62),
    entries,
)


@given(rosters)
@settings(max_examples=50)
def test_what_was_written_is_read(tmp_path_factory, roster):
    folder = tmp_path_factory.mktemp("roster")
    write(folder, roster, sync=False)
    assert read(folder) == roster
    assert [one.name for one in folder.iterdir()] == ["members"]


def test_nothing_is_there_before_the_first_write(tmp_path):
    assert read(tmp_path) is None
    write(tmp_path, THREE)
    write(tmp_path, THREE.with_entry(4, "10.0.0.4:7101", 17))
    assert read(tmp_path).addresses[4] == "10.0.0.4:7101"


@given(st.lists(st.tuples(st.integers(1, 3), st.none() | st.sampled_from("abc"), st.integers(1, 9)), max_size=20))
def test_the_latest_entry_of_the_log_wins_however_often_the_log_repeats_itself(changes):
    log = {index: (id, address, index) for id, address, index in changes}  # one change to an entry
    once = again = THREE
    for index in sorted(log):
        once = once.with_entry(*log[index])
    for index in [*sorted(log), *sorted(log)[1:], *log]:
        again = again.with_entry(*log[index])
    assert once == again
    for id, address, index in log.values():
        if index == max(other[2] for other in log.values() if other[0] == id):
            assert once.entry(id) == RosterEntry(id, address, index)


def test_who_was_removed_stays_in_the_book_without_an_address():
    removed = THREE.with_entry(2, None, 40)
    assert removed.entry(2) == RosterEntry(2, None, 40)
    assert 2 not in removed.addresses
    assert removed.with_entry(2, "10.0.0.9:7101", 39) is removed


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"base_voters": ()}, "base_voters"),
        ({"base_voters": (1, 1)}, "base_voters"),
        ({"base_voters": (0,)}, "base_voters"),
        ({"base_learners": (1,)}, "base_voters"),
        ({"base_index": -1}, "base_index"),
        ({"entries": (RosterEntry(2, None, 0), RosterEntry(1, None, 0))}, "entries"),
    ],
)
def test_a_roster_that_contradicts_itself_is_refused(change, field):
    with pytest.raises(InvalidArgument) as caught:
        Roster(**{"cluster_id": CLUSTER, "base_voters": (1,)} | change)
    assert caught.value.details["field"] == field


def test_every_flipped_byte_is_noticed(tmp_path):
    write(tmp_path, THREE)
    path = tmp_path / "members"
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        try:
            found = read(tmp_path)
        except StorageError:
            continue
        assert found == THREE  # the flip was between the values: one blank or another


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff", b'{"version": true}', b'{"version": 1}', b"[" * 10**5]
)
def test_what_is_no_roster_is_damage(tmp_path, content):
    (tmp_path / "members").write_bytes(content)
    with pytest.raises(StorageError) as caught:
        read(tmp_path)
    assert caught.value.path == str(tmp_path / "members")


@pytest.mark.parametrize(
    "change",
    [
        {"entries": [[1, 2, 3]]},
        {"entries": [[1, "a" * 1000, 3]]},
        {"entries": [["1", None, 3]]},
        {"entries": [[1, None, True]]},
        {"base_index": "0"},
        {"base_voters": None},
        {"base_voters": [True]},
        {"cluster_id": "shop"},
        {"cluster_id": 5},
    ],
)
def test_a_file_with_a_right_checksum_and_wrong_contents_is_damage(tmp_path, change):
    table = module.roster_json(THREE) | change
    (tmp_path / "members").write_text(json.dumps({"version": 1, "checksum": module.checksum(table), "roster": table}))
    with pytest.raises(StorageError, match="damaged"):
        read(tmp_path)


def test_a_newer_format_is_named(tmp_path):
    (tmp_path / "members").write_text('{"version": 2, "more": []}')
    with pytest.raises(NewerFormat) as caught:
        read(tmp_path)
    assert (caught.value.found, caught.value.supported) == (2, 1)


def test_a_directory_that_cannot_be_written_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError) as caught:
        write(tmp_path / "absent", THREE)
    assert caught.value.errno == 2


def test_a_write_that_fails_leaves_the_old_roster(tmp_path, monkeypatch):
    write(tmp_path, THREE)

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", fail)
    with pytest.raises(StorageError):
        write(tmp_path, THREE.with_entry(4, "10.0.0.4:7101", 17))
    assert read(tmp_path) == THREE
    assert [one.name for one in tmp_path.iterdir()] == ["members"]
