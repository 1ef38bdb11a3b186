"""Snapshot files, written as a stream and read as a stream: neither side holds more than a chunk.

A file is written under a temporary name, synced, renamed, and its directory synced; so a name that is visible stands for
a whole file, and whatever a crash interrupts is removed at the next start. While it is written it is synced every few
mebibytes: one large sync at the end would make the log, on the same disk, wait behind it.

Header, chunks and footer each carry a checksum that continues the one before; the footer says how much there was. A reader
hands out a chunk once its checksum holds, and reports the end only behind a footer that agrees and ends the file. So whoever
takes in a snapshot must not believe the state before the end was reported.

All files are reached through the seam. One thread at a time; a sink and a source know nothing of each other.
"""

cimport cython
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset, strlen, strncmp

from tenure._core.crc32c cimport crc32c
from tenure._core.vec cimport Vec
from tenure._raft.types cimport MAX_MEMBERS, Configuration, Snapshot
from tenure._storage.directory cimport Directory
from tenure._storage.error cimport (
    STORAGE_CORRUPT, STORAGE_FOREIGN, STORAGE_MEMORY, STORAGE_NEWER_FORMAT, STORAGE_OK, StorageError, storage_code_of,
    storage_error_set, storage_exception,
)
from tenure._storage.file_seam cimport (
    FileName, directory_list, directory_sync, file_close, file_open, file_read, file_rename, file_size, file_sync,
    file_unlink, file_write, path_join,
)
from tenure._storage.format cimport (
    SNAPSHOT_VERSION, ChunkHeader, SnapshotFooter, SnapshotHeader, file_header_checksum,
)

import os

from tenure._storage import records
from tenure.errors import InvalidArgument

cdef enum:
    SYNC_EVERY_BYTES = 4 << 20
    NAME_BYTES = 47             # "snap-", 8 digits, "-", 16, "-", 16


# ---- names ----

cdef bint hexadecimal(const char* text, size_t digits, uint64_t* value) noexcept nogil:
    cdef size_t i
    value[0] = 0
    for i in range(digits):
        if c"0" <= text[i] <= c"9":
            value[0] = value[0] * 16 + <uint64_t> (text[i] - c"0")
        elif c"a" <= text[i] <= c"f":
            value[0] = value[0] * 16 + <uint64_t> (text[i] - c"a" + 10)
        else:
            return False
    return True


cdef bint parse_name(const char* text, uint32_t group, SnapshotName* name) noexcept nogil:
    cdef uint64_t found = 0
    return (
        strlen(text) == NAME_BYTES and strncmp(text, b"snap-", 5) == 0 and text[13] == c"-" and text[30] == c"-"
        and hexadecimal(text + 5, 8, &found) and found == group
        and hexadecimal(text + 14, 16, &name.index) and hexadecimal(text + 31, 16, &name.term)
    )


cdef void make_path(
        char* into, const char* folder, const char* prefix, uint32_t group, uint64_t index, uint64_t term) noexcept nogil:
    cdef char name[64]
    snprintf(
        name, sizeof(name), b"%s-%08x-%016llx-%016llx", prefix, <unsigned int> group, <unsigned long long> index,
        <unsigned long long> term)
    path_join(into, folder, name)


cdef int failed(StorageError* error, int errno_value, const char* path) noexcept nogil:
    storage_error_set(error, storage_code_of(errno_value), errno_value, 0, path)
    return error.code


cdef int no_memory(StorageError* error, const char* path) noexcept nogil:
    storage_error_set(error, STORAGE_MEMORY, 0, 0, path)
    return error.code


cdef int snapshot_list(
        const Directory* directory, uint32_t group, Vec[SnapshotName]* names, StorageError* error) noexcept nogil:
    cdef Vec[FileName] files
    cdef SnapshotName name
    cdef size_t i, at
    cdef int result
    cdef bint kept = True
    memset(error, 0, sizeof(StorageError))
    memset(&files, 0, sizeof(files))
    names.clear()
    result = directory_list(directory.path, &files)
    for i in range(files.size):
        if parse_name(files.data[i].text, group, &name):
            at = names.size
            while at > 0 and (
                    names.data[at - 1].index > name.index
                    or (names.data[at - 1].index == name.index and names.data[at - 1].term > name.term)):
                at -= 1
            kept = kept and names.insert(at, name)
    files.release()
    if result != 0:
        return failed(error, result, directory.path)
    return STORAGE_OK if kept else no_memory(error, directory.path)


