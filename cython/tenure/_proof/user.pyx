"""The way from a world to the user's Python: each call takes the GIL and asks the bridge, which keeps what was raised and
answers False. Then the run stops where it is."""

from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.string cimport memcpy, memset

from tenure._core.blob cimport Blob, blob_new
from tenure._proof.machine cimport machine_command
from tenure._proof.raft.types cimport Entry
from tenure._proof.world cimport OP_GET, OP_SET, Command, Machines, Row


cdef Blob* blob_of(object data) noexcept:
    """Null when there is none to be had."""
    cdef bytes held
    if not isinstance(data, bytes):
        return NULL
    held = data
    return blob_new(<const char*>held, <uint32_t>len(held))


cdef bint create(void* context, int32_t member) noexcept nogil:
    with gil:
        return (<object>context).create(member + 1)


cdef bint apply(void* context, int32_t member, const Entry* entries, size_t count) noexcept nogil:
    cdef Command command
    cdef size_t i
    with gil:
        batch = []
        for i in range(count):
            if machine_command(&entries[i], &command):
                batch.append((
                    entries[i].index, entries[i].term, command.operation,
                    entries[i].data.bytes()[sizeof(Command):entries[i].data.size]))
            else:
                batch.append((entries[i].index, entries[i].term, 0, None))
        return (<object>context).apply(member + 1, batch)


cdef bint query(void* context, int32_t member, int64_t operation, int64_t number) noexcept nogil:
    with gil:
        return (<object>context).query(member + 1, operation, number)


cdef Blob* dump(void* context, int32_t member) noexcept nogil:
    with gil:
        return blob_of((<object>context).dump(member + 1))


cdef bint load(void* context, int32_t member, Blob* data) noexcept nogil:
    with gil:
        return (<object>context).load(member + 1, data.bytes()[:data.size])


cdef bint choose(void* context, int64_t operation, int64_t client, Row* row) noexcept nogil:
    with gil:
        asked = (<object>context).choose(operation)
        row.kind = OP_GET if asked == "read" else OP_SET
        return asked is not None


cdef Blob* payload(void* context, int64_t operation, const Command* command) noexcept nogil:
    cdef Blob* blob
    with gil:
        data = (<object>context).payload(operation, command.value)
        if data is None:
            return NULL
        blob = blob_of(bytes(sizeof(Command)) + data)
        if blob != NULL:
            memcpy(blob.bytes(), command, sizeof(Command))
        return blob


cdef Machines user_machines(object bridge):
    cdef Machines machines
    memset(&machines, 0, sizeof(machines))
    machines.context = <void*>bridge
    machines.create = create
    machines.apply = apply
    machines.query = query
    if bridge.dumps:
        machines.dump = dump
    machines.load = load
    machines.choose = choose
    machines.payload = payload
    return machines
