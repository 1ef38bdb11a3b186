"""The rules of the lease model: the initial state, the successors of a state, the invariants. The state is in `model_state`."""

from tenure._proof.model_state cimport Invariant, LogEntry, State, Steps, World


cdef void model_start(const World* w, State* s) noexcept nogil
cdef bint model_successors(const World* w, const State* s, Steps* steps) noexcept nogil
cdef Invariant model_violation(const World* w, const State* s) noexcept nogil
cdef bint has_valid_lease(const World* w, const State* s) noexcept nogil

cdef inline int entry_term(LogEntry entry) noexcept nogil:
    return entry & 7

cdef inline bint is_change(LogEntry entry) noexcept nogil:
    return (entry >> 3) & 1

cdef inline unsigned int voters_of(LogEntry entry) noexcept nogil:
    return (entry >> 4) & 15

cdef inline unsigned int outgoing_of(LogEntry entry) noexcept nogil:
    return (entry >> 8) & 15

cdef inline unsigned int learners_of(LogEntry entry) noexcept nogil:
    return (entry >> 12) & 15

cdef inline LogEntry configuration_entry(
        int term, unsigned int voters, unsigned int outgoing, unsigned int learners) noexcept nogil:
    return <LogEntry>(term | 8 | voters << 4 | outgoing << 8 | learners << 12)
