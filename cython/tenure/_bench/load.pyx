"""Callers in compiled code: what a host does when Python is not in its way.

`Commands` is a set of prepared SET commands with random keys. `one_by_one` is one caller, one call after the other;
`together` is one thread that keeps many calls on their way at once, as a front end with as many connections does;
`apply_all` is the inner loop of applying, straight from the bytes that the log holds. All run in the calling thread, without
the GIL.

A call that is still open when its time is up belongs to the host alone: its outcome is dropped.
"""

from array import array

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from libcpp.atomic cimport memory_order_acquire, memory_order_relaxed

from tenure._core.blob cimport Blob, blob_release, blob_retain
from tenure._core.clock cimport clock_monotonic_ns, clock_wall_ms
from tenure._core.posix cimport (
    EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLLIN, close, epoll_create1, epoll_ctl, epoll_event, epoll_wait,
)
from tenure._core.queue cimport queue_open, queue_pop_batch, queue_size
from tenure._core.state_machine cimport PREFETCH_FAR, PREFETCH_NEAR, NativeMachine, StateMachine
from tenure._core.wakeup cimport (
    loop_wakeup_arm, loop_wakeup_disarm, loop_wakeup_drain, loop_wakeup_open,
)
from tenure._host.core cimport HostCore
from tenure._host.loop cimport SUBMIT_PROPOSE, SUBMIT_READ, Host, Submission, host_submit, submission_free
from tenure._host.waiter cimport (
    Inbox, Waiter, inbox_new, inbox_release, inbox_retain, waiter_new, waiter_release, waiter_wait,
)
from tenure._kv.codec cimport COUNTER_BITS, OP_SET, Slice, command_new

READ = SUBMIT_READ
WRITE = SUBMIT_PROPOSE

cdef enum:
    MAX_TOGETHER = 4096
    TAKEN = 256
    CALL_LIMIT_NS = 5000000000


cdef uint64_t mix(uint64_t* state) noexcept nogil:
    """splitmix64."""
    cdef uint64_t z
    state[0] += 0x9E3779B97F4A7C15u
    z = state[0]
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu
    return z ^ (z >> 31)


cdef void name_key(char* into, uint64_t number) noexcept nogil:
    """key:000000000000, as redis-benchmark names them: 16 bytes."""
    cdef int i
    into[0], into[1], into[2], into[3] = c"k", c"e", c"y", c":"
    for i in range(12):
        into[15 - i] = <char>(c"0" + number % 10)
        number //= 10


@cython.final
cdef class Commands:
    """SET commands, encoded. With `distinct`, no two have the same key, and their order is random; else keys repeat.

    `hint_ms` is the instant that they propose for themselves, in milliseconds; 0: the wall clock's.
    """

    cdef Blob** blobs
    cdef size_t count

    def __cinit__(self, size_t count, *, uint32_t value_bytes, uint64_t key_space, uint64_t seed=1, bint distinct=False,
                  uint64_t hint_ms=0):
        cdef Slice arguments[2]
        cdef char key[16]
        cdef bytes value = b"v" * value_bytes
        cdef uint64_t state = seed, hint
        cdef size_t i
        cdef bint enough = True
        if count == 0 or key_space == 0 or (distinct and key_space < count):
            raise ValueError("no commands, or fewer keys than commands")
        self.blobs = <Blob**>calloc(count, sizeof(Blob*))
        if self.blobs == NULL:
            raise MemoryError("no memory for commands")
        self.count = count
        arguments[0].data, arguments[0].size = key, 16
        arguments[1].data, arguments[1].size = PyBytes_AS_STRING(value), value_bytes
        hint = (hint_ms if hint_ms else <uint64_t>clock_wall_ms()) << COUNTER_BITS
        with nogil:
            for i in range(count):
                # distinct: a walk with an odd step over a power of two visits every place once; places above are skipped
                name_key(key, self.next_distinct(&state, key_space) if distinct else mix(&state) % key_space)
                self.blobs[i] = command_new(OP_SET, 0, hint, 0, arguments, 2)
                enough = enough and self.blobs[i] != NULL
        if not enough:
            raise MemoryError("no memory for commands")

    cdef uint64_t next_distinct(self, uint64_t* state, uint64_t key_space) noexcept nogil:
        cdef uint64_t mask = 1
        while mask < key_space:
            mask <<= 1
        mask -= 1
        while True:
            # a full-period linear congruence modulo a power of two (Hull-Dobell: odd increment, multiplier 1 mod 4)
            state[0] = (state[0] * 6364136223846793005u + 1442695040888963407u) & mask
            if state[0] < key_space:
                return state[0]

    def __dealloc__(self):
        cdef size_t i
        for i in range(self.count):
            blob_release(self.blobs[i])
        free(self.blobs)

    def __len__(self) -> int:
        return self.count


