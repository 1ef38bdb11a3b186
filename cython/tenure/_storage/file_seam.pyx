"""Every file operation of the storage package goes through here, and only here.

Two layers: the loops that callers use (all bytes or an errno), and below them one table of primitive operations. In
production the table is the system calls. A test installs another one before anything is opened (`file_faults.pyx`),
which loses what was not synced, stalls, fails or writes short; so the loops above are under test as well.

Any thread; owns nothing; never retries a sync.
"""

from libc.errno cimport EACCES, EEXIST, EINTR, EINVAL, EIO, ENOENT, EOPNOTSUPP, errno
from libc.stdint cimport uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memset, strlen
from libcpp.atomic cimport atomic, memory_order_acquire, memory_order_release

from tenure._core.vec cimport Vec


cdef extern from *:
    """
    #include <dirent.h>
    #include <errno.h>
    #include <fcntl.h>
    #include <string.h>
    #include <sys/stat.h>
    #include <unistd.h>

    // An open-file-description lock: it belongs to this descriptor, so a second one in this process meets it as well.
    static inline int lock_whole_file(int fd, short how) noexcept {
        struct flock lock;
        memset(&lock, 0, sizeof(lock));
        lock.l_type = how;
        lock.l_whence = SEEK_SET;
        return fcntl(fd, F_OFD_SETLK, &lock);
    }
    static inline void forget_errno() noexcept { errno = 0; }
    static inline int size_of_file(int fd, unsigned long long* size) noexcept {
        struct stat found;
        if (fstat(fd, &found) != 0) return -1;
        *size = static_cast<unsigned long long>(found.st_size);
        return 0;
    }
    """
    const int O_RDWR
    const int O_RDONLY
    const int O_CREAT
    const int O_TRUNC
    const int O_CLOEXEC
    const int O_DIRECTORY
    const int F_OK
    ctypedef struct DIR:
        pass
    cdef struct dirent:
        char d_name[256]
    int posix_open "open"(const char* path, int flags, int mode) noexcept nogil
    int posix_close "close"(int fd) noexcept nogil
    ssize_t pread(int fd, void* into, size_t size, long offset) noexcept nogil
    ssize_t pwrite(int fd, const void* data, size_t size, long offset) noexcept nogil
    int fallocate(int fd, int mode, long offset, long size) noexcept nogil
    int ftruncate(int fd, long size) noexcept nogil
    int fdatasync(int fd) noexcept nogil
    int fsync(int fd) noexcept nogil
    int posix_rename "rename"(const char* old, const char* new) noexcept nogil
    int posix_unlink "unlink"(const char* path) noexcept nogil
    int posix_mkdir "mkdir"(const char* path, int mode) noexcept nogil
    int getpid() noexcept nogil
    int access(const char* path, int mode) noexcept nogil
    DIR* opendir(const char* path) noexcept nogil
    dirent* readdir(DIR* stream) noexcept nogil
    int closedir(DIR* stream) noexcept nogil
    const short F_WRLCK
    const short F_UNLCK
    int lock_whole_file(int fd, short how) noexcept nogil
    void forget_errno() noexcept nogil
    int size_of_file(int fd, unsigned long long* size) noexcept nogil


# ---- the system calls ----

cdef int system_open(const char* path, bint create, int* fd) noexcept nogil:
    while True:
        fd[0] = posix_open(path, O_RDWR | O_CLOEXEC | (O_CREAT | O_TRUNC if create else 0), 0o600)
        if fd[0] >= 0:
            return 0
        if errno != EINTR:
            return errno


cdef void system_close(int fd) noexcept nogil:
    posix_close(fd)


cdef int system_size(int fd, uint64_t* size) noexcept nogil:
    cdef unsigned long long found = 0
    if size_of_file(fd, &found) != 0:
        return errno
    size[0] = found
    return 0


cdef ssize_t system_read(int fd, void* into, size_t size, uint64_t offset) noexcept nogil:
    cdef ssize_t count = pread(fd, into, size, <long> offset)
    return count if count >= 0 else -errno


cdef ssize_t system_write(int fd, const void* data, size_t size, uint64_t offset) noexcept nogil:
    cdef ssize_t count = pwrite(fd, data, size, <long> offset)
    return count if count >= 0 else -errno


cdef int system_preallocate(int fd, uint64_t size) noexcept nogil:
    while fallocate(fd, 0, 0, <long> size) != 0:
        if errno != EINTR:
            return errno
    return 0


cdef int system_truncate(int fd, uint64_t size) noexcept nogil:
    while ftruncate(fd, <long> size) != 0:
        if errno != EINTR:
            return errno
    return 0


cdef int system_sync(int fd) noexcept nogil:
    return 0 if fdatasync(fd) == 0 else errno


cdef int system_rename(const char* old, const char* new) noexcept nogil:
    return 0 if posix_rename(old, new) == 0 else errno


cdef int system_unlink(const char* path) noexcept nogil:
    return 0 if posix_unlink(path) == 0 or errno == ENOENT else errno


cdef int system_exists(const char* path, bint* exists) noexcept nogil:
    exists[0] = access(path, F_OK) == 0
    return 0 if exists[0] or errno == ENOENT else errno


cdef int system_directory_sync(const char* path) noexcept nogil:
    cdef int result = 0
    cdef int fd = posix_open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
    if fd < 0:
        return errno
    if fsync(fd) != 0:
        result = errno
    posix_close(fd)
    return result


