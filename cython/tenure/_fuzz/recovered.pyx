"""What both log targets ask of a recovery: see `recovered.pxd`."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset, strlen, strncmp

from tenure._fuzz.kit cimport DIGEST_START, digest_bytes, digest_number
from tenure._fuzz.memory_files cimport MemoryFile, MemoryFolder, memory_find, memory_path
from tenure._raft.types cimport Configuration, Entry, HardState, Snapshot, entry_bytes
from tenure._storage.directory cimport Directory
from tenure._storage.error cimport (
    STORAGE_BAD_DIRECTORY, STORAGE_CORRUPT, STORAGE_FOREIGN, STORAGE_NEWER_FORMAT, STORAGE_OK, StorageError,
)
from tenure._storage.groups cimport GroupLog, groups_find
from tenure._storage.wal cimport RecoveredGroup, Wal, wal_add, wal_close, wal_flush, wal_open, wal_recovered

cdef enum:
    HOST_ID = 7


cdef void directory_in_memory(Directory* directory, bint has_log) noexcept nogil:
    cdef int i
    memset(directory, 0, sizeof(Directory))
    memcpy(directory.path, memory_path(), strlen(memory_path()) + 1)
    directory.lock_fd = -1
    directory.start_counter = 1
    directory.sync = True
    directory.has_log = has_log
    for i in range(16):
        directory.cluster_id[i] = <uint8_t> i
    directory.host_id = HOST_ID


cdef uint64_t digest_ids(uint64_t digest, const uint64_t* ids, int count) noexcept nogil:
    digest = digest_number(digest, <uint64_t> count)
    return digest_bytes(digest, ids, <size_t> count * 8)


cdef uint64_t digest_configuration(uint64_t digest, const Configuration* c) noexcept nogil:
    digest = digest_ids(digest, c.voters, c.voters_count)
    digest = digest_ids(digest, c.outgoing, c.outgoing_count)
    digest = digest_ids(digest, c.learners, c.learners_count)
    digest = digest_ids(digest, c.learners_next, c.learners_next_count)
    return digest_number(digest, 1 if c.auto_leave else 0)


cdef uint64_t digest_group(
        uint64_t digest, uint32_t group, const HardState* hard, const Snapshot* snapshot, const Entry* entries, size_t count
) noexcept nogil:
    cdef size_t i
    cdef const Entry* entry
    if (
            snapshot == NULL and count == 0 and hard.term == 0 and hard.vote == 0 and hard.commit == 0
            and hard.promise_bound_ns == 0):
        return digest
    digest = digest_number(digest, group)
    digest = digest_number(digest, hard.term)
    digest = digest_number(digest, hard.vote)
    digest = digest_number(digest, hard.commit)
    digest = digest_number(digest, <uint64_t> hard.promise_bound_ns)
    if snapshot != NULL:
        digest = digest_number(digest, 1)
        digest = digest_number(digest, snapshot.index)
        digest = digest_number(digest, snapshot.term)
        digest = digest_configuration(digest, &snapshot.configuration)
    digest = digest_number(digest, count)
    for i in range(count):
        entry = &entries[i]
        digest = digest_number(digest, entry.term)
        digest = digest_number(digest, entry.index)
        digest = digest_number(digest, entry.kind)
        digest = digest_bytes(digest, entry.data.bytes() if entry.data != NULL else NULL, entry_bytes(entry))
    return digest


cdef uint64_t digest_recovered(Wal* wal) noexcept nogil:
    cdef uint64_t digest = DIGEST_START
    cdef RecoveredGroup* found
    cdef size_t i
    for i in range(wal.recovered.size):
        found = wal_recovered(wal, i)
        digest = digest_group(
            digest, found.group, &found.hard, &found.snapshot if found.has_snapshot else NULL, found.entries.data,
            found.entries.size)
    return digest


cdef const char* judge_refusal(MemoryFolder* folder, uint64_t changes_before, const StorageError* error) noexcept nogil:
    cdef size_t length = strlen(memory_path())
    cdef MemoryFile* file
    if folder.failed:
        return NULL
    if folder.changes != changes_before:
        return b"a recovery that was refused has changed a file"
    if folder.open_handles != 0:
        return b"a recovery that was refused has left a file open"
    if error.code not in (STORAGE_CORRUPT, STORAGE_NEWER_FORMAT, STORAGE_FOREIGN, STORAGE_BAD_DIRECTORY):
        return b"damage is not reported as damage"
    if strncmp(error.path, memory_path(), length) != 0:
        return b"a refusal does not name a path in the folder"
    if error.code == STORAGE_CORRUPT:
        file = memory_find(folder, error.path + length + 1) if error.path[length] == c"/" else NULL
        if file == NULL:
            return b"damage is reported in a file that does not exist"
        if error.offset > file.bytes.size:
            return b"damage is reported at an offset behind the end of its file"
    return NULL


cdef bint entries_follow(const RecoveredGroup* found) noexcept nogil:
    """A group's entries stand behind its snapshot without a gap."""
    cdef uint64_t next_index = found.snapshot.index + 1 if found.has_snapshot else 1
    cdef size_t i
    for i in range(found.entries.size):
        if found.entries.data[i].index != next_index + i:
            return False
    return True


