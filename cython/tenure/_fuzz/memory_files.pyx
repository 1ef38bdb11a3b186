"""A folder in memory: see `memory_files.pxd`."""

from libc.errno cimport EBADF, ENOENT, ENOMEM, ENOSPC
from libc.stdint cimport int32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset, strcmp, strlen

from tenure._core.vec cimport Vec
from tenure._storage.file_seam cimport OPEN_CREATE, FileHooks, FileName, OpenHow, file_hooks_install

cdef enum:
    FIRST_DESCRIPTOR = 1000000      # far from any descriptor of the process

cdef const char* FOLDER = b"/memory"
cdef MemoryFolder* entered = NULL


cdef const char* memory_path() noexcept nogil:
    return FOLDER


cdef const char* base_name(const char* path) noexcept nogil:
    cdef const char* name = path
    while path[0] != 0:
        if path[0] == c"/":
            name = path + 1
        path += 1
    return name


cdef int32_t index_of(const MemoryFolder* folder, const char* name) noexcept nogil:
    cdef size_t i
    if name[0] != 0:
        for i in range(folder.files.size):
            if strcmp(folder.files.data[i].name, name) == 0:
                return <int32_t> i
    return -1


cdef bint set_name(MemoryFile* file, const char* name) noexcept nogil:
    cdef size_t size = strlen(name)
    if size >= FILE_NAME_BYTES:
        return False
    memset(file.name, 0, FILE_NAME_BYTES)
    memcpy(file.name, name, size)
    return True


cdef bint resize(Vec[char]* bytes, size_t size) noexcept nogil:
    if not bytes.reserve(size):
        return False
    if size > bytes.size:
        memset(bytes.data + bytes.size, 0, size - bytes.size)
    bytes.size = size
    return True


cdef void memory_begin(MemoryFolder* folder) noexcept nogil:
    memset(folder, 0, sizeof(MemoryFolder))
    folder.last.file = -1


cdef void memory_release(MemoryFolder* folder) noexcept nogil:
    cdef size_t i
    for i in range(folder.files.size):
        folder.files.data[i].bytes.release()
    folder.files.release()
    folder.handles.release()
    folder.last.before.release()
    folder.last.file = -1


cdef MemoryFile* memory_find(MemoryFolder* folder, const char* name) noexcept nogil:
    cdef int32_t index = index_of(folder, name)
    return &folder.files.data[index] if index >= 0 else NULL


cdef MemoryFile* memory_put(
        MemoryFolder* folder, const char* name, const char* bytes, size_t count, size_t size) noexcept nogil:
    cdef MemoryFile added
    cdef MemoryFile* file = memory_find(folder, name)
    if file == NULL:
        memset(&added, 0, sizeof(added))
        if not set_name(&added, name) or not folder.files.push(added):
            return NULL
        file = &folder.files.data[folder.files.size - 1]
    file.bytes.clear()
    if not resize(&file.bytes, max(size, count)):
        return NULL
    if count:
        memcpy(file.bytes.data, bytes, count)
    return file


cdef bint memory_copy(MemoryFolder* into, const MemoryFolder* source) noexcept nogil:
    cdef size_t i
    cdef const MemoryFile* file
    for i in range(source.files.size):
        file = &source.files.data[i]
        if file.name[0] != 0 and memory_put(into, file.name, file.bytes.data, file.bytes.size, 0) == NULL:
            return False
    return True


cdef bint memory_same(const MemoryFolder* one, const MemoryFolder* other) noexcept nogil:
    cdef size_t i
    cdef const MemoryFile* file
    cdef const MemoryFile* twin
    if memory_count(one) != memory_count(other):
        return False
    for i in range(one.files.size):
        file = &one.files.data[i]
        if file.name[0] != 0:
            twin = memory_find(<MemoryFolder*> other, file.name)
            if twin == NULL or twin.bytes.size != file.bytes.size:
                return False
            if file.bytes.size and memcmp(twin.bytes.data, file.bytes.data, file.bytes.size) != 0:
                return False
    return True


cdef size_t memory_count(const MemoryFolder* folder) noexcept nogil:
    cdef size_t count = 0, i
    for i in range(folder.files.size):
        if folder.files.data[i].name[0] != 0:
            count += 1
    return count


cdef MemoryFile* memory_nth(MemoryFolder* folder, size_t n) noexcept nogil:
    cdef size_t i
    for i in range(folder.files.size):
        if folder.files.data[i].name[0] != 0:
            if n == 0:
                return &folder.files.data[i]
            n -= 1
    return NULL


# ---- the table of operations

cdef MemoryFile* file_of(int fd) noexcept nogil:
    cdef size_t place = <size_t> (fd - FIRST_DESCRIPTOR)
    if fd < FIRST_DESCRIPTOR or place >= entered.handles.size or entered.handles.data[place] < 0:
        return NULL
    return &entered.files.data[entered.handles.data[place]]


