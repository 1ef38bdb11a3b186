"""The built-in state machine: one register a key, and one session a client, so that a retried command takes effect once.

    session.operation = the last command of that client that took effect, session.result = what it answered

A client asks one thing at a time, so its session needs to remember one command. A user's own machines (`World.machines`)
take the place of all this; what they answer is kept on their side, under the operation's number.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from tenure._core.blob cimport Blob, blob_new
from tenure._proof.raft.types cimport Entry
from tenure._proof.world cimport (
    COUNT_DUPLICATES_REFUSED,
    OP_CAS,
    OP_INCR,
    OP_SET,
    Command,
    Member,
    Register,
    Session,
    World,
    absent,
    count,
)


cdef bint machine_reset(World* w, Member* m) noexcept nogil:
    m.registers.clear()
    m.sessions.clear()
    if w.machines.context == NULL:
        return True
    return w.machines.create(w.machines.context, m.at)


cdef Blob* machine_payload(World* w, const Command* command) noexcept nogil:
    if w.machines.context != NULL:
        return w.machines.payload(w.machines.context, command.operation, command)
    return blob_new(<const char*>command, <uint32_t>sizeof(Command))


cdef bint machine_command(const Entry* entry, Command* command) noexcept nogil:
    if entry.kind != 0 or entry.data == NULL or entry.data.size < sizeof(Command):
        return False
    memcpy(command, entry.data.bytes(), sizeof(Command))
    return True


cdef Register* register_of(World* w, Member* m, int64_t key) noexcept nogil:
    cdef Register none
    memset(&none, 0, sizeof(none))
    while m.registers.size <= <size_t>key:
        if not m.registers.push(none):
            w.no_memory = True
            return NULL
    return &m.registers.data[key]


cdef Session* session_of(World* w, Member* m, int64_t number) noexcept nogil:
    cdef Session none
    memset(&none, 0, sizeof(none))
    while m.sessions.size <= <size_t>number:
        if not m.sessions.push(none):
            w.no_memory = True
            return NULL
    return &m.sessions.data[number]


cdef int64_t take_effect(Register* register, const Command* command) noexcept nogil:
    cdef bint was_present = register.present
    if command.kind == OP_SET:
        register.present = True
        register.value = command.value
        return 0
    if command.kind == OP_INCR:
        register.value = (register.value if was_present else 0) + command.value
        register.present = True
        return register.value
    if command.kind == OP_CAS:
        if (register.value if was_present else absent()) != command.expected:
            return 0
        register.present = True
        register.value = command.value
        return 1
    register.present = False        # OP_DEL
    register.value = 0
    return 1 if was_present else 0


cdef bint machine_batch(World* w, Member* m, const Entry* entries, size_t size) noexcept nogil:
    if w.machines.context == NULL:
        return True
    return w.machines.apply(w.machines.context, m.at, entries, size)


cdef int64_t machine_apply(World* w, Member* m, const Entry* entry) noexcept nogil:
    cdef Command command
    cdef Register* register
    cdef Session* session = NULL
    cdef int64_t result
    if not machine_command(entry, &command):
        return 0
    if w.machines.context != NULL:
        return command.operation
    register = register_of(w, m, command.key)
    if command.session != 0:
        session = session_of(w, m, command.session)
        if session == NULL:
            return 0
        if session.operation >= command.operation:
            count(w, COUNT_DUPLICATES_REFUSED)
            return session.result
    if register == NULL:
        return 0
    result = take_effect(register, &command)
    if session != NULL:
        session.operation = command.operation
        session.result = result
    return result


cdef int64_t machine_read(World* w, Member* m, int64_t operation) noexcept nogil:
    cdef int64_t key = w.history.data[operation - 1].key
    if w.machines.context != NULL:
        if not w.machines.query(w.machines.context, m.at, operation, w.history.data[operation - 1].value):
            w.stopped = True
        return operation
    if <size_t>key < m.registers.size and m.registers.data[key].present:
        return m.registers.data[key].value
    return absent()


cdef bint machine_can_dump(const World* w) noexcept nogil:
    return w.machines.context == NULL or w.machines.dump != NULL


cdef Blob* machine_dump(World* w, Member* m) noexcept nogil:
    """The number of registers, the registers, the sessions."""
    cdef uint64_t registers = m.registers.size
    cdef size_t head = sizeof(uint64_t), size
    cdef Blob* blob
    if w.machines.context != NULL:
        return w.machines.dump(w.machines.context, m.at)
    size = head + m.registers.size * sizeof(Register) + m.sessions.size * sizeof(Session)
    blob = blob_new(NULL, <uint32_t>size)
    if blob == NULL:
        return NULL
    memcpy(blob.bytes(), &registers, head)
    if m.registers.size:
        memcpy(blob.bytes() + head, m.registers.data, m.registers.size * sizeof(Register))
    if m.sessions.size:
        memcpy(
            blob.bytes() + head + m.registers.size * sizeof(Register), m.sessions.data, m.sessions.size * sizeof(Session))
    return blob


cdef bint machine_load(World* w, Member* m, Blob* data) noexcept nogil:
    cdef uint64_t registers = 0, sessions
    cdef size_t head = sizeof(uint64_t)
    if w.machines.context != NULL:
        return w.machines.load(w.machines.context, m.at, data)
    memcpy(&registers, data.bytes(), head)
    sessions = (data.size - head - registers * sizeof(Register)) // sizeof(Session)
    m.registers.clear()
    m.sessions.clear()
    if not m.registers.reserve(registers) or not m.sessions.reserve(sessions):
        return False
    m.registers.size = registers
    m.sessions.size = sessions
    if registers:
        memcpy(m.registers.data, data.bytes() + head, registers * sizeof(Register))
    if sessions:
        memcpy(
            m.sessions.data, data.bytes() + head + registers * sizeof(Register), sessions * sizeof(Session))
    return True
