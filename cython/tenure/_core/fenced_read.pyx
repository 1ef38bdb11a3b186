"""`FencedRead`: the fence, and a Python call for when the lease does not cover the instant.

Any thread. An engine hands out the bound method, so a read that the lease covers runs no Python frame at all. It keeps the
GIL, as the fence does; what the fallback does is its own affair. It never remembers an answer: each call checks anew.
"""

cimport cython
from libc.stdint cimport int64_t

from tenure._core.fence cimport Fence
from tenure._core.fence cimport fence as check


@cython.final
cdef class FencedRead:
    """`lease_read` over a fence; `fallback(timeout=...)` answers where the lease does not."""

    def __cinit__(self, Fence fence not None, fallback not None):
        self.fence = fence
        self.lease = fence.lease
        self.applied = fence.applied
        self.fallback = fallback

    @cython.annotation_typing(False)                      # else Cython checks the type of the result it has just built
    def lease_read(self, timeout: float | None = None) -> int:
        """By the lease where it holds, else by the fallback, given `timeout`; returns the applied index.

        What the calling thread reads afterwards is linearizable. One answer serves the call it was made for, and no call
        that begins later.
        """
        cdef int64_t index = check(self.lease, self.applied)
        if index >= 0:
            return index
        return self.fallback(timeout=timeout)
