// The table of Redis commands and the way from a name to its row; the rest is in redis_commands.pyx.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tenure {

enum RedisCommandKind : uint8_t {
    KIND_SESSION,  // concerns this connection or this member: answered at once, never fenced
    KIND_READ,     // reads the store: fenced
    KIND_WRITE     // goes through the log
};

enum RedisCommandId : uint8_t {
    CMD_APPEND, CMD_AUTH, CMD_CLIENT, CMD_COMMAND, CMD_CONFIG, CMD_DBSIZE, CMD_DECR, CMD_DECRBY, CMD_DEL, CMD_ECHO,
    CMD_EXISTS, CMD_EXPIRE, CMD_EXPIREAT, CMD_EXPIRETIME, CMD_FLUSHALL, CMD_FLUSHDB, CMD_GET, CMD_GETDEL, CMD_GETRANGE,
    CMD_GETSET, CMD_HELLO, CMD_INCR, CMD_INCRBY, CMD_INFO, CMD_MGET, CMD_MSET, CMD_PERSIST, CMD_PEXPIRE, CMD_PEXPIREAT,
    CMD_PEXPIRETIME, CMD_PING, CMD_PSETEX, CMD_PTTL, CMD_QUIT, CMD_SELECT, CMD_SET, CMD_SETEX, CMD_SETNX, CMD_STRLEN,
    CMD_TTL, CMD_TYPE, CMD_UNLINK
};

struct RedisCommand {
    const char* name;
    RedisCommandId id;
    RedisCommandKind kind;
    int8_t arity;  // with the name; negative: at least that many
    int8_t first_key, last_key, key_step;
    const char* group;
    const char* summary;
};

inline constexpr RedisCommand REDIS_COMMANDS[] = {
    {"append", CMD_APPEND, KIND_WRITE, 3, 1, 1, 1, "string", "Appends to the value of a key."},
    {"auth", CMD_AUTH, KIND_SESSION, -2, 0, 0, 0, "connection", "Authenticates the connection."},
    {"client", CMD_CLIENT, KIND_SESSION, -2, 0, 0, 0, "connection", "About client connections."},
    {"command", CMD_COMMAND, KIND_SESSION, -1, 0, 0, 0, "server", "About commands."},
    {"config", CMD_CONFIG, KIND_SESSION, -2, 0, 0, 0, "server", "About the configuration."},
    {"dbsize", CMD_DBSIZE, KIND_READ, 1, 0, 0, 0, "server", "Counts the keys."},
    {"decr", CMD_DECR, KIND_WRITE, 2, 1, 1, 1, "string", "Subtracts one from an integer."},
    {"decrby", CMD_DECRBY, KIND_WRITE, 3, 1, 1, 1, "string", "Subtracts from an integer."},
    {"del", CMD_DEL, KIND_WRITE, -2, 1, -1, 1, "generic", "Deletes keys."},
    {"echo", CMD_ECHO, KIND_SESSION, 2, 0, 0, 0, "connection", "Returns its argument."},
    {"exists", CMD_EXISTS, KIND_READ, -2, 1, -1, 1, "generic", "Counts which of the keys exist."},
    {"expire", CMD_EXPIRE, KIND_WRITE, -3, 1, 1, 1, "generic", "Sets the life of a key in seconds."},
    {"expireat", CMD_EXPIREAT, KIND_WRITE, -3, 1, 1, 1, "generic", "Sets the end of a key in seconds of the Unix time."},
    {"expiretime", CMD_EXPIRETIME, KIND_READ, 2, 1, 1, 1, "generic", "The end of a key in seconds of the Unix time."},
    {"flushall", CMD_FLUSHALL, KIND_WRITE, -1, 0, 0, 0, "server", "Removes every key."},
    {"flushdb", CMD_FLUSHDB, KIND_WRITE, -1, 0, 0, 0, "server", "Removes every key."},
    {"get", CMD_GET, KIND_READ, 2, 1, 1, 1, "string", "The value of a key."},
    {"getdel", CMD_GETDEL, KIND_WRITE, 2, 1, 1, 1, "string", "The value of a key, which is deleted."},
    {"getrange", CMD_GETRANGE, KIND_READ, 4, 1, 1, 1, "string", "A part of the value of a key."},
    {"getset", CMD_GETSET, KIND_WRITE, 3, 1, 1, 1, "string", "Sets a key and returns its old value."},
    {"hello", CMD_HELLO, KIND_SESSION, -1, 0, 0, 0, "connection", "Chooses the protocol."},
    {"incr", CMD_INCR, KIND_WRITE, 2, 1, 1, 1, "string", "Adds one to an integer."},
    {"incrby", CMD_INCRBY, KIND_WRITE, 3, 1, 1, 1, "string", "Adds to an integer."},
    {"info", CMD_INFO, KIND_SESSION, -1, 0, 0, 0, "server", "Figures of this member."},
    {"mget", CMD_MGET, KIND_READ, -2, 1, -1, 1, "string", "The values of keys, all at one instant."},
    {"mset", CMD_MSET, KIND_WRITE, -3, 1, -1, 2, "string", "Sets keys, all at one instant."},
    {"persist", CMD_PERSIST, KIND_WRITE, 2, 1, 1, 1, "generic", "Takes the end of a key away."},
    {"pexpire", CMD_PEXPIRE, KIND_WRITE, -3, 1, 1, 1, "generic", "Sets the life of a key in milliseconds."},
    {"pexpireat", CMD_PEXPIREAT, KIND_WRITE, -3, 1, 1, 1, "generic",
     "Sets the end of a key in milliseconds of the Unix time."},
    {"pexpiretime", CMD_PEXPIRETIME, KIND_READ, 2, 1, 1, 1, "generic",
     "The end of a key in milliseconds of the Unix time."},
    {"ping", CMD_PING, KIND_SESSION, -1, 0, 0, 0, "connection", "Answers."},
    {"psetex", CMD_PSETEX, KIND_WRITE, 4, 1, 1, 1, "string", "Sets a key and its life in milliseconds."},
    {"pttl", CMD_PTTL, KIND_READ, 2, 1, 1, 1, "generic", "What is left of a key's life, in milliseconds."},
    {"quit", CMD_QUIT, KIND_SESSION, -1, 0, 0, 0, "connection", "Closes the connection."},
    {"select", CMD_SELECT, KIND_SESSION, 2, 0, 0, 0, "connection", "Chooses the database, of which there is one."},
    {"set", CMD_SET, KIND_WRITE, -3, 1, 1, 1, "string", "Sets a key."},
    {"setex", CMD_SETEX, KIND_WRITE, 4, 1, 1, 1, "string", "Sets a key and its life in seconds."},
    {"setnx", CMD_SETNX, KIND_WRITE, 3, 1, 1, 1, "string", "Sets a key that does not exist."},
    {"strlen", CMD_STRLEN, KIND_READ, 2, 1, 1, 1, "string", "The size of the value of a key."},
    {"ttl", CMD_TTL, KIND_READ, 2, 1, 1, 1, "generic", "What is left of a key's life, in seconds."},
    {"type", CMD_TYPE, KIND_READ, 2, 1, 1, 1, "generic", "The type of a key."},
    {"unlink", CMD_UNLINK, KIND_WRITE, -2, 1, -1, 1, "generic", "Deletes keys."},
};
inline constexpr int32_t REDIS_COMMANDS_COUNT = sizeof(REDIS_COMMANDS) / sizeof(REDIS_COMMANDS[0]);

