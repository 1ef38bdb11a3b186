"""Python's way into a host: open, submit, wait, close.

`HostCore` is thin: it turns Python arguments into submissions, releases the GIL while it waits, and turns outcomes into
`(code, index, term, leader, value)` tuples that `tenure.engine` makes results or exceptions of. Any thread may call anything;
`close` may be called from several threads and while others wait. A process that forked must not use the parent's host: every
method says so, and the child's copy of the lease is cleared already.

Nothing here rests on the GIL: what changes after construction is atomic, and a queue with one consumer is popped under the
lock of the object that owns it (`cython.critical_section`, which costs nothing where there is a GIL).
"""

import logging
import os
import struct
import weakref

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport UINT64_MAX, int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from libcpp.atomic cimport memory_order_acq_rel, memory_order_acquire, memory_order_relaxed, memory_order_release

from tenure._core.applied_index cimport AppliedIndex, applied_new, applied_publish
from tenure._core.blob cimport Blob, blob_new, blob_release
from tenure._core.clock cimport clock_granularity_ns, clock_monotonic_ns, clock_now_ns
from tenure._core.fence cimport Fence
from tenure._core.lease cimport Lease, lease_new, lease_retain
from tenure._core.posix cimport close, getpid
from tenure._core.queue cimport Queue, queue_open, queue_pop_batch
from tenure._core.state_machine cimport NativeMachine
from tenure._core.wakeup cimport (
    loop_wakeup_arm,
    loop_wakeup_drain,
    loop_wakeup_notify,
    loop_wakeup_open,
    wakeup_notify,
    wakeup_wait,
)
from tenure._host.loop cimport (
    SUBMIT_ADD_DEPENDENT,
    SUBMIT_APPLIED,
    SUBMIT_CAMPAIGN,
    SUBMIT_CHANGE,
    SUBMIT_DROP_DEPENDENT,
    SUBMIT_FAIL,
    SUBMIT_MEMBERS,
    SUBMIT_PROPOSE,
    SUBMIT_READ,
    SUBMIT_SNAPSHOT,
    SUBMIT_STEP_DOWN,
    SUBMIT_TRANSFER,
    HostConfig,
    Submission,
    host_free,
    host_listen,
    host_new,
    host_start,
    host_stop,
    host_submit,
    submission_free,
)
from tenure._host.member cimport ApplyBatch, Event, Member, MemberGauges, apply_batch_free, gauges_new
from tenure._host.neighbours cimport neighbours_follow
from tenure._host.redis_edge cimport front_loads, front_totals, set_front_options
from tenure._host.redis_front cimport front_open
from tenure._host.redis_types cimport MAX_IO_THREADS, FrontConfig
from tenure._host.roster cimport ROSTER_FULL, ROSTER_MALFORMED, ROSTER_MEMBERS, RosterCode, RosterView, roster_set
from tenure._host.snapshots cimport snapshots_load
from tenure._host.timekeeper cimport keeper_new
from tenure._host.waiter cimport (
    Waiter, inbox_new, inbox_release, inbox_retain, waiter_free, waiter_new, waiter_release, waiter_wait,
)
from tenure._kv.machine cimport KeyValueMachine
from tenure._net.transport cimport TransportConfig, transport_port
from tenure._raft.conf_change cimport conf_change_check, conf_change_encode
from tenure._raft.raft cimport raft_default_config, raft_new, raft_note_snapshot
from tenure._raft.state cimport RaftConfig
from tenure._raft.types cimport MAX_CHANGES, MAX_MEMBERS, OK, ConfChange, Configuration, Entry, Snapshot
from tenure._storage.directory cimport directory_open
from tenure._storage.error cimport STORAGE_OK, StorageError, storage_exception
from tenure._storage.wal cimport (
    RecoveredGroup, wal_forget_recovered, wal_open, wal_recovered, wal_recovered_count, wal_torn_offset,
)

from tenure.errors import Closed, ForkedProcess, Overloaded

logger = logging.getLogger("tenure.host")

PROPOSE = SUBMIT_PROPOSE
READ = SUBMIT_READ
TRANSFER = SUBMIT_TRANSFER
STEP_DOWN = SUBMIT_STEP_DOWN
CAMPAIGN = SUBMIT_CAMPAIGN
CHANGE = SUBMIT_CHANGE
BOOK_MEMBERS = int(ROSTER_MEMBERS)
SNAPSHOT = SUBMIT_SNAPSHOT
MOST_IO_THREADS = MAX_IO_THREADS

cdef enum:
    INBOX = 65536
    WAIT_SLICE_NS = 50000000    # the main thread looks for signals this often while it waits

