"""The write-ahead log of one host: batches of records in preallocated segments, one sync for everything in a batch.

What is added gathers in memory, laid out as it will stand on disk; `wal_flush` writes it once and syncs once. Hard state and
entries of every group share the batch, so they become durable together or not at all.

**Turning over.** A batch that does not fit begins the next segment: its first batch holds the *base* (every group's hard
state, snapshot position and last index) and then the batch itself. The file is written and synced under a temporary name,
renamed, the directory synced, and last the old segment gets a closing batch. So a segment that is visible is whole in its
first batch; every segment but the last is closed; and older segments can be deleted as soon as no group's entries above
its snapshot are in them.

**A full disk.** Blocks are allocated when a segment is made, so that the disk is full only when the next one cannot be made.
The end of each segment is a reserve. While the next segment cannot be made, batches without entries go there: terms, votes
and promises still persist, before and after a restart, and so do the snapshots by which segments can be deleted and
room is made. A batch with entries stops the log with STORAGE_FULL, but its hard states are still written to the reserve.

**Failure.** After the first failure the log is dead and every call answers the same: nothing is asked of the file again, and
a sync that failed is never repeated. One thread at a time.
"""

cimport cython
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from tenure._core.blob cimport blob_new, blob_release
from tenure._core.crc32c cimport crc32c as native_crc32c, crc32c_portable
from tenure._core.vec cimport Vec
from tenure._raft.types cimport MAX_MEMBERS, Configuration, Entry, HardState, Snapshot, entries_release
from tenure._storage.directory cimport Directory, directory_close, directory_mark_log, directory_open
from tenure._storage.error cimport (
    STORAGE_BAD_DIRECTORY, STORAGE_FULL, STORAGE_MEMORY, STORAGE_MISUSE, STORAGE_OK, StorageError, storage_code_of,
    storage_error_set, storage_exception,
)
from tenure._storage.file_seam cimport (
    PATH_BYTES, directory_sync, file_close, file_open, file_preallocate, file_rename, file_sync, file_unlink, file_write,
    path_join,
)
from tenure._storage.format cimport (
    FORMAT_VERSION, RECORD_ENTRY, RECORD_HARD_STATE, RECORD_IS_BASE, RECORD_LAST_INDEX, RECORD_OLDEST_NEEDED,
    RECORD_SNAPSHOT, SNAPSHOT_VOIDS, BatchHeader, EntryPayload, HardStatePayload, RecordHeader, SegmentHeader,
    SnapshotPayload, file_header_checksum, padded,
)
from tenure._storage.groups cimport (
    GroupLog, group_append, group_base, group_fits, group_snapshot, groups_find, groups_release,
)
from tenure._storage.recovery cimport recovery_list, recovery_run
from tenure._storage.segment cimport (
    batch_seal, batch_write, segment_close, segment_path, segment_reserve, wal_fail, wal_fail_errno, zero_ahead,
)

import os

from tenure._storage import records as shapes
from tenure.errors import Closed, InvalidArgument


cdef extern from "<sys/random.h>" nogil:
    ssize_t getrandom(void* into, size_t size, unsigned int flags) noexcept

cdef enum:
    MIN_SEGMENT_BYTES = 16384
    MAX_PAYLOAD_BYTES = 1 << 30
    KEPT_BATCH_BYTES = 1 << 22  # a larger buffer is given back once it was written


# ---- laying out records ----

cdef bint put(Vec[char]* into, const void* data, size_t size) noexcept nogil:
    if not into.reserve(into.size + size):
        return False
    if size:
        memcpy(into.data + into.size, data, size)
    into.size += size
    return True


