"""Commands about the connection or this member: answered at once, never fenced. Only the loop thread."""

from libc.stdint cimport uint32_t

from tenure._host.redis_commands cimport RedisCommand
from tenure._host.redis_types cimport Client, Front
from tenure._kv.codec cimport Slice

# Appends the reply to the client's output; may set `closing`. False without memory.
cdef bint session_execute(
    Front* f, Client* client, const RedisCommand* command, const Slice* arguments, uint32_t count) noexcept nogil
