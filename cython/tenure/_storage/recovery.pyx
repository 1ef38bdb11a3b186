"""Reading a log back, and telling a torn tail from damage.

Segments are read in order, batch by batch. The first place X of a segment where no valid batch that follows the one before
stands is its end. Why it ends there decides:

- Nothing but zeros behind X: the log simply ends.
- Some batch header of this segment, before X or behind it, says that bytes above X were durable: this is damage, and
  the answer is STORAGE_CORRUPT. A batch is written only after the one before it is durable, so a header behind X says so.
- Otherwise what stands at X was never acknowledged: a torn tail. It is overwritten with zeros, so that neither it nor
  a part of it can ever be read again.

Every segment but the last must end with a closing batch; only a crash while turning over leaves the last but one without it,
and then the last holds its first batch alone. Nothing at all is changed before every segment and every group was found
whole. Where a crash left segments that later ones declare unneeded, the log is read once more without them: what is found is
what the next start will find. What stands above the last recorded synced offset is then written once more and synced: a
sync that failed in the process that wrote it may have left pages that only look clean.

Lengths are trusted only inside headers whose checksum holds, and never beyond the end of the file. The opener's thread.
"""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

from tenure._core.blob cimport blob_new, blob_release
from tenure._core.crc32c cimport crc32c
from tenure._core.vec cimport Vec
from tenure._raft.types cimport MAX_MEMBERS, Entry, Snapshot, entries_release
from tenure._storage.directory cimport directory_mark_log
from tenure._storage.error cimport (
    STORAGE_BAD_DIRECTORY, STORAGE_CORRUPT, STORAGE_FOREIGN, STORAGE_MEMORY, STORAGE_NEWER_FORMAT,
)
from tenure._storage.file_seam cimport (
    OPEN_EXISTING, OPEN_READ_ONLY, PATH_BYTES, FileName, directory_list, directory_sync, file_close, file_open,
    file_preallocate, file_read, file_size, file_sync, file_unlink, file_write, path_join,
)
from tenure._storage.format cimport (
    BATCH_CLOSES, BATCH_MAGIC, FORMAT_VERSION, MAX_SEGMENT_BYTES, RECORD_ENTRY, RECORD_HARD_STATE, RECORD_IS_BASE,
    RECORD_LAST_INDEX, RECORD_OLDEST_NEEDED, RECORD_SNAPSHOT, SNAPSHOT_VOIDS, BatchHeader, EntryPayload, HardStatePayload,
    RecordHeader, SegmentHeader, SnapshotPayload, batch_header_stands, file_header_checksum, padded,
)
from tenure._storage.groups cimport GroupLog, group_append, group_snapshot, groups_find
from tenure._storage.segment cimport (
    segment_close, segment_path, segment_sequence, wal_fail, wal_fail_errno,
)
from tenure._storage.wal cimport ClosedSegment, RecoveredGroup, SegmentUse

cdef enum:
    CHUNK_BYTES = 1 << 20

cdef struct Replay:
    # A group while its records are read. Its entries stand right behind `base`; those between the snapshot and `base`
    # were in segments that are gone, which is right only if a later snapshot covers them.
    RecoveredGroup found
    uint64_t base

cdef struct Recovery:
    Vec[Replay] groups          # sorted
    Vec[char] body              # of the batch being read
    uint64_t oldest_needed      # <= the segment that says so
    uint64_t sequence           # of the segment being read
    bint base_counts            # reading the first segment: what it repeats is all there is
    bint after_base             # and its first batch, of which what the base says is already the outcome


# ---- the directory ----

cdef bint recovery_list(Wal* wal, Vec[uint64_t]* sequences) noexcept nogil:
    cdef Vec[FileName] names
    cdef size_t i, at
    cdef uint64_t sequence = 0
    cdef int result
    cdef bint kept = True
    memset(&names, 0, sizeof(names))
    result = directory_list(wal.directory.path, &names)
    for i in range(names.size):
        if segment_sequence(names.data[i].text, &sequence):
            at = sequences.size
            while at > 0 and sequences.data[at - 1] > sequence:
                at -= 1
            kept = kept and sequences.insert(at, sequence)
    names.release()
    if result != 0:
        wal_fail_errno(wal, result, 0, wal.directory.path)
    elif not kept:
        wal_fail(wal, STORAGE_MEMORY, 0, 0, wal.directory.path)
    return wal.error.code == 0