cdef int do_open(const char* path, OpenHow how, int* fd) noexcept nogil:
    cdef const char* name = base_name(path)
    cdef int32_t index = index_of(entered, name)
    if index < 0 and how != OPEN_CREATE:
        return ENOENT
    if how == OPEN_CREATE:
        entered.changes += 1
        if memory_put(entered, name, NULL, 0, 0) == NULL:
            entered.failed = True
            return ENOMEM
        index = index_of(entered, name)
    if not entered.handles.push(index):
        entered.failed = True
        return ENOMEM
    entered.open_handles += 1
    fd[0] = FIRST_DESCRIPTOR + <int> (entered.handles.size - 1)
    return 0


cdef void do_close(int fd) noexcept nogil:
    if file_of(fd) != NULL:
        entered.handles.data[fd - FIRST_DESCRIPTOR] = -1
        entered.open_handles -= 1


cdef int do_size(int fd, uint64_t* size) noexcept nogil:
    cdef MemoryFile* file = file_of(fd)
    if file == NULL:
        return EBADF
    size[0] = file.bytes.size
    return 0


cdef ssize_t do_read(int fd, void* into, size_t size, uint64_t offset) noexcept nogil:
    cdef MemoryFile* file = file_of(fd)
    if file == NULL:
        return -EBADF
    if offset >= file.bytes.size:
        return 0
    size = min(size, file.bytes.size - offset)
    if size:
        memcpy(into, file.bytes.data + offset, size)
    return <ssize_t> size


cdef bint remember(MemoryFile* file, uint64_t offset, uint64_t size) noexcept nogil:
    """Keep what a write is about to replace."""
    cdef MemoryWrite* last = &entered.last
    cdef uint64_t kept = min(size, file.bytes.size - offset) if offset < file.bytes.size else 0
    last.file = <int32_t> (file - entered.files.data)
    last.offset = offset
    last.size = size
    last.change = entered.changes
    last.before.clear()
    if not last.before.reserve(kept):
        return False
    if kept:
        memcpy(last.before.data, file.bytes.data + offset, kept)
    last.before.size = kept
    return True


cdef ssize_t do_write(int fd, const void* data, size_t size, uint64_t offset) noexcept nogil:
    cdef MemoryFile* file = file_of(fd)
    if file == NULL:
        return -EBADF
    if offset > FILE_LIMIT_BYTES or size > FILE_LIMIT_BYTES - offset:
        return -ENOSPC
    entered.changes += 1
    if not remember(file, offset, size) or not resize(&file.bytes, max(file.bytes.size, offset + size)):
        entered.failed = True
        return -ENOMEM
    memcpy(file.bytes.data + offset, data, size)
    return <ssize_t> size


cdef int set_size(int fd, uint64_t size, bint shrink) noexcept nogil:
    cdef MemoryFile* file = file_of(fd)
    if file == NULL:
        return EBADF
    if size > FILE_LIMIT_BYTES:
        return ENOSPC
    entered.changes += 1
    if size < file.bytes.size and not shrink:
        return 0
    if not resize(&file.bytes, size):
        entered.failed = True
        return ENOMEM
    return 0


cdef int do_preallocate(int fd, uint64_t size) noexcept nogil:
    return set_size(fd, size, False)


cdef int do_truncate(int fd, uint64_t size) noexcept nogil:
    return set_size(fd, size, True)


cdef int do_sync(int fd) noexcept nogil:
    return 0 if file_of(fd) != NULL else EBADF


cdef int do_rename(const char* old, const char* new) noexcept nogil:
    cdef MemoryFile* replaced = memory_find(entered, base_name(new))
    cdef MemoryFile* file = memory_find(entered, base_name(old))
    if file == NULL:
        return ENOENT
    entered.changes += 1
    if replaced != NULL and replaced != file:
        replaced.name[0] = 0
    return 0 if set_name(file, base_name(new)) else ENOSPC


cdef int do_unlink(const char* path) noexcept nogil:
    cdef MemoryFile* file = memory_find(entered, base_name(path))
    if file != NULL:
        entered.changes += 1
        file.name[0] = 0
    return 0


cdef int do_exists(const char* path, bint* exists) noexcept nogil:
    exists[0] = memory_find(entered, base_name(path)) != NULL
    return 0


cdef int do_directory_sync(const char* path) noexcept nogil:
    return 0


cdef int do_directory_list(const char* path, Vec[FileName]* names) noexcept nogil:
    cdef FileName name
    cdef size_t i
    for i in range(entered.files.size):
        if entered.files.data[i].name[0] != 0:
            memset(&name, 0, sizeof(name))
            memcpy(name.text, entered.files.data[i].name, FILE_NAME_BYTES)
            if not names.push(name):
                entered.failed = True
                return ENOMEM
    return 0


cdef FileHooks hooks
hooks.open = do_open
hooks.close = do_close
hooks.size = do_size
hooks.read = do_read
hooks.write = do_write
hooks.preallocate = do_preallocate
hooks.truncate = do_truncate
hooks.sync = do_sync
hooks.rename = do_rename
hooks.unlink = do_unlink
hooks.exists = do_exists
hooks.directory_sync = do_directory_sync
hooks.directory_list = do_directory_list


cdef void memory_enter(MemoryFolder* folder) noexcept nogil:
    global entered
    entered = folder
    file_hooks_install(&hooks)


cdef void memory_leave() noexcept nogil:
    global entered
    file_hooks_install(NULL)
    entered = NULL