cdef bint put_record(
        Vec[char]* into, uint16_t kind, uint8_t flags, uint8_t entry_kind, uint32_t group,
        const void* head, size_t head_size, const void* data, size_t size) noexcept nogil:
    """One record whose payload is `head` and then `data`, padded."""
    cdef RecordHeader header
    cdef uint64_t zeros = 0
    memset(&header, 0, sizeof(header))
    header.length = <uint32_t> (head_size + size)
    header.kind = kind
    header.flags = flags
    header.entry_kind = entry_kind
    header.group = group
    return (
        put(into, &header, sizeof(header)) and put(into, head, head_size) and put(into, data, size)
        and put(into, &zeros, padded(head_size + size) - (head_size + size))
    )


cdef bint put_hard_state(Vec[char]* into, uint8_t flags, uint32_t group, const HardState* hard) noexcept nogil:
    cdef HardStatePayload payload
    payload.term = hard.term
    payload.vote = hard.vote
    payload.commit = hard.commit
    payload.promise_bound_ns = hard.promise_bound_ns
    return put_record(into, RECORD_HARD_STATE, flags, 0, group, &payload, sizeof(payload), NULL, 0)


cdef bint put_number(Vec[char]* into, uint16_t kind, uint8_t flags, uint32_t group, uint64_t number) noexcept nogil:
    return put_record(into, kind, flags, 0, group, &number, sizeof(number), NULL, 0)


cdef bint put_snapshot(Vec[char]* into, uint8_t flags, uint32_t group, const Snapshot* snapshot) noexcept nogil:
    cdef uint64_t members[4 * MAX_MEMBERS]
    cdef SnapshotPayload payload
    cdef size_t count = 0, i
    payload.index = snapshot.index
    payload.term = snapshot.term
    payload.counts[0] = <uint16_t> snapshot.configuration.voters_count
    payload.counts[1] = <uint16_t> snapshot.configuration.outgoing_count
    payload.counts[2] = <uint16_t> snapshot.configuration.learners_count
    payload.counts[3] = <uint16_t> snapshot.configuration.learners_next_count
    payload.auto_leave = snapshot.configuration.auto_leave
    for i in range(payload.counts[0]):
        members[count + i] = snapshot.configuration.voters[i]
    count += payload.counts[0]
    for i in range(payload.counts[1]):
        members[count + i] = snapshot.configuration.outgoing[i]
    count += payload.counts[1]
    for i in range(payload.counts[2]):
        members[count + i] = snapshot.configuration.learners[i]
    count += payload.counts[2]
    for i in range(payload.counts[3]):
        members[count + i] = snapshot.configuration.learners_next[i]
    count += payload.counts[3]
    return put_record(into, RECORD_SNAPSHOT, flags, 0, group, &payload, sizeof(payload), members, count * 8)


cdef bint put_base(Wal* wal, Vec[char]* into, uint32_t* records) noexcept nogil:
    """What a segment repeats of those before it."""
    cdef size_t i
    cdef GroupLog* log
    for i in range(wal.groups.size):
        log = &wal.groups.data[i]
        if log.has_hard:
            if not put_hard_state(into, RECORD_IS_BASE, log.group, &log.hard):
                return False
            records[0] += 1
        if log.snapshot != NULL:
            if not put_snapshot(into, RECORD_IS_BASE, log.group, log.snapshot):
                return False
            records[0] += 1
        if not put_number(into, RECORD_LAST_INDEX, RECORD_IS_BASE, log.group, log.last_index):
            return False
        records[0] += 1
    return True


# ---- segments ----

