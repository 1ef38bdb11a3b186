"""The table behind `tenure.capi`: one static struct of functions, published as the capsule `api`.

Filled once when the module is imported and constant afterwards, so any thread may use it for the life of the process.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int64_t, uint32_t

from tenure._core.applied_index cimport applied_load
from tenure._core.clock cimport clock_now_ns
from tenure._core.fence cimport Fence, FenceHandle, fence, fence_release, fence_retain
from tenure._core.lease cimport lease_expiry_ns


cdef extern from "tenure/capi.hpp":
    const char* TENURE_CAPI_NAME
    const uint32_t TENURE_CAPI_VERSION
    ctypedef struct tenure_fence:
        pass
    ctypedef struct tenure_capi:
        uint32_t version
        uint32_t size_bytes
        tenure_fence* (*fence_from_object)(object fence) except NULL
        tenure_fence* (*fence_retain)(tenure_fence* handle) noexcept nogil
        void (*fence_release)(tenure_fence* handle) noexcept nogil
        int64_t (*fence_try_lease_read)(tenure_fence* handle) noexcept nogil
        int64_t (*fence_applied_index)(tenure_fence* handle) noexcept nogil
        int64_t (*fence_lease_remaining_ns)(tenure_fence* handle) noexcept nogil


cdef tenure_fence* from_object(object source) except NULL:
    return <tenure_fence*> fence_retain((<Fence?> source).handle)


cdef tenure_fence* retain(tenure_fence* handle) noexcept nogil:
    return <tenure_fence*> fence_retain(<FenceHandle*> handle)


cdef void release(tenure_fence* handle) noexcept nogil:
    fence_release(<FenceHandle*> handle)


cdef int64_t try_lease_read(tenure_fence* handle) noexcept nogil:
    return fence((<FenceHandle*> handle).lease, (<FenceHandle*> handle).applied)


cdef int64_t applied_index(tenure_fence* handle) noexcept nogil:
    return applied_load((<FenceHandle*> handle).applied)


cdef int64_t lease_remaining_ns(tenure_fence* handle) noexcept nogil:
    cdef int64_t now_ns = clock_now_ns()
    cdef int64_t expiry_ns = lease_expiry_ns((<FenceHandle*> handle).lease)
    return expiry_ns - now_ns if 0 < now_ns < expiry_ns else 0


cdef tenure_capi table
table.version = TENURE_CAPI_VERSION
table.size_bytes = sizeof(tenure_capi)
table.fence_from_object = from_object
table.fence_retain = retain
table.fence_release = release
table.fence_try_lease_read = try_lease_read
table.fence_applied_index = applied_index
table.fence_lease_remaining_ns = lease_remaining_ns

api = PyCapsule_New(&table, TENURE_CAPI_NAME, NULL)
