"""Faults behind the file seam: for tests, never imported otherwise.

`configure` puts another table of primitive operations under `file_seam.pyx`, for the whole process; a child process gets
the same by the environment variable TENURE_STORAGE_FAULTS, read when `tenure._storage` is imported. The specification is
a list of items, separated by commas:

    hold_unsynced               power loss: see below
    stall_sync=200ms            every sync takes that much longer (ns, us, ms, s); `until_told` waits for `let_syncs_go`
    stall_sync=3:200ms          only the third one; 3+ for the third and all that follow
    fail_sync=3:EIO             the third sync fails; 3+ as above. Also fail_write, fail_rename, fail_preallocate,
                                fail_open, fail_read. A file's sync and a directory's are both syncs
    short_write=100             no write takes more than 100 bytes at once

**Power loss.** With `hold_unsynced` nothing reaches the kernel that was not asked to be durable: written bytes,
truncations and preallocations wait in this process's memory for a successful sync of their file, and names (creations,
renames, deletions) for that of their directory. Reading sees them, of course. Killing the process by SIGKILL therefore loses
what a loss of power would lose at worst; `lose_power` does the same to a process that lives on. A sync that fails drops
what it should have made durable, as kernels do.

Any thread; one mutex guards everything and is not held while a sync stalls.
"""

from libc.errno cimport EIO, ENOENT, ENOMEM
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset, strcmp, strlen, strncmp
from libcpp.atomic cimport atomic, memory_order_acquire, memory_order_release

from tenure._core.vec cimport Vec
from tenure._storage.file_seam cimport (
    OPEN_CREATE, OPEN_EXISTING, PATH_BYTES, FileHooks, FileName, OpenHow, file_hooks_install, file_hooks_production,
)

import errno as errno_names


cdef extern from *:
    """
    #include <errno.h>
    #include <fcntl.h>
    #include <pthread.h>
    #include <stdio.h>
    #include <sys/stat.h>
    #include <time.h>
    #include <unistd.h>

    static pthread_mutex_t faults_mutex = PTHREAD_MUTEX_INITIALIZER;
    static inline void faults_lock() noexcept { pthread_mutex_lock(&faults_mutex); }
    static inline void faults_unlock() noexcept { pthread_mutex_unlock(&faults_mutex); }

    static inline bool same_file(int fd, unsigned long long* device, unsigned long long* inode) noexcept {
        struct stat found;
        if (fstat(fd, &found) != 0) return false;
        *device = found.st_dev;
        *inode = found.st_ino;
        return true;
    }
    static inline int open_nameless(const char* folder) noexcept {
        return open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    }
    static inline int open_again(int fd) noexcept {
        char path[64];
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        return open(path, O_RDWR | O_CLOEXEC);
    }
    static inline int give_name(int fd, const char* name) noexcept {
        char path[64];
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        unlink(name);
        return linkat(AT_FDCWD, path, AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
    }
    static inline int duplicate(int fd) noexcept { return fcntl(fd, F_DUPFD_CLOEXEC, 0); }
    static inline int close_duplicate(int fd) noexcept { return close(fd); }
    static inline int last_errno() noexcept { return errno; }
    static inline void sleep_ns(long long ns) noexcept {
        struct timespec time = {static_cast<time_t>(ns / 1000000000), static_cast<long>(ns % 1000000000)};
        while (nanosleep(&time, &time) != 0 && errno == EINTR) {}
    }
    """
    void faults_lock() noexcept nogil
    void faults_unlock() noexcept nogil
    bint same_file(int fd, unsigned long long* device, unsigned long long* inode) noexcept nogil
    int open_nameless(const char* folder) noexcept nogil
    int open_again(int fd) noexcept nogil
    int give_name(int fd, const char* name) noexcept nogil
    int duplicate(int fd) noexcept nogil
    int close_duplicate(int fd) noexcept nogil
    int last_errno() noexcept nogil
    void sleep_ns(long long ns) noexcept nogil

cdef enum Kind:
    SYNC = 0
    WRITE = 1
    RENAME = 2
    PREALLOCATE = 3
    OPEN = 4
    READ = 5
    KINDS = 6

KIND_NAMES = {"sync": SYNC, "write": WRITE, "rename": RENAME, "preallocate": PREALLOCATE, "open": OPEN, "read": READ}

