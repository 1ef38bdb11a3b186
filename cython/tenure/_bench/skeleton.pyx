"""The bare skeleton: the hops of a quorum round and of a durable write, without Raft, state machine and protocol.

A host here has what a host of `_host` has: a loop thread in epoll with an eventfd and a 10 ms timer, a log writer thread on a
futex, one dialled connection in each direction between two processes, and callers that sleep on a futex word. The queues and
wakeups are the same ones. What it moves is a number in a padded frame:

    read    caller -> queue, eventfd -> loop -> TCP -> followers' loops -> TCP -> loop; first answer -> futex -> caller
    write   the same, and leader and followers hand the number to their log writers, which overwrite a part of a file that
            exists already and fdatasync it at the same time; a follower answers after its own, the caller is
            woken after the leader's own and the first answer, and after one addition to a table

Its figures are the least that those hops cost on this machine at this moment; tenure's are judged as multiples of them.

`SkeletonHost` owns its threads and memory; descriptors are given and taken back by Python. One thread calls `measure` at
a time. Nothing here recovers from anything: a failed socket or disk makes the call fail.
"""

from array import array

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memmove, memset
from libcpp.atomic cimport memory_order_acquire, memory_order_relaxed, memory_order_release

from tenure._core.clock cimport clock_monotonic_ns
from tenure._core.posix cimport (
    EAGAIN, EINTR, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLLIN, ETIMEDOUT, close, epoll_create1, epoll_ctl, epoll_event, epoll_wait,
    errno, futex_wait, futex_wake_all, pthread_join, thread_start,
)
from tenure._core.queue cimport PUSHED, queue_free, queue_open, queue_pop_batch, queue_push, queue_size
from tenure._core.wakeup cimport (
    loop_wakeup_arm, loop_wakeup_close, loop_wakeup_disarm, loop_wakeup_drain, loop_wakeup_notify, loop_wakeup_open,
    wakeup_notify, wakeup_wait,
)

cdef extern from "<sys/socket.h>" nogil:
    const int MSG_NOSIGNAL
    ssize_t recv(int fd, void* buffer, size_t count, int flags) noexcept
    ssize_t send(int fd, const void* buffer, size_t count, int flags) noexcept

cdef extern from "<unistd.h>" nogil:
    ssize_t pwrite(int fd, const void* buffer, size_t count, long offset) noexcept
    int fdatasync(int fd) noexcept

cdef enum:
    FRAME_READ = 1
    FRAME_READ_ANSWER = 2
    FRAME_WRITE = 3
    FRAME_WRITE_ANSWER = 4

cdef enum:
    QUEUED = 4096
    MAX_EPOLL = 64
    TICK_NS = 10000000
    CALL_LIMIT_NS = 5000000000
    LOOK_NS = 100000000             # how often a caller looks whether all has failed
    WAKEUP_TOKEN = 0                # peer i has the token i + 1

READ = FRAME_READ
WRITE = FRAME_WRITE


# ------------------------------------------------------------------------------------------------------- the log writer

cdef void* writer_body(void* argument) noexcept nogil:
    cdef Skeleton* s = <Skeleton*>argument
    cdef Job* jobs[QUEUED]
    cdef size_t count, i, _i
    while True:
        count = queue_pop_batch(&s.threads.todo, <void**>jobs, QUEUED)
        if count == 0:
            # acquire: pairs with the release of `stop`
            if s.threads.stopping.load(memory_order_acquire):
                return NULL
            wakeup_wait(&s.threads.writer_wakeup, -1)
            continue
        for _i in range(count):
            if s.log_at + s.write_bytes > s.log_size:
                s.log_at = 0
            if pwrite(s.log_fd, s.record, s.write_bytes, <long>s.log_at) != <ssize_t>s.write_bytes:
                s.threads.failed.store(errno or 5, memory_order_relaxed)  # relaxed: the queue below carries the order
            s.log_at += s.write_bytes
        if fdatasync(s.log_fd) != 0:
            s.threads.failed.store(errno, memory_order_relaxed)  # relaxed: as above
        for i in range(count):
            queue_push(&s.threads.done, jobs[i])
        loop_wakeup_notify(&s.threads.wakeup)


