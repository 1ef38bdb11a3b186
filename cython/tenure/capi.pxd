"""The C interface of tenure for Cython: the fence of a lease read, callable without the GIL from any thread.

    cimport tenure.capi as capi
    capi.tenure_import()                                  # once per module, at its import
    handle = capi.tenure_fence_from_object(fence)         # with the GIL
    with nogil:
        index = capi.tenure_fence_try_lease_read(handle)  # the applied index, or -1: confirm with a quorum
    capi.tenure_fence_release(handle)

Build with the directory that contains the installed `tenure` package as include directory. See `capi.hpp` for the rules.
"""

from libc.stdint cimport int64_t


cdef extern from "tenure/capi.hpp":
    ctypedef struct tenure_fence:
        pass

    # With the GIL.
    int tenure_import() except -1
    tenure_fence* tenure_fence_from_object(object fence) except NULL

    # Any thread, without the GIL; none of them blocks.
    tenure_fence* tenure_fence_retain(tenure_fence* handle) noexcept nogil
    void tenure_fence_release(tenure_fence* handle) noexcept nogil
    int64_t tenure_fence_try_lease_read(tenure_fence* handle) noexcept nogil
    int64_t tenure_fence_applied_index(tenure_fence* handle) noexcept nogil
    int64_t tenure_fence_lease_remaining_ns(tenure_fence* handle) noexcept nogil
