"""A client's commands under way, in order, and the replies that they come to. The thread of the client's side."""

from libc.stdint cimport uint32_t

from tenure._core.blob cimport Blob
from tenure._host.redis_commands cimport RedisCommand
from tenure._host.redis_types cimport Client, ClientSide, Op, OpKind
from tenure._kv.codec cimport Slice

# A command of `client` that is under way, at the end of its queue; null without memory.
cdef Op* op_new(ClientSide* s, Client* client, OpKind kind, const RedisCommand* command) noexcept nogil
# Its reply is in `op.reply` already: its turn has only to come.
cdef void op_refuse(Op* op) noexcept nogil
# Hands it to the op side. A write takes over the command, whose reply may have `reply_bytes`.
cdef void op_write(Op* op, Blob* command, uint32_t reply_bytes) noexcept nogil
# Copies what was asked: the read is run when its turn comes, and a quorum has confirmed it or a mark in the log is applied.
cdef void op_read(Op* op, bint wants_mark, const Slice* arguments, uint32_t count) noexcept nogil
cdef void op_list(Op* op) noexcept nogil
# Appends the replies of what is answered at the head of the client's queue, as far as its output has room; False: no memory.
cdef bint ops_drain(ClientSide* s, Client* client) noexcept nogil
cdef bint ops_drainable(const ClientSide* s, const Client* client) noexcept nogil
# The client is gone.
cdef void ops_forget(Client* client) noexcept nogil
