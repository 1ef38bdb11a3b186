"""Targets: a log that is read back.

`log`      the files themselves, as an archive (`tests/fuzz/archive.py` writes one). Recovery refuses them, says what and
           where and has changed nothing; or it accepts them, and then a second recovery finds the same and the log goes on.
`history`  what a host writes, and then what happens to its files. The bytes are a program: how many damages and which, then
           hard states, entries, snapshots and flushes. A model remembers every state that a flush made durable. Without
           damage recovery finds the last one; when only the last write is torn, the last one or the one before; whatever
           else was done to the files, one of them, never a mixture, or it refuses as above.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy, memmove, memset

from tenure._core.blob cimport Blob, blob_new, blob_release
from tenure._core.crc32c cimport crc32c
from tenure._core.vec cimport Vec
from tenure._fuzz.kit cimport DIGEST_START, Cursor, left, next_random, take8, take16, take32
from tenure._fuzz.memory_files cimport (
    FILE_LIMIT_BYTES, MemoryFile, MemoryFolder, MemoryWrite, memory_begin, memory_copy, memory_count, memory_enter,
    memory_leave, memory_nth, memory_put, memory_release,
)
from tenure._fuzz.recovered cimport (
    SEGMENT_BYTES, digest_group, digest_recovered, directory_in_memory, judge_going_on, judge_refusal,
)
from tenure._raft.types cimport Entry, HardState, Snapshot, entries_push, entries_release
from tenure._storage.directory cimport Directory
from tenure._storage.error cimport STORAGE_OK, StorageError
from tenure._storage.format cimport BATCH_MAGIC, BatchHeader, SegmentHeader, batch_header_checksum, file_header_checksum
from tenure._storage.wal cimport Wal, wal_add, wal_add_snapshot, wal_close, wal_flush, wal_open

cdef enum:
    MAX_FILES = 8
    MAX_FILE_BYTES = 1 << 17
    ARCHIVE_HEAD_BYTES = 11     # kind 1, sequence 2, size 4, stored 4
    GROUPS = 3
    IMAGES = 4                  # of the folder, that damage may bring back
    MAX_DAMAGES = 3
    MAX_STEPS = 200


# ---- the files themselves

cdef void file_name(char* into, size_t size, uint8_t kind, uint16_t sequence) noexcept nogil:
    if kind & 1:
        snprintf(into, size, b"wal.new")
    else:
        snprintf(into, size, b"wal-%016llx.log", <unsigned long long> sequence)


cdef bint fill_folder(MemoryFolder* folder, const char* data, size_t size) noexcept nogil:
    cdef Cursor cursor
    cdef char name[32]
    cdef uint8_t kind
    cdef uint16_t sequence
    cdef uint32_t file_bytes, stored
    cursor.at = data
    cursor.end = data + size
    while left(&cursor) >= ARCHIVE_HEAD_BYTES and folder.files.size < MAX_FILES:
        kind = take8(&cursor)
        sequence = take16(&cursor)
        file_bytes = min(take32(&cursor), <uint32_t> MAX_FILE_BYTES)
        stored = take32(&cursor)
        stored = <uint32_t> min(<size_t> stored, left(&cursor))
        file_name(name, sizeof(name), kind, sequence)
        if memory_put(folder, name, cursor.at, min(stored, <uint32_t> MAX_FILE_BYTES), file_bytes) == NULL:
            return False
        cursor.at += stored
    return True


cdef const char* fuzz_log(const char* data, size_t size, uint64_t* accepted) noexcept nogil:
    cdef MemoryFolder folder
    cdef Directory directory
    cdef StorageError error
    cdef Wal* wal
    cdef const char* verdict = NULL
    cdef uint64_t digest
    cdef size_t i
    memory_begin(&folder)
    directory_in_memory(&directory, True)
    if fill_folder(&folder, data, size):
        memory_enter(&folder)
        wal = wal_open(&directory, SEGMENT_BYTES, True, &error)
        if wal == NULL:
            verdict = judge_refusal(&folder, 0, &error)
        else:
            for i in range(wal.recovered.size):
                accepted[0] += 1 + wal.recovered.data[i].entries.size
            digest = digest_recovered(wal)
            wal_close(wal)
            verdict = judge_going_on(&folder, &directory, digest)
        memory_leave()
    memory_release(&folder)
    return verdict


cdef void reseal_segment(
        char* segment, size_t size, uint32_t* random, uint64_t* number) noexcept nogil:
    """Makes headers, chain and checksums of one segment right, batch by batch, and leaves a little of it wrong now and then."""
    cdef SegmentHeader header
    cdef BatchHeader batch
    cdef size_t at = sizeof(SegmentHeader), body
    cdef uint32_t previous
    if size < sizeof(SegmentHeader):
        return
    memcpy(&header, segment, sizeof(header))
    if next_random(random) % 16 != 0:
        header.checksum = file_header_checksum(&header, sizeof(header))
    memcpy(segment, &header, sizeof(header))
    previous = header.checksum
    while size - at >= sizeof(BatchHeader):
        memcpy(&batch, segment + at, sizeof(batch))
        if batch.magic != BATCH_MAGIC and next_random(random) % 8 != 0:
            break
        batch.magic = BATCH_MAGIC
        body = <size_t> min(batch.body_bytes & ~<uint64_t> 7, <uint64_t> (size - at - sizeof(batch)) & ~<uint64_t> 7)
        batch.body_bytes = body
        batch.salt = header.salt
        batch.offset = at
        if number[0] != 0:
            batch.number = number[0]
        batch.previous = previous
        if next_random(random) % 32 != 0:
            batch.body_checksum = crc32c(previous, segment + at + sizeof(batch), body)
        if next_random(random) % 32 != 0:
            batch.checksum = batch_header_checksum(&batch)
        memcpy(segment + at, &batch, sizeof(batch))
        previous = batch.checksum
        number[0] = batch.number + 1
        at += sizeof(batch) + body


cdef size_t reseal_log(char* data, size_t size, size_t limit, uint32_t seed) noexcept nogil:
    cdef Cursor cursor
    cdef uint32_t stored, fitting
    cdef uint64_t number = 0
    cursor.at = data
    cursor.end = data + size
    while left(&cursor) >= ARCHIVE_HEAD_BYTES:
        take8(&cursor)
        take16(&cursor)
        take32(&cursor)
        stored = take32(&cursor)
        fitting = <uint32_t> min(<size_t> stored, left(&cursor))
        memcpy(<char*> cursor.at - 4, &fitting, 4)
        reseal_segment(<char*> cursor.at, fitting, &seed, &number)
        cursor.at += fitting
    return size


# ---- a history, and what happens to its files

cdef struct ModelGroup:
    HardState hard
    bint has_snapshot
    Snapshot snapshot
    Vec[Entry] entries          # right behind the snapshot

cdef struct History:
    MemoryFolder folder
    MemoryFolder images[IMAGES] # the folder after the latest flushes, newest at `newest`
    int newest
    bint keeps_images
    ModelGroup groups[GROUPS]
    Vec[uint64_t] states        # the digest after every flush that wrote, the empty one first
    bint enough                 # memory


cdef uint64_t base_of(const ModelGroup* group) noexcept nogil:
    return group.snapshot.index if group.has_snapshot else 0


cdef uint64_t last_of(const ModelGroup* group) noexcept nogil:
    return base_of(group) + group.entries.size


cdef uint64_t term_of(const ModelGroup* group, uint64_t index) noexcept nogil:
    """0 where the group does not know it."""
    cdef uint64_t base = base_of(group)
    if base < index <= last_of(group):
        return group.entries.data[index - base - 1].term
    return 0


cdef void drop(ModelGroup* group, size_t first, size_t count) noexcept nogil:
    cdef size_t i
    for i in range(first, first + count):
        blob_release(group.entries.data[i].data)
    if count:
        group.entries.remove(first, count)


cdef uint64_t model_digest(const History* h) noexcept nogil:
    cdef uint64_t digest = DIGEST_START
    cdef const ModelGroup* group
    cdef int i
    for i in range(GROUPS):
        group = &h.groups[i]
        digest = digest_group(
            digest, <uint32_t> i, &group.hard, &group.snapshot if group.has_snapshot else NULL, group.entries.data,
            group.entries.size)
    return digest


cdef Blob* payload_of(uint8_t fill, uint32_t size) noexcept nogil:
    cdef Blob* blob
    cdef uint32_t i
    if size == 0:
        return NULL
    blob = blob_new(NULL, size)
    if blob != NULL:
        for i in range(size):
            blob.bytes()[i] = <char> (fill + (i >> 4))
    return blob


cdef const char* write_entries(History* h, Wal* wal, uint32_t at, Cursor* cursor) noexcept nogil:
    """A few entries, behind the last one or over some of them."""
    cdef ModelGroup* group = &h.groups[at]
    cdef Vec[Entry] added
    cdef Entry entry
    cdef uint8_t shape = take8(cursor), step = take8(cursor)
    cdef uint32_t count = 1 + (shape & 3), i, size
    cdef uint64_t back = (shape >> 2) & 7
    cdef uint64_t first = last_of(group) + 1 - min(back, <uint64_t> group.entries.size)
    cdef const char* verdict = NULL
    memset(&added, 0, sizeof(added))
    memset(&entry, 0, sizeof(entry))
    entry.term = max(term_of(group, first - 1), group.snapshot.term if group.has_snapshot else <uint64_t> 1) + (step & 3)
    entry.kind = 1 if step & 0x80 else 0
    size = (step >> 2) & 0x1F
    size = size * size * 3 if shape & 0x80 else size
    for i in range(count):
        entry.index = first + i
        entry.data = payload_of(step, size)
        if (size and entry.data == NULL) or not added.push(entry):
            blob_release(entry.data)
            h.enough = False
            break
    if h.enough and wal_add(wal, at, NULL, added.data, added.size) != STORAGE_OK:
        verdict = b"a log refuses entries that follow it"
    drop(group, <size_t> (first - base_of(group) - 1), <size_t> (last_of(group) + 1 - first))
    for i in range(<uint32_t> added.size):
        h.enough = h.enough and entries_push(&group.entries, &added.data[i])
    entries_release(&added)
    return verdict


cdef const char* write_snapshot(History* h, Wal* wal, uint32_t at, Cursor* cursor) noexcept nogil:
    """Of what the log has, or of another history that goes further; now and then an old one, which counts for nothing."""
    cdef ModelGroup* group = &h.groups[at]
    cdef Snapshot snapshot
    cdef uint8_t shape = take8(cursor)
    cdef uint64_t base = base_of(group)
    cdef size_t covered
    cdef int32_t i
    memset(&snapshot, 0, sizeof(snapshot))
    snapshot.index = max(base + (shape & 15), <uint64_t> 1)
    if shape & 0x40 and snapshot.index > 1:
        snapshot.index -= 1     # perhaps below the one that stands
    if group.has_snapshot and snapshot.index == base:
        snapshot.term = group.snapshot.term
    elif shape & 0x80 or term_of(group, snapshot.index) == 0:
        snapshot.term = term_of(group, last_of(group)) + (group.snapshot.term if group.has_snapshot else 0) + 1
    else:
        snapshot.term = term_of(group, snapshot.index)
    snapshot.configuration.voters_count = 1 + (shape >> 4 & 3)
    for i in range(snapshot.configuration.voters_count):
        snapshot.configuration.voters[i] = i + 1
    snapshot.configuration.learners_count = 1
    snapshot.configuration.learners[0] = 9
    snapshot.configuration.auto_leave = shape & 1
    if wal_add_snapshot(wal, at, &snapshot) != STORAGE_OK:
        return b"a log refuses a snapshot"
    if snapshot.index < base:
        return NULL
    if snapshot.index > base and term_of(group, snapshot.index) != snapshot.term:
        covered = group.entries.size
    else:
        covered = <size_t> (snapshot.index - base)
    drop(group, 0, covered)
    group.has_snapshot = True
    memcpy(&group.snapshot, &snapshot, sizeof(snapshot))
    return NULL


cdef void keep_image(History* h) noexcept nogil:
    if h.keeps_images:
        h.newest = (h.newest + 1) % IMAGES
        memory_release(&h.images[h.newest])
        memory_begin(&h.images[h.newest])
        h.enough = h.enough and memory_copy(&h.images[h.newest], &h.folder)


cdef const char* flush(History* h, Wal* wal) noexcept nogil:
    cdef uint64_t before = h.folder.changes
    if wal_flush(wal) != STORAGE_OK:
        return b"a log on a disk without faults fails"
    if h.folder.changes != before:
        h.enough = h.enough and h.states.push(model_digest(h))
        keep_image(h)
    return NULL


cdef const char* write_history(History* h, Directory* directory, Cursor* cursor, uint64_t* accepted) noexcept nogil:
    cdef StorageError error
    cdef HardState hard
    cdef const char* verdict = NULL
    cdef uint8_t step
    cdef uint32_t at
    cdef int steps = 0
    cdef Wal* wal = wal_open(directory, SEGMENT_BYTES, True, &error)
    if wal == NULL:
        return b"a new log cannot be begun"
    keep_image(h)
    while verdict == NULL and h.enough and left(cursor) and steps < MAX_STEPS:
        step = take8(cursor)
        at = (step >> 4) % GROUPS
        steps += 1
        accepted[0] += 1
        if step & 15 < 4:
            hard.term = take8(cursor)
            hard.vote = step & 3
            hard.commit = take8(cursor)
            hard.promise_bound_ns = <int64_t> hard.term * hard.commit
            memcpy(&h.groups[at].hard, &hard, sizeof(hard))
            if wal_add(wal, at, &hard, NULL, 0) != STORAGE_OK:
                verdict = b"a log refuses a hard state"
        elif step & 15 < 10:
            verdict = write_entries(h, wal, at, cursor)
        elif step & 15 < 12:
            verdict = write_snapshot(h, wal, at, cursor)
        else:
            verdict = flush(h, wal)
        if verdict == NULL and wal.batch.size > FILE_LIMIT_BYTES // 4:
            verdict = flush(h, wal)     # before it is larger than a file may be
    if verdict == NULL and h.enough:
        verdict = flush(h, wal)
    wal_close(wal)
    return verdict


cdef uint64_t scaled(uint16_t value, uint64_t size) noexcept nogil:
    return value % size if size else 0


cdef uint64_t content_bytes(const MemoryFile* file) noexcept nogil:
    """Up to the last byte that is not zero."""
    cdef uint64_t size = file.bytes.size
    while size and file.bytes.data[size - 1] == 0:
        size -= 1
    return size


cdef void tear(History* h, uint8_t sectors) noexcept nogil:
    """Undo some of the 512-byte sectors of the last write, as a loss of power may; bit 7 undoes all from the first on."""
    cdef MemoryWrite* last = &h.folder.last
    cdef MemoryFile* file
    cdef uint64_t at, part, sector = 0
    if last.file < 0:
        return
    file = &h.folder.files.data[last.file]
    at = last.offset
    while at < last.offset + last.size:
        part = min(512 - at % 512, last.offset + last.size - at)
        if (sectors >> (sector % 7)) & 1 or (sectors & 0x80 and sector >= (sectors & 7)):
            memset(file.bytes.data + at, 0, part)
            if at - last.offset < last.before.size:
                memcpy(
                    file.bytes.data + at, last.before.data + (at - last.offset),
                    min(part, last.before.size - (at - last.offset)))
        at += part
        sector += 1


cdef void damage(History* h, Cursor* cursor, bint* torn_only) noexcept nogil:
    """One thing that happens to the files. Six bytes say which."""
    cdef uint8_t kind = take8(cursor), which = take8(cursor)
    cdef uint16_t where = take16(cursor), value = take16(cursor)
    cdef size_t count = memory_count(&h.folder)
    cdef MemoryFile* file
    cdef MemoryFile* other
    cdef MemoryFolder* image
    cdef uint64_t at, size
    if kind % 8 >= 6:
        # what was done after the write was done because it was durable: then this is no loss of power
        torn_only[0] = torn_only[0] and h.folder.last.change == h.folder.changes
        tear(h, <uint8_t> value)
        return
    torn_only[0] = False
    if count == 0:
        return
    file = memory_nth(&h.folder, which % count)
    size = content_bytes(file)
    at = scaled(where, size)
    if kind % 8 == 0 and size:
        file.bytes.data[at] = file.bytes.data[at] ^ <char> (<uint8_t> value if <uint8_t> value else 1)
    elif kind % 8 == 1 and size:
        memset(file.bytes.data + at, 0, min(size - at, <uint64_t> 1 + value % 4096))
    elif kind % 8 == 2:
        file.bytes.size = <size_t> at
    elif kind % 8 == 3:
        file.name[0] = 0
    elif kind % 8 == 4:
        # one file as it was some flushes ago
        image = &h.images[(h.newest + IMAGES - value % IMAGES) % IMAGES]
        if memory_count(image):
            other = memory_nth(image, which % memory_count(image))
            h.enough = h.enough and memory_put(&h.folder, other.name, other.bytes.data, other.bytes.size, 0) != NULL
    elif kind % 8 == 5:
        # a piece of one file in another place, or in another file
        other = memory_nth(&h.folder, value % count)
        if size and content_bytes(other):
            size = min(size - at, content_bytes(other) - scaled(value, content_bytes(other)))
            memmove(other.bytes.data + scaled(value, content_bytes(other)), file.bytes.data + at, size)


cdef const char* judge_history(History* h, Directory* directory, bint untouched, bint torn_only) noexcept nogil:
    cdef StorageError error
    cdef uint64_t changes = h.folder.changes, digest
    cdef size_t i, last = h.states.size - 1
    cdef bint known = False
    cdef Wal* wal = wal_open(directory, SEGMENT_BYTES, True, &error)
    if wal == NULL:
        if h.folder.failed:
            return NULL
        if torn_only:
            return b"a torn tail, or nothing at all, was taken for damage"
        return judge_refusal(&h.folder, changes, &error)
    digest = digest_recovered(wal)
    wal_close(wal)
    if untouched:
        known = digest == h.states.data[last]
    elif torn_only:
        known = digest == h.states.data[last] or (last > 0 and digest == h.states.data[last - 1])
    else:
        for i in range(h.states.size):
            known = known or digest == h.states.data[i]
    if not known:
        return b"recovery found a state that was never made durable"
    return judge_going_on(&h.folder, directory, digest)


cdef void release(History* h) noexcept nogil:
    cdef int i
    memory_release(&h.folder)
    for i in range(IMAGES):
        memory_release(&h.images[i])
    for i in range(GROUPS):
        entries_release(&h.groups[i].entries)
    h.states.release()


cdef const char* fuzz_history(const char* data, size_t size, uint64_t* accepted) noexcept nogil:
    cdef History h
    cdef Directory directory
    cdef Cursor cursor, damages
    cdef const char* verdict
    cdef int count, i, _i
    cdef bint torn_only = True
    memset(&h, 0, sizeof(h))
    memory_begin(&h.folder)
    for i in range(IMAGES):
        memory_begin(&h.images[i])
    directory_in_memory(&directory, False)
    cursor.at = data
    cursor.end = data + size
    count = take8(&cursor) % (MAX_DAMAGES + 1)
    damages.at = cursor.at
    damages.end = cursor.at + min(left(&cursor), <size_t> (6 * count))
    cursor.at = damages.end
    for i in range(<int> left(&damages) // 6):
        h.keeps_images = h.keeps_images or <uint8_t> damages.at[6 * i] % 8 == 4
    h.enough = h.states.push(model_digest(&h))
    memory_enter(&h.folder)
    verdict = write_history(&h, &directory, &cursor, accepted)
    if h.enough and verdict == NULL:
        for _i in range(count):
            damage(&h, &damages, &torn_only)
        if h.enough:
            verdict = judge_history(&h, &directory, count == 0, torn_only)
    memory_leave()
    release(&h)
    return verdict