# ---- records ----

cdef Replay* replay_of(Recovery* recovery, uint32_t group) noexcept nogil:
    """The group's state, created where it is new. Null without memory."""
    cdef size_t low = 0, high = recovery.groups.size, middle
    cdef Replay added
    while low < high:
        middle = (low + high) // 2
        if recovery.groups.data[middle].found.group < group:
            low = middle + 1
        else:
            high = middle
    if low < recovery.groups.size and recovery.groups.data[low].found.group == group:
        return &recovery.groups.data[low]
    memset(&added, 0, sizeof(added))
    added.found.group = group
    return &recovery.groups.data[low] if recovery.groups.insert(low, added) else NULL


cdef void drop_entries(Vec[Entry]* entries, size_t first, size_t count) noexcept nogil:
    cdef size_t i
    for i in range(first, first + count):
        blob_release(entries.data[i].data)
    entries.remove(first, count)


cdef void start_behind_snapshot(Replay* replay) noexcept nogil:
    """Nothing stands above the snapshot any more."""
    drop_entries(&replay.found.entries, 0, replay.found.entries.size)
    replay.base = replay.found.snapshot.index


cdef int replay_entry(
        Replay* replay, uint8_t kind, const char* payload, uint32_t length, bint after_base) noexcept nogil:
    """0 or a StorageCode."""
    cdef EntryPayload head
    cdef Entry entry
    cdef Vec[Entry]* entries = &replay.found.entries
    cdef uint64_t base = replay.found.snapshot.index if replay.found.has_snapshot else 0
    if length < sizeof(head):
        return STORAGE_CORRUPT
    memcpy(&head, payload, sizeof(head))
    if head.index <= base:
        if not after_base:
            return STORAGE_CORRUPT
        start_behind_snapshot(replay)       # covered by now, but it has cut off what stood above it
        return 0
    if head.index > replay.base + entries.size + 1 and not after_base:
        return STORAGE_CORRUPT
    if replay.base < head.index <= replay.base + entries.size + 1:
        drop_entries(entries, head.index - replay.base - 1, entries.size - (head.index - replay.base - 1))
    else:
        # It replaces entries of which some are in segments that are gone; or it follows entries that the first batch of
        # this segment has voided, so that the base does not know them any more.
        drop_entries(entries, 0, entries.size)
        replay.base = head.index - 1
    entry.term = head.term
    entry.index = head.index
    entry.kind = kind
    entry.data = NULL
    length -= sizeof(head)
    if length:
        entry.data = blob_new(payload + sizeof(head), length)
        if entry.data == NULL:
            return STORAGE_MEMORY
    if not entries.push(entry):
        blob_release(entry.data)
        return STORAGE_MEMORY
    return 0


cdef bint take_members(const char** at, uint32_t* length, uint64_t* members, int32_t* count, uint16_t wanted) noexcept nogil:
    if wanted > MAX_MEMBERS or length[0] < wanted * 8:
        return False
    memcpy(members, at[0], wanted * 8)
    at[0] += wanted * 8
    length[0] -= wanted * 8
    count[0] = wanted
    return True


