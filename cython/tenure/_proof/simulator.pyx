"""The loop of the simulator and its Python edge. `tenure.sim.Simulation` is the friendly face; see docs/simulator.md.

One object owns one world; one thread at a time may use it. `run` holds no Python object and no GIL. The same seed, profile
and guards give the same run, event by event, whether the monitor watches or not.
"""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset

from tenure._core.vec cimport Vec
from tenure._proof.clients cimport client_event, clients_begin
from tenure._proof.faults cimport fault_event, faults_begin
from tenure._proof.harm cimport harm_begin, harm_end
from tenure._proof.host cimport host_crash, host_event, host_stop
from tenure._proof.linearizability cimport (
    Checker,
    Operation,
    checker_init,
    checker_release,
    checker_run,
    integer_word,
    word_absent,
)
from tenure._proof.monitor cimport monitor_leases, violate
from tenure._proof.network cimport network_take_fates
from tenure._proof.raft.types cimport OK
from tenure._proof.requests cimport requests_serve
from tenure._proof.user cimport user_machines
from tenure._proof.world cimport (
    COUNT_CALMS,
    COUNT_EVENTS,
    COUNT_MESSAGES,
    EV_CALL,
    EV_DELIVER,
    EV_FAULT,
    EV_REPLY,
    EV_RESTART,
    EV_RESUME,
    EV_START,
    EV_THAW,
    EV_TIMEOUT,
    FAULT_KINDS,
    MAX_SIM_MEMBERS,
    MESSAGE_TYPES,
    OP_CAS,
    OP_DEL,
    OP_GET,
    OP_INCR,
    OP_SET,
    STATUS_OK,
    TRACE_APPLIED,
    TRACE_CAPACITY,
    TRACE_COMMIT,
    TRACE_CRASH,
    TRACE_FAULT,
    TRACE_FINISH,
    TRACE_LEASE_READ,
    TRACE_LEASE_START,
    TRACE_PAUSE,
    TRACE_ROLE,
    TRACE_SEND,
    TRACE_VIOLATION,
    VIOLATION_LIVENESS,
    VIOLATION_WRITE_LIVENESS,
    Call,
    Client,
    Event,
    Fate,
    Fault,
    Input,
    ProfileC,
    Row,
    Trace,
    Violation,
    World,
    absent,
    clock_now,
    count,
    message_free,
    world_calm,
    world_free,
    world_new,
    world_pop,
    world_schedule,
    world_stuck,
)

COUNTERS = (
    "events", "operations", "ok", "failed", "unknown", "lease_reads", "late_lease_reads", "stalled_reads",
    "read_index_leader", "read_index_follower", "fallbacks", "lease_spans", "elections", "crashes", "restarts",
    "restarts_in_promise", "lost_writes", "pauses", "partitions", "messages", "dropped", "duplicated", "held",
    "disk_stalls", "apply_stalls", "clock_faults", "transfers", "transfers_done", "transfers_aborted", "step_downs",
    "forgets", "late_extensions", "late_extensions_refused", "committed", "rate_alarms",
    "disk_failures", "disk_step_downs", "clock_jumps", "retries", "duplicates_refused", "snapshots", "snapshots_installed",
    "late_timeout_now", "changes", "calms",
)
VIOLATIONS = {
    1: "two members hold a valid lease",
    2: "an entry of a higher term is committed under a valid lease",
    3: "the lease holder has not applied what was applied elsewhere",
    4: "two leaders in one term",
    5: "members disagree on a committed entry",
    6: "a leader lacks a committed entry",
    7: "committed without a majority of disks",
    8: "a message carries a commit index above its sender's applied index",
    9: "the core failed",
    10: "an index or a term is out of order",
    11: "no operation ended well for too long",
    12: "a promise shrank",
    13: "a lease read is served where not everything applied elsewhere is applied",
    14: "a read is confirmed at an index below what was applied before it",
    15: "no write ended well for too long",
}
FAULTS = (
    "partition", "pause", "crash", "disk stall", "apply stall", "clock failure", "clock freeze", "clock rate", "transfer",
    "step down", "forget leader", "late extension", "slow disk", "disk failure", "clock jump", "change", "wipe",
)
MESSAGES = (
    "?", "App", "AppResp", "Heartbeat", "HeartbeatResp", "PreVote", "PreVoteResp", "Vote", "VoteResp", "Snap", "TimeoutNow",
    "ReadIndex", "ReadIndexResp",
)
INPUTS = (
    "start", "step", "tick", "ready", "appended", "applied", "propose", "read", "transfer", "step-down", "forget", "stop",
    "note", "compact", "report", "change", "end",
)
ROLES = ("follower", "pre-candidate", "candidate", "leader")
OPERATIONS = {OP_SET: "set", OP_GET: "get", OP_INCR: "incr", OP_CAS: "cas", OP_DEL: "del"}
STATUSES = ("ok", "fail", "unknown")
VIAS = ("log", "lease", "read_index")