cdef int snapshot_sweep(const Directory* directory, StorageError* error) noexcept nogil:
    cdef Vec[FileName] files
    cdef char path[512]
    cdef size_t i
    cdef int result
    cdef bint swept = False
    memset(error, 0, sizeof(StorageError))
    memset(&files, 0, sizeof(files))
    result = directory_list(directory.path, &files)
    if result != 0:
        failed(error, result, directory.path)
    for i in range(files.size):
        if result == 0 and strncmp(files.data[i].text, b"snapnew-", 8) == 0:
            path_join(path, directory.path, files.data[i].text)
            result = file_unlink(path)
            swept = True
            if result != 0:
                failed(error, result, path)
    files.release()
    if result == 0 and swept and directory.sync:
        result = directory_sync(directory.path)
        if result != 0:
            failed(error, result, directory.path)
    return error.code


cdef int snapshot_remove_below(
        const Directory* directory, uint32_t group, uint64_t index, StorageError* error) noexcept nogil:
    cdef Vec[SnapshotName] names
    cdef char path[512]
    cdef size_t i, gone = 0
    cdef int code, result = 0
    memset(&names, 0, sizeof(names))
    code = snapshot_list(directory, group, &names, error)
    for i in range(names.size):
        if code == STORAGE_OK and names.data[i].index < index:
            make_path(path, directory.path, b"snap", group, names.data[i].index, names.data[i].term)
            result = file_unlink(path)
            if result != 0:
                code = failed(error, result, path)
            gone += 1
    names.release()
    if code == STORAGE_OK and gone and directory.sync:
        result = directory_sync(directory.path)
        if result != 0:
            code = failed(error, result, directory.path)
    return code


# ---- writing ----

cdef void fill_header(
        SnapshotHeader* header, const Directory* directory, uint32_t group, const Snapshot* snapshot) noexcept nogil:
    cdef const Configuration* c = &snapshot.configuration
    memset(header, 0, sizeof(SnapshotHeader))
    memcpy(header.magic, b"tenureSN", 8)
    header.version = SNAPSHOT_VERSION
    memcpy(header.cluster_id, directory.cluster_id, 16)
    header.group = group
    header.auto_leave = c.auto_leave
    header.index = snapshot.index
    header.term = snapshot.term
    header.counts[0] = <uint16_t> c.voters_count
    header.counts[1] = <uint16_t> c.outgoing_count
    header.counts[2] = <uint16_t> c.learners_count
    header.counts[3] = <uint16_t> c.learners_next_count
    memcpy(header.members[0], c.voters, 8 * c.voters_count)
    memcpy(header.members[1], c.outgoing, 8 * c.outgoing_count)
    memcpy(header.members[2], c.learners, 8 * c.learners_count)
    memcpy(header.members[3], c.learners_next, 8 * c.learners_next_count)
    header.checksum = file_header_checksum(header, sizeof(SnapshotHeader))


cdef int sink_failed(SnapshotSink* sink, int errno_value) noexcept nogil:
    return failed(&sink.error, errno_value, sink.temporary)


cdef int sink_write(SnapshotSink* sink, const void* data, size_t size) noexcept nogil:
    cdef int result = file_write(sink.fd, data, size, sink.offset)
    if result != 0:
        return sink_failed(sink, result)
    sink.offset += size
    sink.unsynced += size
    return STORAGE_OK


cdef int sink_sync(SnapshotSink* sink) noexcept nogil:
    cdef int result
    sink.unsynced = 0
    if not sink.sync:
        return STORAGE_OK
    result = file_sync(sink.fd)
    return STORAGE_OK if result == 0 else sink_failed(sink, result)