cdef int replay_snapshot(
        Replay* replay, uint8_t flags, const char* payload, uint32_t length, bint after_base) noexcept nogil:
    cdef SnapshotPayload head
    cdef Snapshot snapshot
    cdef Vec[Entry]* entries = &replay.found.entries
    cdef size_t covered
    memset(&snapshot, 0, sizeof(snapshot))
    if length < sizeof(head):
        return STORAGE_CORRUPT
    memcpy(&head, payload, sizeof(head))
    payload += sizeof(head)
    length -= sizeof(head)
    snapshot.index = head.index
    snapshot.term = head.term
    snapshot.configuration.auto_leave = head.auto_leave != 0
    if not (
            take_members(&payload, &length, snapshot.configuration.voters, &snapshot.configuration.voters_count,
                         head.counts[0])
            and take_members(&payload, &length, snapshot.configuration.outgoing,
                             &snapshot.configuration.outgoing_count, head.counts[1])
            and take_members(&payload, &length, snapshot.configuration.learners,
                             &snapshot.configuration.learners_count, head.counts[2])
            and take_members(&payload, &length, snapshot.configuration.learners_next,
                             &snapshot.configuration.learners_next_count, head.counts[3])
            and length == 0):
        return STORAGE_CORRUPT
    if replay.found.has_snapshot and snapshot.index < replay.found.snapshot.index:
        if not after_base:
            return STORAGE_CORRUPT
        if flags & SNAPSHOT_VOIDS:
            start_behind_snapshot(replay)
        return 0
    replay.found.has_snapshot = True
    memcpy(&replay.found.snapshot, &snapshot, sizeof(snapshot))
    if flags & SNAPSHOT_VOIDS:
        drop_entries(entries, 0, entries.size)
        replay.base = snapshot.index
    elif not (flags & RECORD_IS_BASE) and snapshot.index > replay.base:
        covered = snapshot.index - replay.base
        if covered > entries.size or entries.data[covered - 1].term != snapshot.term:
            return STORAGE_CORRUPT
        drop_entries(entries, 0, covered)
        replay.base = snapshot.index
    return 0


cdef int replay_record(Recovery* recovery, const RecordHeader* record, const char* payload) noexcept nogil:
    cdef Replay* replay
    cdef HardStatePayload hard
    cdef uint64_t number
    if record.flags & RECORD_IS_BASE and not recovery.base_counts:
        return 0
    if record.kind == RECORD_OLDEST_NEEDED:
        if record.length != sizeof(number):
            return STORAGE_CORRUPT
        memcpy(&recovery.oldest_needed, payload, sizeof(number))
        return 0 if recovery.oldest_needed <= recovery.sequence else STORAGE_CORRUPT
    replay = replay_of(recovery, record.group)
    if replay == NULL:
        return STORAGE_MEMORY
    if record.kind == RECORD_ENTRY:
        return replay_entry(replay, record.entry_kind, payload, record.length, recovery.after_base)
    if record.kind == RECORD_SNAPSHOT:
        return replay_snapshot(replay, record.flags, payload, record.length, recovery.after_base)
    if record.kind == RECORD_HARD_STATE and record.length == sizeof(hard):
        memcpy(&hard, payload, sizeof(hard))
        replay.found.hard.term = hard.term
        replay.found.hard.vote = hard.vote
        replay.found.hard.commit = hard.commit
        replay.found.hard.promise_bound_ns = hard.promise_bound_ns
        return 0
    if record.kind == RECORD_LAST_INDEX and record.length == sizeof(number):
        memcpy(&replay.base, payload, sizeof(number))
        return 0
    return STORAGE_CORRUPT


cdef int replay_body(Recovery* recovery, uint64_t size, uint32_t count) noexcept nogil:
    """Every record of a batch whose checksum holds. 0 or a StorageCode."""
    cdef RecordHeader record
    cdef uint64_t at = 0
    cdef int result
    for _ in range(count):
        if size - at < sizeof(record):
            return STORAGE_CORRUPT
        memcpy(&record, recovery.body.data + at, sizeof(record))
        at += sizeof(record)
        if padded(record.length) > size - at:
            return STORAGE_CORRUPT
        result = replay_record(recovery, &record, recovery.body.data + at)
        if result != 0:
            return result
        at += padded(record.length)
    return 0 if at == size else STORAGE_CORRUPT


# ---- one segment ----

