"""The op side of the Redis front end: what commands wait for. Only the loop thread, but for what says otherwise."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from tenure._host.redis_types cimport Front, Op, OpChain
from tenure._net.transport cimport Transport

cdef enum DataKind:
    DATA_FORWARD = 1            # incarnation, request id, an encoded command
    DATA_ANSWER = 2             # incarnation, request id, code, index, leader, an encoded result

cdef enum OpCode:
    # Beside Code and Outcome: what else a command can come to.
    OP_NOT_CONNECTED = 201      # the leader is known but out of reach; nothing was sent
    OP_TIMED_OUT = 202          # nothing was sent, or it was a read
    OP_REFUSED = 203            # `reply` says why
    OP_NO_FRONT = 204           # the leader takes no forwarded commands
    OP_LISTED = 205             # `reply` is the list

# Takes an op over from its client side, to which it comes back settled, once: at once, or later.
cdef void op_begin(Front* f, Op* op) noexcept nogil
# To a thread, at the end of the pass.
cdef void to_thread(Front* f, uint32_t number, Op* op) noexcept nogil

# The thread of the op's side: it has come back; its client has something to send, or it is freed.
cdef void op_answered(Op* op) noexcept nogil
# Whoever has it is done with it. `at_home`: on the thread of its side.
cdef void op_release(Op* op, bint at_home) noexcept nogil
cdef void chain_add(OpChain* chain, Op* op) noexcept nogil      # any thread, its own chains

# At the end of a pass's serving: proposes, forwards, asks for a ReadIndex.
cdef void ops_submit(Front* f) noexcept nogil
# After apply.
cdef void ops_applied(Front* f) noexcept nogil
# Something is left that the next pass should submit.
cdef bint ops_waiting(const Front* f) noexcept nogil
cdef void ops_tick(Front* f, int64_t monotonic_ns) noexcept nogil
# The member has stopped and answered its callers: everything is settled. What comes later is settled at once.
cdef void ops_end(Front* f) noexcept nogil
cdef void ops_release(Front* f) noexcept nogil

cdef void ops_data(Front* f, uint64_t peer, uint32_t kind, const char* bytes, uint32_t size) noexcept nogil
cdef void ops_unreachable(Front* f, uint64_t peer) noexcept nogil
# For a host without a front end.
cdef void data_refuse(Transport* transport, uint64_t peer, uint32_t kind, const char* bytes, uint32_t size) noexcept nogil