cdef SnapshotSink* sink_new(
        const Directory* directory, const char* prefix, uint32_t group, uint64_t index, uint64_t term, StorageError* error
) noexcept nogil:
    cdef SnapshotSink* sink = <SnapshotSink*> calloc(1, sizeof(SnapshotSink))
    cdef int result
    memset(error, 0, sizeof(StorageError))
    if sink == NULL:
        no_memory(error, directory.path)
        return NULL
    sink.fd = -1
    sink.sync = directory.sync
    memcpy(sink.folder, directory.path, sizeof(sink.folder))
    make_path(sink.temporary, directory.path, prefix, group, index, term)
    make_path(sink.final, directory.path, b"snap", group, index, term)
    result = file_open(sink.temporary, True, &sink.fd)
    if result == 0:
        return sink
    failed(error, result, sink.temporary)
    free(sink)
    return NULL


cdef SnapshotSink* snapshot_create(
        const Directory* directory, uint32_t group, const Snapshot* snapshot, StorageError* error) noexcept nogil:
    cdef SnapshotSink* sink = sink_new(directory, b"snapnew", group, snapshot.index, snapshot.term, error)
    cdef SnapshotHeader header
    if sink == NULL:
        return NULL
    fill_header(&header, directory, group, snapshot)
    sink.previous = header.checksum
    if sink_write(sink, &header, sizeof(header)) == STORAGE_OK:
        return sink
    memcpy(error, &sink.error, sizeof(StorageError))
    snapshot_sink_close(sink)
    return NULL


cdef int append_chunk(SnapshotSink* sink, const char* bytes, uint32_t size) noexcept nogil:
    cdef ChunkHeader chunk
    chunk.size = size
    chunk.checksum = crc32c(crc32c(sink.previous, &chunk.size, sizeof(chunk.size)), bytes, size)
    if sink_write(sink, &chunk, sizeof(chunk)) != STORAGE_OK or sink_write(sink, bytes, size) != STORAGE_OK:
        return sink.error.code
    sink.previous = chunk.checksum
    sink.payload_bytes += size
    sink.chunks += 1
    return sink_sync(sink) if sink.unsynced >= SYNC_EVERY_BYTES else STORAGE_OK


cdef int snapshot_append(SnapshotSink* sink, const char* bytes, size_t size) noexcept nogil:
    cdef size_t at = 0, piece
    while at < size and sink.error.code == 0:
        piece = min(size - at, <size_t> SNAPSHOT_CHUNK_BYTES)
        append_chunk(sink, bytes + at, <uint32_t> piece)
        at += piece
    return sink.error.code


cdef uint32_t footer_checksum(uint32_t previous, const SnapshotFooter* footer) noexcept nogil:
    return crc32c(
        crc32c(previous, &footer.end.size, sizeof(footer.end.size)), &footer.payload_bytes,
        sizeof(SnapshotFooter) - sizeof(ChunkHeader))


cdef int snapshot_finish(SnapshotSink* sink) noexcept nogil:
    cdef SnapshotFooter footer
    if sink.error.code != 0:
        return sink.error.code
    memset(&footer, 0, sizeof(footer))
    footer.payload_bytes = sink.payload_bytes
    footer.chunks = sink.chunks
    footer.end.checksum = footer_checksum(sink.previous, &footer)
    sink_write(sink, &footer, sizeof(footer))
    return snapshot_publish(sink)


cdef int snapshot_publish(SnapshotSink* sink) noexcept nogil:
    cdef int result = 0
    if sink.error.code != 0 or sink_sync(sink) != STORAGE_OK:
        return sink.error.code
    file_close(sink.fd)
    sink.fd = -1
    result = file_rename(sink.temporary, sink.final)
    if result == 0 and sink.sync:
        result = directory_sync(sink.folder)
    return STORAGE_OK if result == 0 else sink_failed(sink, result)


cdef SnapshotSink* snapshot_receive(
        const Directory* directory, uint32_t group, const SnapshotName* name, StorageError* error) noexcept nogil:
    return sink_new(directory, b"snapnew-in", group, name.index, name.term, error)


