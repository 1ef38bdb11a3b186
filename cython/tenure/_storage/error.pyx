"""Errors of the storage package: a struct below the Python edge, an exception of `tenure.errors` at it. Pure."""

from libc.errno cimport EDQUOT, ENOSPC
from libc.stdint cimport int32_t, uint64_t
from libc.string cimport memset, strlen

import os

from tenure import errors


cdef void storage_error_set(
        StorageError* error, int32_t code, int32_t errno_value, uint64_t offset, const char* path) noexcept nogil:
    cdef size_t i
    memset(error, 0, sizeof(StorageError))
    error.code = code
    error.errno_value = errno_value
    error.offset = offset
    if path != NULL:
        for i in range(min(strlen(path), sizeof(error.path) - 1)):
            error.path[i] = path[i]


cdef int32_t storage_code_of(int32_t errno_value) noexcept nogil:
    return STORAGE_FULL if errno_value == ENOSPC or errno_value == EDQUOT else STORAGE_IO


cdef object storage_exception(const StorageError* error):
    path = os.fsdecode(error.path)
    number = error.errno_value or None
    reason = os.strerror(number) if number else ""
    if error.code == STORAGE_FULL:
        return errors.DiskFull(f"no space left for {path}", path=path, errno=number)
    if error.code == STORAGE_CORRUPT:
        return errors.CorruptLog(
            f"{path} is damaged at offset {error.offset}; nothing was changed", path=path, offset=error.offset)
    if error.code == STORAGE_NEWER_FORMAT:
        return errors.NewerFormat(
            f"{path} was written by a newer tenure", path=path, found=error.offset, supported=error.errno_value)
    if error.code == STORAGE_FOREIGN:
        return errors.ForeignCluster(
            f"{path} belongs to another cluster or host", path=path, found="another", expected="this one")
    if error.code == STORAGE_LOCKED:
        return errors.DirectoryLocked(f"another process uses {os.path.dirname(path)}", path=path, pid=holder_of(path))
    if error.code == STORAGE_MEMORY:
        return MemoryError(f"no memory for the log of {path}")
    if error.code == STORAGE_BAD_DIRECTORY:
        return errors.StorageError(f"{path}: not a whole directory of tenure", path=path, errno=number)
    if error.code == STORAGE_MISUSE:
        return errors.InvalidArgument("entries must follow each other and the log, and fit a record")
    return errors.StorageError(f"{path}: {reason or 'storage failed'}", path=path, errno=number)


cdef object holder_of(path):
    try:
        with open(path, "rb") as lock:
            return int(lock.read(20))
    except (OSError, ValueError):
        return None