# ------------------------------------------------------------------------------------------------------------- the loop

cdef void fail(Skeleton* s, int code) noexcept nogil:
    s.threads.failed.store(code, memory_order_relaxed)  # relaxed: callers look when their time is up


cdef void put_frame(Skeleton* s, Peer* peer, uint32_t kind, uint64_t number) noexcept nogil:
    cdef Frame frame
    frame.kind = kind
    frame.number = number
    frame.size = s.write_bytes if kind == FRAME_WRITE else s.read_bytes
    if peer.output_size + frame.size > BUFFER_BYTES:
        fail(s, 105)
        return
    memcpy(peer.output + peer.output_size, &frame, sizeof(Frame))
    memset(peer.output + peer.output_size + sizeof(Frame), 0x5A, frame.size - sizeof(Frame))
    peer.output_size += frame.size


cdef void flush(Skeleton* s) noexcept nogil:
    cdef size_t i
    cdef ssize_t sent
    for i in range(s.peers_count):
        if s.peers[i].output_size == 0:
            continue
        sent = send(s.peers[i].outgoing, s.peers[i].output, s.peers[i].output_size, MSG_NOSIGNAL)
        if sent != <ssize_t>s.peers[i].output_size:
            fail(s, errno or 11)    # some hundred bytes in an empty socket buffer always fit
        s.peers[i].output_size = 0


cdef void hand_to_writer(Skeleton* s, uint64_t number) noexcept nogil:
    cdef Job* job = <Job*>calloc(1, sizeof(Job))
    if job == NULL:
        fail(s, 12)
        return
    job.number = number
    if queue_push(&s.threads.todo, job) != PUSHED:
        free(job)
        fail(s, 105)
        return
    wakeup_notify(&s.threads.writer_wakeup)


cdef void settle(Skeleton* s, Slot* slot) noexcept nogil:
    """Answer the caller once there is a quorum; later answers find an empty slot."""
    cdef SkeletonCall* call = slot.call
    if slot.answers == 0 or not slot.synced:
        return
    if call.kind == FRAME_WRITE:
        s.applied[slot.number & 63] += slot.number
    slot.call = NULL
    call.done.store(1, memory_order_release)  # release: what was applied is visible to the caller
    futex_wake_all(&call.done)


cdef void on_frame(Skeleton* s, Peer* peer, const Frame* frame) noexcept nogil:
    cdef Slot* slot
    if frame.kind == FRAME_READ:
        put_frame(s, peer, FRAME_READ_ANSWER, frame.number)
    elif frame.kind == FRAME_WRITE:
        hand_to_writer(s, frame.number)
    else:
        slot = &s.slots[frame.number & (SLOTS - 1)]
        if slot.call != NULL and slot.number == frame.number:
            slot.answers += 1
            settle(s, slot)


cdef void on_readable(Skeleton* s, Peer* peer) noexcept nogil:
    cdef ssize_t count
    cdef size_t room, at = 0
    cdef Frame frame
    while True:
        room = BUFFER_BYTES - peer.input_size
        count = recv(peer.incoming, peer.input + peer.input_size, room, 0)
        if count < 0 and errno == EINTR:
            continue
        if count <= 0:
            if count == 0 or errno != EAGAIN:
                fail(s, 104)
                close_quietly(s, peer)
            break
        peer.input_size += count
        at = 0
        while peer.input_size - at >= sizeof(Frame):
            memcpy(&frame, peer.input + at, sizeof(Frame))
            if peer.input_size - at < frame.size:
                break
            on_frame(s, peer, &frame)
            at += frame.size
        memmove(peer.input, peer.input + at, peer.input_size - at)
        peer.input_size -= at
        if <size_t>count < room:
            break