cdef int snapshot_append_raw(SnapshotSink* sink, const char* bytes, size_t size) noexcept nogil:
    if sink.error.code != 0 or sink_write(sink, bytes, size) != STORAGE_OK:
        return sink.error.code
    return sink_sync(sink) if sink.unsynced >= SYNC_EVERY_BYTES else STORAGE_OK


cdef void snapshot_sink_close(SnapshotSink* sink) noexcept nogil:
    if sink == NULL:
        return
    if sink.fd >= 0:
        file_close(sink.fd)
        file_unlink(sink.temporary)     # what stays is swept at the next start
    free(sink)


# ---- reading ----

cdef int damaged(SnapshotSource* source) noexcept nogil:
    storage_error_set(&source.error, STORAGE_CORRUPT, 0, source.offset, source.path)
    return STORAGE_CORRUPT


cdef int read_exactly(SnapshotSource* source, void* into, size_t size) noexcept nogil:
    cdef size_t got = 0
    cdef int result
    if size > source.size - source.offset:
        return damaged(source)
    result = file_read(source.fd, into, size, source.offset, &got)
    if result != 0:
        return failed(&source.error, result, source.path)
    if got < size:
        return damaged(source)
    source.offset += size
    return STORAGE_OK


cdef int take_header(
        SnapshotSource* source, const Directory* directory, uint32_t group, const SnapshotName* name) noexcept nogil:
    cdef SnapshotHeader header
    cdef Configuration* c = &source.snapshot.configuration
    cdef int i
    if read_exactly(source, &header, sizeof(header)) != STORAGE_OK:
        source.offset = 0
        return source.error.code
    source.offset = 0
    if memcmp(header.magic, b"tenureSN", 8) != 0:
        return damaged(source)
    if header.checksum != file_header_checksum(&header, sizeof(header)):
        return damaged(source)
    if header.version > SNAPSHOT_VERSION:
        storage_error_set(&source.error, STORAGE_NEWER_FORMAT, SNAPSHOT_VERSION, header.version, source.path)
        return STORAGE_NEWER_FORMAT
    if memcmp(header.cluster_id, directory.cluster_id, 16) != 0:
        storage_error_set(&source.error, STORAGE_FOREIGN, 0, 0, source.path)
        return STORAGE_FOREIGN
    if header.group != group or header.index != name.index or header.term != name.term:
        return damaged(source)
    for i in range(4):
        if header.counts[i] > MAX_MEMBERS:
            return damaged(source)
    source.snapshot.index = header.index
    source.snapshot.term = header.term
    c.voters_count = header.counts[0]
    c.outgoing_count = header.counts[1]
    c.learners_count = header.counts[2]
    c.learners_next_count = header.counts[3]
    c.auto_leave = header.auto_leave != 0
    memcpy(c.voters, header.members[0], 8 * MAX_MEMBERS)
    memcpy(c.outgoing, header.members[1], 8 * MAX_MEMBERS)
    memcpy(c.learners, header.members[2], 8 * MAX_MEMBERS)
    memcpy(c.learners_next, header.members[3], 8 * MAX_MEMBERS)
    source.previous = header.checksum
    source.offset = sizeof(header)
    return STORAGE_OK


cdef SnapshotSource* snapshot_open(
        const Directory* directory, uint32_t group, const SnapshotName* name, StorageError* error) noexcept nogil:
    cdef char path[512]
    make_path(path, directory.path, b"snap", group, name.index, name.term)
    return open_path(path, directory, group, name, error)


cdef SnapshotSource* snapshot_check(
        const SnapshotSink* sink, const Directory* directory, uint32_t group, const SnapshotName* name, StorageError* error
) noexcept nogil:
    return open_path(sink.temporary, directory, group, name, error)


