"""The loop of one host: the only thread that touches its members and sockets."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libcpp.atomic cimport atomic

from tenure._core.blob cimport Blob
from tenure._core.lease cimport LeaseWord
from tenure._core.posix cimport pthread_t
from tenure._core.queue cimport Queue
from tenure._core.vec cimport Vec
from tenure._core.wakeup cimport LoopWakeup, Wakeup
from tenure._host.neighbours cimport Neighbours
from tenure._host.member cimport Member
from tenure._host.redis_types cimport Front
from tenure._host.snapshotter cimport Snapshotter
from tenure._host.timekeeper cimport Timekeeper
from tenure._host.waiter cimport Waiter
from tenure._host.writer cimport Writer
from tenure._net.transport cimport Transport, TransportConfig
from tenure._storage.directory cimport Directory
from tenure._storage.wal cimport Wal

cdef enum SubmissionKind:
    SUBMIT_PROPOSE = 1
    SUBMIT_READ = 2
    SUBMIT_TRANSFER = 3         # argument: target
    SUBMIT_STEP_DOWN = 4
    SUBMIT_CAMPAIGN = 5
    SUBMIT_APPLIED = 6          # argument: index; results of a Python state machine
    SUBMIT_CHANGE = 8           # payload: a change of membership; argument: 1 = a single one, never joint
    SUBMIT_MEMBERS = 9          # answered with `member_members`
    SUBMIT_SNAPSHOT = 10        # answered with the index that the snapshot being taken, or the last one, covers
    SUBMIT_FAIL = 7             # argument: code; the Python state machine raised
    SUBMIT_ADD_DEPENDENT = 11   # lease: a word that is withdrawn with this member's own; answered once that is so
    SUBMIT_DROP_DEPENDENT = 12

cdef struct Submission:
    int32_t kind
    uint32_t group
    uint64_t argument
    Blob* payload
    Blob** results
    size_t results_count
    LeaseWord* lease            # one reference
    Waiter* waiter

cdef struct HostConfig:
    int64_t tick_ns
    int64_t stall_limit_ns
    int64_t shutdown_limit_ns   # how long a graceful stop may take


cdef extern from "tenure/_host/loop.hpp" namespace "tenure" nogil:
    cdef cppclass HostThreads:
        Queue submissions       # of Submission*
        LoopWakeup wakeup
        Queue events            # of Event*
        Wakeup events_wakeup
        Queue applies           # of ApplyBatch*, for a state machine written in Python
        Wakeup applies_wakeup
        pthread_t thread
        atomic[uint32_t] stopping       # 1 = graceful, 2 = at once
        atomic[uint64_t] passes
        atomic[uint64_t] late_passes    # longer than a tick
        atomic[uint64_t] missed_ticks
        atomic[int64_t] longest_pass_ns

    HostThreads* host_threads_new() noexcept
    void host_threads_free(HostThreads* threads) noexcept


cdef struct Host:
    HostConfig config
    HostThreads* shared
    int epoll_fd
    Transport* transport
    Directory* directory
    Wal* wal
    Writer* writer
    Timekeeper* keeper          # null: the machine is not the native key-value store
    Front* front                # null: no Redis clients
    Snapshotter* snapshotter
    Vec[Member*] members        # sorted by group
    Neighbours neighbours


cdef Host* host_new(const HostConfig* config) noexcept nogil
# Listens; peers are added to `host.transport` before the start. 0 or an errno.
cdef int host_listen(Host* host, TransportConfig* config) noexcept nogil
cdef int host_start(Host* host) noexcept nogil          # starts log writer, snapshot thread and loop; 0 or an errno
cdef bint host_submit(Host* host, Submission* submission) noexcept nogil   # any thread; False: full or closed, caller keeps it
cdef void submission_free(Submission* submission) noexcept nogil
# Ends and joins every thread, answers everybody, closes log and sockets. `at_once` skips the hand-over of leadership.
cdef void host_stop(Host* host, bint at_once) noexcept nogil
cdef void host_free(Host* host) noexcept nogil