cdef bint scan_open(Wal* wal, Scan* scan, uint64_t sequence) noexcept nogil:
    """Open a segment and check its header."""
    cdef SegmentHeader header
    cdef size_t got = 0
    cdef int result
    memset(scan, 0, sizeof(Scan))
    segment_path(wal, sequence, scan.path)
    result = file_open(scan.path, OPEN_READ_ONLY if wal.read_only else OPEN_EXISTING, &scan.fd)
    if result != 0:
        scan.fd = -1
        wal_fail_errno(wal, result, 0, scan.path)
        return False
    result = file_size(scan.fd, &scan.size)
    if result == 0:
        result = file_read(scan.fd, &header, sizeof(header), 0, &got)
    if result != 0:
        wal_fail_errno(wal, result, 0, scan.path)
    elif (
            got < sizeof(header) or memcmp(header.magic, b"tenureWL", 8) != 0
            or header.checksum != file_header_checksum(&header, sizeof(header))):
        wal_fail(wal, STORAGE_CORRUPT, 0, 0, scan.path)
    elif header.version > FORMAT_VERSION:
        wal_fail(wal, STORAGE_NEWER_FORMAT, FORMAT_VERSION, header.version, scan.path)
    elif (
            memcmp(header.cluster_id, wal.directory.cluster_id, 16) != 0 or header.host_id != wal.directory.host_id
            or header.sequence != sequence):
        wal_fail(wal, STORAGE_FOREIGN, 0, 0, scan.path)
    elif header.capacity > MAX_SEGMENT_BYTES or header.oldest_needed > sequence:
        wal_fail(wal, STORAGE_CORRUPT, 0, 0, scan.path)
    scan.sequence = sequence
    scan.salt = header.salt
    scan.capacity = header.capacity
    scan.previous = header.checksum
    scan.at = sizeof(header)
    scan.synced = sizeof(header)
    wal.oldest_needed = header.oldest_needed
    return wal.error.code == 0


cdef bint scan_read(Wal* wal, Scan* scan, BatchHeader* header, Vec[char]* body, bint* found) noexcept nogil:
    cdef size_t got = 0
    cdef int result = file_read(scan.fd, header, sizeof(BatchHeader), scan.at, &got)
    found[0] = False
    if result != 0:
        wal_fail_errno(wal, result, scan.at, scan.path)
        return False
    if (
            got < sizeof(BatchHeader) or not batch_header_stands(header, scan.salt, scan.at)
            or header.previous != scan.previous or header.body_bytes > scan.size - scan.at - sizeof(BatchHeader)
            or header.body_bytes % 8 != 0 or (scan.number != 0 and header.number != scan.number)):
        return True
    if not body.reserve(header.body_bytes):
        wal_fail(wal, STORAGE_MEMORY, 0, scan.at, scan.path)
        return False
    body.size = header.body_bytes
    result = file_read(scan.fd, body.data, header.body_bytes, scan.at + sizeof(BatchHeader), &got)
    if result != 0:
        wal_fail_errno(wal, result, scan.at, scan.path)
        return False
    found[0] = got == header.body_bytes and crc32c(header.previous, body.data, header.body_bytes) == header.body_checksum
    return True


cdef void scan_step(Scan* scan, const BatchHeader* header) noexcept nogil:
    scan.synced = max(scan.synced, header.synced)
    scan.at += sizeof(BatchHeader) + header.body_bytes
    scan.previous = header.checksum
    scan.number = header.number + 1
    scan.batches += 1


cdef bint scan_batch(Wal* wal, Scan* scan, Recovery* recovery, uint32_t* flags, bint* found) noexcept nogil:
    """Read the batch at `at`, if a valid one stands there, and replay it. False with the error filled in."""
    cdef BatchHeader header
    cdef int result
    if not scan_read(wal, scan, &header, &recovery.body, found):
        return False
    if not found[0]:
        return True
    recovery.after_base = recovery.base_counts and scan.batches == 0
    result = replay_body(recovery, header.body_bytes, header.record_count)
    if result != 0:
        wal_fail(wal, result, 0, scan.at, scan.path)
        return False
    flags[0] = header.flags
    scan_step(scan, &header)
    return True