cdef SnapshotSource* open_path(
        const char* path, const Directory* directory, uint32_t group, const SnapshotName* name, StorageError* error
) noexcept nogil:
    cdef SnapshotSource* source = <SnapshotSource*> calloc(1, sizeof(SnapshotSource))
    cdef int result
    memset(error, 0, sizeof(StorageError))
    if source == NULL:
        no_memory(error, directory.path)
        return NULL
    source.fd = -1
    memcpy(source.path, path, sizeof(source.path))
    result = file_open(source.path, False, &source.fd)
    if result == 0:
        result = file_size(source.fd, &source.size)
    else:
        source.fd = -1
    if result != 0:
        failed(&source.error, result, source.path)
    elif take_header(source, directory, group, name) == STORAGE_OK:
        return source
    memcpy(error, &source.error, sizeof(StorageError))
    snapshot_source_close(source)
    return NULL


cdef int take_footer(SnapshotSource* source, const ChunkHeader* end) noexcept nogil:
    cdef SnapshotFooter footer
    cdef uint64_t at = source.offset - sizeof(ChunkHeader)
    memset(&footer, 0, sizeof(footer))
    memcpy(&footer.end, end, sizeof(ChunkHeader))
    if read_exactly(source, &footer.payload_bytes, sizeof(SnapshotFooter) - sizeof(ChunkHeader)) != STORAGE_OK:
        return source.error.code
    if (
            footer.end.checksum != footer_checksum(source.previous, &footer) or footer.chunks != source.chunks
            or footer.payload_bytes != source.payload_bytes or source.offset != source.size):
        source.offset = at
        return damaged(source)
    return STORAGE_OK


cdef int snapshot_read(SnapshotSource* source, Vec[char]* chunk) noexcept nogil:
    cdef ChunkHeader header
    cdef uint64_t at = source.offset
    chunk.clear()
    if source.error.code != 0:
        return source.error.code
    if read_exactly(source, &header, sizeof(header)) != STORAGE_OK:
        return source.error.code
    if header.size == 0:
        return take_footer(source, &header)
    if header.size > SNAPSHOT_CHUNK_BYTES:
        source.offset = at
        return damaged(source)
    if not chunk.reserve(header.size):
        return no_memory(&source.error, source.path)
    if read_exactly(source, chunk.data, header.size) != STORAGE_OK:
        return source.error.code
    if header.checksum != crc32c(crc32c(source.previous, &header.size, sizeof(header.size)), chunk.data, header.size):
        source.offset = at
        return damaged(source)
    chunk.size = header.size
    source.previous = header.checksum
    source.payload_bytes += header.size
    source.chunks += 1
    return STORAGE_OK


cdef int snapshot_read_raw(SnapshotSource* source, uint64_t offset, size_t size, Vec[char]* out) noexcept nogil:
    cdef size_t got = 0
    cdef int result
    if offset >= source.size:
        return STORAGE_OK
    size = min(size, <size_t> (source.size - offset))
    if not out.reserve(out.size + size):
        return STORAGE_MEMORY
    result = file_read(source.fd, out.data + out.size, size, offset, &got)
    if result != 0:
        return storage_code_of(result)
    out.size += got
    return STORAGE_OK


cdef void snapshot_source_close(SnapshotSource* source) noexcept nogil:
    if source == NULL:
        return
    if source.fd >= 0:
        file_close(source.fd)
    free(source)


# ---- the Python edge: for tests and tools ----

cdef tuple ids(const uint64_t* members, int count):
    return tuple([members[i] for i in range(count)])


cdef int fill_ids(uint64_t* into, object members) except -1:
    if len(members) > MAX_MEMBERS:
        raise InvalidArgument(f"a configuration has at most {MAX_MEMBERS} members of a kind")
    for i, member in enumerate(members):
        into[i] = member
    return len(members)


cdef object snapshot_record(const Snapshot* snapshot):
    cdef const Configuration* c = &snapshot.configuration
    return records.Snapshot(
        snapshot.index, snapshot.term, ids(c.voters, c.voters_count), ids(c.outgoing, c.outgoing_count),
        ids(c.learners, c.learners_count), ids(c.learners_next, c.learners_next_count), bool(c.auto_leave))