def _place_of_fate(fate: dict) -> tuple:
    return fate["from_"], fate["to"], fate["type"], fate["at_ns"], fate["nth"]


cdef void handle(World* w, Event* event) noexcept nogil:
    cdef int kind = event.kind
    if kind == EV_START or kind == EV_CALL or kind == EV_REPLY or kind == EV_TIMEOUT:
        client_event(w, event)
    elif kind == EV_FAULT:
        fault_event(w, event)
    elif kind == EV_RESUME or kind == EV_RESTART or kind == EV_THAW:
        harm_end(w, event)
    else:
        host_event(w, &w.members[event.member], event)


cdef void bury_failed(World* w) noexcept nogil:
    """A core that failed takes its process down (with the monitor on, that is a violation already)."""
    cdef int32_t i
    for i in range(w.count):
        if w.members[i].alive and w.members[i].raft.failed != OK:
            host_crash(w, &w.members[i], 0)
            world_schedule(w, w.now_ns + w.profile.down_min_ns, EV_RESTART, i)


cdef bint finished(const World* w) noexcept nogil:
    return <int64_t>w.history.size >= w.operations_wanted and w.operations_open == 0


cdef void loop(World* w, int64_t until_ns) noexcept nogil:
    cdef Event event
    while not w.stopped and not w.no_memory and not finished(w) and w.heap.size != 0:
        if w.heap.data[0].at_ns > until_ns:
            w.now_ns = max(w.now_ns, until_ns)
            return
        world_pop(w, &event)
        w.now_ns = event.at_ns
        count(w, COUNT_EVENTS)
        if world_calm(w) != w.calm:
            w.calm = not w.calm
            w.counters[<int>COUNT_CALMS] += w.calm
        handle(w, &event)
        message_free(event.message)
        bury_failed(w)
        monitor_leases(w)
        if world_stuck(w):
            violate(w, VIOLATION_LIVENESS, NULL, 0, <uint64_t>w.finished_ns, 0)
            return
        if w.profile.write_liveness_ns and w.now_ns - w.written_ns > w.profile.write_liveness_ns:
            violate(w, VIOLATION_WRITE_LIVENESS, NULL, 0, <uint64_t>w.written_ns, 0)
            return


cdef int64_t word_of(int64_t value) noexcept nogil:
    return word_absent() if value == absent() else integer_word(value)


cdef bint to_operation(const Row* row, Operation* operation) noexcept nogil:
    memset(operation, 0, sizeof(Operation))
    operation.key = row.key
    operation.kind = row.kind
    operation.call = row.call_ns
    operation.ret = row.ret_ns
    operation.status = row.status
    if row.kind == OP_SET:
        operation.arg1 = word_of(row.value)
    elif row.kind == OP_GET:
        operation.out = word_of(row.out) if row.status == STATUS_OK else 0
    elif row.kind == OP_INCR:
        operation.arg1 = row.value
        operation.out = word_of(row.out) if row.status == STATUS_OK else 0
    elif row.kind == OP_CAS:
        operation.arg1 = word_of(row.expected)
        operation.arg2 = word_of(row.value)
        operation.out = row.out
    else:
        operation.out = row.out
    return True