# ---------------------------------------------------------------------------------------------------------- submissions

cdef Waiter* submit(Host* host, int32_t kind, Blob* payload, Inbox* inbox, void* tag) noexcept nogil:
    """The waiter, with the caller's reference; null without memory or room."""
    cdef Submission* submission = <Submission*>calloc(1, sizeof(Submission))
    cdef Waiter* waiter = waiter_new()
    if submission == NULL or waiter == NULL:
        free(submission)
        waiter_release(waiter)
        waiter_release(waiter)
        return NULL
    submission.kind = kind
    submission.payload = blob_retain(payload)
    submission.waiter = waiter
    waiter.inbox = inbox_retain(inbox)
    waiter.tag = tag
    if not host_submit(host, submission):
        submission_free(submission)
        waiter_release(waiter)
        waiter_release(waiter)
        return NULL
    return waiter


cdef int require_running(HostCore core) except -1:
    # acquire: the threads that were started
    if core.host == NULL or not core.running.load(memory_order_acquire):
        raise ValueError("the host does not run")
    return 0


def one_by_one(HostCore core not None, int kind, Commands commands, size_t count) -> array:
    """Nanoseconds of each of `count` calls of one compiled caller. `commands` is for writes."""
    cdef Host* host = core.host
    cdef Waiter* waiter
    cdef Blob* payload = NULL
    cdef bytes kept = PyBytes_FromStringAndSize(NULL, count * sizeof(int64_t))
    cdef int64_t* into = <int64_t*>PyBytes_AS_STRING(kept)
    cdef int64_t begin_ns
    cdef size_t i
    cdef int code = 0, done
    require_running(core)
    if kind == SUBMIT_PROPOSE and commands is None:
        raise ValueError("a write needs commands")
    with nogil:
        for i in range(count):
            if kind == SUBMIT_PROPOSE:
                payload = commands.blobs[i % commands.count]
            begin_ns = clock_monotonic_ns()
            waiter = submit(host, kind, payload, NULL, NULL)
            if waiter == NULL:
                code = -1
                break
            done = waiter_wait(waiter, begin_ns + CALL_LIMIT_NS)
            while done < 0:
                done = waiter_wait(waiter, begin_ns + CALL_LIMIT_NS)
            into[i] = clock_monotonic_ns() - begin_ns
            code = waiter.code if done else -2
            waiter_release(waiter)
            if code != 0:
                break
    if code != 0:
        raise RuntimeError(f"a call failed with code {code}")
    found = array("q")
    found.frombytes(kept)
    return found


cdef struct Together:
    Host* host
    Inbox* inbox
    int epoll_fd
    int32_t kind
    Blob** blobs
    size_t blobs_count
    size_t next_blob
    size_t open_calls
    uint64_t completed
    uint64_t failed
    int64_t began[MAX_TOGETHER]     # by caller
    int64_t* latencies
    size_t latencies_limit


cdef bint begin_call(Together* t, size_t caller) noexcept nogil:
    cdef Waiter* waiter
    cdef Blob* payload = NULL
    if t.kind == SUBMIT_PROPOSE:
        payload = t.blobs[t.next_blob % t.blobs_count]
        t.next_blob += 1
    t.began[caller] = clock_monotonic_ns()
    waiter = submit(t.host, t.kind, payload, t.inbox, <void*>caller)
    if waiter == NULL:
        t.failed += 1
        return False
    waiter_release(waiter)      # the inbox brings it back
    t.open_calls += 1
    return True


cdef void take_answers(Together* t, bint again) noexcept nogil:
    """Note what was answered, and let each of those callers call again."""
    cdef void* items[TAKEN]
    cdef Waiter* waiter
    cdef size_t count = TAKEN, i, caller
    cdef int64_t now_ns
    while count == TAKEN:
        count = queue_pop_batch(&t.inbox.queue, items, TAKEN)
        now_ns = clock_monotonic_ns()
        for i in range(count):
            waiter = <Waiter*>items[i]
            caller = <size_t>waiter.tag
            t.open_calls -= 1
            if waiter.code == 0:
                if t.completed < t.latencies_limit:
                    t.latencies[t.completed] = now_ns - t.began[caller]
                t.completed += 1
            else:
                t.failed += 1
            waiter_release(waiter)
            if again:
                begin_call(t, caller)