cdef void close_quietly(Skeleton* s, Peer* peer) noexcept nogil:
    """A broken connection must not make the loop spin; the descriptor itself is Python's."""
    cdef epoll_event event
    epoll_ctl(s.epoll_fd, 2, peer.incoming, &event)


cdef void take_submissions(Skeleton* s) noexcept nogil:
    cdef SkeletonCall* calls[256]
    cdef Slot* slot
    cdef size_t count = queue_pop_batch(&s.threads.submissions, <void**>calls, 256), i, k
    for i in range(count):
        s.next_number += 1
        slot = &s.slots[s.next_number & (SLOTS - 1)]
        slot.call = calls[i]
        slot.number = s.next_number
        slot.answers = 0
        slot.synced = calls[i].kind == FRAME_READ
        for k in range(s.peers_count):
            put_frame(s, &s.peers[k], calls[i].kind, slot.number)
        if calls[i].kind == FRAME_WRITE:
            hand_to_writer(s, slot.number)


cdef void take_written(Skeleton* s) noexcept nogil:
    cdef Job* jobs[256]
    cdef Slot* slot
    cdef size_t count = queue_pop_batch(&s.threads.done, <void**>jobs, 256), i
    for i in range(count):
        slot = &s.slots[jobs[i].number & (SLOTS - 1)]
        if slot.call != NULL and slot.number == jobs[i].number:
            slot.synced = True
            settle(s, slot)
        elif s.peers_count == 1:
            put_frame(s, &s.peers[0], FRAME_WRITE_ANSWER, jobs[i].number)
        free(jobs[i])


