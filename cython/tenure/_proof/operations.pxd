"""Client operations: their rows in the history, and answers on their way back. It owns the history."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from tenure._proof.world cimport Member, World

# An answer leaves for the client that waits for `operation`; it may get lost, which makes a write's outcome unknown.
cdef void operation_answer(World* w, const Member* m, int64_t operation, uint8_t status, int64_t out) noexcept nogil
# The client learned the outcome, or gave up. False when it no longer waits for this operation.
cdef bint operation_finish(World* w, int32_t client, int64_t operation, uint8_t status, int64_t out) noexcept nogil
# A new row, its luck hanging on `chance`; 0 without memory.
cdef int64_t operation_open(World* w, int32_t client, uint64_t chance) noexcept nogil