cdef int begin_segment(Wal* wal, const Vec[char]* body, uint32_t body_records) noexcept nogil:
    """Make the next segment, with the base and the records of `body` as its first batch, and turn to it.

    0 or an errno. On a failure before the rename nothing has changed; `fd` still is the old segment's.
    """
    cdef Vec[char] image
    cdef SegmentHeader* header
    cdef BatchHeader* batch
    cdef Wal next
    cdef uint32_t records = body_records
    cdef uint64_t capacity
    cdef char temporary[PATH_BYTES]
    cdef int result = -1
    cdef size_t head = sizeof(SegmentHeader) + sizeof(BatchHeader)
    memset(&image, 0, sizeof(image))
    memcpy(&next, wal, sizeof(Wal))     # only positions are changed below; what it owns stays the original's
    path_join(temporary, wal.directory.path, b"wal.new")
    if (
            not image.reserve(head) or getrandom(&next.salt, sizeof(next.salt), 0) != sizeof(next.salt)):
        image.release()
        return wal_fail(wal, STORAGE_MEMORY, 0, 0, temporary)
    memset(image.data, 0, head)
    image.size = head
    if not put_base(wal, &image, &records) or not put(&image, body.data, body.size):
        image.release()
        return wal_fail(wal, STORAGE_MEMORY, 0, 0, temporary)
    capacity = image.size + sizeof(BatchHeader)
    capacity = max(wal.segment_bytes, (capacity + capacity // 4 + 4095) & ~<uint64_t> 4095)
    next.sequence = wal.sequence + 1
    next.capacity = capacity
    next.tail = next.synced = sizeof(SegmentHeader)
    next.number = wal.number + (1 if wal.fd >= 0 else 0)    # the closing batch comes between
    header = <SegmentHeader*> image.data
    memcpy(header.magic, b"tenureWL", 8)
    header.version = FORMAT_VERSION
    memcpy(header.cluster_id, wal.directory.cluster_id, 16)
    header.host_id = wal.directory.host_id
    header.sequence = next.sequence
    header.salt = next.salt
    header.capacity = capacity
    header.oldest_needed = wal.oldest_needed
    header.checksum = file_header_checksum(header, sizeof(SegmentHeader))
    next.previous = header.checksum
    batch = <BatchHeader*> (image.data + sizeof(SegmentHeader))
    batch_seal(&next, batch, image.size - head, records, 0)

    result = file_open(temporary, True, &next.fd)
    if result != 0:
        image.release()
        return result
    result = file_preallocate(next.fd, capacity)
    if result == 0:
        result = file_write(next.fd, image.data, image.size, 0)
    next.zeroed = 0
    if result == 0:
        result = zero_ahead(&next, image.size, image.size)
    if result == 0 and wal.sync:
        result = file_sync(next.fd)
        wal.syncs += 1
    next.tail = next.synced = image.size
    next.previous = batch.checksum
    next.number += 1
    image.release()
    if result != 0:
        file_close(next.fd)
        file_unlink(temporary)
        return result
    segment_path(wal, next.sequence, next.path)
    result = file_rename(temporary, next.path)
    if result == 0 and wal.sync:
        result = directory_sync(wal.directory.path)
        wal.syncs += 1
    if result == 0 and wal.fd >= 0:
        result = segment_close(wal)
    if result != 0:
        # it may be visible already: the next start sees to that
        file_close(next.fd)
        wal_fail_errno(wal, result, 0, next.path)
        return result
    return turn_to(wal, &next)


cdef int turn_to(Wal* wal, const Wal* next) noexcept nogil:
    """Make the new segment the current one and remember what the old one holds. 0, or a code with the log dead."""
    cdef ClosedSegment closed
    cdef SegmentUse use
    cdef size_t i
    cdef bint kept = True
    if wal.fd >= 0:
        memset(&closed, 0, sizeof(closed))
        closed.sequence = wal.sequence
        for i in range(wal.groups.size):
            use.group = wal.groups.data[i].group
            use.highest_index = wal.groups.data[i].last_index
            if use.highest_index > group_base(&wal.groups.data[i]) and not closed.uses.push(use):
                kept = False
        if not kept or not wal.closed.push(closed):
            closed.uses.release()
            file_close(next.fd)
            return wal_fail(wal, STORAGE_MEMORY, 0, 0, wal.path)
        file_close(wal.fd)
    wal.fd = next.fd
    wal.sequence = next.sequence
    wal.salt = next.salt
    wal.capacity = next.capacity
    wal.tail = next.tail
    wal.synced = next.synced
    wal.zeroed = next.zeroed
    wal.number = next.number
    wal.previous = next.previous
    wal.bytes += next.tail
    memcpy(wal.path, next.path, sizeof(wal.path))
    return 0


cdef bint segment_is_needed(Wal* wal, const ClosedSegment* closed, uint32_t* by) noexcept nogil:
    cdef size_t i
    cdef GroupLog* log
    for i in range(closed.uses.size):
        log = groups_find(&wal.groups, closed.uses.data[i].group, False)
        # what stood above today's last index has been replaced
        if log != NULL and min(closed.uses.data[i].highest_index, log.last_index) > group_base(log):
            by[0] = log.group
            return True
    return False


cdef uint64_t first_needed(Wal* wal) noexcept nogil:
    cdef size_t i
    cdef uint32_t by
    for i in range(wal.closed.size):
        if segment_is_needed(wal, &wal.closed.data[i], &by):
            return wal.closed.data[i].sequence
    return wal.sequence


cdef int delete_unneeded(Wal* wal) noexcept nogil:
    """Delete the segments that a durable record declared unneeded, oldest first. 0 or an errno."""
    cdef char path[PATH_BYTES]
    cdef size_t gone = 0, i
    cdef int result = 0
    while gone < wal.closed.size and wal.closed.data[gone].sequence < wal.oldest_needed:
        segment_path(wal, wal.closed.data[gone].sequence, path)
        result = file_unlink(path)
        if result != 0:
            break
        gone += 1
    if gone == 0:
        return result
    for i in range(gone):
        wal.closed.data[i].uses.release()
    wal.closed.remove(0, gone)
    if result == 0 and wal.sync:
        result = directory_sync(wal.directory.path)
        wal.syncs += 1
    return result


# ---- opening and closing ----

cdef Wal* wal_open(
        const Directory* directory, uint64_t segment_bytes, bint sync, StorageError* error) noexcept nogil:
    cdef Wal* wal = <Wal*> calloc(1, sizeof(Wal))
    cdef Vec[uint64_t] sequences
    cdef bint opened = False
    memset(error, 0, sizeof(StorageError))
    memset(&sequences, 0, sizeof(sequences))
    if wal == NULL:
        storage_error_set(error, STORAGE_MEMORY, 0, 0, directory.path)
        return NULL
    wal.directory = <Directory*> directory
    wal.segment_bytes = (max(segment_bytes, <uint64_t> MIN_SEGMENT_BYTES) + 4095) & ~<uint64_t> 4095
    wal.sync = sync
    wal.fd = -1
    if reset_batch(wal) != STORAGE_OK:
        pass
    elif recovery_list(wal, &sequences):
        if sequences.size:
            opened = recovery_run(wal, &sequences)
        elif directory.has_log:
            wal_fail(wal, STORAGE_BAD_DIRECTORY, 0, 0, directory.path)
        else:
            opened = begin_log(wal)
    sequences.release()
    if opened and wal.error.code == 0:
        return wal
    memcpy(error, &wal.error, sizeof(StorageError))
    wal_close(wal)
    return NULL


cdef bint begin_log(Wal* wal) noexcept nogil:
    """The first segment of a new log."""
    cdef Vec[char] nothing
    cdef int result
    memset(&nothing, 0, sizeof(nothing))
    wal.number = 1
    wal.oldest_needed = 1
    result = begin_segment(wal, &nothing, 0)
    if result == 0:
        result = directory_mark_log(wal.directory)
    if result != 0:
        wal_fail_errno(wal, result, 0, wal.directory.path)
    return result == 0


cdef void wal_close(Wal* wal) noexcept nogil:
    cdef size_t i
    if wal == NULL:
        return
    wal_forget_recovered(wal)
    if wal.fd >= 0:
        file_close(wal.fd)
    for i in range(wal.closed.size):
        wal.closed.data[i].uses.release()
    wal.closed.release()
    groups_release(&wal.groups)
    wal.batch.release()
    free(wal)


# ---- what was recovered ----

cdef size_t wal_recovered_count(Wal* wal) noexcept nogil:
    return wal.recovered.size


cdef RecoveredGroup* wal_recovered(Wal* wal, size_t i) noexcept nogil:
    return &wal.recovered.data[i]


cdef void wal_forget_recovered(Wal* wal) noexcept nogil:
    cdef size_t i
    for i in range(wal.recovered.size):
        entries_release(&wal.recovered.data[i].entries)
    wal.recovered.release()


cdef uint64_t wal_torn_offset(Wal* wal) noexcept nogil:
    return wal.torn_offset


# ---- writing ----

cdef int reset_batch(Wal* wal) noexcept nogil:
    cdef size_t i
    if wal.batch.capacity > KEPT_BATCH_BYTES:
        wal.batch.release()
    if not wal.batch.reserve(sizeof(BatchHeader)):
        return wal_fail(wal, STORAGE_MEMORY, 0, 0, wal.path)
    wal.batch.size = sizeof(BatchHeader)
    wal.record_count = 0
    wal.has_entries = wal.has_snapshots = False
    for i in range(wal.groups.size):
        if wal.groups.data[i].hard_changed:
            wal.groups.data[i].durable_commit = wal.groups.data[i].hard.commit
            wal.groups.data[i].hard_changed = False
    return STORAGE_OK


cdef int wal_add(Wal* wal, uint32_t group, const HardState* hard, const Entry* entries, size_t count) noexcept nogil:
    cdef size_t i
    cdef GroupLog* log
    cdef const Entry* entry
    cdef EntryPayload head
    cdef size_t size
    if wal.error.code != 0:
        return wal.error.code
    log = groups_find(&wal.groups, group, True)
    if log == NULL:
        return wal_fail(wal, STORAGE_MEMORY, 0, 0, wal.path)
    if hard != NULL:
        memcpy(&log.hard, hard, sizeof(HardState))
        log.has_hard = log.hard_changed = True
        if not put_hard_state(&wal.batch, 0, group, hard):
            return wal_fail(wal, STORAGE_MEMORY, 0, 0, wal.path)
        wal.record_count += 1
    for i in range(count):
        entry = &entries[i]
        size = entry.data.size if entry.data != NULL else 0
        if entry.index <= group_base(log):
            continue            # the snapshot holds it
        if not group_fits(log, entry) or (i > 0 and entry.index != entries[i - 1].index + 1) or size > MAX_PAYLOAD_BYTES:
            return wal_fail(wal, STORAGE_MISUSE, 0, entry.index, wal.path)
        head.term = entry.term
        head.index = entry.index
        if not group_append(log, entry) or not put_record(
                &wal.batch, RECORD_ENTRY, 0, entry.kind, group, &head, sizeof(head),
                entry.data.bytes() if size else NULL, size):
            return wal_fail(wal, STORAGE_MEMORY, 0, 0, wal.path)
        wal.record_count += 1
        wal.has_entries = True
    return STORAGE_OK


cdef int wal_add_snapshot(Wal* wal, uint32_t group, const Snapshot* snapshot) noexcept nogil:
    cdef GroupLog* log
    cdef bint voids = False
    if wal.error.code != 0:
        return wal.error.code
    log = groups_find(&wal.groups, group, True)
    if log == NULL:
        return wal_fail(wal, STORAGE_MEMORY, 0, 0, wal.path)
    if snapshot.index < group_base(log):
        return STORAGE_OK       # a newer one stands
    if (
            not group_snapshot(log, snapshot, &voids)
            or not put_snapshot(&wal.batch, SNAPSHOT_VOIDS if voids else 0, group, log.snapshot)):
        return wal_fail(wal, STORAGE_MEMORY, 0, 0, wal.path)
    wal.record_count += 1
    wal.has_snapshots = True
    return STORAGE_OK


cdef int write_hard_states_only(Wal* wal) noexcept nogil:
    """The disk is full: what this batch says of terms, votes and promises goes to the reserve. 0 or an errno.

    Not what it says of commits: that may be of entries of this batch, and what stands on disk at their indexes may be another
    leader's, which a start would then take for committed.
    """
    cdef size_t i
    cdef GroupLog* log
    cdef HardState hard
    cdef uint32_t records = 0
    wal.batch.size = sizeof(BatchHeader)
    for i in range(wal.groups.size):
        log = &wal.groups.data[i]
        if log.hard_changed:
            hard = log.hard
            hard.commit = log.durable_commit
            if not put_hard_state(&wal.batch, 0, log.group, &hard):
                return -1
            records += 1
    if records == 0 or not fits(wal, 0):
        return 0
    batch_seal(wal, <BatchHeader*> wal.batch.data, wal.batch.size - sizeof(BatchHeader), records, 0)
    return batch_write(wal, <BatchHeader*> wal.batch.data)


cdef bint fits(const Wal* wal, uint64_t spared) noexcept nogil:
    """Whether the batch fits the segment and leaves `spared` bytes, and always room for the closing batch."""
    return wal.tail + wal.batch.size + sizeof(BatchHeader) + spared <= wal.capacity


cdef int write_batch(Wal* wal) noexcept nogil:
    batch_seal(wal, <BatchHeader*> wal.batch.data, wal.batch.size - sizeof(BatchHeader), wal.record_count, 0)
    return batch_write(wal, <BatchHeader*> wal.batch.data)


cdef int write_or_turn_over(Wal* wal) noexcept nogil:
    """The batch becomes durable, here or in a new segment. A code; the log is dead unless it is STORAGE_OK."""
    cdef int result
    cdef Vec[char] body
    if fits(wal, segment_reserve(wal.capacity)):
        result = write_batch(wal)
        return STORAGE_OK if result == 0 else wal_fail_errno(wal, result, wal.tail, wal.path)
    body.data = wal.batch.data + sizeof(BatchHeader)
    body.size = body.capacity = wal.batch.size - sizeof(BatchHeader)
    result = begin_segment(wal, &body, wal.record_count)
    if result == 0 or wal.error.code != 0:
        return wal.error.code
    if storage_code_of(result) != STORAGE_FULL:
        return wal_fail_errno(wal, result, 0, wal.path)
    if wal.has_entries:
        write_hard_states_only(wal)     # its failure changes nothing in the answer
        return wal_fail(wal, STORAGE_FULL, result, wal.tail, wal.path)
    if not fits(wal, 0):
        return wal_fail(wal, STORAGE_FULL, result, wal.tail, wal.path)
    result = write_batch(wal)
    return STORAGE_OK if result == 0 else wal_fail_errno(wal, result, wal.tail, wal.path)


cdef int wal_flush(Wal* wal) noexcept nogil:
    cdef uint64_t needed
    cdef int result
    if wal.error.code != 0:
        return wal.error.code
    if wal.record_count == 0:
        return STORAGE_OK
    needed = first_needed(wal) if wal.has_snapshots else wal.oldest_needed
    if needed != wal.oldest_needed:
        if not put_number(&wal.batch, RECORD_OLDEST_NEEDED, 0, 0, needed):
            return wal_fail(wal, STORAGE_MEMORY, 0, 0, wal.path)
        wal.record_count += 1
    result = write_or_turn_over(wal)
    if result != STORAGE_OK:
        return result
    if needed != wal.oldest_needed:
        wal.oldest_needed = needed
        result = delete_unneeded(wal)
        if result != 0:
            return wal_fail_errno(wal, result, 0, wal.directory.path)
    return reset_batch(wal)


cdef int wal_compact(Wal* wal) noexcept nogil:
    if wal.error.code == 0 and first_needed(wal) != wal.oldest_needed:
        if not put_number(&wal.batch, RECORD_OLDEST_NEEDED, 0, 0, wal.oldest_needed):
            return wal_fail(wal, STORAGE_MEMORY, 0, 0, wal.path)
        wal.record_count += 1
        wal.has_snapshots = True        # so that the flush looks
    return wal_flush(wal)


cdef size_t wal_segments(Wal* wal, uint32_t* pinned_by) noexcept nogil:
    if wal.closed.size:
        segment_is_needed(wal, &wal.closed.data[0], pinned_by)
    return wal.closed.size + 1


cdef const StorageError* wal_error(Wal* wal) noexcept nogil:
    return &wal.error


cdef uint64_t wal_syncs(Wal* wal) noexcept nogil:
    return wal.syncs


cdef uint64_t wal_bytes(Wal* wal) noexcept nogil:
    return wal.bytes


# ---- the Python edge: for tests and tools ----

cdef tuple ids(const uint64_t* members, int32_t count):
    return tuple([members[i] for i in range(count)])


cdef int32_t fill_ids(uint64_t* into, object members) except -1:
    if len(members) > MAX_MEMBERS:
        raise InvalidArgument(f"a configuration has at most {MAX_MEMBERS} members of a kind")
    for i, member in enumerate(members):
        into[i] = member
    return len(members)


cdef object recovered_group(RecoveredGroup* found):
    cdef size_t i
    cdef Entry* entry
    cdef Configuration* members = &found.snapshot.configuration
    snapshot = None
    if found.has_snapshot:
        snapshot = shapes.Snapshot(
            found.snapshot.index, found.snapshot.term, ids(members.voters, members.voters_count),
            ids(members.outgoing, members.outgoing_count), ids(members.learners, members.learners_count),
            ids(members.learners_next, members.learners_next_count), bool(members.auto_leave))
    entries = []
    for i in range(found.entries.size):
        entry = &found.entries.data[i]
        data = entry.data.bytes()[:entry.data.size] if entry.data != NULL else b""
        entries.append(shapes.Entry(entry.term, entry.index, data, entry.kind))
    hard = shapes.HardState(found.hard.term, found.hard.vote, found.hard.commit, found.hard.promise_bound_ns)
    return shapes.RecoveredGroup(hard, snapshot, entries)


@cython.final
cdef class WriteAheadLog:
    """A host's directory and its log, opened together. One thread at a time.

    Opening raises what `tenure.errors` has below `StorageError`; so does every call after a failure, with the same error.
    """

    cdef Directory* directory
    cdef Wal* wal

    def __cinit__(
            self, path, bytes cluster_id not None, uint64_t host_id, *, uint64_t segment_bytes=1 << 26, bint sync=True):
        cdef StorageError error
        cdef bytes name = os.fsencode(path)
        cdef const char* c_path = name
        cdef const uint8_t* c_cluster = cluster_id
        if len(cluster_id) != 16:
            raise InvalidArgument("a cluster id has 16 bytes")
        with nogil:
            self.directory = directory_open(c_path, c_cluster, host_id, sync, &error)
        if self.directory == NULL:
            raise storage_exception(&error)
        with nogil:
            self.wal = wal_open(self.directory, segment_bytes, sync, &error)
        if self.wal == NULL:
            raise storage_exception(&error)

    def __dealloc__(self):
        wal_close(self.wal)
        directory_close(self.directory)

    cdef Wal* alive(self) except NULL:
        if self.wal == NULL:
            raise Closed("the log is closed")
        return self.wal

    cdef int check(self, int code) except -1:
        if code != STORAGE_OK:
            raise storage_exception(wal_error(self.wal))
        return 0

    def add(self, uint32_t group, *, hard=None, entries=()) -> None:
        """Add a hard state, entries (term, index, data[, kind]) or both to the batch."""
        cdef Wal* wal = self.alive()
        cdef HardState state
        cdef Vec[Entry] gathered
        cdef Entry entry
        cdef int code
        memset(&gathered, 0, sizeof(gathered))
        if hard is not None:
            state.term, state.vote, state.commit, state.promise_bound_ns = hard
        try:
            for item in entries:
                entry.term, entry.index = item[0], item[1]
                entry.kind = item[3] if len(item) > 3 else 0
                entry.data = NULL
                if len(item) > 2 and item[2]:
                    entry.data = blob_new(item[2], len(item[2]))
                    if entry.data == NULL:
                        raise MemoryError()
                if not gathered.push(entry):
                    blob_release(entry.data)
                    raise MemoryError()
            code = wal_add(wal, group, &state if hard is not None else NULL, gathered.data, gathered.size)
        finally:
            entries_release(&gathered)
        self.check(code)

    def add_snapshot(
            self, uint32_t group, uint64_t index, uint64_t term, voters=(), outgoing=(), learners=(),
            learners_next=(), bint auto_leave=False) -> None:
        """Say that a snapshot at this position is durable, and that the group's log starts behind it."""
        cdef Wal* wal = self.alive()
        cdef Snapshot snapshot
        memset(&snapshot, 0, sizeof(snapshot))
        snapshot.index = index
        snapshot.term = term
        snapshot.configuration.voters_count = fill_ids(snapshot.configuration.voters, voters)
        snapshot.configuration.outgoing_count = fill_ids(snapshot.configuration.outgoing, outgoing)
        snapshot.configuration.learners_count = fill_ids(snapshot.configuration.learners, learners)
        snapshot.configuration.learners_next_count = fill_ids(snapshot.configuration.learners_next, learners_next)
        snapshot.configuration.auto_leave = auto_leave
        self.check(wal_add_snapshot(wal, group, &snapshot))

    def flush(self) -> None:
        """Make everything that was added durable: one write, one sync."""
        cdef Wal* wal = self.alive()
        cdef int code
        with nogil:
            code = wal_flush(wal)
        self.check(code)

    def compact(self) -> None:
        """Flush, and delete the segments that no group needs."""
        cdef Wal* wal = self.alive()
        cdef int code
        with nogil:
            code = wal_compact(wal)
        self.check(code)

    def recovered(self) -> dict[int, shapes.RecoveredGroup]:
        """What the directory held when it was opened, by group."""
        cdef Wal* wal = self.alive()
        cdef size_t i
        return {
            wal_recovered(wal, i).group: recovered_group(wal_recovered(wal, i))
            for i in range(wal_recovered_count(wal))
        }

    def forget_recovered(self) -> None:
        """Give up the memory of what was recovered."""
        wal_forget_recovered(self.alive())

    @property
    def torn_offset(self) -> int:
        """Where a torn tail was cut when the log was opened; 0 where there was none."""
        return wal_torn_offset(self.alive())

    @property
    def syncs(self) -> int:
        return wal_syncs(self.alive())

    @property
    def bytes_written(self) -> int:
        return wal_bytes(self.alive())

    @property
    def path(self) -> str:
        """The current segment."""
        return os.fsdecode(self.alive().path)

    @property
    def tail(self) -> int:
        """Where the next batch goes in the current segment."""
        return self.alive().tail

    @property
    def segments(self) -> int:
        cdef uint32_t group = 0
        return wal_segments(self.alive(), &group)

    @property
    def pinned_by(self) -> int | None:
        """The group that keeps the oldest segment for want of a snapshot."""
        cdef uint32_t group = 0
        return group if wal_segments(self.alive(), &group) > 1 else None

    @property
    def start_counter(self) -> int:
        self.alive()
        return self.directory.start_counter

    @property
    def fresh(self) -> bool:
        """Whether the directory was empty: this host never joined anything."""
        self.alive()
        return self.directory.fresh

    def close(self) -> None:
        """Close the log and give the directory free. What was not flushed is lost."""
        wal_close(self.wal)
        self.wal = NULL
        directory_close(self.directory)
        self.directory = NULL

    def __enter__(self) -> WriteAheadLog:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def crc32c(const unsigned char[::1] data not None, uint32_t seed=0, *, bint portable=False) -> int:
    """The checksum of the format, for tests that forge batches; `portable` takes the tables even where a faster way is."""
    cdef const void* first = &data[0] if data.shape[0] else NULL
    if portable:
        return crc32c_portable(seed, first, data.shape[0])
    return native_crc32c(seed, first, data.shape[0])
