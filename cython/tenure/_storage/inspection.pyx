"""Looking at a host's directory without changing anything: for tools.

A `LogReader` reads what a start would read, by the same functions, and stops where a start would refuse; it takes no lock,
writes nothing, and opens every file for reading only. A directory that a process has locked is refused: what it is writing
would look torn. One thread at a time; owns the open segment.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc
from libc.string cimport memcpy

from tenure._core.vec cimport Vec
from tenure._storage.directory cimport Directory, directory_close, directory_look
from tenure._storage.error cimport (
    STORAGE_BAD_DIRECTORY, STORAGE_CORRUPT, StorageError, storage_error_set, storage_exception,
)
from tenure._storage.file_seam cimport file_close
from tenure._storage.format cimport (
    BATCH_CLOSES, RECORD_ENTRY, RECORD_HARD_STATE, RECORD_IS_BASE, RECORD_LAST_INDEX, RECORD_OLDEST_NEEDED,
    RECORD_SNAPSHOT, BatchHeader, EntryPayload, HardStatePayload, RecordHeader, SnapshotPayload, padded,
)
from tenure._storage.recovery cimport Scan, recovery_list, recovery_run, scan_open, scan_read, scan_rest, scan_step
from tenure._storage.segment cimport wal_fail
from tenure._storage.wal cimport (
    Wal, recovered_group, wal_close, wal_recovered, wal_recovered_count, wal_torn_offset,
)

import os

from tenure._storage import records
from tenure.errors import InvalidArgument

WHAT = {
    RECORD_HARD_STATE: "hard_state", RECORD_ENTRY: "entry", RECORD_SNAPSHOT: "snapshot", RECORD_LAST_INDEX: "last_index",
    RECORD_OLDEST_NEEDED: "oldest_needed",
}


cdef tuple ids(const char* at, size_t count):
    cdef uint64_t member
    found = []
    for _ in range(count):
        memcpy(&member, at, 8)
        found.append(member)
        at += 8
    return tuple(found)


cdef object snapshot_value(const char* at, uint32_t size):
    cdef SnapshotPayload head
    cdef int i
    memcpy(&head, at, sizeof(head))
    members = []
    at += sizeof(head)
    size -= sizeof(head)
    for i in range(4):
        if size < 8 * <uint32_t> head.counts[i]:
            return None
        members.append(ids(at, head.counts[i]))
        at += 8 * head.counts[i]
        size -= 8 * head.counts[i]
    return records.Snapshot(head.index, head.term, *members, bool(head.auto_leave)) if size == 0 else None


cdef object value_of(const RecordHeader* record, const char* at, bint with_data):
    """What the payload of a record says; None where it is malformed."""
    cdef EntryPayload entry
    cdef HardStatePayload hard
    cdef uint64_t number
    if record.kind == RECORD_ENTRY and record.length >= sizeof(entry):
        memcpy(&entry, at, sizeof(entry))
        data = at[sizeof(entry):record.length] if with_data else b""
        return records.Entry(entry.term, entry.index, data, record.entry_kind)
    if record.kind == RECORD_HARD_STATE and record.length == sizeof(hard):
        memcpy(&hard, at, sizeof(hard))
        return records.HardState(hard.term, hard.vote, hard.commit, hard.promise_bound_ns)
    if record.kind == RECORD_SNAPSHOT and record.length >= sizeof(SnapshotPayload):
        return snapshot_value(at, record.length)
    if (record.kind == RECORD_LAST_INDEX or record.kind == RECORD_OLDEST_NEEDED) and record.length == sizeof(number):
        memcpy(&number, at, sizeof(number))
        return number
    return None


cdef list records_of(const Vec[char]* body, uint32_t count, bint with_data):
    """The records of a batch whose checksum holds; None where they do not fill it."""
    cdef RecordHeader header
    cdef uint64_t at = 0
    found = []
    for _ in range(count):
        if body.size - at < sizeof(header):
            return None
        memcpy(&header, body.data + at, sizeof(header))
        at += sizeof(header)
        if padded(header.length) > body.size - at:
            return None
        value = value_of(&header, body.data + at, with_data)
        if value is None:
            return None
        at += padded(header.length)
        found.append(records.Record(
            WHAT[header.kind], header.group, bool(header.flags & RECORD_IS_BASE), value,
            header.length - sizeof(EntryPayload) if header.kind == RECORD_ENTRY else 0))
    return found if at == body.size else None


@cython.final
cdef class LogReader:
    """The directory of a host that is not running.

    Raises what `tenure.errors` has below `StorageError`: `CorruptLog` with path and offset where a start would refuse.
    """

    cdef Directory* directory
    cdef Wal* wal
    cdef Vec[uint64_t] sequences
    cdef Scan scan
    cdef Vec[char] body
    cdef readonly str path
    cdef bint at_end

    def __cinit__(self, path):
        cdef StorageError error
        cdef bytes name = os.fsencode(path)
        cdef const char* c_path = name
        self.path = os.fsdecode(name)
        self.scan.fd = -1
        with nogil:
            self.directory = directory_look(c_path, &error)
        if self.directory == NULL:
            raise storage_exception(&error)
        self.renew()
        with nogil:
            recovery_list(self.wal, &self.sequences)
        self.check()

    def __dealloc__(self):
        self.close_segment()
        wal_close(self.wal)
        directory_close(self.directory)
        self.sequences.release()
        self.body.release()

    cdef int renew(self) except -1:
        """A log that remembers no error."""
        wal_close(self.wal)
        self.wal = <Wal*> calloc(1, sizeof(Wal))
        if self.wal == NULL:
            raise MemoryError("no memory for a log")
        self.wal.directory = self.directory
        self.wal.fd = -1
        self.wal.read_only = True
        return 0

    cdef void close_segment(self) noexcept:
        if self.scan.fd >= 0:
            file_close(self.scan.fd)
        self.scan.fd = -1

    cdef int check(self) except -1:
        if self.wal.error.code != 0:
            raise storage_exception(&self.wal.error)
        return 0

    @property
    def cluster_id(self) -> bytes:
        return (<const char*> self.directory.cluster_id)[:16]

    @property
    def host_id(self) -> int:
        return self.directory.host_id

    @property
    def start_counter(self) -> int:
        """How often the host was started."""
        return self.directory.start_counter

    @property
    def segments(self) -> list[int]:
        """The sequence numbers of the segments, by name alone."""
        return [self.sequences.data[i] for i in range(self.sequences.size)]

    def recover(self) -> tuple[dict[int, records.RecoveredGroup], int]:
        """What a start would find, by group, and where in the last segment it would cut a torn tail off (0: nowhere)."""
        cdef StorageError error
        cdef size_t i
        self.renew()
        if self.sequences.size == 0:
            if self.directory.has_log:
                storage_error_set(&error, STORAGE_BAD_DIRECTORY, 0, 0, self.directory.path)
                raise storage_exception(&error)
            return {}, 0
        with nogil:
            recovery_run(self.wal, &self.sequences)
        self.check()
        found = {
            wal_recovered(self.wal, i).group: recovered_group(wal_recovered(self.wal, i))
            for i in range(wal_recovered_count(self.wal))
        }
        return found, wal_torn_offset(self.wal)

    def open_segment(self, uint64_t sequence) -> None:
        """Read this segment from its beginning."""
        self.close_segment()
        self.renew()
        self.at_end = False
        with nogil:
            scan_open(self.wal, &self.scan, sequence)
        self.check()

    def next_batch(self, *, bint data=False) -> records.Batch | None:
        """The next batch of the open segment; None at its end, which may be torn. `data`: with the entries' payloads."""
        cdef BatchHeader header
        cdef bint found = False
        cdef uint64_t offset = self.scan.at
        if self.scan.fd < 0:
            raise InvalidArgument("no segment is open")
        self.check()
        if self.at_end:
            return None
        with nogil:
            scan_read(self.wal, &self.scan, &header, &self.body, &found)
            if self.wal.error.code == 0 and not found:
                scan_rest(self.wal, &self.scan)
                if self.scan.batches == 0 and self.wal.error.code == 0:
                    wal_fail(self.wal, STORAGE_CORRUPT, 0, self.scan.at, self.scan.path)
        self.check()
        if not found:
            self.at_end = True
            return None
        taken = records_of(&self.body, header.record_count, data)
        if taken is None:
            wal_fail(self.wal, STORAGE_CORRUPT, 0, offset, self.scan.path)
            self.check()
        scan_step(&self.scan, &header)
        if header.flags & BATCH_CLOSES:
            self.scan.closed = self.at_end = True
        return records.Batch(
            offset, sizeof(BatchHeader) + header.body_bytes, header.number, header.synced,
            bool(header.flags & BATCH_CLOSES), taken)

    @property
    def segment(self) -> records.Segment:
        """The open segment, as far as it was read."""
        if self.scan.fd < 0:
            raise InvalidArgument("no segment is open")
        return records.Segment(
            os.path.basename(os.fsdecode(self.scan.path)), self.scan.sequence, self.scan.size, self.scan.capacity,
            self.wal.oldest_needed, self.scan.at, self.scan.batches, bool(self.scan.closed), bool(self.scan.dirty))

    def close(self) -> None:
        """Close the open segment."""
        self.close_segment()

    def __enter__(self) -> LogReader:
        return self

    def __exit__(self, *_) -> None:
        self.close()
