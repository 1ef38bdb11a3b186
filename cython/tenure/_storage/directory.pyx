"""A host's directory: whose it is, that nobody else has it, and how often it was started.

Two small files beside the log: `lock`, held for as long as the directory is open (its content, the owner's process id, is
for people), and `identity`, replaced as a whole (temporary name, sync, rename, sync of the directory) by every start.
One thread at a time; owns the lock; never touches a directory that is not certainly its own.
"""

cimport cython
from libc.errno cimport EACCES, EAGAIN, ENAMETOOLONG
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset, strcmp, strlen, strncmp

from tenure._core.vec cimport Vec
from tenure._storage.error cimport (
    STORAGE_BAD_DIRECTORY, STORAGE_FOREIGN, STORAGE_IO, STORAGE_LOCKED, STORAGE_MEMORY, STORAGE_NEWER_FORMAT,
    StorageError, storage_code_of, storage_error_set, storage_exception,
)
from tenure._storage.file_seam cimport (
    OPEN_CREATE, OPEN_READ_ONLY, PATH_BYTES, FileName, directory_list, directory_make, directory_sync,
    directory_sync_name, file_close, file_exists, file_is_locked, file_lock, file_lock_sign, file_open, file_read,
    file_rename, file_size, file_sync, file_unlock, file_write, path_join,
)
from tenure._storage.format cimport FORMAT_VERSION, IDENTITY_HAS_LOG, IdentityFile, file_header_checksum

import os

from tenure.errors import InvalidArgument

cdef enum:
    ROOM_FOR_NAMES = 96         # of the files in a directory, behind its own path


cdef int write_identity(const Directory* directory) noexcept nogil:
    """Replace `identity` by what the struct says, durably. 0 or an errno."""
    cdef char temporary[PATH_BYTES]
    cdef char final[PATH_BYTES]
    cdef IdentityFile identity
    cdef int fd, result
    path_join(temporary, directory.path, b"identity.new")
    path_join(final, directory.path, b"identity")
    memset(&identity, 0, sizeof(identity))
    memcpy(identity.magic, b"tenureID", 8)
    identity.version = FORMAT_VERSION
    memcpy(identity.cluster_id, directory.cluster_id, 16)
    identity.host_id = directory.host_id
    identity.start_counter = directory.start_counter
    identity.flags = IDENTITY_HAS_LOG if directory.has_log else 0
    identity.checksum = file_header_checksum(&identity, sizeof(identity))
    result = file_open(temporary, OPEN_CREATE, &fd)
    if result != 0:
        return result
    result = file_write(fd, &identity, sizeof(identity), 0)
    if result == 0 and directory.sync:
        result = file_sync(fd)
    file_close(fd)
    if result == 0:
        result = file_rename(temporary, final)
    if result == 0 and directory.sync:
        result = directory_sync(directory.path)
    return result


cdef bint is_ours(const char* name) noexcept nogil:
    """What may stand in a directory whose identity is still to be written."""
    return (
        strcmp(name, b"lock") == 0 or strcmp(name, b"identity.new") == 0 or strcmp(name, b"lost+found") == 0
        or strcmp(name, b"members") == 0 or strcmp(name, b"members.new") == 0   # left when unsynced bytes were lost
        or strncmp(name, b".", 1) == 0
    )


cdef bint check_empty(const Directory* directory, StorageError* error) noexcept nogil:
    """A directory without identity holds nothing else."""
    cdef Vec[FileName] names
    cdef char path[PATH_BYTES]
    cdef size_t i
    cdef int result
    memset(&names, 0, sizeof(names))
    result = directory_list(directory.path, &names)
    if result != 0:
        storage_error_set(error, storage_code_of(result), result, 0, directory.path)
    else:
        for i in range(names.size):
            if not is_ours(names.data[i].text):
                path_join(path, directory.path, names.data[i].text)
                storage_error_set(error, STORAGE_BAD_DIRECTORY, 0, 0, path)
                result = -1
                break
    names.release()
    return result == 0


