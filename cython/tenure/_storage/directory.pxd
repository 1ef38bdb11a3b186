"""A host's directory: whose it is, that nobody else has it, and how often it was started."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from tenure._storage.error cimport StorageError

cdef struct Directory:
    char path[512]
    int lock_fd                 # held until directory_close; the kernel drops it with the process
    uint64_t start_counter      # synced before directory_open returns; grows with every start
    bint fresh                  # was empty: this host never joined anything
    bint sync
    bint has_log                # a log was begun here: a directory without one has lost it
    uint8_t cluster_id[16]
    uint64_t host_id

# Creates what is missing, locks, checks cluster id, host id and format version, counts this start and syncs. Null with
# `error`: STORAGE_LOCKED, STORAGE_FOREIGN, STORAGE_NEWER_FORMAT,
# STORAGE_BAD_DIRECTORY (foreign files, damaged identity), STORAGE_IO, STORAGE_FULL.
cdef Directory* directory_open(
    const char* path, const uint8_t* cluster_id, uint64_t host_id, bint sync, StorageError* error) noexcept nogil
# For reading only: nothing is locked, made or written. The directory's own identity is taken for right. Null with `error`, also
# where another process has the lock.
cdef Directory* directory_look(const char* path, StorageError* error) noexcept nogil
# The log of this directory now exists and is durable: from now on its absence is a loss. 0 or an errno.
cdef int directory_mark_log(Directory* directory) noexcept nogil
cdef void directory_close(Directory* directory) noexcept nogil
