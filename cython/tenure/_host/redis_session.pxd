"""Commands about the connection or this member: answered at once, never fenced. The thread of the client's side."""

from libc.stdint cimport uint32_t

from tenure._host.redis_commands cimport RedisCommand
from tenure._host.redis_types cimport Client, ClientSide, Op
from tenure._kv.codec cimport Slice

# Appends the reply to the client's output; may set `closing`. False without memory.
cdef bint session_execute(
    ClientSide* s, Client* client, const RedisCommand* command, const Slice* arguments, uint32_t count) noexcept nogil
# Adds the clients of a side to the list that `op` gathers.
cdef void list_side(ClientSide* s, Op* op) noexcept nogil