cdef bint scan_rest(Wal* wal, Scan* scan) noexcept nogil:
    """Look behind the end: what the headers there say was durable, and how far anything but zeros reaches."""
    cdef char* chunk
    cdef uint64_t at = scan.at, i
    cdef size_t got = 0, fresh, room = <size_t> min(<uint64_t> CHUNK_BYTES, scan.size - scan.at)
    cdef const BatchHeader* header
    cdef BatchHeader copy
    cdef int result = 0
    if scan.at >= scan.size:
        return True
    chunk = <char*> malloc(room + sizeof(BatchHeader))
    if chunk == NULL:
        wal_fail(wal, STORAGE_MEMORY, 0, scan.at, scan.path)
        return False
    while at < scan.size:
        # each chunk reaches one header beyond what it is searched for
        result = file_read(scan.fd, chunk, room + sizeof(BatchHeader), at, &got)
        if result != 0 or got == 0:
            break
        fresh = min(room, got)
        i = fresh
        while i > 0 and chunk[i - 1] == 0:
            i -= 1
        if i > 0:
            scan.dirty = True
            scan.dirty_end = at + i
        # batches stand at multiples of 8
        i = 0
        while i < fresh and i + sizeof(BatchHeader) <= got:
            header = <const BatchHeader*> (chunk + i)
            if header.magic == BATCH_MAGIC:
                memcpy(&copy, header, sizeof(copy))
                if batch_header_stands(&copy, scan.salt, at + i):
                    scan.synced = max(scan.synced, copy.synced)
            i += 8
        at += fresh
    free(chunk)
    if result != 0:
        wal_fail_errno(wal, result, at, scan.path)
    elif scan.synced > scan.at:
        wal_fail(wal, STORAGE_CORRUPT, 0, scan.at, scan.path)
    return wal.error.code == 0


cdef bint scan_segment(Wal* wal, Scan* scan, Recovery* recovery) noexcept nogil:
    cdef uint32_t flags = 0
    cdef bint found = True
    while True:
        if not scan_batch(wal, scan, recovery, &flags, &found):
            return False
        if not found:
            break
        if flags & BATCH_CLOSES:
            scan.closed = True
            return True
    if scan.batches == 0:
        wal_fail(wal, STORAGE_CORRUPT, 0, scan.at, scan.path)   # a segment is visible only with its first batch
        return False
    return scan_rest(wal, scan)


# ---- repairs, once all is found whole ----

cdef bint cut_tail(Wal* wal, const Scan* scan) noexcept nogil:
    """Overwrite what stands behind the end, and write what was not known to be durable once more; then sync."""
    cdef uint64_t longest = max(scan.at - min(scan.synced, scan.at), scan.dirty_end - scan.at if scan.dirty else 0)
    cdef size_t room = <size_t> min(<uint64_t> CHUNK_BYTES, max(longest, <uint64_t> 1))
    cdef char* chunk = <char*> malloc(room)
    cdef uint64_t at
    cdef size_t part, got = 0
    cdef int result = 0
    if chunk == NULL:
        wal_fail(wal, STORAGE_MEMORY, 0, scan.at, scan.path)
        return False
    at = scan.synced
    while result == 0 and at < scan.at:
        part = <size_t> min(<uint64_t> room, scan.at - at)
        result = file_read(scan.fd, chunk, part, at, &got)
        if result == 0:
            result = file_write(scan.fd, chunk, got, at)
        at += part
    memset(chunk, 0, room)
    at = scan.at
    while result == 0 and scan.dirty and at < scan.dirty_end:
        part = <size_t> min(<uint64_t> room, scan.dirty_end - at)
        result = file_write(scan.fd, chunk, part, at)
        at += part
    free(chunk)
    if result == 0 and wal.sync:
        result = file_sync(scan.fd)
        wal.syncs += 1
    if result != 0:
        wal_fail_errno(wal, result, at, scan.path)
    return result == 0


cdef void adopt(Wal* wal, const Scan* scan) noexcept nogil:
    """Make the scanned segment the current one."""
    wal.fd = scan.fd
    memcpy(wal.path, scan.path, sizeof(wal.path))
    wal.sequence = scan.sequence
    wal.salt = scan.salt
    wal.capacity = min(scan.capacity, max(scan.size, scan.at))
    wal.tail = wal.zeroed = scan.at
    wal.synced = scan.at if wal.sync else scan.synced
    wal.number = scan.number
    wal.previous = scan.previous


