"""`Lease`: the lease word for Python. Compiled callers use the functions of `lease.pxd` on the word itself.

Any thread may call any method; each is one atomic load or one compare-and-swap and never blocks. The object is a pointer,
set once, to memory that it shares with engines and fences and that lives as long as the last of them.
"""

cimport cython
from libcpp.atomic cimport memory_order_relaxed

from tenure._core.clock cimport clock_now_ns, clock_source


@cython.final
cdef class Lease:
    """A right to serve reads locally until an instant of the lease clock (`tenure._core.clock.now_ns`).

    Safe to share between threads. A forked child finds every lease closed.
    """

    def __cinit__(self):
        self.word = lease_new()
        if self.word == NULL:
            raise MemoryError("no memory for a lease, or fork could not be guarded")

    def __dealloc__(self):
        lease_release(self.word)

    @staticmethod
    cdef Lease wrap(LeaseWord* word):
        cdef Lease lease = Lease.__new__(Lease)
        lease_release(lease.word)
        lease.word = lease_retain(word)
        return lease

    def valid(self) -> bool:
        """Whether the lease covers this very instant; False when the clock cannot be read."""
        return lease_valid(self.word, clock_now_ns())

    def valid_at(self, int64_t now_ns) -> bool:
        """Whether the lease covers `now_ns` (nanoseconds of the lease clock). It ends strictly before its expiry."""
        return lease_valid(self.word, now_ns)

    def extend(self, int64_t until_ns, uint32_t generation) -> bool:
        """Move the end to `until_ns` (nanoseconds, rounded down to 2^20 ns) and return True.

        Changes nothing and returns False when `generation` is no longer current, the lease is closed, or an end at least
        as late stands already. Sample `generation` before the operation that proves the quorum.
        """
        return lease_extend(self.word, until_ns, generation)

    def invalidate(self) -> None:
        """Withdraw the lease: the next generation begins without one, and extensions of older generations fail."""
        lease_invalidate(self.word)

    def __call__(self) -> None:
        """The same as `invalidate`: a lease can be registered as it is for the loss of leadership, with any engine."""
        lease_invalidate(self.word)

    def close(self) -> None:
        """End the lease for good; every later call finds generation 0 and no expiry. May be repeated."""
        lease_close(self.word)

    @property
    def generation(self) -> int:
        """The current generation, 1 to 2^24 - 1; 0 once closed."""
        return lease_generation(self.word)

    @property
    def expiry_ns(self) -> int:
        """The instant of the lease clock at which the lease ends, in nanoseconds; 0 without a lease."""
        return lease_expiry_ns(self.word)

    @property
    def remaining_ns(self) -> int:
        """Nanoseconds for which the lease still holds; 0 when it does not."""
        cdef int64_t now_ns = clock_now_ns()
        cdef int64_t expiry_ns = lease_expiry_ns(self.word)
        return expiry_ns - now_ns if 0 < now_ns < expiry_ns else 0

    def __repr__(self) -> str:
        return f"<Lease generation={self.generation} expiry_ns={self.expiry_ns} remaining_ns={self.remaining_ns}>"


def _set_clock_source(int clock_id) -> None:
    """Test seam: the clock that `Lease.valid` and `remaining_ns` read; an unknown id makes every reading fail."""
    # relaxed: the seam orders nothing
    clock_source.store(clock_id, memory_order_relaxed)