cdef int check_signals(Waiter* waiter) except -1:
    """Ctrl-C while waiting: the caller gives up, the operation goes on."""
    if PyErr_CheckSignals() < 0:
        waiter_release(waiter)
        return -1
    return 0


cdef void* popped(Queue* queue) noexcept:
    """The oldest item, or null. For one thread at a time."""
    cdef void* item = NULL
    return item if queue_pop_batch(queue, &item, 1) else NULL


cdef tuple take_outcome(Waiter* waiter):
    """(code, index, term, leader, value); gives up the caller's reference."""
    cdef object value = None
    try:
        if waiter.value != NULL:
            value = PyBytes_FromStringAndSize(waiter.value.bytes(), waiter.value.size)
        return waiter.code, waiter.index, waiter.term, waiter.leader, value
    finally:
        waiter_release(waiter)


@cython.final
cdef class CompletionInbox:
    """Finished submissions of one asyncio loop, behind one descriptor. Used by that loop's thread, filled by any."""

    def __cinit__(self):
        self.inbox = inbox_new()
        if self.inbox == NULL or not queue_open(&self.inbox.queue, INBOX) or loop_wakeup_open(&self.inbox.wakeup) != 0:
            raise MemoryError("no memory, or no file descriptors left, for an inbox")
        loop_wakeup_arm(&self.inbox.wakeup)

    def __dealloc__(self):
        inbox_release(self.inbox)

    def fileno(self) -> int:
        return self.inbox.wakeup.descriptor

    @property
    def capacity(self) -> int:
        """More submissions than this may not be outstanding at once: a completion must always find room."""
        return INBOX

    def drain(self, list finished not None) -> None:
        """Append (tag, outcome) of everything that has finished by now. No signal comes between the queue and the list."""
        cdef void* item
        cdef Waiter* waiter
        cdef object tag
        loop_wakeup_drain(&self.inbox.wakeup)
        loop_wakeup_arm(&self.inbox.wakeup)  # before the look: what comes later writes the descriptor again
        while True:
            with cython.critical_section(self):
                item = popped(&self.inbox.queue)
            if item == NULL:
                return
            waiter = <Waiter*>item
            tag = <uint64_t>waiter.tag
            finished.append((tag, take_outcome(waiter)))


cdef Blob* blob_of(bytes data) except NULL:
    cdef Blob* blob
    if len(data) > 0xFFFFFFF0:
        raise OverflowError("a command of 4 GiB or more")
    blob = blob_new(data, len(data))
    if blob == NULL:
        raise MemoryError("no memory for a command")
    return blob


cdef void set_options(RaftConfig* raft, HostConfig* host, WalOptions* wal, TransportConfig* transport, dict options) except *:
    cdef dict left = {name: value for name, value in options.items() if not name.startswith("redis_")}
    raft.election_ticks = left.pop("election_ticks", raft.election_ticks)
    raft.heartbeat_ticks = left.pop("heartbeat_ticks", raft.heartbeat_ticks)
    raft.pre_vote = left.pop("pre_vote", raft.pre_vote)
    raft.check_quorum = left.pop("check_quorum", raft.check_quorum)
    raft.promise_ns = left.pop("promise_ns", raft.promise_ns)
    raft.rate_numerator = left.pop("rate_numerator", raft.rate_numerator)
    raft.rate_denominator = left.pop("rate_denominator", raft.rate_denominator)
    raft.max_message_bytes = left.pop("max_message_bytes", raft.max_message_bytes)
    raft.max_inflight_messages = left.pop("max_inflight_messages", raft.max_inflight_messages)
    raft.max_inflight_bytes = left.pop("max_inflight_bytes", raft.max_inflight_bytes)
    raft.max_uncommitted_bytes = left.pop("max_uncommitted_bytes", raft.max_uncommitted_bytes)
    raft.max_pending_reads = left.pop("max_pending_reads", raft.max_pending_reads)
    raft.seed = left.pop("seed", raft.seed)
    host.tick_ns = left.pop("tick_ns", 10000000)
    host.stall_limit_ns = left.pop("stall_limit_ns", raft.election_ticks * host.tick_ns)
    host.shutdown_limit_ns = left.pop("shutdown_limit_ns", 2000000000)
    wal.segment_bytes = left.pop("segment_bytes", 64 << 20)
    wal.sync = left.pop("fsync", True)
    wal.snapshot_every = left.pop("snapshot_every", 10000)
    wal.snapshot_hold_bytes = left.pop("snapshot_hold_bytes", 256 << 20)
    transport.max_frame_bytes = left.pop("max_frame_bytes", 16 << 20)
    transport.max_queued_bytes = left.pop("max_queued_bytes", 64 << 20)
    if left:
        raise TypeError(f"unknown options: {', '.join(sorted(left))}")