cdef bint finish_turning_over(Wal* wal, Scan* unclosed, const Scan* last) noexcept nogil:
    """A crash came between the new segment and the closing batch of the old one."""
    cdef int result
    if not cut_tail(wal, unclosed):
        return False
    adopt(wal, unclosed)
    result = segment_close(wal)
    wal.fd = -1
    if result != 0:
        wal_fail_errno(wal, result, unclosed.at, unclosed.path)
    return result == 0


cdef bint delete_leftovers(Wal* wal, const Vec[uint64_t]* sequences) noexcept nogil:
    cdef char path[PATH_BYTES]
    cdef size_t i
    cdef int result
    path_join(path, wal.directory.path, b"wal.new")
    result = file_unlink(path)
    for i in range(sequences.size):
        if result == 0 and sequences.data[i] < wal.oldest_needed:
            segment_path(wal, sequences.data[i], path)
            result = file_unlink(path)
    if result == 0 and wal.sync:
        # also makes the name of the last segment durable, if the crash came before that
        result = directory_sync(wal.directory.path)
        wal.syncs += 1
    if result == 0:
        result = directory_mark_log(wal.directory)
    if result != 0:
        wal_fail_errno(wal, result, 0, path)
    return result == 0


# ---- the whole ----

cdef bint note_uses(Wal* wal, uint64_t sequence, Recovery* recovery) noexcept nogil:
    """Remember where each group's entries ended when this segment was closed."""
    cdef ClosedSegment closed
    cdef SegmentUse use
    cdef Replay* replay
    cdef size_t i
    cdef bint kept = True
    memset(&closed, 0, sizeof(closed))
    closed.sequence = sequence
    for i in range(recovery.groups.size):
        replay = &recovery.groups.data[i]
        use.group = replay.found.group
        use.highest_index = replay.base + replay.found.entries.size
        kept = kept and closed.uses.push(use)
    if kept and wal.closed.push(closed):
        return True
    closed.uses.release()
    wal_fail(wal, STORAGE_MEMORY, 0, 0, wal.directory.path)
    return False


cdef bint hand_over(Wal* wal, Recovery* recovery) noexcept nogil:
    """Check that no group misses anything, and build from the replay what the caller and the writer need."""
    cdef Replay* replay
    cdef RecoveredGroup* found
    cdef GroupLog* log
    cdef size_t i, k
    cdef bint voids = False
    cdef bint kept = True
    for i in range(recovery.groups.size):
        replay = &recovery.groups.data[i]
        if replay.base != (replay.found.snapshot.index if replay.found.has_snapshot else 0):
            wal_fail(wal, STORAGE_BAD_DIRECTORY, 0, 0, wal.directory.path)
            return False
    if not wal.recovered.reserve(recovery.groups.size):
        wal_fail(wal, STORAGE_MEMORY, 0, 0, wal.directory.path)
        return False
    for i in range(recovery.groups.size):
        found = &recovery.groups.data[i].found
        log = groups_find(&wal.groups, found.group, True)
        if log == NULL:
            kept = False
            break
        memcpy(&log.hard, &found.hard, sizeof(found.hard))
        log.has_hard = True
        log.durable_commit = found.hard.commit
        if found.has_snapshot:
            kept = kept and group_snapshot(log, &found.snapshot, &voids)
        for k in range(found.entries.size):
            kept = kept and group_append(log, &found.entries.data[k])
        if not kept:
            break
    if not kept:
        wal_fail(wal, STORAGE_MEMORY, 0, 0, wal.directory.path)
        return False
    for i in range(recovery.groups.size):
        wal.recovered.push(recovery.groups.data[i].found)       # there is room
    recovery.groups.clear()     # the entries have a new owner
    return True


