"""PING, HELLO, AUTH, CLIENT, CONFIG, COMMAND, INFO and their like: what a connection or a member says of itself.

Nothing here touches the store's keys or the log; of the member, what it publishes for any thread. The texts and shapes
are those that Redis's own clients expect.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.string cimport memcmp, memcpy, memset, strlen
from libcpp.atomic cimport memory_order_relaxed

from tenure._core.clock cimport clock_monotonic_ns, clock_now_ns
from tenure._core.lease cimport lease_expiry_ns
from tenure._core.vec cimport Vec
from tenure._host.member cimport MemberGauges
from tenure._host.redis_commands cimport (
    CMD_AUTH, CMD_CLIENT, CMD_COMMAND, CMD_CONFIG, CMD_ECHO, CMD_HELLO, CMD_INFO, CMD_PING, CMD_QUIT, KIND_READ,
    KIND_WRITE, REDIS_COMMANDS, REDIS_COMMANDS_COUNT, error, redis_command_find, wrong_arity,
)
from tenure._host.redis_replies cimport op_list, op_new
from tenure._host.redis_types cimport NAME_BYTES, OP_IS_LIST, Front, FrontCounts, front_counts_add
from tenure._kv.read cimport store_expiring, store_size
from tenure._net.resp cimport (
    reply_array, reply_bulk, reply_error, reply_integer, reply_map, reply_nil, reply_raw, reply_set, reply_simple,
    reply_text, resp_format, resp_integer, resp_is,
)
from tenure._raft.types cimport LEADER

cdef const char* SERVER_VERSION = b"7.0.15"             # of the Redis whose commands these are


cdef bint is_word(const Slice* argument, const char* word) noexcept nogil:
    return resp_is(argument.data, argument.size, word)


cdef bint bulk_text(Vec[char]* out, const char* text) noexcept nogil:
    return reply_bulk(out, text, strlen(text))


cdef bint put_text(Vec[char]* out, const char* text) noexcept nogil:
    return reply_raw(out, text, strlen(text))


cdef bint put_number(Vec[char]* out, int64_t value) noexcept nogil:
    cdef char digits[20]
    cdef uint32_t size = resp_format(value, digits)
    return reply_raw(out, digits, size)


cdef bint put_field(Vec[char]* out, const char* name, int64_t value) noexcept nogil:
    return put_text(out, name) and put_text(out, b":") and put_number(out, value) and put_text(out, b"\r\n")


cdef bint unknown_subcommand(Vec[char]* out, const char* command, const Slice* subcommand) noexcept nogil:
    cdef char text[256]
    cdef const char* opening = b"ERR unknown subcommand '"
    cdef size_t size = strlen(opening), shown = min(<size_t>subcommand.size, <size_t>128), i
    memcpy(text, opening, size)
    memcpy(text + size, subcommand.data, shown)
    size += shown
    memcpy(text + size, b"'. Try ", 7)
    size += 7
    for i in range(strlen(command)):
        text[size] = command[i] - 32
        size += 1
    memcpy(text + size, b" HELP.", 6)
    return reply_error(out, text, size + 6)


# ---------------------------------------------------------------------------------------------- who is on the other side

cdef bint password_matches(const Front* f, const Slice* given) noexcept nogil:
    """In a time that does not depend on where they differ."""
    cdef uint32_t difference = 0
    cdef size_t i
    if given.size != f.config.password_size:
        return False
    for i in range(given.size):
        difference |= <uint32_t>(<unsigned char>given.data[i] ^ <unsigned char>f.password[i])
    return difference == 0


cdef bint credentials_match(const Front* f, const Slice* user, const Slice* password) noexcept nogil:
    if user.size != 7 or memcmp(user.data, b"default", 7) != 0:
        return False
    return f.password == NULL or password_matches(f, password)


cdef bint auth(const Front* f, Client* c, const Slice* arguments, uint32_t count) noexcept nogil:
    cdef bint matches
    if count > 3:
        return error(&c.output, b"ERR syntax error")
    if count == 2:
        if f.password == NULL:
            return error(
                &c.output, b"ERR AUTH <password> called without any password configured for the default user. "
                b"Are you sure your configuration is correct?")
        matches = password_matches(f, &arguments[1])
    else:
        matches = credentials_match(f, &arguments[1], &arguments[2])
    if not matches:
        return error(&c.output, b"WRONGPASS invalid username-password pair or user is disabled.")
    c.authenticated = True
    return reply_simple(&c.output, b"OK")


cdef bint name_allowed(const Slice* name) noexcept nogil:
    cdef uint32_t i
    for i in range(name.size):
        if name.data[i] < c"!" or name.data[i] > c"~":
            return False
    return True


cdef bint set_name(Client* c, const Slice* name) noexcept nogil:
    """False: refused, and the reply says so."""
    if not name_allowed(name):
        error(&c.output, b"ERR Client names cannot contain spaces, newlines or special characters.")
        return False
    if name.size > NAME_BYTES:
        error(&c.output, b"ERR the client name is too long")
        return False
    memcpy(c.name, name.data, name.size)
    c.name_size = name.size
    return True


cdef bint hello(const Front* f, Client* c, const Slice* arguments, uint32_t count) noexcept nogil:
    cdef Vec[char]* out = &c.output
    cdef int64_t version = c.protocol
    cdef const Slice* user = NULL
    cdef const Slice* name = NULL
    cdef uint32_t i = 2
    if count >= 2:
        if not resp_integer(arguments[1].data, arguments[1].size, &version):
            return error(out, b"ERR Protocol version is not an integer or out of range")
        if version < 2 or version > 3:
            return error(out, b"NOPROTO unsupported protocol version")
    while i < count:
        if is_word(&arguments[i], b"auth") and i + 2 < count:
            user = &arguments[i + 1]
            i += 3
        elif is_word(&arguments[i], b"setname") and i + 1 < count:
            name = &arguments[i + 1]
            i += 2
        else:
            return syntax_in_hello(out, &arguments[i])
    if user != NULL:
        if not credentials_match(f, user, user + 1):
            return error(out, b"WRONGPASS invalid username-password pair or user is disabled.")
        c.authenticated = True
    if not c.authenticated:
        return error(
            out, b"NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH "
            b"<user> <pass> option can be used to authenticate the client and select the RESP protocol version at the "
            b"same time")
    if name != NULL and not set_name(c, name):
        return True
    c.protocol = <int32_t>version
    return (
        reply_map(out, 7, c.protocol)
        and bulk_text(out, b"server") and bulk_text(out, b"redis")
        and bulk_text(out, b"version") and bulk_text(out, SERVER_VERSION)
        and bulk_text(out, b"proto") and reply_integer(out, c.protocol)
        and bulk_text(out, b"id") and reply_integer(out, <int64_t>c.id)
        and bulk_text(out, b"mode") and bulk_text(out, b"standalone")
        and bulk_text(out, b"role") and bulk_text(out, role_of(f))
        and bulk_text(out, b"modules") and reply_array(out, 0)
    )


cdef bint syntax_in_hello(Vec[char]* out, const Slice* option) noexcept nogil:
    cdef char text[256]
    cdef const char* opening = b"ERR Syntax error in HELLO option '"
    cdef size_t size = strlen(opening), shown = min(<size_t>option.size, <size_t>128)
    memcpy(text, opening, size)
    memcpy(text + size, option.data, shown)
    text[size + shown] = c"'"
    return reply_error(out, text, size + shown + 1)


cdef const char* role_of(const Front* f) noexcept nogil:
    """Every member takes reads and writes; `role` says which of them is the leader now."""
    # relaxed: as it stood at the end of the loop's last pass
    if f.member.gauges.role.load(memory_order_relaxed) == LEADER:
        return b"master"
    return b"replica"


# ------------------------------------------------------------------------------------------------------------ CLIENT

cdef bint put_client(Vec[char]* out, const Client* c) noexcept nogil:
    cdef const char* last_command = b"NULL"
    cdef int64_t now_ns = clock_monotonic_ns()
    if c.last_command != NULL:
        last_command = c.last_command.name
    return (
        put_text(out, b"id=") and put_number(out, <int64_t>c.id)
        and put_text(out, b" addr=") and put_text(out, c.address)
        and put_text(out, b" fd=") and put_number(out, c.fd)
        and put_text(out, b" name=") and reply_raw(out, c.name, c.name_size)
        and put_text(out, b" age=") and put_number(out, (now_ns - c.since_ns) // 1000000000)
        and put_text(out, b" idle=") and put_number(out, (now_ns - c.last_command_ns) // 1000000000)
        and put_text(out, b" flags=N db=0 sub=0 psub=0 multi=-1 qbuf=")
        and put_number(out, <int64_t>(c.input.size - c.input_head))
        and put_text(out, b" pending=") and put_number(out, c.ops)
        and put_text(out, b" omem=") and put_number(out, <int64_t>(c.output.size - c.output_head))
        and put_text(out, b" cmd=") and put_text(out, last_command)
        and put_text(out, b" user=default resp=") and put_number(out, c.protocol) and put_text(out, b"\n")
    )


cdef bint put_clients(Vec[char]* out, const ClientSide* s) noexcept nogil:
    cdef size_t i
    for i in range(s.clients.size):
        if s.clients.data[i] != NULL and not put_client(out, s.clients.data[i]):
            return False
    return True


cdef void list_side(ClientSide* s, Op* op) noexcept nogil:
    put_clients(&op.reply, s)                             # without memory the list is short


cdef bint list_clients(ClientSide* s, Client* c) noexcept nogil:
    """Those of other threads are theirs alone: the list is gathered by going from thread to thread."""
    cdef Vec[char] text
    cdef bint enough
    cdef Op* op
    if s.thread != NULL:
        op = op_new(s, c, OP_IS_LIST, NULL)
        if op != NULL:
            op_list(op)
        return op != NULL
    memset(&text, 0, sizeof(text))
    enough = put_clients(&text, s) and reply_text(&c.output, text.data, text.size, c.protocol)
    text.release()
    return enough


cdef bint describe_client(Client* c) noexcept nogil:
    cdef Vec[char] text
    cdef bint enough
    memset(&text, 0, sizeof(text))
    enough = put_client(&text, c) and reply_text(&c.output, text.data, text.size, c.protocol)
    text.release()
    return enough


cdef bint client(ClientSide* s, Client* c, const Slice* arguments, uint32_t count) noexcept nogil:
    cdef Vec[char]* out = &c.output
    cdef const Slice* what = &arguments[1]
    cdef int32_t wanted = 2
    if is_word(what, b"setname") or is_word(what, b"no-evict") or is_word(what, b"no-touch"):
        wanted = 3
    elif is_word(what, b"setinfo"):
        wanted = 4
    elif is_word(what, b"list"):
        wanted = <int32_t>count                           # its filters change nothing here
    elif not (is_word(what, b"id") or is_word(what, b"getname") or is_word(what, b"info")):
        return unknown_subcommand(out, b"client", what)
    if <int32_t>count != wanted:
        return wrong_arity(out, b"client", what.data, what.size)
    if is_word(what, b"id"):
        return reply_integer(out, <int64_t>c.id)
    if is_word(what, b"getname"):
        return reply_bulk(out, c.name, c.name_size) if c.name_size else reply_nil(out, c.protocol)
    if is_word(what, b"setname"):
        return reply_simple(out, b"OK") if set_name(c, &arguments[2]) else True
    if is_word(what, b"list"):
        return list_clients(s, c)
    if is_word(what, b"info"):
        return describe_client(c)
    if wanted == 3 and not is_word(&arguments[2], b"on") and not is_word(&arguments[2], b"off"):
        return error(out, b"ERR syntax error")
    return reply_simple(out, b"OK")


# ------------------------------------------------------------------------------------------------------------ CONFIG

cdef bint glob(const char* pattern, size_t pattern_size, const char* text, size_t size) noexcept nogil:
    """`*` and `?`; both sides in any case."""
    cdef size_t p = 0, t = 0, star = <size_t>-1, mark = 0
    while t < size:
        if p < pattern_size and pattern[p] == c"*":
            star = p
            mark = t
            p += 1
        elif p < pattern_size and (pattern[p] == c"?" or lower(pattern[p]) == lower(text[t])):
            p += 1
            t += 1
        elif star != <size_t>-1:
            p = star + 1
            mark += 1
            t = mark
        else:
            return False
    while p < pattern_size and pattern[p] == c"*":
        p += 1
    return p == pattern_size


cdef char lower(char c) noexcept nogil:
    return c + 32 if c"A" <= c <= c"Z" else c


cdef enum:
    SETTINGS = 11


cdef void settings(const Front* f, const char** names, const char** texts, int64_t* numbers) noexcept nogil:
    """A null text means the number."""
    cdef int i
    names[0] = b"save"
    texts[0] = b""
    names[1] = b"appendonly"
    texts[1] = b"yes"                                     # what was acknowledged is in the log
    names[2] = b"appendfsync"
    texts[2] = b"always"
    names[3] = b"maxmemory"
    texts[3] = b"0"
    names[4] = b"maxmemory-policy"
    texts[4] = b"noeviction"
    names[5] = b"databases"
    texts[5] = b"1"
    names[6] = b"timeout"
    texts[6] = b"0"
    names[7] = b"bind"
    texts[7] = f.config.address
    for i in range(8, SETTINGS):
        texts[i] = NULL
    names[8] = b"port"
    numbers[8] = f.port
    names[9] = b"maxclients"
    numbers[9] = f.config.max_clients
    names[10] = b"proto-max-bulk-len"
    numbers[10] = f.config.limits.argument_bytes


cdef bint config(const Front* f, Client* c, const Slice* arguments, uint32_t count) noexcept nogil:
    cdef Vec[char]* out = &c.output
    cdef const char* names[SETTINGS]
    cdef const char* texts[SETTINGS]
    cdef int64_t numbers[SETTINGS]
    cdef char digits[20]
    cdef int32_t found = 0, i
    cdef uint32_t k
    cdef const Slice* chosen[SETTINGS]                    # the pattern that chose it
    cdef bint enough
    if is_word(&arguments[1], b"resetstat") and count == 2:
        return reply_simple(out, b"OK")
    if is_word(&arguments[1], b"set") and count >= 4 and count % 2 == 0:
        return error(out, b"ERR nothing can be set here while the member runs")
    if not is_word(&arguments[1], b"get"):
        if is_word(&arguments[1], b"set") or is_word(&arguments[1], b"resetstat"):
            return wrong_arity(out, b"config", arguments[1].data, arguments[1].size)
        return unknown_subcommand(out, b"config", &arguments[1])
    if count < 3:
        return wrong_arity(out, b"config", arguments[1].data, arguments[1].size)
    settings(f, names, texts, numbers)
    for i in range(SETTINGS):
        chosen[i] = NULL
        for k in range(2, count):
            if chosen[i] == NULL and glob(arguments[k].data, arguments[k].size, names[i], strlen(names[i])):
                chosen[i] = &arguments[k]
        if chosen[i] != NULL:
            found += 1
    enough = reply_map(out, found, c.protocol)
    for i in range(SETTINGS):
        if chosen[i] != NULL:
            if is_word(chosen[i], names[i]):
                enough = enough and reply_bulk(out, chosen[i].data, chosen[i].size)     # a name comes back as it was spelt
            else:
                enough = enough and bulk_text(out, names[i])
            if texts[i] != NULL:
                enough = enough and bulk_text(out, texts[i])
            else:
                enough = enough and reply_bulk(out, digits, resp_format(numbers[i], digits))
    return enough


# ----------------------------------------------------------------------------------------------------------- COMMAND

cdef bint put_command(Vec[char]* out, const RedisCommand* command, int32_t protocol) noexcept nogil:
    cdef const char* flag = b"fast"
    if command.kind == KIND_WRITE:
        flag = b"write"
    elif command.kind == KIND_READ:
        flag = b"readonly"
    return (
        reply_array(out, 10)
        and bulk_text(out, command.name) and reply_integer(out, command.arity)
        and reply_set(out, 1, protocol) and reply_simple(out, flag)
        and reply_integer(out, command.first_key) and reply_integer(out, command.last_key)
        and reply_integer(out, command.key_step)
        and reply_set(out, 0, protocol)                   # access categories: there are none
        and reply_set(out, 0, protocol)                   # tips
        and reply_set(out, 0, protocol)                   # key specifications: the three numbers say it all
        and reply_array(out, 0)                           # subcommands
    )


cdef bint put_document(Vec[char]* out, const RedisCommand* command, int32_t protocol) noexcept nogil:
    return (
        bulk_text(out, command.name) and reply_map(out, 3, protocol)
        and bulk_text(out, b"summary") and bulk_text(out, command.summary)
        and bulk_text(out, b"since") and bulk_text(out, b"1.0.0")
        and bulk_text(out, b"group") and bulk_text(out, command.group)
    )


cdef bint command(Client* c, const Slice* arguments, uint32_t count) noexcept nogil:
    cdef Vec[char]* out = &c.output
    cdef const RedisCommand* found
    cdef int32_t i, known = 0
    cdef uint32_t k
    cdef bint enough, documents
    if count == 1 or (count == 2 and is_word(&arguments[1], b"info")):
        enough = reply_array(out, REDIS_COMMANDS_COUNT)
        for i in range(REDIS_COMMANDS_COUNT):
            enough = enough and put_command(out, &REDIS_COMMANDS[i], c.protocol)
        return enough
    documents = is_word(&arguments[1], b"docs")
    if is_word(&arguments[1], b"count"):
        return reply_integer(out, REDIS_COMMANDS_COUNT) if count == 2 else wrong_arity(
            out, b"command", arguments[1].data, arguments[1].size)
    if is_word(&arguments[1], b"list") and count == 2:
        enough = reply_array(out, REDIS_COMMANDS_COUNT)
        for i in range(REDIS_COMMANDS_COUNT):
            enough = enough and bulk_text(out, REDIS_COMMANDS[i].name)
        return enough
    if documents and count == 2:
        enough = reply_map(out, REDIS_COMMANDS_COUNT, c.protocol)
        for i in range(REDIS_COMMANDS_COUNT):
            enough = enough and put_document(out, &REDIS_COMMANDS[i], c.protocol)
        return enough
    if documents:
        for k in range(2, count):
            if redis_command_find(arguments[k].data, arguments[k].size) != NULL:
                known += 1
        enough = reply_map(out, known, c.protocol)
        for k in range(2, count):
            found = redis_command_find(arguments[k].data, arguments[k].size)
            if found != NULL:
                enough = enough and put_document(out, found, c.protocol)
        return enough
    if not is_word(&arguments[1], b"info"):
        return unknown_subcommand(out, b"command", &arguments[1])
    enough = reply_array(out, count - 2)
    for k in range(2, count):
        found = redis_command_find(arguments[k].data, arguments[k].size)
        if found == NULL:
            enough = enough and (reply_nil(out, 3) if c.protocol == 3 else reply_raw(out, b"*-1\r\n", 5))
        else:
            enough = enough and put_command(out, found, c.protocol)
    return enough


# -------------------------------------------------------------------------------------------------------------- INFO

cdef bint wanted(const Slice* arguments, uint32_t count, const char* section) noexcept nogil:
    cdef uint32_t i
    if count == 1:
        return True
    for i in range(1, count):
        if is_word(&arguments[i], section) or is_word(&arguments[i], b"all") or is_word(
                &arguments[i], b"everything") or is_word(&arguments[i], b"default"):
            return True
    return False


cdef bint heading(Vec[char]* text, const char* title) noexcept nogil:
    return (text.size == 0 or put_text(text, b"\r\n")) and put_text(text, title)


cdef bint put_stats(Vec[char]* text, const FrontCounts* counts) noexcept nogil:
    return (
        put_field(text, b"total_connections_received", <int64_t>counts.accepted)
        and put_field(text, b"total_commands_processed", <int64_t>counts.commands)
        and put_field(text, b"rejected_connections", <int64_t>counts.refused)
        and put_field(text, b"keyspace_hits", <int64_t>counts.keys_found)
        and put_field(text, b"keyspace_misses", <int64_t>counts.keys_absent)
        and put_field(text, b"lease_hits", <int64_t>counts.lease_hits)
        and put_field(text, b"lease_misses", <int64_t>counts.lease_misses)
        and put_field(text, b"read_index_reads", <int64_t>counts.read_index_reads)
        and put_field(text, b"expiry_marks", <int64_t>counts.marks)
        and put_field(text, b"writes", <int64_t>counts.writes)
        and put_field(text, b"forwarded_writes", <int64_t>counts.forwarded)
        and put_field(text, b"unknown_outcomes", <int64_t>counts.unknown_outcomes)
        and put_field(text, b"protocol_errors", <int64_t>counts.protocol_errors)
    )


cdef bint put_threads(Vec[char]* text, const Front* f) noexcept nogil:
    cdef FrontCounts counts
    cdef uint32_t i
    cdef bint enough = put_field(text, b"io_threads", f.config.io_threads)
    for i in range(1, f.sides_count):
        memset(&counts, 0, sizeof(counts))
        front_counts_add(&counts, f.sides[i].gauges)
        enough = (
            enough and put_text(text, b"io_thread_") and put_number(text, i) and put_text(text, b":clients=")
            and put_number(text, <int64_t>counts.clients) and put_text(text, b",commands=")
            and put_number(text, <int64_t>counts.commands) and put_text(text, b",busy_ms=")
            and put_number(text, counts.busy_ns // 1000000) and put_text(text, b"\r\n")
        )
    return enough


cdef bint put_info(ClientSide* s, Vec[char]* text, const Slice* arguments, uint32_t count) noexcept nogil:
    cdef const Front* f = s.front
    cdef MemberGauges* m = f.member.gauges
    cdef int64_t remaining_ns = lease_expiry_ns(f.member.lease) - clock_now_ns()
    cdef FrontCounts counts
    cdef uint32_t i
    cdef bint enough = True
    memset(&counts, 0, sizeof(counts))
    for i in range(f.sides_count):
        front_counts_add(&counts, f.sides[i].gauges)
    counts.keys_found += s.counts.found - s.counted_found
    counts.keys_absent += s.counts.absent - s.counted_absent
    if wanted(arguments, count, b"server"):
        enough = (
            enough and heading(text, b"# Server\r\nredis_version:") and put_text(text, SERVER_VERSION)
            and put_text(text, b"\r\nredis_mode:standalone\r\nserver_name:tenure\r\n") and put_field(text, b"tcp_port", f.port)
            and put_field(text, b"uptime_in_seconds", (clock_monotonic_ns() - f.started_ns) // 1000000000)
            and put_threads(text, f)
        )
    if wanted(arguments, count, b"clients"):
        enough = (
            enough and heading(text, b"# Clients\r\n") and put_field(text, b"connected_clients", <int64_t>counts.clients)
            and put_field(text, b"maxclients", f.config.max_clients)
        )
    if wanted(arguments, count, b"stats"):
        enough = enough and heading(text, b"# Stats\r\n") and put_stats(text, &counts)
    if wanted(arguments, count, b"replication"):
        # relaxed: numbers for people, as they stood at the end of the loop's last pass
        enough = (
            enough and heading(text, b"# Replication\r\nrole:")
            and put_text(text, role_of(f)) and put_text(text, b"\r\n")
            and put_field(text, b"member_id", <int64_t>f.member.id)
            and put_field(text, b"leader_id", <int64_t>m.leader.load(memory_order_relaxed))
            and put_field(text, b"term", <int64_t>m.term.load(memory_order_relaxed))
            and put_field(text, b"commit_index", <int64_t>m.commit.load(memory_order_relaxed))
            and put_field(text, b"applied_index", <int64_t>m.applied.load(memory_order_relaxed))
            and put_field(text, b"lease_remaining_ms", max(remaining_ns, <int64_t>0) // 1000000)
        )
    if wanted(arguments, count, b"keyspace"):
        enough = enough and heading(text, b"# Keyspace\r\n")
        if store_size(f.store):
            enough = (
                enough and put_text(text, b"db0:keys=") and put_number(text, <int64_t>store_size(f.store))
                and put_text(text, b",expires=") and put_number(text, <int64_t>store_expiring(f.store))
                and put_text(text, b",avg_ttl=0\r\n")
            )
    return enough


cdef bint info(ClientSide* s, Client* c, const Slice* arguments, uint32_t count) noexcept nogil:
    cdef Vec[char] text
    cdef bint enough
    memset(&text, 0, sizeof(text))
    enough = put_info(s, &text, arguments, count) and reply_text(&c.output, text.data, text.size, c.protocol)
    text.release()
    return enough


# -------------------------------------------------------------------------------------------------------------- rest

cdef bint ping(Client* c, const Slice* arguments, uint32_t count) noexcept nogil:
    if count > 2:
        return wrong_arity(&c.output, b"ping", NULL, 0)
    if count == 2:
        return reply_bulk(&c.output, arguments[1].data, arguments[1].size)
    return reply_raw(&c.output, b"+PONG\r\n", 7)


cdef bint select(Client* c, const Slice* argument) noexcept nogil:
    cdef int64_t number = 0
    if not resp_integer(argument.data, argument.size, &number):
        return error(&c.output, b"ERR value is not an integer or out of range")
    if number > 2147483647 or number < -2147483648:
        return error(&c.output, b"ERR value is out of range, value must between -2147483648 and 2147483647")
    if number != 0:
        return error(&c.output, b"ERR DB index is out of range")
    return reply_simple(&c.output, b"OK")


cdef bint session_execute(
        ClientSide* s, Client* c, const RedisCommand* what, const Slice* arguments, uint32_t count) noexcept nogil:
    cdef const Front* f = s.front
    if what.id == CMD_PING:
        return ping(c, arguments, count)
    if what.id == CMD_ECHO:
        return reply_bulk(&c.output, arguments[1].data, arguments[1].size)
    if what.id == CMD_AUTH:
        return auth(f, c, arguments, count)
    if what.id == CMD_HELLO:
        return hello(f, c, arguments, count)
    if what.id == CMD_CLIENT:
        return client(s, c, arguments, count)
    if what.id == CMD_CONFIG:
        return config(f, c, arguments, count)
    if what.id == CMD_COMMAND:
        return command(c, arguments, count)
    if what.id == CMD_INFO:
        return info(s, c, arguments, count)
    if what.id == CMD_QUIT:
        c.closing = True
        return reply_simple(&c.output, b"OK")
    return select(c, &arguments[1])
