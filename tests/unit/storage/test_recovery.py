"""What a start makes of a log that is torn, damaged, recycled, foreign or of another time."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure import errors
from tenure._storage import file_faults
from tenure._storage.wal import WriteAheadLog, crc32c

CLUSTER = bytes(range(16))
HEADER, BATCH = 128, 64
SMALL = 16384


def only_segment(folder):
    (path,) = folder.glob("wal-*.log")
    return path


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in {"lock", "identity"}}


def batches(data):
    """Where the batches of a whole segment stand: (offset, end) of each."""
    at, found = HEADER, []
    while data[at : at + 4] == b"BTCH":
        (body,) = struct.unpack_from("<Q", data, at + 32)
        found.append((at, at + BATCH + body))
        at += BATCH + body
    return found


def seal_header(data, offset=0, size=HEADER):
    """Make the checksum of a file's header right again."""
    head = data[offset : offset + size]
    struct.pack_into("<I", data, 12, crc32c(head[16:], crc32c(head[:12])))


def write(open_log, count=5, size=40):
    with open_log() as log:
        for i in range(1, count + 1):
            log.add(3, hard=(1, 2, i, 4), entries=[(1, i, bytes([i]) * size)])
            log.flush()


def indexes(log):
    found = log.recovered().get(3)
    return [entry.index for entry in found.entries] if found else []


@pytest.fixture
def written(open_log, folder):
    write(open_log)
    path = only_segment(folder)
    data = path.read_bytes()
    return path, data, batches(data)


def test_the_segment_reads_as_described(written):
    _, data, found = written
    assert data[:8] == b"tenureWL"
    assert len(found) == 6
    for offset, _ in found:
        assert struct.unpack_from("<Q", data, offset + 8) == struct.unpack_from("<Q", data, 48)
        assert struct.unpack_from("<QQ", data, offset + 16) == (offset, offset)  # its own, and all before it synced
        assert struct.unpack_from("<I", data, offset + 4) == (crc32c(data[offset + 8 : offset + 64]),)
    assert not any(data[found[-1][1] :])


@pytest.mark.parametrize("how", ["zeros", "garbage", "short"])
def test_a_tail_torn_at_any_byte_is_cut_and_never_read_again(written, open_log, folder, how):
    path, data, found = written
    begin, end = found[-1]
    for kept in range(begin, end):
        rest = {
            "zeros": bytes(len(data) - kept),
            "garbage": bytes(b ^ 0xA5 for b in data[kept:end]) + bytes(len(data) - end),
            "short": b"",
        }[how]
        path.write_bytes(data[:kept] + rest)
        with open_log() as log:
            assert indexes(log) == [1, 2, 3, 4]
            dirty = any((data[:kept] + rest)[begin:])
            assert log.torn_offset == (begin if dirty else 0)
            assert not any(path.read_bytes()[begin:])
            log.add(3, entries=[(2, 5, b"again")])
            log.flush()
        with open_log() as log:
            assert indexes(log) == [1, 2, 3, 4, 5]
            assert log.recovered()[3].entries[-1].data == b"again"
            assert log.torn_offset == 0