cdef struct Trouble:
    uint64_t calls
    uint64_t at                 # the call that fails, counted from 1; 0 = none
    bint onwards                # and every later one
    int32_t errno_value

cdef enum HeldKind:
    HELD_WRITE = 0
    HELD_TRUNCATE = 1
    HELD_PREALLOCATE = 2
    HELD_CREATE = 3
    HELD_RENAME = 4
    HELD_UNLINK = 5

cdef struct HeldChange:
    int kind
    uint64_t offset
    uint64_t size
    char* bytes

cdef struct HeldFile:
    unsigned long long device
    unsigned long long inode
    int fd                      # of our own, so that the inode stays
    uint64_t size
    Vec[HeldChange] changes

cdef struct HeldName:
    int kind
    int fd                      # HELD_CREATE: the nameless file, of our own
    char path[PATH_BYTES]
    char to[PATH_BYTES]         # HELD_RENAME

cdef Trouble troubles[KINDS]
cdef bint holding = False
cdef size_t short_write = 0
cdef uint64_t stall_at = 0
cdef bint stall_onwards = False
cdef int64_t stall_ns = 0       # negative: until told
cdef atomic[int32_t] told
cdef Vec[HeldFile] files
cdef Vec[HeldName] names
cdef const FileHooks* real = file_hooks_production()


cdef int meet(Kind kind, uint64_t* call) noexcept nogil:
    """Count a call; the errno it has to fail with, or 0. Under the mutex."""
    cdef Trouble* trouble = &troubles[<int> kind]
    trouble.calls += 1
    call[0] = trouble.calls
    if trouble.at and (trouble.calls == trouble.at or (trouble.onwards and trouble.calls > trouble.at)):
        return trouble.errno_value
    return 0


cdef void stall(uint64_t call) noexcept nogil:
    """Not under the mutex."""
    if stall_at == 0 or (call != stall_at and not (stall_onwards and call > stall_at)):
        return
    if stall_ns >= 0:
        sleep_ns(stall_ns)
        return
    # acquire: pairs with `let_syncs_go`
    while told.load(memory_order_acquire) == 0:
        sleep_ns(1_000_000)


# ---- held files ----

cdef HeldFile* held(int fd, bint create) noexcept nogil:
    cdef size_t i
    cdef HeldFile added
    memset(&added, 0, sizeof(added))
    if not same_file(fd, &added.device, &added.inode):
        return NULL
    for i in range(files.size):
        if files.data[i].device == added.device and files.data[i].inode == added.inode:
            return &files.data[i]
    if not create or real.size(fd, &added.size) != 0:
        return NULL
    added.fd = duplicate(fd)
    if added.fd < 0 or not files.push(added):
        return NULL
    return &files.data[files.size - 1]


cdef void forget(HeldFile* file) noexcept nogil:
    cdef size_t i
    for i in range(file.changes.size):
        free(file.changes.data[i].bytes)
    file.changes.release()
    close_duplicate(file.fd)
    files.remove(<size_t> (file - files.data))


cdef int carry_out(HeldFile* file) noexcept nogil:
    """Do to the kernel's file what was held, in order. 0 or an errno."""
    cdef size_t i
    cdef uint64_t done
    cdef ssize_t count
    cdef HeldChange* change
    cdef int result = 0
    for i in range(file.changes.size):
        change = &file.changes.data[i]
        done = 0
        if change.kind == HELD_TRUNCATE:
            result = real.truncate(file.fd, change.size)
        elif change.kind == HELD_PREALLOCATE:
            result = real.preallocate(file.fd, change.size)
        while change.kind == HELD_WRITE and done < change.size and result == 0:
            count = real.write(file.fd, change.bytes + done, change.size - done, change.offset + done)
            if count <= 0:
                result = -<int> count if count < 0 else EIO
            done += count
        if result != 0:
            break
    return result


cdef int hold(int fd, int kind, const void* bytes, uint64_t size, uint64_t offset) noexcept nogil:
    cdef HeldChange change
    cdef HeldFile* file = held(fd, True)
    if file == NULL:
        return ENOMEM
    change.kind = kind
    change.offset = offset
    change.size = size
    change.bytes = NULL
    if kind == HELD_WRITE:
        change.bytes = <char*> malloc(size + 1)
        if change.bytes == NULL:
            return ENOMEM
        memcpy(change.bytes, bytes, size)
        file.size = max(file.size, offset + size)
    elif kind == HELD_TRUNCATE:
        file.size = size
    else:
        file.size = max(file.size, size)
    if not file.changes.push(change):
        free(change.bytes)
        return ENOMEM
    return 0