cdef int sleep_ms(Skeleton* s, int64_t next_tick_ns) noexcept nogil:
    cdef int64_t left
    if queue_size(&s.threads.submissions) or queue_size(&s.threads.done):
        return 0
    left = next_tick_ns - clock_monotonic_ns()
    return 0 if left <= 0 else <int>((left + 999999) // 1000000)


cdef void* loop_body(void* argument) noexcept nogil:
    cdef Skeleton* s = <Skeleton*>argument
    cdef epoll_event events[MAX_EPOLL]
    cdef int64_t next_tick_ns = clock_monotonic_ns() + TICK_NS, began
    cdef int count, i
    # acquire: pairs with the release of `stop`
    while s.threads.stopping.load(memory_order_acquire) == 0:
        loop_wakeup_arm(&s.threads.wakeup)
        count = epoll_wait(s.epoll_fd, events, MAX_EPOLL, sleep_ms(s, next_tick_ns))
        loop_wakeup_disarm(&s.threads.wakeup)
        began = clock_monotonic_ns()
        if began >= next_tick_ns:
            next_tick_ns = began + TICK_NS
        for i in range(count):
            if events[i].data.u64 == WAKEUP_TOKEN:
                loop_wakeup_drain(&s.threads.wakeup)
            else:
                on_readable(s, &s.peers[events[i].data.u64 - 1])
        take_submissions(s)
        take_written(s)
        flush(s)
    return NULL


# ----------------------------------------------------------------------------------------------------------- the caller

cdef int call_once(Skeleton* s, SkeletonCall* call, int32_t kind) noexcept nogil:
    """0, or an errno. With one, the loop may still hold the call: it must not be freed."""
    cdef int64_t deadline_ns = clock_monotonic_ns() + CALL_LIMIT_NS
    cdef int64_t now_ns
    cdef int failed
    call.kind = kind
    call.done.store(0, memory_order_relaxed)  # relaxed: the queue carries the order
    if queue_push(&s.threads.submissions, call) != PUSHED:
        return EAGAIN
    loop_wakeup_notify(&s.threads.wakeup)
    # acquire: pairs with the release in `settle`
    while call.done.load(memory_order_acquire) == 0:
        failed = s.threads.failed.load(memory_order_relaxed)  # relaxed: only ends the wait
        if failed != 0 and call.done.load(memory_order_acquire) == 0:
            return failed
        now_ns = clock_monotonic_ns()
        if now_ns >= deadline_ns:
            return ETIMEDOUT
        futex_wait(&call.done, 0, now_ns + LOOK_NS)
    return 0


cdef void skeleton_free(Skeleton* s) noexcept nogil:
    cdef size_t i
    cdef void* job
    if s == NULL:
        return
    for i in range(s.peers_count):
        free(s.peers[i].input)
        free(s.peers[i].output)
    if s.threads != NULL:
        while s.threads.todo.cells != NULL and queue_pop_batch(&s.threads.todo, &job, 1):
            free(job)
        while s.threads.done.cells != NULL and queue_pop_batch(&s.threads.done, &job, 1):
            free(job)
        queue_free(&s.threads.submissions)
        queue_free(&s.threads.todo)
        queue_free(&s.threads.done)
        loop_wakeup_close(&s.threads.wakeup)
        skeleton_threads_free(s.threads)
    if s.epoll_fd >= 0:
        close(s.epoll_fd)
    free(s.record)
    free(s)


@cython.final
cdef class SkeletonHost:
    """One process's share of the skeleton: the leader's has several peers, a follower's has the leader alone."""

    def __cinit__(self, list peers not None, int log_fd, uint64_t log_bytes, uint32_t read_bytes, uint32_t write_bytes):
        """
        Args:
            peers: (descriptor this side dialled, descriptor this side accepted) of each peer, not blocking.
            log_fd: a file of `log_bytes` bytes that are written already.
            read_bytes, write_bytes: sizes of the frames; a record in the log is as large as a write's frame.
        """
        cdef Py_ssize_t i
        cdef epoll_event event
        if not 1 <= len(peers) <= MAX_PEERS:
            raise ValueError("between 1 and 8 peers")
        if not sizeof(Frame) <= read_bytes <= 65536 or not sizeof(Frame) <= write_bytes <= 65536:
            raise ValueError("a frame has between 16 and 65536 bytes")
        if log_bytes < write_bytes:
            raise ValueError("the log holds no record")
        self.skeleton = <Skeleton*>calloc(1, sizeof(Skeleton))
        cdef Skeleton* s = self.skeleton
        if s == NULL:
            raise MemoryError("no memory for a skeleton")
        s.threads = skeleton_threads_new()
        s.epoll_fd = epoll_create1(EPOLL_CLOEXEC)
        s.record = <char*>calloc(1, write_bytes)
        if s.threads == NULL or s.epoll_fd < 0 or s.record == NULL:
            raise MemoryError("no memory for a skeleton")
        if (
            loop_wakeup_open(&s.threads.wakeup) != 0
            or not queue_open(&s.threads.submissions, 65536)
            or not queue_open(&s.threads.todo, QUEUED)
            or not queue_open(&s.threads.done, 4 * QUEUED)
        ):
            raise MemoryError("no memory for the skeleton's queues")
        memset(s.record, 0x5A, write_bytes)
        s.log_fd, s.log_size, s.read_bytes, s.write_bytes = log_fd, log_bytes, read_bytes, write_bytes
        event.events = EPOLLIN
        event.data.u64 = WAKEUP_TOKEN
        epoll_ctl(s.epoll_fd, EPOLL_CTL_ADD, s.threads.wakeup.descriptor, &event)
        for i in range(len(peers)):
            s.peers[i].outgoing, s.peers[i].incoming = peers[i]
            s.peers[i].input = <char*>calloc(1, BUFFER_BYTES)
            s.peers[i].output = <char*>calloc(1, BUFFER_BYTES)
            s.peers_count = i + 1
            if s.peers[i].input == NULL or s.peers[i].output == NULL:
                raise MemoryError("no memory for the skeleton's buffers")
            event.data.u64 = i + 1
            if epoll_ctl(s.epoll_fd, EPOLL_CTL_ADD, s.peers[i].incoming, &event) != 0:
                raise OSError(errno, "a peer's descriptor cannot be watched")

    def __dealloc__(self):
        if self.skeleton != NULL:
            with nogil:
                self.stop()
            skeleton_free(self.skeleton)

    cdef void stop(self) noexcept nogil:
        cdef SkeletonThreads* threads = self.skeleton.threads
        if not self.started or self.closed:
            return
        self.closed = True
        # release: pairs with the acquires of both threads
        threads.stopping.store(1, memory_order_release)
        loop_wakeup_notify(&threads.wakeup)
        wakeup_notify(&threads.writer_wakeup)
        pthread_join(threads.loop, NULL)
        pthread_join(threads.writer, NULL)

    def start(self) -> None:
        """Start the two threads. Once."""
        cdef SkeletonThreads* threads = self.skeleton.threads
        cdef int code
        if self.started:
            raise ValueError("started before")
        code = thread_start(&threads.writer, b"skeleton-log", 0, writer_body, self.skeleton)
        if code != 0:
            raise OSError(code, "the skeleton's log writer could not be started")
        code = thread_start(&threads.loop, b"skeleton-loop", 0, loop_body, self.skeleton)
        if code != 0:
            threads.stopping.store(1, memory_order_release)  # release: pairs with the writer's acquire
            wakeup_notify(&threads.writer_wakeup)
            pthread_join(threads.writer, NULL)
            raise OSError(code, "the skeleton's loop could not be started")
        self.started = True

    def measure(self, int32_t kind, size_t count) -> array:
        """Call `count` times, one call after the other, without the GIL; the nanoseconds of each."""
        cdef Skeleton* s = self.skeleton
        cdef SkeletonCall* call
        cdef bytes kept
        cdef int64_t* into
        cdef size_t i
        cdef int64_t begin_ns
        cdef int code = 0
        if kind not in (FRAME_READ, FRAME_WRITE):
            raise ValueError("READ or WRITE")
        if not self.started or self.closed:
            raise ValueError("the skeleton does not run")
        kept = PyBytes_FromStringAndSize(NULL, count * sizeof(int64_t))
        into = <int64_t*>PyBytes_AS_STRING(kept)
        call = skeleton_call_new()
        if call == NULL:
            raise MemoryError("no memory for a call")
        with nogil:
            for i in range(count):
                begin_ns = clock_monotonic_ns()
                code = call_once(s, call, kind)
                if code != 0:
                    break
                into[i] = clock_monotonic_ns() - begin_ns
            if code == 0:
                skeleton_call_free(call)    # else the loop may still look at it: rather lost than used again
        if code != 0 or s.threads.failed.load(memory_order_relaxed):  # relaxed: a verdict after the fact
            raise OSError(s.threads.failed.load(memory_order_relaxed) or code, "the skeleton failed")
        found = array("q")
        found.frombytes(kept)
        return found

    def call(self, int32_t kind) -> None:
        """One call from Python: the caller sleeps without the GIL, as callers of an engine do."""
        cdef Skeleton* s = self.skeleton
        cdef SkeletonCall* call
        cdef int code
        if kind not in (FRAME_READ, FRAME_WRITE):
            raise ValueError("READ or WRITE")
        if not self.started or self.closed:
            raise ValueError("the skeleton does not run")
        call = skeleton_call_new()
        if call == NULL:
            raise MemoryError("no memory for a call")
        with nogil:
            code = call_once(s, call, kind)
        if code != 0:
            raise OSError(code, "the skeleton failed")  # the loop may still look at the call: it is not freed
        skeleton_call_free(call)

    def close(self) -> None:
        """End the threads; may be repeated. The descriptors stay open."""
        with nogil:
            self.stop()
