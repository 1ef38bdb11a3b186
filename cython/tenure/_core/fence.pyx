"""`Fence`: the check before a local read, for Python.

Any thread. It keeps the GIL on purpose: the check costs less than handing the GIL over would.
"""

cimport cython
from libcpp.atomic cimport memory_order_relaxed

from tenure._core.applied_index cimport AppliedIndex
from tenure._core.clock cimport clock_source
from tenure._core.lease cimport Lease


@cython.final
cdef class Fence:
    """The lease and the applied index of one member, checked together."""

    def __cinit__(self, Lease lease not None, AppliedIndex applied not None):
        self.handle = fence_new(lease.word, applied.applied)
        if self.handle == NULL:
            raise MemoryError("no memory for a fence")
        self.lease = lease.word
        self.applied = applied.applied

    def __dealloc__(self):
        fence_release(self.handle)

    @staticmethod
    cdef Fence wrap(LeaseWord* lease, AppliedWord* applied):
        return Fence(Lease.wrap(lease), AppliedIndex.wrap(applied))

    @cython.annotation_typing(False)                      # else Cython checks the type of the result it has just built
    def try_lease_read(self) -> int | None:
        """The applied index when the lease covers this instant, else None. Never blocks.

        What the calling thread reads afterwards is linearizable if it is at least as new as that index. One answer serves
        the call it was made for, and no call that begins later.
        """
        cdef int64_t index = fence(self.lease, self.applied)
        return None if index < 0 else index


@cython.final
cdef class FencedRead:
    """A fence, and the slower way for when it does not hold: `lease_read` as one compiled call."""

    def __cinit__(self, Fence fence not None, fall_back not None):
        """
        Args:
            fall_back: called with `timeout=` when the lease does not cover the instant; its answer is the answer.
        """
        self.fence = fence
        self.fall_back = fall_back

    @cython.annotation_typing(False)                      # as above
    def lease_read(self, *, timeout=None) -> int:
        """By the lease where it holds, else what the slower way says; the applied index."""
        cdef int64_t index = fence(self.fence.lease, self.fence.applied)
        return self.fall_back(timeout=timeout) if index < 0 else index


def _set_clock_source(int clock_id) -> None:
    """Test seam: the clock that fences made in Python read; an unknown id makes every reading fail."""
    # relaxed: the seam orders nothing
    clock_source.store(clock_id, memory_order_relaxed)