cdef ssize_t read_held(HeldFile* file, int fd, char* into, size_t size, uint64_t offset) noexcept nogil:
    cdef size_t i
    cdef uint64_t begin, end
    cdef HeldChange* change
    cdef ssize_t count
    if offset >= file.size:
        return 0
    size = min(size, file.size - offset)
    count = real.read(fd, into, size, offset)
    if count < 0:
        return count
    memset(into + count, 0, size - count)
    for i in range(file.changes.size):
        change = &file.changes.data[i]
        if change.kind == HELD_TRUNCATE and change.size < offset + size:
            begin = max(change.size, offset)
            memset(into + (begin - offset), 0, offset + size - begin)
        elif change.kind == HELD_WRITE:
            begin = max(change.offset, offset)
            end = min(change.offset + change.size, offset + size)
            if begin < end:
                memcpy(into + (begin - offset), change.bytes + (begin - change.offset), end - begin)
    return size


# ---- held names ----

cdef size_t folder_length(const char* path) noexcept nogil:
    cdef size_t length = strlen(path)
    while length > 0 and path[length - 1] != c"/":
        length -= 1
    return length


cdef bint is_in(const char* path, const char* folder) noexcept nogil:
    cdef size_t length = folder_length(path)
    return length == strlen(folder) + 1 and strncmp(path, folder, length - 1) == 0


cdef void copy_path(char* into, const char* path) noexcept nogil:
    memcpy(into, path, min(strlen(path) + 1, <size_t> PATH_BYTES))
    into[PATH_BYTES - 1] = 0


cdef bint resolve(const char* path, char* name, int* fd) noexcept nogil:
    """What `path` means once everything held is done: a name in the kernel's directory, or a nameless file. False: none."""
    cdef size_t i = names.size
    fd[0] = -1
    copy_path(name, path)
    while i > 0:
        i -= 1
        if names.data[i].kind == HELD_RENAME and strcmp(names.data[i].to, name) == 0:
            copy_path(name, names.data[i].path)
        elif strcmp(names.data[i].path, name) == 0:
            fd[0] = names.data[i].fd
            return names.data[i].kind == HELD_CREATE
    return True


cdef int hold_name(int kind, int fd, const char* path, const char* to) noexcept nogil:
    cdef HeldName name
    name.kind = kind
    name.fd = fd
    copy_path(name.path, path)
    copy_path(name.to, to)
    return 0 if names.push(name) else ENOMEM


cdef int carry_out_names(const char* folder) noexcept nogil:
    cdef size_t i = 0
    cdef HeldName* name
    cdef int result = 0
    while result == 0 and i < names.size:
        name = &names.data[i]
        if not is_in(name.path, folder):
            i += 1
            continue
        if name.kind == HELD_CREATE:
            result = give_name(name.fd, name.path)
            close_duplicate(name.fd)
        elif name.kind == HELD_RENAME:
            result = real.rename(name.path, name.to)
        else:
            result = real.unlink(name.path)
        names.remove(i)
    return result


cdef void drop_everything() noexcept nogil:
    cdef size_t i
    while files.size:
        forget(&files.data[0])
    for i in range(names.size):
        if names.data[i].fd >= 0:
            close_duplicate(names.data[i].fd)
    names.clear()


# ---- the table ----

cdef int faulty_open(const char* path, OpenHow how, int* fd) noexcept nogil:
    cdef char name[PATH_BYTES]
    cdef uint64_t call
    cdef int nameless, result, mine
    cdef bint exists = False
    faults_lock()
    result = meet(OPEN, &call)
    if result == 0 and not holding:
        result = real.open(path, how, fd)
    elif result == 0:
        if resolve(path, name, &nameless):
            result = 0
            if nameless >= 0:
                fd[0] = open_again(nameless)
                exists = True
            else:
                result = real.exists(name, &exists)
                if result == 0 and exists:
                    result = real.open(name, OPEN_EXISTING, fd)
            if result == 0 and exists and fd[0] < 0:
                result = last_errno()
            if result == 0 and exists and how == OPEN_CREATE:
                result = hold(fd[0], HELD_TRUNCATE, NULL, 0, 0)
        if result == 0 and not exists:
            if how != OPEN_CREATE:
                result = ENOENT
            else:
                copy_path(name, path)
                name[folder_length(name)] = 0
                fd[0] = open_nameless(name)
                mine = duplicate(fd[0]) if fd[0] >= 0 else -1
                result = hold_name(HELD_CREATE, mine, path, b"") if mine >= 0 else last_errno()
    faults_unlock()
    return result