def test_every_flipped_bit_below_the_last_recorded_sync_is_damage(written, open_log, folder):
    path, data, found = written
    end = found[-1][0]
    for position in range(0, end * 8, 7):
        broken = bytearray(data)
        broken[position // 8] ^= 1 << position % 8
        path.write_bytes(broken)
        before = files(folder)
        with pytest.raises(errors.CorruptLog) as caught:
            open_log()
        assert caught.value.path == str(path)
        assert caught.value.offset <= position // 8
        assert caught.value.offset in {0, *(begin for begin, _ in found)}
        assert files(folder) == before


def test_a_flipped_bit_in_the_last_batch_is_a_torn_tail(written, open_log):
    path, data, found = written
    begin, end = found[-1]
    for position in range(begin * 8, end * 8, 5):
        broken = bytearray(data)
        broken[position // 8] ^= 1 << position % 8
        path.write_bytes(broken)
        with open_log() as log:
            assert indexes(log) == [1, 2, 3, 4]
            assert log.torn_offset == begin


def test_batches_of_a_recycled_file_are_not_read(written, open_log, folder):
    """Blocks of an older segment, whole batches with another salt, show through behind the tail."""
    path, data, found = written
    path.unlink()
    (folder / "identity").unlink()
    write(open_log, count=3)
    young = only_segment(folder)
    fresh = young.read_bytes()
    end = batches(fresh)[-1][1]
    assert end == found[3][1]
    young.write_bytes(fresh[:end] + data[end:])
    with open_log() as log:
        assert indexes(log) == [1, 2, 3]
        assert log.torn_offset == end
    assert not any(young.read_bytes()[end:])


def test_a_batch_of_the_same_file_at_another_place_is_not_read(written, open_log):
    path, data, found = written
    begin, end = found[-1]
    moved = bytearray(data)
    moved[end : end + (end - begin)] = data[begin:end]
    path.write_bytes(moved)
    with open_log() as log:
        assert indexes(log) == [1, 2, 3, 4, 5]
        assert log.torn_offset == end


def many_segments(open_log, count=60):
    with open_log() as log:
        for i in range(1, count + 1):
            log.add(3, hard=(1, 2, i, 4), entries=[(1, i, bytes(1000))])
            log.flush()
        return log.segments


def test_a_lost_segment_is_missed_whichever_it_is(open_log, folder):
    assert many_segments(open_log) >= 4
    paths = sorted(folder.glob("wal-*.log"))
    for path in paths:
        data = path.read_bytes()
        path.unlink()
        with pytest.raises(errors.StorageError) as caught:
            open_log()
        assert caught.value.code in {"storage", "corrupt_log"}
        path.write_bytes(data)
    for path in paths:
        path.unlink()
    with pytest.raises(errors.StorageError, match="whole"):
        open_log()


def test_damage_at_the_end_of_an_older_segment_is_never_a_torn_tail(open_log, folder):
    many_segments(open_log)
    for path in sorted(folder.glob("wal-*.log"))[:-1]:
        data = path.read_bytes()
        begin, end = batches(data)[-1]
        assert end - begin == BATCH  # the closing batch
        path.write_bytes(data[:begin] + bytes(len(data) - begin))
        with pytest.raises(errors.CorruptLog) as caught:
            open_log()
        assert (caught.value.path, caught.value.offset) == (str(path), begin)
        path.write_bytes(data)


def test_a_crash_between_the_new_segment_and_the_closing_of_the_old_is_finished(open_log, folder):
    with open_log() as log:
        i = 0
        while log.segments == 1:
            i += 1
            log.add(3, hard=(1, 2, i, 4), entries=[(1, i, bytes(1000))])
            log.flush()
    old, _new = sorted(folder.glob("wal-*.log"))
    whole = old.read_bytes()
    begin, end = batches(whole)[-1]
    for kept in (begin, begin + 1, begin + 40, end - 1):
        old.write_bytes(whole[:kept] + bytes(len(whole) - kept))
        with open_log() as log:
            assert indexes(log) == list(range(1, i + 1))
        assert batches(old.read_bytes())[-1] == (begin, end)
        with open_log() as log:
            assert indexes(log) == list(range(1, i + 1))
            assert log.segments == 2


def test_segments_that_a_crash_left_undeleted_are_deleted(open_log, folder):
    many_segments(open_log)
    kept = {path: path.read_bytes() for path in sorted(folder.glob("wal-*.log"))}
    with open_log() as log:
        log.add_snapshot(3, 59, 1, (1, 2, 3))
        log.flush()
        assert log.segments == 1
    second = sorted(kept)[1]
    for undeleted in ([second], [second, sorted(kept)[2]], sorted(kept)[1:-1]):
        for path in undeleted:
            path.write_bytes(kept[path])
        with open_log() as log:
            assert indexes(log) == [60]
        assert len(list(folder.glob("wal-*.log"))) == 1


def fill_one_segment(log):
    """Entries of group 3 until the next one begins a segment; their number."""
    count = 0
    while log.tail + 2000 < SMALL * 7 // 8:
        count += 1
        log.add(3, entries=[(1, count, bytes(1000))])
        log.flush()
    assert log.segments == 1
    return count


@pytest.mark.parametrize("voided", [False, True])
def test_the_first_batch_of_the_oldest_segment_may_end_what_it_begins(open_log, voided):
    with open_log() as log:
        last = fill_one_segment(log)
        # Entries, a part of them replaced, and snapshots, all in the batch that begins the second segment.
        log.add(3, entries=[(1, last + i, bytes(1000)) for i in range(1, 6)])
        log.add_snapshot(3, last + 1, 7 if voided else 1, (1,))
        log.add(3, entries=[(7, last + i, b"new") for i in (2, 3, 4)])
        log.add_snapshot(3, last + 2, 7, (1, 2))
        log.flush()
        assert log.segments == 2
        log.add_snapshot(3, last + 4, 7, (1, 2, 3))
        log.flush()
        assert log.segments == 1
    for _ in range(2):
        with open_log() as log:
            found = log.recovered()[3]
            assert (found.snapshot.index, found.snapshot.term, found.snapshot.voters) == (last + 4, 7, (1, 2, 3))
            assert found.entries == []


def test_the_first_batch_of_the_oldest_segment_may_void_what_it_follows(open_log):
    with open_log() as log:
        last = fill_one_segment(log)
        log.add(3, entries=[(1, last + i, bytes(1000)) for i in range(1, 6)])
        log.add_snapshot(3, 2, 7, (1,))  # of another history, which is shorter
        log.flush()
        log.compact()
        assert log.segments == 1
    for _ in range(2):
        with open_log() as log:
            found = log.recovered()[3]
            assert (found.snapshot.index, found.snapshot.term, found.entries) == (2, 7, [])


def test_a_segment_that_calls_itself_unneeded_is_damaged(written, open_log, folder):
    """Believed, it would be read, and deleted, and the next start would miss it."""
    path, data, found = written
    edited = bytearray(data)
    struct.pack_into("<Q", edited, 48 + 16, 2)  # the header: nothing before segment 2 is needed
    seal_header(edited)
    (previous,) = struct.unpack_from("<I", edited, 12)
    for begin, behind in found:
        struct.pack_into("<I", edited, begin + 48, previous)
        struct.pack_into("<I", edited, begin + 52, crc32c(edited[begin + BATCH : behind], previous))
        struct.pack_into("<I", edited, begin + 4, crc32c(edited[begin + 8 : begin + BATCH]))
        (previous,) = struct.unpack_from("<I", edited, begin + 4)
    path.write_bytes(edited)
    before = files(folder)
    with pytest.raises(errors.CorruptLog) as caught:
        open_log()
    assert (caught.value.path, caught.value.offset) == (str(path), 0)
    assert files(folder) == before


def test_a_group_without_snapshot_pins_its_segment_and_is_named(open_log, folder):
    with open_log() as log:
        log.add(8, entries=[(1, 1, b"pin")])
        for i in range(1, 61):
            log.add(3, entries=[(1, i, bytes(1000))])
            log.flush()
        log.add_snapshot(3, 60, 1, (1,))
        log.flush()
        assert log.segments > 3
        assert log.pinned_by == 8
        log.add_snapshot(8, 1, 1, (1,))
        log.flush()
        assert log.segments == 1
        assert log.pinned_by is None
    with open_log() as log:
        assert {group: (found.snapshot.index, found.entries) for group, found in log.recovered().items()} == {
            3: (60, []),
            8: (1, []),
        }


def test_a_batch_larger_than_a_segment_gets_one_of_its_size(open_log):
    blob = bytes(range(256)) * 400
    with open_log() as log:
        log.add(1, entries=[(1, 1, blob)])
        log.flush()
        log.add(1, entries=[(1, 2, b"small")])
        log.flush()
    with open_log() as log:
        assert [entry.data for entry in log.recovered()[1].entries] == [blob, b"small"]


def test_a_gap_in_the_entries_is_refused_before_anything_is_written(open_log):
    with open_log() as log:
        log.add(1, entries=[(1, 1, b"a")])
        log.flush()
        with pytest.raises(errors.InvalidArgument):
            log.add(1, entries=[(1, 3, b"c")])
        with pytest.raises(errors.InvalidArgument):
            log.flush()
    with open_log() as log:
        assert [entry.index for entry in log.recovered()[1].entries] == [1]


def test_a_gap_in_valid_records_is_damage(written, open_log):
    path, data, found = written
    forged = bytearray(data)
    begin, end = found[-1]
    at = begin + BATCH + 48 + 16 + 8  # behind the hard state's record: the entry's index
    assert struct.unpack_from("<Q", forged, at) == (5,)
    struct.pack_into("<Q", forged, at, 9)
    (previous,) = struct.unpack_from("<I", forged, begin + 48)
    struct.pack_into("<I", forged, begin + 52, crc32c(forged[begin + BATCH : end], previous))
    struct.pack_into("<I", forged, begin + 4, crc32c(forged[begin + 8 : begin + BATCH]))
    path.write_bytes(forged)
    with pytest.raises(errors.CorruptLog) as caught:
        open_log()
    assert caught.value.offset == begin


def test_a_batch_that_claims_what_stands_behind_it_to_be_durable_is_none(written, open_log):
    """Taken for one in a file cut short, it made the next start find damage in the zeros that this one had appended."""
    path, data, found = written
    begin, end = found[-1]
    forged = bytearray(data[:end])
    struct.pack_into("<Q", forged, begin + 24, end + 8)
    struct.pack_into("<I", forged, begin + 4, crc32c(forged[begin + 8 : begin + BATCH]))
    path.write_bytes(forged)
    for torn in (begin, 0):
        with open_log() as log:
            assert indexes(log) == [1, 2, 3, 4]
            assert log.torn_offset == torn


def test_a_segment_of_another_cluster_or_host_or_a_newer_format_is_refused(written, open_log):
    path, data, _ = written
    for offset, kind in ((16, errors.ForeignCluster), (32, errors.ForeignCluster), (8, errors.NewerFormat)):
        changed = bytearray(data)
        changed[offset] += 1
        seal_header(changed)
        path.write_bytes(changed)
        with pytest.raises(kind) as caught:
            open_log()
        assert caught.value.path == str(path)
        assert path.read_bytes() == bytes(changed)
    assert (caught.value.found, caught.value.supported) == (2, 1)


def test_a_segment_that_claims_to_be_larger_than_any_disk_is_damaged(written, open_log):
    path, data, _ = written
    for capacity in ((1 << 40) + 1, 1 << 63, (1 << 64) - 1):
        changed = bytearray(data)
        struct.pack_into("<Q", changed, 56, capacity)
        seal_header(changed)
        path.write_bytes(changed)
        with pytest.raises(errors.CorruptLog):
            open_log()
        assert path.read_bytes() == bytes(changed)


@pytest.mark.parametrize(("size", "expected"), [(40, 39), (4000, 40), (70_000, 40)], ids=["old", "new", "large"])
def test_blocks_behind_a_small_batch_are_written_ahead_of_it_and_stay_zeros(open_log, folder, size, expected):
    with open_log(segment_bytes=4 << 20) as log:
        for i in range(1, 80):
            log.add(3, entries=[(1, i, bytes([i]) * size)])
            log.flush()
            if i == 40:
                file_faults.configure("short_write=1000000")  # counts, and changes nothing
        # 39 batches, one of which needs new blocks, or the next segment and with it a closing batch
        assert file_faults.calls()["write"] == expected
    data = max(folder.glob("wal-*.log")).read_bytes()
    assert not any(data[batches(data)[-1][1] :])
    with open_log() as log:
        assert log.torn_offset == 0
        assert indexes(log) == list(range(1, 80))


@pytest.fixture(scope="module")
def fuzz_ground(tmp_path_factory):
    """Two segments' worth of log, as bytes, and where to put them."""
    folder = tmp_path_factory.mktemp("fuzz") / "host"
    payloads = [bytes([i % 251]) * (i * 37 % 900) for i in range(40)]
    with WriteAheadLog(folder, CLUSTER, 7, segment_bytes=16384) as log:
        for i, payload in enumerate(payloads):
            log.add(3, hard=(1, 2, i, 4), entries=[(1, i + 1, payload)])
            log.flush()
    return folder, {path: path.read_bytes() for path in folder.iterdir()}, payloads


EDIT = st.tuples(
    st.sampled_from(["flip", "fill", "cut", "copy", "length"]),
    st.integers(0, 2),
    st.floats(0, 1),
    st.integers(1, 200),
    st.integers(0, 255),
)


@given(edits=st.lists(EDIT, min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_mutated_files_give_typed_errors_or_a_valid_prefix(fuzz_ground, edits):
    folder, whole, payloads = fuzz_ground
    for path in folder.iterdir():
        if path not in whole:
            path.unlink()
    for path, data in whole.items():
        path.write_bytes(data)
    segments = sorted(path for path in whole if path.name.startswith("wal-"))
    for how, which, where, size, value in edits:
        path = segments[which % len(segments)]
        data = bytearray(path.read_bytes())
        at = int(where * max(len(data) - 1, 0)) if data else 0
        if how == "flip" and data:
            data[at] ^= value or 1
        elif how == "fill":
            data[at : at + size] = bytes([value]) * len(data[at : at + size])
        elif how == "cut":
            del data[at:]
        elif how == "copy":
            data[at : at + size] = data[: len(data[at : at + size])]
        elif len(data) >= at // 8 * 8 + 8:
            struct.pack_into("<Q", data, at // 8 * 8, 2**64 - size)
        path.write_bytes(data)
    try:
        log = WriteAheadLog(folder, CLUSTER, 7, segment_bytes=16384)
    except errors.StorageError:
        return
    with log:
        found = log.recovered()
        entries = found[3].entries if 3 in found else []
        assert [entry.data for entry in entries] == payloads[: len(entries)]
