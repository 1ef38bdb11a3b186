"""Printers of the pure core, for Python: see `describe.pyx`. Every function needs the GIL and changes nothing."""

from libc.stdint cimport int64_t, uint8_t

from tenure._core.vec cimport Vec
from tenure._raft.state cimport Progress, Raft, RaftConfig
from tenure._raft.types cimport ConfChange, Configuration, Entry, HardState, Message, ReadState, Ready, Snapshot

cdef str code_name(int code)
cdef str role_name(uint8_t role)
cdef str message_type_name(uint8_t kind)
cdef str describe_duration(int64_t ns)
cdef str describe_entry(const Entry* entry)
cdef str describe_entries(const Vec[Entry]* entries)
cdef str describe_hard_state(const HardState* hard)
cdef str describe_configuration(const Configuration* configuration)
cdef str describe_members(const Configuration* configuration)   # voters=(1 2)&&(1) learners=(3)
cdef str describe_change(const ConfChange* change)              # v1 l2 r3
cdef str describe_snapshot(const Snapshot* snapshot)
cdef str describe_read_state(const ReadState* read)
cdef str describe_message(const Message* message)
# Without what waits for the disk: what an asynchronous host sends at once.
cdef str describe_ready(const Ready* ready, bint with_waiting=*)
cdef str describe_progress(const Progress* progress, const RaftConfig* config)
cdef str describe_status(const Raft* r)         # the leader's view of every member, a line each; empty elsewhere
cdef str describe_state(const Raft* r)          # role, membership, term, leader, in one line