cdef bint read_segments(
        Wal* wal, const Vec[uint64_t]* sequences, size_t first, Scan* unclosed, Scan* last, Recovery* recovery
) noexcept nogil:
    cdef size_t i
    cdef uint64_t number = 0
    for i in range(first, sequences.size):
        if not scan_open(wal, last, sequences.data[i]):
            return False
        recovery.base_counts = i == first
        recovery.sequence = sequences.data[i]
        if i == first:
            recovery.oldest_needed = wal.oldest_needed
        last.number = number
        if not scan_segment(wal, last, recovery):
            return False
        if unclosed.fd >= 0 and last.batches > 1:
            wal_fail(wal, STORAGE_CORRUPT, 0, unclosed.at, unclosed.path)
            return False
        if i + 1 == sequences.size:
            break
        if not note_uses(wal, last.sequence, recovery):
            return False
        number = last.number
        if last.closed:
            file_close(last.fd)
        elif i + 2 == sequences.size:
            number += 1         # the closing batch is still to be written
            memcpy(unclosed, last, sizeof(Scan))
        else:
            wal_fail(wal, STORAGE_CORRUPT, 0, last.at, last.path)
            return False
        last.fd = -1
    if last.closed or sequences.data[first] > recovery.oldest_needed:
        wal_fail(wal, STORAGE_BAD_DIRECTORY, 0, 0, wal.directory.path)      # the newest, or the oldest, are gone
    return wal.error.code == 0


cdef void forget_segments(Wal* wal, Scan* unclosed, Scan* last, Recovery* recovery) noexcept nogil:
    cdef size_t i
    for i in range(recovery.groups.size):
        entries_release(&recovery.groups.data[i].found.entries)
    recovery.groups.clear()
    for i in range(wal.closed.size):
        wal.closed.data[i].uses.release()
    wal.closed.clear()
    close_scan(unclosed)
    close_scan(last)


cdef void close_scan(Scan* scan) noexcept nogil:
    if scan.fd >= 0:
        file_close(scan.fd)
    scan.fd = -1


cdef bint read_needed_segments(
        Wal* wal, const Vec[uint64_t]* sequences, size_t first, Scan* unclosed, Scan* last, Recovery* recovery
) noexcept nogil:
    """As the next start will read them: what a crash left of a deletion goes away, and must not be what anything rests on."""
    cdef size_t needed = first
    if not read_segments(wal, sequences, first, unclosed, last, recovery):
        return False
    while sequences.data[needed] < recovery.oldest_needed:  # <= last.sequence, as every segment says of itself
        needed += 1
    if needed == first:
        return True
    forget_segments(wal, unclosed, last, recovery)
    return read_segments(wal, sequences, needed, unclosed, last, recovery)


cdef bint repair(Wal* wal, const Vec[uint64_t]* sequences, Scan* unclosed, Scan* last) noexcept nogil:
    if unclosed.fd >= 0 and not finish_turning_over(wal, unclosed, last):
        return False
    # a file cut short gets its blocks back where there are any; without them the next batch begins a new segment
    if last.size < last.capacity and file_preallocate(last.fd, last.capacity) == 0:
        last.size = last.capacity
    if not cut_tail(wal, last):
        return False
    if last.dirty:
        wal.torn_offset = last.at
    while wal.closed.size and wal.closed.data[0].sequence < wal.oldest_needed:
        wal.closed.data[0].uses.release()
        wal.closed.remove(0)
    if not delete_leftovers(wal, sequences):
        return False
    adopt(wal, last)
    last.fd = -1
    return True


cdef bint recovery_run(Wal* wal, const Vec[uint64_t]* sequences) noexcept nogil:
    cdef Recovery recovery
    cdef Scan unclosed
    cdef Scan last
    cdef size_t first = sequences.size - 1, i
    cdef bint done
    memset(&recovery, 0, sizeof(recovery))
    unclosed.fd = last.fd = -1
    # what is not in one run with the newest must be leftovers of a deletion: that is checked by `oldest_needed`
    while first > 0 and sequences.data[first - 1] + 1 == sequences.data[first]:
        first -= 1
    done = read_needed_segments(wal, sequences, first, &unclosed, &last, &recovery) and hand_over(wal, &recovery)
    wal.oldest_needed = recovery.oldest_needed
    if done and wal.read_only:
        wal.sequence = last.sequence
        wal.torn_offset = last.at if last.dirty else 0
    elif done:
        done = repair(wal, sequences, &unclosed, &last)
    close_scan(&unclosed)
    close_scan(&last)
    for i in range(recovery.groups.size):
        entries_release(&recovery.groups.data[i].found.entries)
    recovery.groups.release()
    recovery.body.release()
    return done