// Names are at most 11 letters, so two words hold one; letters are made small by a bit that a letter's byte lacks.
struct RedisCommandIndex {
    struct Cell {
        uint64_t head, tail;
        const RedisCommand* command;
    };
    Cell cells[256];

    static constexpr size_t LONGEST = 16;

    static bool key_of(const char* name, size_t size, uint64_t* head, uint64_t* tail) noexcept {
        char text[LONGEST] = {0};
        if (size == 0 || size > LONGEST) return false;
        for (size_t i = 0; i < size; i++) {
            const char c = name[i];
            if (c == 0) return false;
            text[i] = (c >= 'A' && c <= 'Z') ? static_cast<char>(c + 32) : c;
        }
        std::memcpy(head, text, 8);
        std::memcpy(tail, text + 8, 8);
        return true;
    }
    static size_t cell_of(uint64_t head, uint64_t tail) noexcept {
        return ((head ^ (tail * 31)) * 0x9E3779B97F4A7C15ull) >> 56;
    }
    RedisCommandIndex() noexcept : cells{} {
        for (const RedisCommand& command : REDIS_COMMANDS) {
            uint64_t head = 0, tail = 0;
            key_of(command.name, std::strlen(command.name), &head, &tail);
            size_t i = cell_of(head, tail);
            while (cells[i].command != nullptr) i = (i + 1) & 255;
            cells[i] = Cell{head, tail, &command};
        }
    }
    const RedisCommand* find(const char* name, size_t size) const noexcept {
        uint64_t head = 0, tail = 0;
        if (!key_of(name, size, &head, &tail)) return nullptr;
        for (size_t i = cell_of(head, tail); cells[i].command != nullptr; i = (i + 1) & 255)
            if (cells[i].head == head && cells[i].tail == tail) return cells[i].command;
        return nullptr;
    }
};

// Immutable after its module was loaded: any thread.
inline const RedisCommandIndex redis_command_index;

inline const RedisCommand* redis_command_find(const char* name, size_t size) noexcept {
    return redis_command_index.find(name, size);
}

}  // namespace tenure