cdef const char* append_one(Wal* wal, uint32_t* group, uint64_t* index) noexcept nogil:
    """Adds an entry and a hard state to the last group; `index` is the entry's, 0 where none can follow."""
    cdef GroupLog* log
    cdef Entry entry
    cdef HardState hard
    memset(&entry, 0, sizeof(entry))
    memset(&hard, 0, sizeof(hard))
    group[0] = wal.recovered.data[wal.recovered.size - 1].group if wal.recovered.size else 3
    log = groups_find(&wal.groups, group[0], False)
    index[0] = (log.last_index if log != NULL else 0) + 1
    entry.index = index[0]
    entry.term = log.terms.data[log.terms.size - 1].term if log != NULL and log.terms.size else 1
    hard.term = 77
    if wal_add(wal, group[0], &hard, &entry, 1 if index[0] else 0) != STORAGE_OK or wal_flush(wal) != STORAGE_OK:
        return b"a recovered log takes nothing more"
    return NULL


cdef const char* judge_appended(Wal* wal, uint32_t group, uint64_t index) noexcept nogil:
    cdef RecoveredGroup* found
    cdef size_t i
    for i in range(wal.recovered.size):
        found = wal_recovered(wal, i)
        if found.group == group:
            if found.hard.term != 77:
                return b"a hard state that was written after a recovery is lost"
            if index and (
                    found.entries.size == 0 or found.entries.data[found.entries.size - 1].index != index):
                return b"an entry that was written after a recovery is lost"
            return NULL
    return b"a group that was written after a recovery is lost"


cdef const char* judge_going_on(MemoryFolder* folder, Directory* directory, uint64_t digest) noexcept nogil:
    cdef StorageError error
    cdef Wal* wal
    cdef const char* verdict = NULL
    cdef uint32_t group = 0
    cdef uint64_t index = 0
    cdef size_t i
    wal = wal_open(directory, SEGMENT_BYTES, True, &error)
    if wal == NULL:
        if folder.failed:
            return NULL
        return b"what one recovery found whole and repaired, the next one refuses"
    if digest_recovered(wal) != digest:
        verdict = b"two recoveries, one after the other, find different states"
    elif wal.torn_offset != 0:
        verdict = b"a torn tail was cut, and is there again"
    for i in range(wal.recovered.size):
        if verdict == NULL and not entries_follow(wal_recovered(wal, i)):
            verdict = b"recovered entries leave a gap"
    if verdict == NULL:
        verdict = append_one(wal, &group, &index)
    wal_close(wal)
    if folder.failed:
        return NULL
    if verdict != NULL:
        return verdict
    wal = wal_open(directory, SEGMENT_BYTES, True, &error)
    if wal == NULL:
        if folder.failed:
            return NULL
        return b"a log that was recovered and written to cannot be opened again"
    verdict = judge_appended(wal, group, index)
    wal_close(wal)
    if verdict == NULL and folder.open_handles != 0:
        verdict = b"a log that was closed has left a file open"
    return verdict
