"""The lease word: one aligned 64-bit atomic that says until when its holder may serve reads locally.

    word = generation (24 bits, high) | expiry (40 bits, low, units of 2^20 ns, rounded down); expiry 0 = no lease

Every operation is one compare-and-swap or one load, from any thread; see `lease.hpp` for the word, `lease.pyx` for Python.
"""

from libc.stdint cimport int64_t, uint32_t


cdef extern from "tenure/_core/lease.hpp" namespace "tenure" nogil:
    cdef cppclass LeaseWord:
        pass

    LeaseWord* lease_new() noexcept                       # null without memory; one reference
    LeaseWord* lease_retain(LeaseWord* word) noexcept
    void lease_release(LeaseWord* word) noexcept
    bint lease_valid(LeaseWord* word, int64_t now_ns) noexcept
    uint32_t lease_generation(LeaseWord* word) noexcept   # 0 = closed
    bint lease_extend(LeaseWord* word, int64_t until_ns, uint32_t generation) noexcept
    void lease_invalidate(LeaseWord* word) noexcept
    void lease_close(LeaseWord* word) noexcept
    int64_t lease_expiry_ns(LeaseWord* word) noexcept     # 0 = no lease


cdef class Lease:
    cdef LeaseWord* word                                  # one reference, from __cinit__ to __dealloc__, never replaced

    @staticmethod
    cdef Lease wrap(LeaseWord* word)                      # takes a reference of its own