cdef int fill_ids(uint64_t* into, int32_t* count, tuple ids) except -1:
    cdef list ordered = sorted(set(ids))
    cdef int32_t i
    if len(ordered) > MAX_MEMBERS:
        raise ValueError(f"more than {MAX_MEMBERS} members of one kind")
    for i in range(len(ordered)):
        into[i] = ordered[i]
    count[0] = len(ordered)
    return 0


cdef dict decode_members(bytes data):
    cdef RosterView view = RosterView()
    cdef list ids = []
    cdef int _i
    index, last_index, auto_leave = struct.unpack_from("<QQB", data)
    at = 17
    for _i in range(4):
        (count,) = struct.unpack_from("<H", data, at)
        ids.append(struct.unpack_from(f"<{count}Q", data, at + 2))
        at += 2 + 8 * count
    (count,) = struct.unpack_from("<H", data, at)
    at += 2
    progress = {id: (match, bool(active)) for id, match, active in struct.iter_unpack("<QQB", data[at:at + 17 * count])}
    view.merge(data[at + 17 * count:])
    return {
        "index": index, "last_index": last_index, "auto_leave": bool(auto_leave), "voters": ids[0], "outgoing": ids[1],
        "learners": ids[2], "learners_next": ids[3], "progress": progress, "roster": view.entries(),
    }


class CoreError(Exception):
    """A failure of opening or running a host: `kind` is "network", "raft" or "machine"; the rest says what and where."""

    def __init__(self, kind, code, errno_value=0, path="", offset=0):
        super().__init__(f"{kind} error {code} ({os.strerror(errno_value) if errno_value else 'no errno'}) {path} {offset}")
        self.kind, self.code, self.errno, self.path, self.offset = kind, code, errno_value, path, offset


_hosts = weakref.WeakSet()      # of this process


def _let_go_in_child() -> None:
    cdef HostCore core
    for core in list(_hosts):
        core.let_go()
    _hosts.clear()  # a child of this child closes nothing of its own parent's


os.register_at_fork(after_in_child=_let_go_in_child)


