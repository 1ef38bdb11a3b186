"""Every file operation of the storage package. Each answers 0 or an errno; any thread.

In production these are the system calls with their loops around interruptions and short counts, and one look at a
pointer that is null. Tests put faults behind that pointer: see `file_seam.pyx`.
"""

from libc.stdint cimport uint64_t

from tenure._core.vec cimport Vec

cdef enum:
    PATH_BYTES = 512

cdef struct FileName:
    char text[256]

# folder/name in PATH_BYTES; what does not fit is cut (directory_open leaves room for every name of ours)
cdef void path_join(char* into, const char* folder, const char* name) noexcept nogil

# Opens for reading and writing. `create`: makes the file where it is missing, and empties it where it is not.
cdef int file_open(const char* path, bint create, int* fd) noexcept nogil
cdef void file_close(int fd) noexcept nogil
cdef int file_size(int fd, uint64_t* size) noexcept nogil
cdef int file_read(int fd, void* into, size_t size, uint64_t offset, size_t* got) noexcept nogil    # less only at the end
cdef int file_write(int fd, const void* data, size_t size, uint64_t offset) noexcept nogil          # all of it
cdef int file_preallocate(int fd, uint64_t size) noexcept nogil     # the blocks are there; new bytes read as zero
cdef int file_truncate(int fd, uint64_t size) noexcept nogil
cdef int file_sync(int fd) noexcept nogil
# A name is durable once its directory was synced.
cdef int file_rename(const char* old, const char* new) noexcept nogil
cdef int file_unlink(const char* path) noexcept nogil               # a file that is not there is no error
cdef int file_exists(const char* path, bint* exists) noexcept nogil
cdef int directory_sync(const char* path) noexcept nogil
cdef int directory_make(const char* path) noexcept nogil            # one that is there is no error
# The directory's own name becomes durable, as far as the one above may be opened at all.
cdef int directory_sync_name(const char* path) noexcept nogil
cdef int directory_list(const char* path, Vec[FileName]* names) noexcept nogil
# A lock that goes with the process, or with the last of those forked from it that keeps the descriptor; EWOULDBLOCK while
# another has it. `file_unlock` ends it for all of them, and closes the descriptor.
cdef int file_lock(const char* path, int* fd) noexcept nogil
cdef void file_unlock(int fd) noexcept nogil
cdef void file_lock_sign(int fd) noexcept nogil                     # the owner's process id, for people: no promise


# The seam: what tests put in place of the system calls. `file_faults.pyx` is the only one who does.
cdef struct FileHooks:
    int (*open)(const char* path, bint create, int* fd) noexcept nogil
    void (*close)(int fd) noexcept nogil
    int (*size)(int fd, uint64_t* size) noexcept nogil
    ssize_t (*read)(int fd, void* into, size_t size, uint64_t offset) noexcept nogil            # or -errno
    ssize_t (*write)(int fd, const void* data, size_t size, uint64_t offset) noexcept nogil     # or -errno
    int (*preallocate)(int fd, uint64_t size) noexcept nogil
    int (*truncate)(int fd, uint64_t size) noexcept nogil
    int (*sync)(int fd) noexcept nogil
    int (*rename)(const char* old, const char* new) noexcept nogil
    int (*unlink)(const char* path) noexcept nogil
    int (*exists)(const char* path, bint* exists) noexcept nogil
    int (*directory_sync)(const char* path) noexcept nogil
    int (*directory_list)(const char* path, Vec[FileName]* names) noexcept nogil

cdef void file_hooks_install(const FileHooks* hooks) noexcept nogil     # null: none
cdef const FileHooks* file_hooks_production() noexcept nogil            # the system calls themselves