cdef int faulty_size(int fd, uint64_t* size) noexcept nogil:
    cdef int result = 0
    cdef HeldFile* file
    faults_lock()
    file = held(fd, False)
    if file != NULL:
        size[0] = file.size
    else:
        result = real.size(fd, size)
    faults_unlock()
    return result


cdef ssize_t faulty_read(int fd, void* into, size_t size, uint64_t offset) noexcept nogil:
    cdef uint64_t call
    cdef ssize_t count
    cdef HeldFile* file
    faults_lock()
    count = -meet(READ, &call)
    if count == 0:
        file = held(fd, False)
        count = read_held(file, fd, <char*> into, size, offset) if file != NULL else real.read(fd, into, size, offset)
    faults_unlock()
    return count


cdef ssize_t faulty_write(int fd, const void* data, size_t size, uint64_t offset) noexcept nogil:
    cdef uint64_t call
    cdef ssize_t result
    faults_lock()
    result = -meet(WRITE, &call)
    if result == 0:
        if short_write:
            size = min(size, short_write)
        if holding:
            result = -hold(fd, HELD_WRITE, data, size, offset)
            if result == 0:
                result = size
        else:
            result = real.write(fd, data, size, offset)
    faults_unlock()
    return result


cdef int faulty_preallocate(int fd, uint64_t size) noexcept nogil:
    cdef uint64_t call
    cdef int result
    faults_lock()
    result = meet(PREALLOCATE, &call)
    if result == 0:
        result = hold(fd, HELD_PREALLOCATE, NULL, size, 0) if holding else real.preallocate(fd, size)
    faults_unlock()
    return result


cdef int faulty_truncate(int fd, uint64_t size) noexcept nogil:
    cdef int result
    faults_lock()
    result = hold(fd, HELD_TRUNCATE, NULL, size, 0) if holding else real.truncate(fd, size)
    faults_unlock()
    return result


cdef int faulty_sync(int fd) noexcept nogil:
    cdef uint64_t call
    cdef HeldFile* file
    cdef int result
    faults_lock()
    result = meet(SYNC, &call)
    faults_unlock()
    stall(call)
    faults_lock()
    file = held(fd, False)
    if file != NULL:
        if result == 0:
            result = carry_out(file)
        forget(file)
    faults_unlock()
    return result if result != 0 else real.sync(fd)


cdef int faulty_rename(const char* old, const char* new) noexcept nogil:
    cdef char name[PATH_BYTES]
    cdef uint64_t call
    cdef int fd, result
    faults_lock()
    result = meet(RENAME, &call)
    if result == 0:
        if not holding:
            result = real.rename(old, new)
        else:
            result = hold_name(HELD_RENAME, -1, old, new) if resolve(old, name, &fd) else ENOENT
    faults_unlock()
    return result


cdef int faulty_unlink(const char* path) noexcept nogil:
    cdef char name[PATH_BYTES]
    cdef int fd, result = 0
    faults_lock()
    if not holding:
        result = real.unlink(path)
    elif resolve(path, name, &fd):
        result = hold_name(HELD_UNLINK, -1, path, b"")
    faults_unlock()
    return result


cdef int faulty_exists(const char* path, bint* exists) noexcept nogil:
    cdef char name[PATH_BYTES]
    cdef int fd, result = 0
    faults_lock()
    exists[0] = resolve(path, name, &fd)
    if exists[0] and fd < 0:
        result = real.exists(name, exists)
    faults_unlock()
    return result


cdef int faulty_directory_sync(const char* path) noexcept nogil:
    cdef uint64_t call
    cdef int result
    faults_lock()
    result = meet(SYNC, &call)
    faults_unlock()
    stall(call)
    faults_lock()
    if result == 0:
        result = carry_out_names(path)
    faults_unlock()
    return result if result != 0 else real.directory_sync(path)


cdef void list_without(Vec[FileName]* listed, const char* name) noexcept nogil:
    cdef size_t i
    for i in range(listed.size):
        if strcmp(listed.data[i].text, name) == 0:
            listed.remove(i)
            return