@cython.final
cdef class HostCore:
    """One member of one group: its threads, its log on disk, its sockets."""

    def __cinit__(self, NativeMachine machine, *, str directory not None, bytes cluster_id not None, uint64_t member_id,
                  dict addresses not None, tuple voters not None, tuple learners not None, dict options not None,
                  list roster=None, uint64_t base_index=0):
        """
        Args:
            machine: a NativeMachine, or None for entries to be pulled with `next_batch`.
            addresses: member id -> (numeric address, port), this member's own (where it listens) included.
            voters, learners: the configuration at `base_index`; changes in the log up to there count no more.
            roster: (member id, index of the log, b"address:port"), numeric, or b"" for one that was removed; None: `addresses`.
            options: settings by name; see `set_options`.

        Raises:
            StorageError: and its kinds: the directory cannot be used.
            CoreError: the address cannot be listened on, the settings contradict each other, or the machine is used up.
        """
        cdef RaftConfig raft
        cdef HostConfig config
        cdef WalOptions wal
        cdef TransportConfig transport
        self.pid = getpid()
        _hosts.add(self)
        self.member_id = member_id
        if machine is not None and machine.is_taken():
            raise CoreError("machine", 1)       # before anything is touched
        if len(cluster_id) != 16:
            raise ValueError("a cluster id has 16 bytes")
        raft_default_config(&raft)
        memset(&config, 0, sizeof(config))
        memset(&transport, 0, sizeof(transport))
        set_options(&raft, &config, &wal, &transport, options)
        raft.id = member_id
        raft.granularity_ns = max(1, clock_granularity_ns())
        memcpy(transport.cluster_id, <const char*>cluster_id, 16)
        transport.host_id = member_id
        self.host = host_new(&config)
        if self.host == NULL:
            raise MemoryError("no memory, or no file descriptors left, for a host")
        self.open_log(directory, cluster_id, &wal)
        self.open_roster(roster, addresses)
        self.open_member(machine, &raft, voters, learners, base_index, &wal)
        self.open_network(addresses, &transport)
        self.open_front(machine, options)

    cdef int open_log(self, str directory, bytes cluster_id, WalOptions* options) except -1:
        cdef StorageError error
        cdef bytes path = os.fsencode(directory)
        cdef const char* name = path
        cdef const uint8_t* cluster = cluster_id
        memset(&error, 0, sizeof(error))
        with nogil:
            self.host.directory = directory_open(name, cluster, self.member_id, options.sync, &error)
        if self.host.directory == NULL:
            raise storage_exception(&error)
        with nogil:
            self.host.wal = wal_open(self.host.directory, options.segment_bytes, options.sync, &error)
        if self.host.wal == NULL:
            raise storage_exception(&error)
        if wal_torn_offset(self.host.wal):
            logger.warning(
                "member %d: %s ended in a batch that was never acknowledged; it was cut off at offset %d", self.member_id,
                os.fsdecode(self.host.wal.path), wal_torn_offset(self.host.wal))
        return 0

    cdef int open_state(self, RecoveredGroup* found, Snapshot* chosen) except -1:
        """Load the newest snapshot that the log joins; the log says that it is committed even where it does not say so."""
        cdef StorageError error
        cdef size_t damaged = 0
        cdef int code
        memset(&error, 0, sizeof(error))
        with nogil:
            code = snapshots_load(self.member, self.host.directory, found, chosen, &damaged, &error)
        if code != STORAGE_OK:
            raise storage_exception(&error)
        if damaged:
            logger.warning(
                "member %d: %d damaged snapshots in %s were passed over; it starts at index %d", self.member_id, damaged,
                os.fsdecode(self.host.directory.path), chosen.index)
        found.hard.commit = max(found.hard.commit, chosen.index)
        self.member.snapshots.latest = chosen[0]
        if found.has_snapshot:
            self.member.snapshots.marked = found.snapshot.index
            if found.snapshot.index < chosen.index:
                self.member.snapshots.previous = found.snapshot
        # relaxed: statistics
        self.member.gauges.snapshot_index.store(chosen.index, memory_order_relaxed)
        self.member.gauges.snapshots_damaged.store(damaged, memory_order_relaxed)
        return 0

    cdef int open_roster(self, list roster, dict addresses) except -1:
        cdef RosterCode code
        cdef bytes address
        self.host.neighbours.self_id = self.member_id
        if roster is None:
            roster = [
                (id, 0, b"[%b]:%d" % (host, port) if b":" in host else b"%b:%d" % (host, port))
                for id, (host, port) in addresses.items() if id != self.member_id
            ]
        for id, index, address in roster:
            code = roster_set(&self.host.neighbours.roster, id, index, address, len(address))
            if code == ROSTER_MALFORMED:
                raise ValueError(f"{address!r} is no address of member {id}")
            if code == ROSTER_FULL:
                raise ValueError("too many members")
        return 0

    cdef int open_member(
            self, NativeMachine machine, RaftConfig* config, tuple voters, tuple learners, uint64_t base_index,
            const WalOptions* options
    ) except -1:
        cdef Member* m = <Member*>calloc(1, sizeof(Member))
        cdef RecoveredGroup empty
        cdef RecoveredGroup* found = &empty
        cdef Configuration configuration
        cdef Snapshot chosen
        if m == NULL:
            raise MemoryError("no memory for a member")
        memset(&empty, 0, sizeof(empty))
        memset(&configuration, 0, sizeof(configuration))
        if wal_recovered_count(self.host.wal):
            found = wal_recovered(self.host.wal, 0)
        m.id = self.member_id
        m.lease = lease_new()
        m.applied = applied_new()
        m.gauges = gauges_new()
        m.events = &self.host.shared.events
        m.events_wakeup = &self.host.shared.events_wakeup
        m.max_unapplied_bytes = 64 << 20
        m.roster = &self.host.neighbours.roster
        m.connected_index = UINT64_MAX
        m.next_read_id = (self.host.directory.start_counter << 40) + 1
        if not self.host.members.push(m) or m.lease == NULL or m.applied == NULL or m.gauges == NULL:
            raise MemoryError("no memory for a member")
        self.member = m
        m.snapshots.every = options.snapshot_every
        m.transfer.hold_bytes = options.snapshot_hold_bytes
        if machine is not None:
            m.machine = machine.take()
            if m.machine.self == NULL:
                raise CoreError("machine", 1)   # another host was faster
            if isinstance(machine, KeyValueMachine):
                self.host.keeper = keeper_new(m, (<KeyValueMachine>machine).store)
                if self.host.keeper == NULL:
                    raise MemoryError("no memory for a timekeeper")
        else:
            m.apply_queue = &self.host.shared.applies
            m.apply_wakeup = &self.host.shared.applies_wakeup
        self.open_state(found, &chosen)
        fill_ids(configuration.voters, &configuration.voters_count, voters)
        fill_ids(configuration.learners, &configuration.learners_count, learners)
        # What a snapshot says of members counts where it is later than the base.
        if found.has_snapshot and found.snapshot.index <= base_index:
            found.snapshot.configuration = configuration
        if chosen.index > base_index:
            configuration = chosen.configuration
        else:
            chosen.configuration = configuration
            m.snapshots.latest.configuration = m.snapshots.previous.configuration = configuration
        config.seed = (self.host.directory.start_counter << 16) ^ <uint64_t>clock_now_ns()
        m.raft = raft_new(
            config, &found.hard, &configuration, &found.snapshot if found.has_snapshot else NULL, &found.entries,
            chosen.index, m.lease, clock_now_ns())
        if m.raft == NULL:
            raise CoreError("raft", 2)
        if chosen.index > m.raft.log.latest_snapshot.index and raft_note_snapshot(
                m.raft, chosen.index, &configuration) != OK:
            raise CoreError("raft", 2)
        m.raft.configuration_index = max(m.raft.configuration_index, base_index)
        applied_publish(m.applied, chosen.index)
        wal_forget_recovered(self.host.wal)
        self.lease = Lease.wrap(m.lease)
        self.applied = AppliedIndex.wrap(m.applied)
        self.fence = Fence.wrap(m.lease, m.applied)
        return 0

    cdef int open_network(self, dict addresses, TransportConfig* config) except -1:
        cdef int error = 0
        cdef bytes address
        address, port = addresses[self.member_id]
        config.listen_address = address
        config.listen_port = port
        config.start_counter = self.host.directory.start_counter
        config.nonce = int.from_bytes(os.urandom(8), "little")
        error = host_listen(self.host, config)
        if error != 0:
            raise CoreError("network", error, error, f"{address.decode()}:{port}")
        self.port = transport_port(self.host.transport)
        neighbours_follow(&self.host.neighbours, &self.host.members, self.host.transport, clock_monotonic_ns())
        self.member.transport = self.host.transport
        return 0

    cdef int open_front(self, NativeMachine machine, dict options) except -1:
        cdef FrontConfig config
        cdef int error = 0
        cdef bytes address
        cdef bytes password = options.get("redis_password")
        memset(&config, 0, sizeof(config))
        set_front_options(&config, options)
        if options.get("redis_listen") is None:
            return 0
        if not isinstance(machine, KeyValueMachine):
            raise TypeError("Redis clients need the native key-value machine")
        address, port = options["redis_listen"]
        # where it may listen is the engine's rule, which asked before
        config.address = address
        config.port = port
        if password is not None:
            config.password = password
            config.password_size = len(password)
        self.host.front = front_open(
            &config, self.host.epoll_fd, &self.host.shared.wakeup, self.member, self.host.transport, self.host.keeper,
            (<KeyValueMachine>machine).store, int.from_bytes(os.urandom(8), "little"), &error)
        if self.host.front == NULL:
            raise CoreError("network", error, error, f"{address.decode()}:{port}")
        return 0

    def __dealloc__(self):
        if self.host == NULL or getpid() != self.pid:
            return  # a forked child owns none of it: neither threads nor sockets, and it shares the parent's epoll
        # acquire: the threads that were started, by whichever thread that was
        if self.running.load(memory_order_acquire):
            with nogil:
                host_stop(self.host, True)
        host_free(self.host)

    # ---- life

    def start(self) -> None:
        """Start the threads. Once."""
        cdef int code
        self.check_fork()
        with nogil:
            code = host_start(self.host)
        if code != 0:
            raise OSError(code, "the host's threads could not be started")
        # release: pairs with the exchange in `close`
        self.running.store(1, memory_order_release)

    def close(self, bint at_once, int64_t limit_ns=-1) -> None:
        """End every thread and answer everybody. Of several callers one does it, the others return at once.

        A graceful end takes `limit_ns` at most; negative: what the options say.
        """
        self.check_fork()
        # release: who is refused a submission by the closed queue learns why
        self.closed.store(1, memory_order_release)
        # acq_rel: the threads are joined once, by who took the 1 away, and after all that their starter did
        if self.running.exchange(0, memory_order_acq_rel) == 0:
            return
        if limit_ns >= 0:
            self.host.config.shutdown_limit_ns = limit_ns  # read by the loop once it sees that it must stop
        with nogil:
            host_stop(self.host, at_once)
        wakeup_notify(&self.host.shared.applies_wakeup)

    def hurry(self) -> None:
        """Make an end that another thread waits for in `close` come at once. Harmless at any other time after it."""
        self.check_fork()
        # release: as in host_stop
        self.host.shared.stopping.store(2, memory_order_release)
        loop_wakeup_notify(&self.host.shared.wakeup)

    cdef void let_go(self) noexcept:
        """In a forked child: close what would keep the directory locked and the ports taken after the parent's end.

        Only what never changes while the host lives: the loop may have been at anything else in the moment of the fork.
        """
        # acquire: what was closed before is not closed twice
        if self.host == NULL or self.closed.load(memory_order_acquire):
            return
        if self.host.directory != NULL:
            close(self.host.directory.lock_fd)
        if self.host.transport != NULL:
            close(self.host.transport.listen_fd)
        if self.host.front != NULL:
            close(self.host.front.listen_fd)

    cdef int check_fork(self) except -1:
        if getpid() != self.pid:
            raise ForkedProcess("this process is a fork: the host belongs to its parent")
        return 0

    cdef void* pop(self, Queue* queue) noexcept:
        cdef void* item
        with cython.critical_section(self):
            item = popped(queue)
        return item

    @property
    def redis_port(self) -> int | None:
        """Where Redis clients reach this member; None without a front end."""
        return None if self.host.front == NULL else self.host.front.port

    def redis_gauges(self) -> dict:
        """Counts of the Redis front end; empty without one."""
        return {} if self.host.front == NULL else front_totals(self.host.front)

    def redis_threads(self) -> list:
        """The load of each thread that serves Redis clients beside the loop; empty without any."""
        return [] if self.host.front == NULL else front_loads(self.host.front)

    # ---- submissions

    cdef Waiter* submit(
            self, int kind, bytes data, uint64_t argument, CompletionInbox inbox, uint64_t tag, Lease lease=None
    ) except NULL:
        cdef Submission* s
        cdef Waiter* waiter
        cdef Blob* payload = NULL
        self.check_fork()
        if data is not None:
            payload = blob_of(data)
        s = <Submission*>calloc(1, sizeof(Submission))
        waiter = waiter_new()
        if s == NULL or waiter == NULL:
            blob_release(payload)
            free(s)
            waiter_free(waiter)
            raise MemoryError("no memory for a submission")
        s.kind = kind
        s.group = self.member.group
        s.argument = argument
        s.payload = payload
        if lease is not None:
            s.lease = lease_retain(lease.word)
        s.waiter = waiter
        if inbox is not None:
            waiter.inbox = inbox_retain(inbox.inbox)
            waiter.tag = <void*>tag
        if not host_submit(self.host, s):
            s.waiter = NULL
            submission_free(s)
            waiter_release(waiter)
            waiter_release(waiter)
            # acquire: `close` says so before it closes the queue
            if self.closed.load(memory_order_acquire):
                raise Closed()
            raise Overloaded("the host takes no more submissions now", limit="submissions")
        return waiter

    def call(self, int kind, bytes data, uint64_t argument, int64_t deadline_ns, Lease lease=None) -> tuple | None:
        """Submit and wait without the GIL: (code, index, term, leader, value), or None when the deadline passed first.

        The deadline is an instant of CLOCK_MONOTONIC, negative for none. Ctrl-C ends the wait; the operation goes on.
        """
        cdef Waiter* waiter = self.submit(kind, data, argument, None, 0, lease)
        if self.wait_for(waiter, deadline_ns):
            return take_outcome(waiter)
        waiter_release(waiter)
        return None

    def read(self, int64_t limit_ns) -> int:
        """One quorum round at the least cost: the applied index, or minus the nanoseconds that were spent in vain.

        In vain for whatever reason: what `call` says next is the reason. Ctrl-C ends the wait.
        """
        cdef int64_t began_ns = clock_monotonic_ns()
        cdef Waiter* waiter
        cdef uint64_t index = 0
        try:
            waiter = self.submit(SUBMIT_READ, None, 0, None, 0, None)
        except (Closed, Overloaded):
            return 0
        if self.wait_for(waiter, began_ns + limit_ns) and waiter.code == OK:
            index = waiter.index
        waiter_release(waiter)
        return index if index != 0 else began_ns - clock_monotonic_ns()

    cdef bint wait_for(self, Waiter* waiter, int64_t deadline_ns) except -1:
        """Whether it was answered by then; waits without the GIL. Raised for Ctrl-C, the waiter is given up."""
        cdef int64_t slice_ns
        cdef int done
        while True:
            slice_ns = clock_monotonic_ns() + WAIT_SLICE_NS
            if 0 <= deadline_ns < slice_ns:
                slice_ns = deadline_ns
            with nogil:
                done = waiter_wait(waiter, slice_ns)
            if done == 1:
                return True
            check_signals(waiter)
            if done == 0 and 0 <= deadline_ns <= clock_monotonic_ns():
                return False

    @staticmethod
    def encode_change(list changes not None, int transition, bint single) -> bytes:
        """A change of membership as the payload of a CHANGE: [(kind, member id, context), ...] in the order that counts.

        Kinds and transitions are those of `_raft/types.pxd`; `single`: one change that never makes a joint configuration.
        """
        cdef ConfChange change
        cdef Blob* encoded
        cdef bytes context
        cdef int code = OK, i
        cdef tuple fixed = tuple(changes)     # nobody else changes it, and it keeps the contexts
        memset(&change, 0, sizeof(change))
        if len(fixed) > MAX_CHANGES:
            raise ValueError(f"more than {MAX_CHANGES} changes at once")
        change.transition = transition
        change.is_v1 = single
        change.count = len(fixed)
        for i, (kind, id, context) in enumerate(fixed):
            change.changes[i].kind = kind
            change.changes[i].id = id
            change.changes[i].context = context
            change.changes[i].context_bytes = len(context)
        if conf_change_check(&change) != OK:
            raise ValueError("no change that a group can make")
        encoded = conf_change_encode(&change, &code)
        if encoded == NULL:
            if code != OK:
                raise MemoryError("no memory for a change")
            return b""
        try:
            return PyBytes_FromStringAndSize(encoded.bytes(), encoded.size)
        finally:
            blob_release(encoded)

    def add_dependent(self, Lease lease not None) -> int:
        """From the return on, `lease` is withdrawn in the step that withdraws the member's own; returns an outcome's code.

        Until as many calls of `drop_dependent`. Unless the member leads, with its lease not withdrawn, `lease` is withdrawn
        at once. Where the member fails or closes, it is closed.
        """
        return self.call(SUBMIT_ADD_DEPENDENT, None, 0, -1, lease)[0]

    def drop_dependent(self, Lease lease not None) -> None:
        """Undo one `add_dependent`. Does not wait; of a host that takes nothing more, nothing depends any more."""
        cdef Waiter* waiter
        # acquire: as in `submit`
        if self.closed.load(memory_order_acquire) or getpid() != self.pid:
            return
        try:
            waiter = self.submit(SUBMIT_DROP_DEPENDENT, None, 0, None, 0, lease)
        except (Closed, Overloaded):
            return
        waiter_release(waiter)

    def members(self, int64_t deadline_ns) -> dict | None:
        """Who belongs to the group, as applied here; None when the deadline passed or the member has stopped."""
        outcome = self.call(SUBMIT_MEMBERS, None, 0, deadline_ns)
        if outcome is None or outcome[0] != OK or outcome[4] is None:
            return None
        return decode_members(outcome[4])

    def post(self, int kind, bytes data, uint64_t argument, CompletionInbox inbox not None, uint64_t tag) -> None:
        """Submit; the outcome comes into `inbox` under `tag`."""
        # The answering side's reference goes into the inbox with the outcome; the caller's has no use.
        waiter_release(self.submit(kind, data, argument, inbox, tag))

    # ---- a state machine in Python

    def next_batch(self, int64_t deadline_ns) -> list | None:
        """[(index, term, command), ...] committed and not handed out yet; None when the deadline passed or the host closed."""
        cdef void* item = self.pop(&self.host.shared.applies)
        cdef ApplyBatch* batch
        cdef list entries
        cdef Entry* entry
        cdef size_t i
        if item == NULL:
            with nogil:
                wakeup_wait(&self.host.shared.applies_wakeup, deadline_ns)
            item = self.pop(&self.host.shared.applies)
            if item == NULL:
                return None
        batch = <ApplyBatch*>item
        entries = []
        try:
            for i in range(batch.entries.size):
                entry = &batch.entries.data[i]
                entries.append((
                    entry.index, entry.term, entry.kind,
                    None if entry.data == NULL else PyBytes_FromStringAndSize(entry.data.bytes(), entry.data.size),
                ))
        finally:
            apply_batch_free(batch)
        return entries

    def batch_applied(self, uint64_t index, list results) -> None:
        """Everything up to `index` is applied; `results` has bytes or None for each entry of the batch, in order."""
        cdef tuple fixed = tuple(results)     # nobody else changes it
        cdef Submission* s = <Submission*>calloc(1, sizeof(Submission))
        cdef Py_ssize_t i
        if s == NULL:
            raise MemoryError("no memory for a submission")
        s.kind = SUBMIT_APPLIED
        s.group = self.member.group
        s.argument = index
        s.results = <Blob**>calloc(len(fixed) + 1, sizeof(Blob*))
        if s.results == NULL:
            submission_free(s)
            raise MemoryError("no memory for results")
        try:
            for i in range(len(fixed)):
                if fixed[i] is not None:
                    s.results[i] = blob_of(fixed[i])
                s.results_count = i + 1
        except BaseException:
            submission_free(s)
            raise
        s.results_count = len(fixed)
        while not host_submit(self.host, s):
            # acquire: as in `submit`
            if self.closed.load(memory_order_acquire):
                submission_free(s)
                return
            with nogil:
                wakeup_wait(&self.host.shared.applies_wakeup, clock_monotonic_ns() + 1000000)

    def fail(self, int code) -> None:
        """The state machine cannot go on: stop the member."""
        cdef Submission* s = <Submission*>calloc(1, sizeof(Submission))
        if s == NULL:
            raise MemoryError("no memory for a submission")
        s.kind = SUBMIT_FAIL
        s.group = self.member.group
        s.argument = code
        if not host_submit(self.host, s):
            submission_free(s)

    # ---- events and numbers

    def next_event(self, int64_t deadline_ns) -> tuple | None:
        """(kind, role, term, leader, code), or None when the deadline passed."""
        cdef void* item = self.pop(&self.host.shared.events)
        cdef Event* event
        if item == NULL:
            with nogil:
                wakeup_wait(&self.host.shared.events_wakeup, deadline_ns)
            item = self.pop(&self.host.shared.events)
            if item == NULL:
                return None
        event = <Event*>item
        try:
            return event.kind, event.role, event.term, event.leader, event.code
        finally:
            free(event)

    def gauges(self) -> dict:
        """Numbers of the member and its host; each exact by itself, together a blurred picture."""
        cdef MemberGauges* g = self.member.gauges
        # acquire: read before the term, so that a hand-over that is over is seen with its outcome
        cdef uint64_t transferee = g.transferee.load(memory_order_acquire)
        # relaxed throughout: nothing is decided by them
        return {
            "transferee": transferee,
            "term": g.term.load(memory_order_relaxed),
            "leader": g.leader.load(memory_order_relaxed),
            "role": g.role.load(memory_order_relaxed),
            "failed": g.failed.load(memory_order_relaxed),
            "commit_index": g.commit.load(memory_order_relaxed),
            "applied_index": g.applied.load(memory_order_relaxed),
            "first_index": g.first_index.load(memory_order_relaxed),
            "last_index": g.last_index.load(memory_order_relaxed),
            "proposals": g.proposals.load(memory_order_relaxed),
            "applied_entries": g.applied_entries.load(memory_order_relaxed),
            "reads": g.reads.load(memory_order_relaxed),
            "elections_won": g.elections.load(memory_order_relaxed),
            "lapses_deadline": g.lapses_deadline.load(memory_order_relaxed),
            "lapses_withdrawn": g.lapses_withdrawn.load(memory_order_relaxed),
            "rate_alarms": g.rate_alarms.load(memory_order_relaxed),
            "state_hash": g.state_hash.load(memory_order_relaxed),
            "state_hash_index": g.state_hash_index.load(memory_order_relaxed),
            "hashes_compared": g.hashes_compared.load(memory_order_relaxed),
            "diverged_index": g.diverged_index.load(memory_order_relaxed),
            "diverged_hash": g.diverged_hash.load(memory_order_relaxed),
            "leader_hash": g.leader_hash.load(memory_order_relaxed),
            "snapshots": g.snapshots.load(memory_order_relaxed),
            "snapshots_failed": g.snapshots_failed.load(memory_order_relaxed),
            "snapshots_damaged": g.snapshots_damaged.load(memory_order_relaxed),
            "snapshots_installed": g.snapshots_installed.load(memory_order_relaxed),
            "snapshots_resumed": g.snapshots_resumed.load(memory_order_relaxed),
            "snapshot_received_bytes": g.snapshot_received_bytes.load(memory_order_relaxed),
            "snapshot_index": g.snapshot_index.load(memory_order_relaxed),
            "snapshot_bytes": g.snapshot_bytes.load(memory_order_relaxed),
            "snapshot_ns": g.snapshot_ns.load(memory_order_relaxed),
            "passes": self.host.shared.passes.load(memory_order_relaxed),
            "late_passes": self.host.shared.late_passes.load(memory_order_relaxed),
            "missed_ticks": self.host.shared.missed_ticks.load(memory_order_relaxed),
            "longest_pass_ns": self.host.shared.longest_pass_ns.load(memory_order_relaxed),
        }
