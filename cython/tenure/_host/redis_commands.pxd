"""What each Redis command asks of the store: a request becomes a command for the log, or a read. Any thread.

Nothing here knows a client, a socket or a lease: requests in, encoded commands and replies out.
"""

from libc.stdint cimport int8_t, int32_t, int64_t, uint32_t, uint64_t

from tenure._core.blob cimport Blob
from tenure._core.vec cimport Vec
from tenure._kv.codec cimport Slice
from tenure._kv.read cimport Instant
from tenure._kv.store cimport Store


cdef extern from "tenure/_host/redis_commands.hpp" namespace "tenure" nogil:
    cdef enum RedisCommandKind:
        KIND_SESSION
        KIND_READ
        KIND_WRITE

    cdef enum RedisCommandId:
        CMD_APPEND, CMD_AUTH, CMD_CLIENT, CMD_COMMAND, CMD_CONFIG, CMD_DBSIZE, CMD_DECR, CMD_DECRBY, CMD_DEL, CMD_ECHO
        CMD_EXISTS, CMD_EXPIRE, CMD_EXPIREAT, CMD_EXPIRETIME, CMD_FLUSHALL, CMD_FLUSHDB, CMD_GET, CMD_GETDEL, CMD_GETRANGE
        CMD_GETSET, CMD_HELLO, CMD_INCR, CMD_INCRBY, CMD_INFO, CMD_MGET, CMD_MSET, CMD_PERSIST, CMD_PEXPIRE, CMD_PEXPIREAT
        CMD_PEXPIRETIME, CMD_PING, CMD_PSETEX, CMD_PTTL, CMD_QUIT, CMD_SELECT, CMD_SET, CMD_SETEX, CMD_SETNX, CMD_STRLEN
        CMD_TTL, CMD_TYPE, CMD_UNLINK

    cdef struct RedisCommand:
        const char* name
        RedisCommandId id
        RedisCommandKind kind
        int8_t arity
        int8_t first_key
        int8_t last_key
        int8_t key_step
        const char* group
        const char* summary

    const RedisCommand* REDIS_COMMANDS
    const int32_t REDIS_COMMANDS_COUNT
    const RedisCommand* redis_command_find(const char* name, size_t size) noexcept


cdef enum Translation:
    TRANSLATED = 0              # `command` is what to put into the log
    TRANSLATION_REPLIED = 1     # nothing is left to do: the reply is in `out`
    TRANSLATION_MEMORY = 2

cdef enum Judgement:
    READ_DONE = 0               # the reply is in `out`
    READ_UNDECIDED = 1          # a key may have ended, and no replicated instant says whether; `out` is as it was
    READ_MEMORY = 2
    READ_FAILED = 3             # the store is lost

cdef struct ReadCounts:
    uint64_t found
    uint64_t absent


cdef bint arity_fits(const RedisCommand* command, size_t count) noexcept nogil
# `arguments` begin with the name. Relative lives count from `now_ms`.
cdef Translation translate_write(
    const RedisCommand* command, const Slice* arguments, uint32_t count, int64_t now_ms, Vec[char]* out,
    Blob** encoded) noexcept nogil
# `alone`: nothing is applied meanwhile, as on the thread that applies; otherwise several keys are read under all their locks.
cdef Judgement execute_read(
    const RedisCommand* command, const Slice* arguments, uint32_t count, Store* store, bint alone, const Instant* instant,
    int32_t protocol, Vec[char]* out, ReadCounts* counts) noexcept nogil
# Of a write that returns a value: the size of the one that is there now, which is what its reply may hold.
cdef uint32_t value_returned_bytes(
    const RedisCommand* command, const Slice* arguments, uint32_t count, Store* store) noexcept nogil
# What apply returned, as a reply.
cdef bint reply_result(Vec[char]* out, Blob* result, int32_t protocol) noexcept nogil
cdef bint error(Vec[char]* out, const char* text) noexcept nogil
# The two errors that name what was asked for.
cdef bint unknown_command(Vec[char]* out, const Slice* arguments, uint32_t count) noexcept nogil
cdef bint wrong_arity(Vec[char]* out, const char* name, const char* subcommand, size_t subcommand_size) noexcept nogil