cdef int64_t run_together(Together* t, size_t callers, int64_t duration_ns) noexcept nogil:
    """Returns how long it took until the last call was answered or given up."""
    cdef epoll_event event
    cdef int64_t begin_ns = clock_monotonic_ns(), now_ns = begin_ns
    cdef size_t i
    for i in range(callers):
        begin_call(t, i)
    while t.open_calls and now_ns < begin_ns + duration_ns + CALL_LIMIT_NS:
        loop_wakeup_arm(&t.inbox.wakeup)
        if queue_size(&t.inbox.queue) == 0:
            epoll_wait(t.epoll_fd, &event, 1, 100)
            loop_wakeup_drain(&t.inbox.wakeup)
        loop_wakeup_disarm(&t.inbox.wakeup)
        now_ns = clock_monotonic_ns()
        take_answers(t, now_ns < begin_ns + duration_ns)
    return now_ns - begin_ns


cdef bint watch_inbox(Together* t) noexcept nogil:
    cdef epoll_event event
    event.events = EPOLLIN
    event.data.u64 = 0
    return epoll_ctl(t.epoll_fd, EPOLL_CTL_ADD, t.inbox.wakeup.descriptor, &event) == 0


def together(HostCore core not None, int kind, Commands commands, size_t callers, int64_t duration_ns) -> dict[str, object]:
    """Keep `callers` calls on their way for `duration_ns`, then wait for the last of them.

    Returns:
        completed, failed (counts), elapsed_ns, latencies_ns (of the first million calls), and how many
        batches and jobs this host's log writer carried out meanwhile; a batch is one fdatasync.
    """
    cdef Together* t
    cdef bytes kept
    cdef size_t limit = 1000000
    cdef int64_t elapsed_ns
    cdef uint64_t batches, jobs
    require_running(core)
    if not 1 <= callers <= MAX_TOGETHER or (kind == SUBMIT_PROPOSE and commands is None):
        raise ValueError("between 1 and 4096 callers, and commands for writes")
    t = <Together*>calloc(1, sizeof(Together))
    if t == NULL:
        raise MemoryError("no memory for callers")
    kept = PyBytes_FromStringAndSize(NULL, limit * sizeof(int64_t))
    t.epoll_fd = epoll_create1(EPOLL_CLOEXEC)
    t.inbox = inbox_new()
    try:
        if (
            t.inbox == NULL or t.epoll_fd < 0 or not queue_open(&t.inbox.queue, 2 * MAX_TOGETHER)
            or loop_wakeup_open(&t.inbox.wakeup) != 0 or not watch_inbox(t)
        ):
            raise MemoryError("no memory for an inbox")
        t.host, t.kind = core.host, kind
        if commands is not None:
            t.blobs, t.blobs_count = commands.blobs, commands.count
        t.latencies, t.latencies_limit = <int64_t*>PyBytes_AS_STRING(kept), limit
        # relaxed: statistics of another thread
        batches = core.host.writer.batches.load(memory_order_relaxed)
        jobs = core.host.writer.jobs.load(memory_order_relaxed)
        with nogil:
            elapsed_ns = run_together(t, callers, duration_ns)
        batches = core.host.writer.batches.load(memory_order_relaxed) - batches
        jobs = core.host.writer.jobs.load(memory_order_relaxed) - jobs
        latencies = array("q")
        latencies.frombytes(kept[:min(t.completed, limit) * sizeof(int64_t)])
        return {
            "completed": t.completed, "failed": t.failed + t.open_calls, "elapsed_ns": elapsed_ns,
            "latencies_ns": latencies, "batches": batches, "jobs": jobs,
        }
    finally:
        if t.inbox != NULL:
            inbox_release(t.inbox)
        if t.epoll_fd >= 0:
            close(t.epoll_fd)
        free(t)


cdef inline void fetch(const StateMachine* machine, Commands commands, size_t at, int stage) noexcept nogil:
    if at < commands.count:
        machine.prefetch(machine.self, commands.blobs[at].bytes(), commands.blobs[at].size, stage)


def apply_all(NativeMachine machine not None, Commands commands not None) -> int:
    """Nanoseconds to apply every command to a machine that no host has."""
    cdef StateMachine* target = &machine.machine
    cdef Blob* result
    cdef Blob* command
    cdef int64_t begin_ns, end_ns
    cdef size_t i
    cdef bint applied = True
    if machine.machine.self == NULL:
        raise ValueError("a host runs this machine")
    with nogil:
        begin_ns = clock_monotonic_ns()
        for i in range(commands.count):
            if target.prefetch != NULL:
                fetch(target, commands, i + PREFETCH_FAR, 0)
                fetch(target, commands, i + PREFETCH_NEAR, 1)
            result = NULL
            command = commands.blobs[i]
            applied = target.apply(target.self, i + 1, 1, command.bytes(), command.size, &result)
            blob_release(result)
            if not applied:
                break
        end_ns = clock_monotonic_ns()
    if not applied:
        raise MemoryError("the machine cannot go on")
    return end_ns - begin_ns