@cython.final
cdef class SnapshotFolder:
    """The snapshot files in a folder that exists. Takes no lock: for folders that no host has open. One thread at a time.

    Raises what `tenure.errors` has below `StorageError`.
    """

    cdef Directory directory

    def __cinit__(self, path, bytes cluster_id not None, *, bint sync=True):
        cdef bytes name = os.fsencode(path)
        if len(cluster_id) != 16:
            raise InvalidArgument("a cluster id has 16 bytes")
        if len(name) > 440:
            raise InvalidArgument("the path is too long")
        memset(&self.directory, 0, sizeof(self.directory))
        memcpy(self.directory.path, <const char*> name, len(name))
        memcpy(self.directory.cluster_id, <const char*> cluster_id, 16)
        self.directory.sync = sync

    def list(self, uint32_t group) -> list[tuple[int, int]]:
        """(index, term) of what is there, oldest first, judged by name alone."""
        cdef Vec[SnapshotName] names
        cdef StorageError error
        cdef int code
        cdef size_t i
        memset(&names, 0, sizeof(names))
        with nogil:
            code = snapshot_list(&self.directory, group, &names, &error)
        try:
            if code != STORAGE_OK:
                raise storage_exception(&error)
            return [(names.data[i].index, names.data[i].term) for i in range(names.size)]
        finally:
            names.release()

    def sweep(self) -> None:
        """Remove what was never finished."""
        cdef StorageError error
        cdef int code
        with nogil:
            code = snapshot_sweep(&self.directory, &error)
        if code != STORAGE_OK:
            raise storage_exception(&error)

    def remove_below(self, uint32_t group, uint64_t index) -> None:
        """Remove the group's files below `index`."""
        cdef StorageError error
        cdef int code
        with nogil:
            code = snapshot_remove_below(&self.directory, group, index, &error)
        if code != STORAGE_OK:
            raise storage_exception(&error)

    def write(self, uint32_t group, snapshot, pieces) -> None:
        """Write a whole file from `pieces` of bytes; nothing is left of one that fails."""
        cdef Snapshot what
        cdef StorageError error
        cdef SnapshotSink* sink
        cdef bytes piece
        cdef const char* data
        cdef size_t size
        cdef int code = STORAGE_OK
        memset(&what, 0, sizeof(what))
        what.index = snapshot.index
        what.term = snapshot.term
        what.configuration.voters_count = fill_ids(what.configuration.voters, snapshot.voters)
        what.configuration.outgoing_count = fill_ids(what.configuration.outgoing, snapshot.outgoing)
        what.configuration.learners_count = fill_ids(what.configuration.learners, snapshot.learners)
        what.configuration.learners_next_count = fill_ids(what.configuration.learners_next, snapshot.learners_next)
        what.configuration.auto_leave = snapshot.auto_leave
        with nogil:
            sink = snapshot_create(&self.directory, group, &what, &error)
        if sink == NULL:
            raise storage_exception(&error)
        try:
            for piece in pieces:
                data = piece
                size = len(piece)
                with nogil:
                    code = snapshot_append(sink, data, size)
                if code != STORAGE_OK:
                    break
            if code == STORAGE_OK:
                with nogil:
                    code = snapshot_finish(sink)
            if code != STORAGE_OK:
                raise storage_exception(&sink.error)
        finally:
            with nogil:
                snapshot_sink_close(sink)

    def read(self, uint32_t group, uint64_t index, uint64_t term) -> tuple[records.Snapshot, bytes]:
        """The whole of a file, checked to its end."""
        cdef SnapshotName name
        cdef StorageError error
        cdef SnapshotSource* source
        cdef Vec[char] chunk
        cdef int code = STORAGE_OK
        name.index, name.term = index, term
        memset(&chunk, 0, sizeof(chunk))
        with nogil:
            source = snapshot_open(&self.directory, group, &name, &error)
        if source == NULL:
            raise storage_exception(&error)
        found = []
        try:
            while True:
                with nogil:
                    code = snapshot_read(source, &chunk)
                if code != STORAGE_OK:
                    raise storage_exception(&source.error)
                if chunk.size == 0:
                    return snapshot_record(&source.snapshot), b"".join(found)
                found.append(chunk.data[:chunk.size])
        finally:
            chunk.release()
            snapshot_source_close(source)