@cython.final
cdef class Simulator:
    """A world and its runs. `profile` is a dict with every field of `tenure.sim.Profile`, `guards_off` a bit mask."""

    cdef World* world
    cdef bint begun
    cdef object machines

    def __cinit__(self, uint64_t seed, dict profile, uint64_t guards_off=0, bint monitoring=True, bint tracing=False,
                  bint recording=False, tuple replay=None, list script=None, object machines=None):
        cdef ProfileC fields = profile
        if fields.members < 1 or fields.spares < 0 or fields.members + fields.spares > MAX_SIM_MEMBERS:
            raise ValueError(f"members and spares must be 1..{MAX_SIM_MEMBERS} together, one member at least")
        if fields.clients < 1 or fields.keys < 1 or fields.epoch_operations < 1 or fields.tick_ns < 1:
            raise ValueError("clients, keys, epoch_operations and tick_ns must be positive")
        if not -1000000 < fields.clock_rate_max_ppm < 1000000:
            raise ValueError("a clock's rate error must stay below 1 (1000000 ppm)")
        self.world = world_new(&fields, seed, guards_off)
        if self.world == NULL:
            raise MemoryError
        self.world.monitoring = monitoring
        self.world.tracing = tracing
        self.world.recording = recording
        self.world.serve = requests_serve
        if machines is not None:
            self.machines = machines
            self.world.machines = user_machines(machines)
        if replay is not None:
            self.take_script(replay[0])
            self.take_record(replay[1], replay[2])
        elif script is not None:
            self.take_script(script)

    cdef void take_script(self, list faults) except *:
        """These faults and no others: dicts with the fields of the struct."""
        cdef World* w = self.world
        cdef Fault fault
        w.scripted = True
        for each in faults:
            fault = each
            if not (0 <= fault.member < w.count and -1 <= fault.other < w.count and 0 <= fault.kind < FAULT_KINDS):
                raise ValueError(f"no such member or kind: {each}")
            if not w.faults.push(fault):
                raise MemoryError

    cdef void take_record(self, list calls, list fates) except *:
        """These calls and these fates of messages and no others: dicts with the fields of the structs."""
        cdef World* w = self.world
        cdef Call call
        cdef Fate fate
        cdef Client client
        cdef bint stored = True
        w.replaying = True
        w.clients.clear()
        for each in calls:
            call = each
            if not 0 <= call.target < w.count:
                raise ValueError(f"no such member: {each}")
            memset(&client, 0, sizeof(client))
            client.label = call.client
            client.target = call.target
            stored = stored and w.calls.push(call) and w.clients.push(client)
        for each in sorted(fates, key=_place_of_fate):
            fate = each
            if not (0 <= fate.from_ < w.count and 0 <= fate.to < w.count and 0 <= fate.type < MESSAGE_TYPES):
                raise ValueError(f"no such link or type: {each}")
            stored = stored and w.fates.push(fate)
        if not stored:
            raise MemoryError
        network_take_fates(w)

    def record(self) -> tuple:
        """(faults, calls, fates) decided so far, as `replay` takes them. Empty unless recorded."""
        cdef World* w = self.world
        cdef size_t i
        return (
            [w.faults.data[i] for i in range(w.faults.size)],
            [w.calls.data[i] for i in range(w.calls.size)],
            [w.fates.data[i] for i in range(w.fates.size)],
        )

    def inputs(self) -> list:
        """(member, kind, its clock, a, b) of everything that a host did with its core, in order. Empty unless recorded."""
        cdef World* w = self.world
        cdef size_t i
        cdef Input* one
        found = []
        for i in range(w.inputs.size):
            one = &w.inputs.data[i]
            found.append((one.member + 1, INPUTS[one.kind], one.now_ns, one.a, one.b))
        return found

    def clocks(self) -> list:
        """What every member's clock says now, 0 where it cannot be read."""
        cdef int32_t i
        return [clock_now(self.world, &self.world.members[i]) for i in range(self.world.count)]

    def __dealloc__(self):
        cdef int32_t i
        if self.world != NULL:
            for i in range(self.world.count):
                host_stop(self.world, &self.world.members[i])
            world_free(self.world)

    def run(self, int64_t operations, int64_t until_ns) -> None:
        """Go on until so many operations (in all) have ended, or until an instant of true time, or to a violation."""
        cdef World* w = self.world
        with nogil:
            w.operations_wanted = operations
            if not self.begun:
                self.begun = True
                w.finished_ns = w.written_ns = w.now_ns
                harm_begin(w)
                faults_begin(w)
                if w.replaying:
                    clients_begin(w)
            if not w.replaying:
                clients_begin(w)
            loop(w, until_ns)
        if w.no_memory and (self.machines is None or self.machines.failure is None):
            raise MemoryError

    @property
    def now_ns(self) -> int:
        return self.world.now_ns

    @property
    def open_operations(self) -> int:
        return self.world.operations_open

    def counters(self) -> dict:
        return {name: self.world.counters[i] for i, name in enumerate(COUNTERS)}

    def violations(self) -> list:
        """(true time, event, kind, member, other member, a, b) of each violation of an invariant."""
        cdef size_t i
        cdef Violation* v
        found = []
        for i in range(self.world.violations.size):
            v = &self.world.violations.data[i]
            found.append((v.at_ns, v.event, VIOLATIONS.get(v.kind, "?"), v.member, v.other, v.a, v.b))
        return found

    def history(self) -> list:
        """One tuple per operation: client, op, key, value, expected, out, call_ns, ret_ns, status, via, member."""
        cdef size_t i
        cdef Row* r
        rows = []
        for i in range(self.world.history.size):
            r = &self.world.history.data[i]
            rows.append((
                self.world.clients.data[r.client].label, OPERATIONS[r.kind], r.key, r.value,
                None if r.expected == absent() else r.expected,
                None if r.out == absent() else r.out, r.call_ns, r.ret_ns, STATUSES[r.status], VIAS[r.via], r.member))
        return rows

    def check(self, int64_t max_steps=5_000_000, int64_t max_bytes=1 << 30) -> tuple:
        """(verdict, key, operation, keys, undecided keys) of the checker of linearizability over the history."""
        cdef Vec[Operation] operations
        cdef Operation operation
        cdef Checker checker
        cdef World* w = self.world
        cdef size_t i
        cdef int verdict = 0
        cdef bint stored = True
        memset(&operations, 0, sizeof(operations))
        memset(&checker, 0, sizeof(checker))
        with nogil:
            for i in range(w.history.size):
                to_operation(&w.history.data[i], &operation)
                stored = stored and operations.push(operation)
            checker_init(&checker, max_steps, max_bytes)
            verdict = checker_run(&checker, operations.data, operations.size)
        undecided = [checker.undecided.data[i] for i in range(checker.undecided.size)]
        answer = (verdict, checker.result.key, checker.result.operation, checker.result.keys, undecided)
        operations.release()
        checker_release(&checker)
        if not stored:
            raise MemoryError
        return answer

    def fingerprint(self) -> int:
        """Of the run so far: equal for equal seeds, profiles and guards."""
        cdef uint64_t mixed = self.world.seed ^ <uint64_t>self.world.now_ns ^ <uint64_t>self.world.counters[<int>COUNT_MESSAGES]
        if self.world.committed.size:
            mixed ^= self.world.committed.data[self.world.committed.size - 1].checksum
        return mixed

    def trace(self) -> list:
        """The last records of the trace, as lines, oldest first."""
        cdef uint64_t i, first = 0
        if self.world.trace.size == TRACE_CAPACITY:
            first = self.world.traced % TRACE_CAPACITY
        return [
            describe(&self.world.trace.data[(first + i) % self.world.trace.size]) for i in range(self.world.trace.size)]


