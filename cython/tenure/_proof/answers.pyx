"""A proposal's outcome is decided by what stands at its index once that is applied: its own entry, or another, and then it
never takes effect. A read is answered from the state machine as soon as it has applied the index that the leader named; that
index must not lie below what anybody had applied when the read was asked for."""

from libc.stdint cimport UINT64_MAX, int64_t, uint64_t

from tenure._proof.machine cimport machine_read
from tenure._proof.monitor cimport violate
from tenure._proof.operations cimport operation_answer
from tenure._proof.raft.types cimport OK, Entry, ReadState
from tenure._proof.world cimport (
    STATUS_FAIL,
    STATUS_OK,
    STATUS_UNKNOWN,
    VIOLATION_READ_INDEX,
    Member,
    Proposal,
    WaitingRead,
    World,
)


cdef void answer_proposals(World* w, Member* m, const Entry* entry, int64_t result) noexcept nogil:
    cdef size_t answered = 0
    cdef Proposal* proposal
    while answered < m.proposals.size and m.proposals.data[answered].index <= entry.index:
        proposal = &m.proposals.data[answered]
        answered += 1
        if proposal.index == entry.index and proposal.term == entry.term:
            operation_answer(w, m, proposal.operation, STATUS_OK, result)
        else:
            # Another entry was committed in its place, so it never will be.
            operation_answer(w, m, proposal.operation, STATUS_FAIL, 0)
    if answered:
        m.proposals.remove(0, answered)


cdef void answer_lost_proposals(World* w, Member* m, uint64_t up_to) noexcept nogil:
    cdef size_t answered = 0
    while answered < m.proposals.size and m.proposals.data[answered].index <= up_to:
        operation_answer(w, m, m.proposals.data[answered].operation, STATUS_UNKNOWN, 0)
        answered += 1
    if answered:
        m.proposals.remove(0, answered)


cdef void answer_read(World* w, Member* m, int64_t operation) noexcept nogil:
    operation_answer(w, m, operation, STATUS_OK, machine_read(w, m, operation))


cdef void answer_read_state(World* w, Member* m, const ReadState* state) noexcept nogil:
    cdef size_t i
    for i in range(m.reads.size):
        if m.reads.data[i].read_id == state.read_id:
            if state.code != OK:
                operation_answer(w, m, m.reads.data[i].operation, STATUS_FAIL, 0)
                m.reads.remove(i)
                return
            if state.index < m.reads.data[i].least:
                violate(w, VIOLATION_READ_INDEX, m, 0, state.index, m.reads.data[i].least)
            m.reads.data[i].index = state.index
            m.reads.data[i].confirmed = True
            answer_reads(w, m)
            return


cdef void answer_reads(World* w, Member* m) noexcept nogil:
    """Serve confirmed reads whose index is applied here; forget those whose client has left."""
    cdef size_t i, kept = 0
    cdef WaitingRead* read
    for i in range(m.reads.size):
        read = &m.reads.data[i]
        if read.confirmed and read.index <= m.applied:
            answer_read(w, m, read.operation)
        elif w.clients.data[w.history.data[read.operation - 1].client].operation == read.operation:
            m.reads.data[kept] = read[0]
            kept += 1
    m.reads.size = kept


cdef void answer_nobody(World* w, Member* m) noexcept nogil:
    """Connections break: what was submitted may still happen, and no read will be answered."""
    cdef size_t i
    answer_lost_proposals(w, m, UINT64_MAX)
    for i in range(m.reads.size):
        operation_answer(w, m, m.reads.data[i].operation, STATUS_FAIL, 0)
    m.reads.clear()
