"""Commands that cannot be answered at once: how they wait, and for what. Only the loop thread."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from tenure._core.blob cimport Blob
from tenure._core.vec cimport Vec
from tenure._host.redis_commands cimport RedisCommand
from tenure._host.redis_types cimport Client, Front, Op, OpKind
from tenure._kv.codec cimport Slice
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

# A command of `client` that is under way, at the end of its queue; null without memory.
cdef Op* op_new(Front* f, Client* client, OpKind kind, const RedisCommand* command) noexcept nogil
# The outcome is final: the client is told when the pass ends.
cdef void op_settle(Op* op, int32_t code) noexcept nogil
# Appends the replies of what is settled at the head of the client's queue, as far as its output has room.
cdef bint ops_drain(Front* f, Client* client) noexcept nogil
cdef bint ops_drainable(const Front* f, const Client* client) noexcept nogil
# The client is gone.
cdef void ops_forget(Front* f, Client* client) noexcept nogil
cdef void ops_release(Front* f) noexcept nogil

# Takes over the command.
cdef bint op_propose(Front* f, Op* op, Blob* command) noexcept nogil
# Copies what was asked; the read is run when its turn comes and a quorum has confirmed this pass's ReadIndex.
cdef bint op_read(Front* f, Op* op, const Slice* arguments, uint32_t count) noexcept nogil
# The same for a read that met a key of which nobody can say yet whether it has ended.
cdef bint op_mark(Front* f, Op* op, const Slice* arguments, uint32_t count) noexcept nogil

# At the end of a pass's serving: proposes, forwards, asks for a ReadIndex. True: something is left for the next pass.
cdef void ops_submit(Front* f) noexcept nogil
# After apply.
cdef void ops_applied(Front* f) noexcept nogil
cdef bint ops_waiting(const Front* f) noexcept nogil
cdef void ops_tick(Front* f, int64_t monotonic_ns) noexcept nogil

cdef void ops_data(Front* f, uint64_t peer, uint32_t kind, const char* bytes, uint32_t size) noexcept nogil
cdef void ops_unreachable(Front* f, uint64_t peer) noexcept nogil
# For a host without a front end.
cdef void data_refuse(Transport* transport, uint64_t peer, uint32_t kind, const char* bytes, uint32_t size) noexcept nogil