cdef bint load_identity(const char* path, IdentityFile* identity, bint* exists, StorageError* error) noexcept nogil:
    """Read an identity file and see that it is whole. False with the error filled in; one that is not there is none."""
    cdef uint64_t size = 0
    cdef size_t got = 0
    cdef int fd
    cdef int result
    exists[0] = False
    result = file_exists(path, exists)
    if result == 0 and not exists[0]:
        return True
    if result == 0:
        result = file_open(path, OPEN_READ_ONLY, &fd)
        if result == 0:
            result = file_size(fd, &size)
            if result == 0:
                result = file_read(fd, identity, sizeof(IdentityFile), 0, &got)
            file_close(fd)
    if result != 0:
        storage_error_set(error, storage_code_of(result), result, 0, path)
        return False
    if (
            got < sizeof(IdentityFile) or memcmp(identity.magic, b"tenureID", 8) != 0
            or identity.checksum != file_header_checksum(identity, sizeof(IdentityFile))):
        storage_error_set(error, STORAGE_BAD_DIRECTORY, 0, 0, path)
        return False
    if identity.version > FORMAT_VERSION:
        storage_error_set(error, STORAGE_NEWER_FORMAT, FORMAT_VERSION, identity.version, path)
        return False
    return True


cdef void adopt_identity(Directory* directory, const IdentityFile* identity) noexcept nogil:
    memcpy(directory.cluster_id, identity.cluster_id, 16)
    directory.host_id = identity.host_id
    directory.start_counter = identity.start_counter
    directory.has_log = (identity.flags & IDENTITY_HAS_LOG) != 0


cdef bint read_identity(Directory* directory, StorageError* error) noexcept nogil:
    """Compare the identity with what the caller expects; a new directory gets one by `write_identity` later."""
    cdef char path[PATH_BYTES]
    cdef IdentityFile identity
    cdef bint exists = False
    path_join(path, directory.path, b"identity")
    if not load_identity(path, &identity, &exists, error):
        return False
    directory.fresh = not exists
    if not exists:
        return check_empty(directory, error)
    if memcmp(identity.cluster_id, directory.cluster_id, 16) != 0 or identity.host_id != directory.host_id:
        storage_error_set(error, STORAGE_FOREIGN, 0, 0, path)
        return False
    adopt_identity(directory, &identity)
    return True


cdef bint take_lock(Directory* directory, StorageError* error) noexcept nogil:
    cdef char path[PATH_BYTES]
    cdef int result
    path_join(path, directory.path, b"lock")
    result = file_lock(path, &directory.lock_fd)
    if result == EAGAIN or result == EACCES:
        storage_error_set(error, STORAGE_LOCKED, result, 0, path)
        return False
    if result != 0:
        storage_error_set(error, storage_code_of(result), result, 0, path)
    return result == 0


cdef Directory* directory_open(
        const char* path, const uint8_t* cluster_id, uint64_t host_id, bint sync, StorageError* error) noexcept nogil:
    cdef Directory* directory
    cdef int result
    memset(error, 0, sizeof(StorageError))
    if strlen(path) + ROOM_FOR_NAMES > sizeof(directory.path):
        storage_error_set(error, STORAGE_IO, ENAMETOOLONG, 0, path)
        return NULL
    directory = <Directory*> calloc(1, sizeof(Directory))
    if directory == NULL:
        storage_error_set(error, STORAGE_MEMORY, 0, 0, path)
        return NULL
    memcpy(directory.path, path, strlen(path) + 1)
    memcpy(directory.cluster_id, cluster_id, 16)
    directory.host_id = host_id
    directory.sync = sync
    directory.lock_fd = -1
    result = directory_make(path)
    if result != 0:
        storage_error_set(error, storage_code_of(result), result, 0, path)
    # looked at before the lock is made, so that a foreign directory stays as it is, and again under the lock
    elif read_identity(directory, error) and take_lock(directory, error) and read_identity(directory, error):
        file_lock_sign(directory.lock_fd)
        directory.start_counter += 1
        if directory.fresh and sync:
            result = directory_sync_name(path)  # whoever made it: a process that was killed may have, and not synced it
        if result == 0:
            result = write_identity(directory)
        if result == 0:
            return directory
        storage_error_set(error, storage_code_of(result), result, 0, path)
    directory_close(directory)
    return NULL


