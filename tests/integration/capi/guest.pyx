# distutils: language = c++
"""A compiled server of somebody else: it takes a fence from a Python object and asks it without the GIL."""

from libc.stdint cimport int64_t
cimport tenure.capi as capi

capi.tenure_import()


cdef class Reader:
    cdef capi.tenure_fence* handle

    def __cinit__(self, fence):
        self.handle = capi.tenure_fence_from_object(fence)

    def __dealloc__(self):
        if self.handle != NULL:
            capi.tenure_fence_release(self.handle)

    def read(self) -> int:
        """One fence without the GIL: the applied index, or -1."""
        cdef int64_t index
        with nogil:
            index = capi.tenure_fence_try_lease_read(self.handle)
        return index

    def read_until_refused(self, int64_t at_most) -> int:
        """Fences in a loop that never takes the GIL; returns how many held before the first refusal."""
        cdef int64_t held = 0
        with nogil:
            while held < at_most and capi.tenure_fence_try_lease_read(self.handle) >= 0:
                held += 1
        return held

    def applied_index(self) -> int:
        return capi.tenure_fence_applied_index(self.handle)

    def lease_remaining_ns(self) -> int:
        return capi.tenure_fence_lease_remaining_ns(self.handle)

    def retain_and_release(self, int64_t count) -> None:
        """Take and give back references, as a server does that hands the handle to its threads."""
        cdef int64_t _i
        with nogil:
            for _i in range(count):
                capi.tenure_fence_release(capi.tenure_fence_retain(self.handle))
