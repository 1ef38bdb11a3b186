"""Target `snapshot`: the bytes are a snapshot file.

Reading refuses it, says what and where and changes nothing; or hands out all of it. A copy that came in pieces is judged like
the original. What was handed out, written again in the same pieces, is handed out again. And the bytes, taken for a state
machine's dump, survive a file.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset, strlen, strncmp

from tenure._core.crc32c cimport crc32c
from tenure._core.vec cimport Vec
from tenure._fuzz.kit cimport DIGEST_START, digest_bytes, digest_number, next_random
from tenure._fuzz.memory_files cimport (
    MemoryFile, MemoryFolder, memory_begin, memory_enter, memory_find, memory_leave, memory_path, memory_put, memory_release,
)
from tenure._fuzz.recovered cimport digest_configuration, directory_in_memory
from tenure._raft.types cimport Snapshot
from tenure._storage.directory cimport Directory
from tenure._storage.error cimport STORAGE_CORRUPT, STORAGE_FOREIGN, STORAGE_NEWER_FORMAT, STORAGE_OK, StorageError
from tenure._storage.format cimport ChunkHeader, SnapshotFooter, SnapshotHeader, file_header_checksum
from tenure._storage.snapshot cimport (
    ReceivedName,
    SnapshotName, SnapshotSink, SnapshotSource, snapshot_append, snapshot_append_raw, snapshot_check,
    snapshot_create, snapshot_finish, snapshot_open, snapshot_publish, snapshot_read, snapshot_read_raw, snapshot_receive,
    snapshot_sink_close, snapshot_source_close,
)

cdef enum:
    GROUP = 3
    INDEX_OFFSET = 40           # in a SnapshotHeader
    TERM_OFFSET = 48
    RAW_PIECE_BYTES = 1000

cdef struct Reading:
    int code
    uint64_t offset             # of the error
    uint64_t digest             # of the position, the configuration and every chunk
    uint64_t payload_digest
    uint64_t chunks
    StorageError error
    Snapshot snapshot


cdef void read_all(SnapshotSource* source, Reading* reading, Vec[char]* again) noexcept nogil:
    """To the end, or to the error. `again` (may be null) collects each chunk behind its size."""
    cdef Vec[char] chunk
    cdef uint32_t count
    memset(&chunk, 0, sizeof(chunk))
    memcpy(&reading.snapshot, &source.snapshot, sizeof(Snapshot))
    reading.digest = digest_number(digest_number(DIGEST_START, source.snapshot.index), source.snapshot.term)
    reading.digest = digest_configuration(reading.digest, &source.snapshot.configuration)
    reading.payload_digest = DIGEST_START
    while True:
        reading.code = snapshot_read(source, &chunk)
        if reading.code != STORAGE_OK or chunk.size == 0:
            break
        reading.chunks += 1
        reading.digest = digest_bytes(reading.digest, chunk.data, chunk.size)
        reading.payload_digest = digest_bytes(reading.payload_digest, chunk.data, chunk.size)
        if again != NULL and again.reserve(again.size + 4 + chunk.size):
            count = <uint32_t> chunk.size
            memcpy(again.data + again.size, &count, 4)
            memcpy(again.data + again.size + 4, chunk.data, chunk.size)
            again.size += 4 + chunk.size
    memcpy(&reading.error, &source.error, sizeof(StorageError))
    chunk.release()


cdef void read_file(Directory* directory, const SnapshotName* name, Reading* reading, Vec[char]* again) noexcept nogil:
    cdef SnapshotSource* source
    memset(reading, 0, sizeof(Reading))
    source = snapshot_open(directory, GROUP, name, &reading.error)
    if source == NULL:
        reading.code = reading.error.code
        return
    read_all(source, reading, again)
    snapshot_source_close(source)


cdef const char* judge_refusal(MemoryFolder* folder, const Reading* reading, uint64_t size) noexcept nogil:
    cdef size_t length = strlen(memory_path())
    if reading.code not in (STORAGE_CORRUPT, STORAGE_NEWER_FORMAT, STORAGE_FOREIGN):
        return b"a damaged snapshot is not reported as damaged"
    if reading.error.code != reading.code:
        return b"a code and the error behind it differ"
    if strncmp(reading.error.path, memory_path(), length) != 0 or memory_find(
            folder, reading.error.path + length + 1) == NULL:
        return b"a refusal does not name the snapshot's file"
    if reading.code == STORAGE_CORRUPT and reading.error.offset > size:
        return b"damage is reported at an offset behind the end of the file"
    return NULL


cdef const char* judge_transfer(
        MemoryFolder* folder, Directory* directory, const SnapshotName* name, const Reading* original, uint64_t size
) noexcept nogil:
    """Copy the file as one that comes from a peer: raw pieces, a check, and only then its name."""
    cdef SnapshotSource* source
    cdef SnapshotSource* check
    cdef SnapshotSink* sink
    cdef ReceivedName received
    cdef Vec[char] raw
    cdef Reading reading
    cdef StorageError error
    cdef const char* verdict = NULL
    cdef size_t before
    source = snapshot_open(directory, GROUP, name, &error)
    if source == NULL:
        return NULL             # a file that cannot be opened is not sent
    memset(&received, 0, sizeof(received))
    received.name = name[0]
    received.bytes.size = size
    sink = snapshot_receive(directory, GROUP, &received, 0, &error)
    memset(&raw, 0, sizeof(raw))
    memset(&reading, 0, sizeof(reading))
    while sink != NULL and verdict == NULL:
        before = raw.size
        if snapshot_read_raw(source, before, RAW_PIECE_BYTES, &raw) != STORAGE_OK:
            verdict = b"a snapshot file cannot be read in pieces"
        elif raw.size == before:
            break
        elif snapshot_append_raw(sink, raw.data + before, raw.size - before) != STORAGE_OK:
            verdict = b"a piece of a snapshot file cannot be written"
    if sink == NULL:
        verdict = b"a snapshot cannot be received"
    elif verdict == NULL and raw.size != size:
        verdict = b"the pieces of a snapshot file are not the file"
    elif verdict == NULL:
        check = snapshot_check(sink, directory, GROUP, name, &reading.error)
        if check == NULL:
            verdict = b"a snapshot that can be opened cannot be checked where it was received"
        else:
            read_all(check, &reading, NULL)
            snapshot_source_close(check)
            if reading.code != original.code or reading.digest != original.digest:
                verdict = b"a snapshot that was received is judged differently"
            elif reading.code == STORAGE_OK and snapshot_publish(sink) != STORAGE_OK:
                verdict = b"a snapshot that was received whole cannot be published"
    snapshot_source_close(source)
    snapshot_sink_close(sink)
    raw.release()
    if folder.failed:
        return NULL
    return verdict


cdef const char* judge_rewriting(
        MemoryFolder* folder, Directory* directory, const Reading* original, const Vec[char]* chunks) noexcept nogil:
    cdef SnapshotName name
    cdef SnapshotSink* sink
    cdef Reading reading
    cdef StorageError error
    cdef uint32_t count
    cdef size_t at = 0
    cdef int code = STORAGE_OK
    sink = snapshot_create(directory, GROUP, &original.snapshot, &error)
    if sink == NULL:
        if folder.failed:
            return NULL
        return b"a snapshot that was read cannot be written"
    while code == STORAGE_OK and at < chunks.size:
        memcpy(&count, chunks.data + at, 4)
        code = snapshot_append(sink, chunks.data + at + 4, count)
        at += 4 + count
    if code == STORAGE_OK:
        code = snapshot_finish(sink)
    snapshot_sink_close(sink)
    name.index = original.snapshot.index
    name.term = original.snapshot.term
    if code == STORAGE_OK:
        read_file(directory, &name, &reading, NULL)
        code = reading.code
    if folder.failed:
        return NULL
    if code != STORAGE_OK:
        return b"a snapshot that was read cannot be written and read again"
    if reading.digest != original.digest or reading.chunks != original.chunks:
        return b"a snapshot that was read and written again reads differently"
    return NULL


cdef const char* judge_payload(MemoryFolder* folder, Directory* directory, const char* data, size_t size) noexcept nogil:
    """The bytes as what a state machine dumped."""
    cdef Snapshot snapshot
    cdef SnapshotName name
    cdef SnapshotSink* sink
    cdef StorageError error
    cdef Reading reading
    memset(&snapshot, 0, sizeof(snapshot))
    name.index = snapshot.index = 1000
    name.term = snapshot.term = 7
    snapshot.configuration.voters_count = 1
    snapshot.configuration.voters[0] = 1
    sink = snapshot_create(directory, GROUP, &snapshot, &error)
    if sink != NULL and snapshot_append(sink, data, size) == STORAGE_OK:
        snapshot_finish(sink)
    snapshot_sink_close(sink)
    read_file(directory, &name, &reading, NULL)
    if folder.failed:
        return NULL
    if reading.code != STORAGE_OK:
        return b"a snapshot cannot be read right after it was written"
    if reading.payload_digest != (digest_bytes(DIGEST_START, data, size) if size else <uint64_t> DIGEST_START):
        return b"a snapshot does not hold what was written"
    return NULL


cdef const char* judge(
        MemoryFolder* folder, Directory* directory, const SnapshotName* name, const char* data, size_t size,
        uint64_t* accepted) noexcept nogil:
    cdef Reading reading
    cdef Vec[char] chunks
    cdef const char* verdict = NULL
    memset(&chunks, 0, sizeof(chunks))
    read_file(directory, name, &reading, &chunks)
    if folder.changes != 0:
        verdict = b"reading a snapshot has changed a file"
    elif folder.open_handles != 0:
        verdict = b"reading a snapshot has left a file open"
    elif reading.code != STORAGE_OK:
        verdict = judge_refusal(folder, &reading, size)
    else:
        accepted[0] += 1 + reading.chunks
    if verdict == NULL:
        verdict = judge_transfer(folder, directory, name, &reading, size)
    if verdict == NULL and reading.code == STORAGE_OK:
        verdict = judge_rewriting(folder, directory, &reading, &chunks)
    if verdict == NULL:
        verdict = judge_payload(folder, directory, data, size)
    if verdict == NULL and folder.open_handles != 0:
        verdict = b"writing a snapshot has left a file open"
    chunks.release()
    return verdict


cdef const char* fuzz_snapshot(const char* data, size_t size, uint64_t* accepted) noexcept nogil:
    cdef MemoryFolder folder
    cdef Directory directory
    cdef SnapshotName name
    cdef SnapshotHeader header
    cdef SnapshotSink* sink
    cdef StorageError error
    cdef Snapshot snapshot
    cdef MemoryFile* file
    cdef char[64] text
    cdef const char* verdict = NULL
    memset(&header, 0, sizeof(header))
    memcpy(&header, data, min(size, sizeof(header)))
    name.index = header.index
    name.term = header.term
    memory_begin(&folder)
    directory_in_memory(&directory, True)
    memory_enter(&folder)
    # the name that the file says it has, as the code under test spells it
    memset(&snapshot, 0, sizeof(snapshot))
    snapshot.index = name.index
    snapshot.term = name.term
    sink = snapshot_create(&directory, GROUP, &snapshot, &error)
    if sink != NULL and snapshot_finish(sink) == STORAGE_OK and folder.files.size == 1:
        memcpy(text, folder.files.data[0].name, sizeof(text))
        snapshot_sink_close(sink)
        file = memory_put(&folder, text, data, size, 0)
        folder.changes = 0
        if file != NULL:
            verdict = judge(&folder, &directory, &name, data, size, accepted)
    else:
        snapshot_sink_close(sink)
        if not folder.failed:
            verdict = b"an empty snapshot cannot be written"
    memory_leave()
    memory_release(&folder)
    return verdict


cdef size_t reseal_snapshot(char* data, size_t size, size_t limit, uint32_t seed) noexcept nogil:
    """Makes the chain of checksums right up to a footer, and adds one where there is room; now and then breaks a link."""
    cdef SnapshotHeader header
    cdef ChunkHeader chunk
    cdef SnapshotFooter footer
    cdef size_t at = sizeof(SnapshotHeader)
    cdef uint32_t previous
    if size < sizeof(SnapshotHeader):
        return size
    memcpy(&header, data, sizeof(header))
    if next_random(&seed) % 16 != 0:
        header.group = GROUP
    header.checksum = file_header_checksum(&header, sizeof(header))
    memcpy(data, &header, sizeof(header))
    previous = header.checksum
    memset(&footer, 0, sizeof(footer))
    while size - at >= sizeof(chunk):
        memcpy(&chunk, data + at, sizeof(chunk))
        if chunk.size == 0:
            break
        chunk.size = <uint32_t> min(<size_t> chunk.size, size - at - sizeof(chunk))
        if chunk.size == 0:
            break
        chunk.checksum = crc32c(
            crc32c(previous, &chunk.size, sizeof(chunk.size)), data + at + sizeof(chunk), chunk.size)
        if next_random(&seed) % 32 == 0:
            chunk.checksum ^= 1
        memcpy(data + at, &chunk, sizeof(chunk))
        previous = chunk.checksum
        footer.payload_bytes += chunk.size
        footer.chunks += 1
        at += sizeof(chunk) + chunk.size
    if limit - at < sizeof(footer) or next_random(&seed) % 8 == 0:
        return size
    footer.end.checksum = crc32c(
        crc32c(previous, &footer.end.size, sizeof(footer.end.size)), &footer.payload_bytes,
        sizeof(SnapshotFooter) - sizeof(ChunkHeader))
    memcpy(data + at, &footer, sizeof(footer))
    return at + sizeof(footer)