cdef Directory* directory_look(const char* path, StorageError* error) noexcept nogil:
    cdef Directory* directory
    cdef char lock[PATH_BYTES]
    cdef IdentityFile identity
    cdef bint locked = False, exists = False
    cdef int result
    memset(error, 0, sizeof(StorageError))
    if strlen(path) + ROOM_FOR_NAMES > sizeof(directory.path):
        storage_error_set(error, STORAGE_IO, ENAMETOOLONG, 0, path)
        return NULL
    directory = <Directory*> calloc(1, sizeof(Directory))
    if directory == NULL:
        storage_error_set(error, STORAGE_MEMORY, 0, 0, path)
        return NULL
    memcpy(directory.path, path, strlen(path) + 1)
    directory.lock_fd = -1
    path_join(lock, path, b"lock")
    result = file_is_locked(lock, &locked)
    if result != 0:
        storage_error_set(error, storage_code_of(result), result, 0, lock)
    elif locked:
        storage_error_set(error, STORAGE_LOCKED, 0, 0, lock)
    else:
        path_join(lock, path, b"identity")
        if load_identity(lock, &identity, &exists, error):
            if exists:
                adopt_identity(directory, &identity)
                return directory
            storage_error_set(error, STORAGE_BAD_DIRECTORY, 0, 0, path)
    directory_close(directory)
    return NULL


cdef int directory_mark_log(Directory* directory) noexcept nogil:
    if directory.has_log:
        return 0
    directory.has_log = True
    return write_identity(directory)


cdef void directory_close(Directory* directory) noexcept nogil:
    if directory == NULL:
        return
    if directory.lock_fd >= 0:
        file_unlock(directory.lock_fd)
    free(directory)


# ---- edge: tools that look at a directory before they open it ----

def identity_of(path) -> tuple[bytes, int, int] | None:
    """Whose directory this is: (cluster id, host id, how often it was started); None where no identity is.

    Raises:
        StorageError: and its kinds: the identity cannot be read, is damaged, or was written by a newer tenure.
    """
    cdef bytes name = os.fsencode(os.path.join(path, "identity"))
    cdef const char* c_name = name
    cdef IdentityFile identity
    cdef StorageError error
    cdef bint exists = False, read
    if len(name) >= PATH_BYTES:
        raise InvalidArgument("the path is too long")
    memset(&error, 0, sizeof(error))
    with nogil:
        read = load_identity(c_name, &identity, &exists, &error)
    if not read:
        raise storage_exception(&error)
    return ((<char*> identity.cluster_id)[:16], identity.host_id, identity.start_counter) if exists else None


@cython.final
cdef class DirectoryLock:
    """The lock of a directory, held from construction until `close`: nobody opens the directory meanwhile."""

    cdef int fd

    def __cinit__(self, path):
        cdef bytes name = os.fsencode(path)
        cdef Directory directory
        cdef StorageError error
        cdef bint taken
        if <size_t> len(name) + ROOM_FOR_NAMES > sizeof(directory.path):
            raise InvalidArgument("the path is too long")
        self.fd = -1
        memset(&directory, 0, sizeof(directory))
        memset(&error, 0, sizeof(error))
        memcpy(directory.path, <const char*> name, len(name))
        with nogil:
            taken = take_lock(&directory, &error)
        if not taken:
            raise storage_exception(&error)
        self.fd = directory.lock_fd
        file_lock_sign(self.fd)

    def __dealloc__(self):
        self.close()

    def close(self) -> None:
        """Give the directory free. May be repeated."""
        if self.fd >= 0:
            file_unlock(self.fd)
            self.fd = -1

    def __enter__(self) -> DirectoryLock:
        return self

    def __exit__(self, *_) -> None:
        self.close()
