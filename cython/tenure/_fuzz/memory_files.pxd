"""A folder in memory behind the file seam of `_storage`: fuzz targets fill it, damage it and see what was done to it.

While a folder is entered, every file operation of this process goes there, so a target enters, runs and leaves on one thread
while no host is open. A file keeps its place in `files` for good; one that was deleted has no name. Nothing is ever lost and
nothing fails, except that a file beyond FILE_LIMIT_BYTES finds no space.
"""

from libc.stdint cimport int32_t, uint64_t

from tenure._core.vec cimport Vec

cdef enum:
    FILE_NAME_BYTES = 64
    FILE_LIMIT_BYTES = 1 << 20

cdef struct MemoryFile:
    char name[FILE_NAME_BYTES]      # empty once it was deleted
    Vec[char] bytes

cdef struct MemoryWrite:
    int32_t file                    # -1: none yet
    uint64_t offset
    uint64_t size
    uint64_t change                 # which of the folder's changes it was
    Vec[char] before                # what stood there, as far as the file reached

cdef struct MemoryFolder:
    # Zeroed, and then memory_begin.
    Vec[MemoryFile] files
    Vec[int32_t] handles            # the file of each descriptor, -1 once closed
    uint64_t open_handles
    uint64_t changes                # creations, writes, truncations, preallocations, renames, deletions
    MemoryWrite last
    bint failed                     # memory ran out

cdef const char* memory_path() noexcept nogil       # of the folder
cdef void memory_begin(MemoryFolder* folder) noexcept nogil
cdef void memory_release(MemoryFolder* folder) noexcept nogil
cdef void memory_enter(MemoryFolder* folder) noexcept nogil
cdef void memory_leave() noexcept nogil
# A file with these bytes and zeros behind them up to `size`; replaces one of the same name. Null without memory.
cdef MemoryFile* memory_put(
    MemoryFolder* folder, const char* name, const char* bytes, size_t count, size_t size) noexcept nogil
cdef MemoryFile* memory_find(MemoryFolder* folder, const char* name) noexcept nogil
# The named files of `source` into an empty folder. False without memory.
cdef bint memory_copy(MemoryFolder* into, const MemoryFolder* source) noexcept nogil
cdef bint memory_same(const MemoryFolder* one, const MemoryFolder* other) noexcept nogil
cdef size_t memory_count(const MemoryFolder* folder) noexcept nogil             # files with a name
cdef MemoryFile* memory_nth(MemoryFolder* folder, size_t n) noexcept nogil      # of those