cdef str describe(const Trace* t):
    head = f"{t.at_ns / 1e6:12.3f} ms  {'m%d' % t.member if t.member else '--'} (own {t.local_ns / 1e6:.3f}, term {t.term})  "
    if t.what == TRACE_SEND or t.what == EV_DELIVER:
        return head + (
            f"{'sends' if t.what == TRACE_SEND else 'steps'} {t.from_}->{t.to}"
            f" {MESSAGES[<Py_ssize_t>t.type]}{' reject' if t.reject else ''}"
            f" term {t.term} index {t.index}/{t.log_term} commit {t.commit} entries {t.entries}"
            f" stamp {t.stamp_ns / 1e6:.3f} promise {t.promise_ns / 1e6:.3f} release {t.a} remaining {t.b / 1e6:.3f}")
    if t.what == TRACE_ROLE:
        return head + f"is {ROLES[<Py_ssize_t>t.a]} of term {t.b}"
    if t.what == TRACE_CRASH:
        return head + f"crashes with {t.a} writes unsynced"
    if t.what == TRACE_PAUSE:
        return head + ("is paused" if t.a else "resumes")
    if t.what == TRACE_LEASE_READ:
        return head + f"lease read, operation {t.a}, applied {t.b}"
    if t.what == TRACE_LEASE_START:
        return head + f"lease becomes valid until {t.a / 1e6:.3f}"
    if t.what == TRACE_COMMIT:
        return head + f"commits {t.a} (was {t.b})"
    if t.what == TRACE_APPLIED:
        return head + f"applied {t.a}"
    if t.what == TRACE_VIOLATION:
        return head + f"VIOLATION {VIOLATIONS.get(t.a)} (other {t.b})"
    if t.what == TRACE_FAULT:
        return head + f"fault: {FAULTS[<Py_ssize_t>t.a]}"
    if t.what == TRACE_FINISH:
        return head + f"operation {t.a} ends: {STATUSES[<Py_ssize_t>t.b]}"
    return head + f"record {t.what} {t.a} {t.b}"