cdef int list_with(Vec[FileName]* listed, const char* name) noexcept nogil:
    cdef FileName added
    list_without(listed, name)
    memset(&added, 0, sizeof(added))
    memcpy(added.text, name, min(strlen(name), sizeof(added.text) - 1))
    return 0 if listed.push(added) else ENOMEM


cdef int faulty_directory_list(const char* path, Vec[FileName]* listed) noexcept nogil:
    cdef size_t i
    cdef HeldName* name
    cdef int result
    faults_lock()
    result = real.directory_list(path, listed)
    for i in range(names.size):
        name = &names.data[i]
        if result != 0 or not is_in(name.path, path):
            continue
        if name.kind != HELD_CREATE:
            list_without(listed, name.path + folder_length(name.path))
        if name.kind == HELD_CREATE:
            result = list_with(listed, name.path + folder_length(name.path))
        elif name.kind == HELD_RENAME:
            result = list_with(listed, name.to + folder_length(name.to))
    faults_unlock()
    return result


cdef FileHooks faulty
faulty.open = faulty_open
faulty.close = real.close
faulty.size = faulty_size
faulty.read = faulty_read
faulty.write = faulty_write
faulty.preallocate = faulty_preallocate
faulty.truncate = faulty_truncate
faulty.sync = faulty_sync
faulty.rename = faulty_rename
faulty.unlink = faulty_unlink
faulty.exists = faulty_exists
faulty.directory_sync = faulty_directory_sync
faulty.directory_list = faulty_directory_list


# ---- the Python edge ----

UNITS_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}


cdef tuple which_calls(str text):
    """`3:` the third, `3+:` from the third on, nothing: all. (first, onwards, the rest)."""
    first, colon, rest = text.partition(":")
    if not colon:
        return 1, True, text
    return int(first.removesuffix("+")), first.endswith("+"), rest


cdef int64_t duration_ns(str text) except? -2:
    if text == "until_told":
        return -1
    for unit, factor in UNITS_NS.items():
        if text.endswith(unit) and text.removesuffix(unit).isdigit():
            return int(text.removesuffix(unit)) * factor
    raise ValueError(f"not a duration: {text!r}")


cdef configure_item(str item):
    global holding, short_write, stall_at, stall_onwards, stall_ns
    name, _, value = item.partition("=")
    if name == "hold_unsynced" and not value:
        holding = True
    elif name == "short_write":
        short_write = int(value)
    elif name == "stall_sync":
        stall_at, stall_onwards, rest = which_calls(value)
        stall_ns = duration_ns(rest)
    elif name.startswith("fail_") and name.removeprefix("fail_") in KIND_NAMES:
        first, onwards, reason = which_calls(value)
        number = getattr(errno_names, reason, None) if reason.startswith("E") else None
        if number is None:
            raise ValueError(f"not the name of an errno: {reason!r}")
        kind = <int> KIND_NAMES[name.removeprefix("fail_")]
        troubles[kind].at, troubles[kind].onwards, troubles[kind].errno_value = first, onwards, number
    else:
        raise ValueError(f"not a storage fault: {item!r}")


def configure(str specification not None) -> None:
    """Put these faults, and no others, under the storage of this process; calls are counted from here on."""
    clear()
    try:
        for item in specification.split(","):
            configure_item(item.strip())
    except BaseException:
        clear()
        raise
    # release: nothing depends on it, the table below is installed later
    told.store(0, memory_order_release)
    file_hooks_install(&faulty)


def clear() -> None:
    """No faults any more. What was held is lost."""
    global holding, short_write, stall_at, stall_ns
    let_syncs_go()
    file_hooks_install(NULL)
    faults_lock()
    drop_everything()
    memset(troubles, 0, sizeof(troubles))
    holding = False
    short_write = stall_at = stall_ns = 0
    faults_unlock()


def lose_power() -> None:
    """Drop everything that was not synced. Close and reopen what was open."""
    faults_lock()
    drop_everything()
    faults_unlock()


def let_syncs_go() -> None:
    """End every stall `until_told`, present and future."""
    # release: pairs with the acquire in `stall`
    told.store(1, memory_order_release)


def calls() -> dict[str, int]:
    """How often each kind of operation was asked for since `configure`."""
    return {name: troubles[<int> kind].calls for name, kind in KIND_NAMES.items()}