cdef int system_directory_list(const char* path, Vec[FileName]* names) noexcept nogil:
    cdef int result = 0
    cdef FileName name
    cdef dirent* found
    cdef size_t length, i
    cdef DIR* stream = opendir(path)
    if stream == NULL:
        return errno
    while True:
        forget_errno()
        found = readdir(stream)
        if found == NULL:
            result = errno
            break
        length = strlen(found.d_name)
        if found.d_name[0] == c"." and (length == 1 or (length == 2 and found.d_name[1] == c".")):
            continue
        memset(&name, 0, sizeof(name))
        for i in range(min(length, sizeof(name.text) - 1)):
            name.text[i] = found.d_name[i]
        if not names.push(name):
            result = EIO
            break
    closedir(stream)
    return result


cdef FileHooks production
production.open = system_open
production.close = system_close
production.size = system_size
production.read = system_read
production.write = system_write
production.preallocate = system_preallocate
production.truncate = system_truncate
production.sync = system_sync
production.rename = system_rename
production.unlink = system_unlink
production.exists = system_exists
production.directory_sync = system_directory_sync
production.directory_list = system_directory_list

cdef atomic[const FileHooks*] installed


cdef void file_hooks_install(const FileHooks* hooks) noexcept nogil:
    # release: the table is filled in before it is seen
    installed.store(hooks, memory_order_release)


cdef const FileHooks* file_hooks_production() noexcept nogil:
    return &production


cdef inline const FileHooks* table() noexcept nogil:
    # acquire: pairs with the release above
    cdef const FileHooks* hooks = installed.load(memory_order_acquire)
    return hooks if hooks != NULL else &production


# ---- what callers use ----

cdef void path_join(char* into, const char* folder, const char* name) noexcept nogil:
    cdef size_t at = 0
    while folder[0] != 0 and at < PATH_BYTES - 2:
        into[at] = folder[0]
        folder += 1
        at += 1
    into[at] = c"/"
    at += 1
    while name[0] != 0 and at < PATH_BYTES - 1:
        into[at] = name[0]
        name += 1
        at += 1
    into[at] = 0


cdef int file_open(const char* path, bint create, int* fd) noexcept nogil:
    return table().open(path, create, fd)


cdef void file_close(int fd) noexcept nogil:
    table().close(fd)


cdef int file_size(int fd, uint64_t* size) noexcept nogil:
    return table().size(fd, size)


cdef int file_read(int fd, void* into, size_t size, uint64_t offset, size_t* got) noexcept nogil:
    cdef ssize_t count
    got[0] = 0
    while got[0] < size:
        count = table().read(fd, <char*> into + got[0], size - got[0], offset + got[0])
        if count == 0:
            break
        if count > 0:
            got[0] += count
        elif count != -EINTR:
            return -<int> count
    return 0


cdef int file_write(int fd, const void* data, size_t size, uint64_t offset) noexcept nogil:
    cdef ssize_t count
    cdef size_t done = 0
    while done < size:
        count = table().write(fd, <const char*> data + done, size - done, offset + done)
        if count > 0:
            done += count
        elif count == 0:
            return EIO
        elif count != -EINTR:
            return -<int> count
    return 0


cdef int file_preallocate(int fd, uint64_t size) noexcept nogil:
    cdef char zeros[4096]
    cdef uint64_t at = 0
    cdef size_t part
    cdef int result = table().preallocate(fd, size)
    if result != EOPNOTSUPP and result != EINVAL:
        return result
    memset(zeros, 0, sizeof(zeros))
    result = file_size(fd, &at)
    while result == 0 and at < size:
        part = min(sizeof(zeros), size - at)
        result = file_write(fd, zeros, part, at)
        at += part
    return result


cdef int file_truncate(int fd, uint64_t size) noexcept nogil:
    return table().truncate(fd, size)


cdef int file_sync(int fd) noexcept nogil:
    return table().sync(fd)


cdef int file_rename(const char* old, const char* new) noexcept nogil:
    return table().rename(old, new)


cdef int file_unlink(const char* path) noexcept nogil:
    return table().unlink(path)


cdef int file_exists(const char* path, bint* exists) noexcept nogil:
    return table().exists(path, exists)


cdef int directory_sync(const char* path) noexcept nogil:
    return table().directory_sync(path)


cdef int directory_list(const char* path, Vec[FileName]* names) noexcept nogil:
    return table().directory_list(path, names)


cdef int directory_make(const char* path) noexcept nogil:
    return 0 if posix_mkdir(path, 0o700) == 0 or errno == EEXIST else errno


cdef int directory_sync_name(const char* path) noexcept nogil:
    cdef char above[PATH_BYTES]
    cdef size_t length = strlen(path), i
    cdef int result
    if length >= PATH_BYTES:
        return EINVAL
    for i in range(length + 1):
        above[i] = path[i]
    while length > 1 and above[length - 1] == c"/":
        length -= 1
    while length > 0 and above[length - 1] != c"/":
        length -= 1
    if length == 0:
        above[0] = c"."
        length = 1
    above[length] = 0
    result = directory_sync(above)
    return 0 if result == EACCES else result    # its owner's affair, who made the directory for us


cdef int file_lock(const char* path, int* fd) noexcept nogil:
    cdef int result
    fd[0] = posix_open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    if fd[0] < 0:
        return errno
    if lock_whole_file(fd[0], F_WRLCK) == 0:
        return 0
    result = errno
    posix_close(fd[0])
    fd[0] = -1
    return result


cdef void file_unlock(int fd) noexcept nogil:
    lock_whole_file(fd, F_UNLCK)    # closing alone does not, while a forked child has the descriptor too
    posix_close(fd)


cdef void file_lock_sign(int fd) noexcept nogil:
    # never through the table: a seam that holds bytes back would keep the descriptor, and so the lock
    cdef char owner[32]
    cdef int length = snprintf(owner, sizeof(owner), b"%d\n", getpid())
    if system_truncate(fd, 0) == 0:
        system_write(fd, owner, length, 0)
