"""The loop: timers, peers, submissions, completions of the log writer and the snapshot thread, apply, flush, in that order.

It sleeps in epoll until a peer, a submission, a finished write or a tick wants it. Submissions cost their producer a
descriptor write only when the loop sleeps. Consecutive proposals of one pass become one append. Inputs carry a clock reading
of their own: peers' messages one taken after each receive, the rest one taken when the pass takes them.

Ticks that would do nothing but count are slept through, at most REST_TICKS of them, and counted afterwards, before whatever
ended the sleep is looked at: an idle member wakes for heartbeats alone. What went by beyond the planned sleep was missed
and is not replayed (H06):

    ticks counted = min(ticks that went by since the last pass, max(1, ticks planned before it))

    per pass: at most MAX_SUBMISSIONS submissions, APPLY_NS of apply; passes longer than a tick are counted
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libcpp.atomic cimport memory_order_acquire, memory_order_relaxed, memory_order_release

from tenure._core.blob cimport Blob, blob_release
from tenure._core.clock cimport clock_monotonic_ns, clock_now_ns
from tenure._core.lease cimport lease_release
from tenure._core.posix cimport (
    EPOLL_CLOEXEC,
    EPOLL_CTL_ADD,
    EPOLLIN,
    close,
    epoll_create1,
    epoll_ctl,
    epoll_event,
    epoll_wait,
    pthread_join,
    thread_start,
)
from tenure._core.queue cimport (
    PUSHED,
    queue_close,
    queue_drained,
    queue_free,
    queue_open,
    queue_pop_batch,
    queue_push,
    queue_size,
)
from tenure._core.wakeup cimport (
    loop_wakeup_arm,
    loop_wakeup_close,
    loop_wakeup_disarm,
    loop_wakeup_drain,
    loop_wakeup_notify,
    loop_wakeup_open,
    wakeup_notify,
)
from tenure._host.divergence cimport DATA_HASHES, divergence_agrees, divergence_group, divergence_tick
from tenure._host.member cimport (
    OUTCOME_CLOSED,
    OUTCOME_DIVERGED,
    OUTCOME_FAILED,
    OUTCOME_OK,
    OUTCOME_UNKNOWN,
    ApplyBatch,
    Member,
    apply_batch_free,
    member_applied,
    member_change,
    member_due_ns,
    member_fail,
    member_members,
    member_members_changed,
    member_process,
    member_propose,
    member_read,
    member_receive,
    member_release,
    member_rest_ticks,
    member_tick,
    member_watch_lease,
    member_written,
)
from tenure._host.neighbours cimport (
    neighbours_data,
    neighbours_due_ns,
    neighbours_follow,
    neighbours_greet,
    neighbours_release,
    neighbours_tick,
)
from tenure._host.redis_front cimport (
    front_close,
    front_data,
    front_due_ns,
    front_end,
    front_flush,
    front_free,
    front_has_mail,
    front_on_event,
    front_serve,
    front_start,
    front_stop,
    front_tick,
    front_unreachable,
)
from tenure._host.redis_ops cimport data_refuse
from tenure._host.redis_types cimport REDIS_TOKEN_TAG
from tenure._host.roster cimport DATA_ROSTER
from tenure._host.snapshots cimport snapshots_done, snapshots_request, snapshots_step, snapshots_tick
from tenure._host.snapshotter cimport (
    JOB_WRITE,
    SnapshotJob,
    snapshotter_start,
    snapshotter_stop,
    snapshotter_take_done,
)
from tenure._host.timekeeper cimport keeper_due_ns, keeper_end, keeper_free, keeper_propose, keeper_step, keeper_tick
from tenure._host.transfer cimport (
    DATA_SNAPSHOT,
    SnapshotData,
    transfer_data,
    transfer_data_group,
    transfer_done,
    transfer_hold,
    transfer_tick,
)
from tenure._host.waiter cimport Caller, waiter_answer
from tenure._host.writer cimport WriteJob, writer_start, writer_stop, writer_take_done
from tenure._net.transport cimport (
    TransportCallbacks,
    TransportConfig,
    transport_close,
    transport_due_ns,
    transport_flush,
    transport_on_event,
    transport_open,
    transport_tick,
)
from tenure._raft.lease_rule cimport lease_add_dependent, lease_drop_dependent
from tenure._raft.raft cimport raft_campaign, raft_report_unreachable, raft_step_down, raft_transfer
from tenure._raft.types cimport ERR_CHANGE_PENDING, ERR_MEMORY, LEADER, MSG_SNAP, OK, Message
from tenure._storage.directory cimport directory_close
from tenure._storage.wal cimport wal_close

cdef enum:
    SUBMISSIONS = 65536
    EVENTS = 4096
    APPLIES = 1024              # batches handed to a Python state machine; more wait with the member and become one
    MAX_SUBMISSIONS = 1024      # taken a pass
    MAX_DONE = 256              # finished writes taken at once
    MAX_EPOLL = 64
    APPLY_NS = 1000000
    REST_TICKS = 15             # longer than the usual heartbeat interval, far below an election timeout
    WAKEUP_TOKEN = 0            # the transport's tokens carry a tag in the high byte


cdef struct Pace:
    int64_t next_tick_ns        # CLOCK_MONOTONIC
    int64_t planned             # ticks that this pass may count
    bint more                   # something is left to do: do not sleep


cdef Host* host_new(const HostConfig* config) noexcept nogil:
    cdef Host* host = <Host*>calloc(1, sizeof(Host))
    cdef epoll_event event
    if host == NULL:
        return NULL
    host.config = config[0]
    host.epoll_fd = epoll_create1(EPOLL_CLOEXEC)
    host.shared = host_threads_new()
    if host.shared == NULL or host.epoll_fd < 0:
        host_free(host)
        return NULL
    event.events = EPOLLIN
    event.data.u64 = WAKEUP_TOKEN
    if (
        loop_wakeup_open(&host.shared.wakeup) != 0
        or not queue_open(&host.shared.submissions, SUBMISSIONS)
        or not queue_open(&host.shared.events, EVENTS)
        or not queue_open(&host.shared.applies, APPLIES)
        or epoll_ctl(host.epoll_fd, EPOLL_CTL_ADD, host.shared.wakeup.descriptor, &event) != 0
    ):
        host_free(host)
        return NULL
    return host


cdef Member* member_of(Host* host, uint32_t group) noexcept nogil:
    cdef size_t i
    for i in range(host.members.size):
        if host.members.data[i].group == group:
            return host.members.data[i]
    return NULL


cdef void deliver(void* context, uint32_t group, Message* message, int64_t now_ns) noexcept nogil:
    cdef Member* m = member_of(<Host*>context, group)
    if m != NULL and not (message.type == MSG_SNAP and transfer_hold(m, message, clock_monotonic_ns())):
        member_receive(m, message, now_ns)


cdef void unreachable(void* context, uint64_t peer) noexcept nogil:
    cdef Host* host = <Host*>context
    cdef size_t i
    for i in range(host.members.size):
        raft_report_unreachable(host.members.data[i].raft, peer)
    if host.front != NULL:
        front_unreachable(host.front, peer)


cdef void deliver_data(void* context, uint64_t peer, uint32_t kind, const char* bytes, uint32_t size) noexcept nogil:
    cdef Host* host = <Host*>context
    cdef Member* m = NULL
    if kind == DATA_SNAPSHOT:
        if size >= sizeof(SnapshotData):
            m = member_of(host, transfer_data_group(bytes))
        if m != NULL:
            transfer_data(m, peer, bytes, size, clock_monotonic_ns())
    elif kind == DATA_HASHES:
        m = member_of(host, divergence_group(bytes, size))
        if m != NULL and not divergence_agrees(m, peer, bytes, size):
            member_fail(m, OUTCOME_DIVERGED, OUTCOME_UNKNOWN)
    elif kind == DATA_ROSTER:
        neighbours_data(&host.neighbours, bytes, size)
    elif host.front != NULL:
        front_data(host.front, peer, kind, bytes, size)
    else:
        data_refuse(host.transport, peer, kind, bytes, size)


cdef void connected(void* context, uint64_t peer) noexcept nogil:
    cdef Host* host = <Host*>context
    neighbours_greet(&host.neighbours, host.transport, peer)


cdef void introduced(void* context, uint64_t stranger, uint32_t kind, const char* bytes, uint32_t size) noexcept nogil:
    if kind == DATA_ROSTER:
        neighbours_data(&(<Host*>context).neighbours, bytes, size)


cdef bint host_submit(Host* host, Submission* submission) noexcept nogil:
    if queue_push(&host.shared.submissions, submission) != PUSHED:
        return False
    loop_wakeup_notify(&host.shared.wakeup)
    return True


cdef void submission_free(Submission* submission) noexcept nogil:
    cdef size_t i
    blob_release(submission.payload)
    for i in range(submission.results_count):
        blob_release(submission.results[i])
    free(submission.results)
    lease_release(submission.lease)
    free(submission)


# ------------------------------------------------------------------------------------------------------- submissions

cdef void answer(Submission* s, Member* m, int code) noexcept nogil:
    waiter_answer(s.waiter, code, 0, m.raft.term, m.raft.lead, NULL)
    s.waiter = NULL


cdef void take_one(Member* m, Submission* s, int64_t now_ns) noexcept nogil:
    cdef Caller caller
    cdef int code
    if s.kind == SUBMIT_READ:
        caller.waiter = s.waiter
        caller.completion = NULL
        member_read(m, &caller, now_ns)
        s.waiter = NULL
    elif s.kind == SUBMIT_TRANSFER:
        code = raft_transfer(m.raft, s.argument, now_ns)
        # relaxed: the answer's release carries it. Whoever sees the answer and nobody here knows that it came to nothing.
        m.gauges.transferee.store(m.raft.transferee, memory_order_relaxed)
        answer(s, m, code)
    elif s.kind == SUBMIT_STEP_DOWN:
        answer(s, m, raft_step_down(m.raft, now_ns))
    elif s.kind == SUBMIT_CAMPAIGN:
        answer(s, m, raft_campaign(m.raft, now_ns))
    elif s.kind == SUBMIT_APPLIED:
        member_applied(m, s.argument, s.results, s.results_count, now_ns)
        s.results_count = 0
    elif s.kind == SUBMIT_CHANGE:
        # Whoever proposes has judged the change by the configuration of that index, and the roster that goes with it. What the
        # core looks at is less: it knows no addresses, and not who was a member once.
        if m.raft.role == LEADER and s.argument >> 1 != m.raft.configuration_index:
            answer(s, m, ERR_CHANGE_PENDING)
            return
        caller.waiter = s.waiter
        caller.completion = NULL
        s.waiter = NULL
        member_change(m, s.payload, s.argument & 1, &caller, now_ns)
        s.payload = NULL
    elif s.kind == SUBMIT_MEMBERS:
        waiter_answer(s.waiter, OUTCOME_OK, m.raft.configuration_index, m.raft.term, m.raft.lead, member_members(m))
        s.waiter = NULL
    elif s.kind == SUBMIT_SNAPSHOT:
        waiter_answer(s.waiter, OUTCOME_OK, snapshots_request(m), m.raft.term, m.raft.lead, NULL)
        s.waiter = NULL
    elif s.kind == SUBMIT_ADD_DEPENDENT:
        answer(s, m, <int>OK if lease_add_dependent(m.raft, s.lease) else <int>ERR_MEMORY)
    elif s.kind == SUBMIT_DROP_DEPENDENT:
        lease_drop_dependent(m.raft, s.lease)
        answer(s, m, OUTCOME_OK)
    elif s.kind == SUBMIT_FAIL:
        member_fail(m, <int>s.argument, OUTCOME_UNKNOWN)


cdef size_t take_proposals(Host* host, Member* m, Submission** taken, size_t count, int64_t now_ns) noexcept nogil:
    """The run of proposals for one group at the head of `taken` becomes one append. Returns how many."""
    cdef Blob* payloads[MAX_SUBMISSIONS]
    cdef Caller callers[MAX_SUBMISSIONS]
    cdef size_t run = 0
    while run < count and taken[run].kind == SUBMIT_PROPOSE and taken[run].group == m.group:
        payloads[run] = taken[run].payload
        callers[run].waiter = taken[run].waiter
        callers[run].completion = NULL
        taken[run].payload = NULL
        taken[run].waiter = NULL
        run += 1
    if host.keeper != NULL and host.keeper.member == m:
        keeper_propose(host.keeper, payloads, callers, run, now_ns)
    else:
        member_propose(m, payloads, callers, run, now_ns)
    return run


cdef size_t take_submissions(Host* host) noexcept nogil:
    cdef Submission* taken[MAX_SUBMISSIONS]
    cdef size_t count, i = 0, k, run
    cdef Member* m
    cdef int64_t now_ns
    cdef bint closed
    count = queue_pop_batch(&host.shared.submissions, <void**>taken, MAX_SUBMISSIONS)
    if count == 0:
        return 0
    now_ns = clock_now_ns()
    while i < count:
        m = member_of(host, taken[i].group)
        run = 1
        if m == NULL or m.raft.failed != OK:
            closed = m != NULL and m.raft.failed == OUTCOME_CLOSED
            waiter_answer(taken[i].waiter, OUTCOME_CLOSED if closed else OUTCOME_FAILED, 0, 0, 0, NULL)
        elif taken[i].kind == SUBMIT_PROPOSE:
            run = take_proposals(host, m, taken + i, count - i, now_ns)
        else:
            take_one(m, taken[i], now_ns)
        for k in range(i, i + run):
            submission_free(taken[k])
        i += run
    return count


cdef size_t take_written(Host* host) noexcept nogil:
    cdef WriteJob* jobs[MAX_DONE]
    cdef size_t count = writer_take_done(host.writer, jobs, MAX_DONE), i
    cdef int64_t now_ns
    if count:
        now_ns = clock_now_ns()
        for i in range(count):
            member_written(member_of(host, jobs[i].group), jobs[i], now_ns)
    return count


cdef void take_snapshots(Host* host) noexcept nogil:
    if queue_size(&host.snapshotter.done):
        finish_snapshots(host)


cdef void finish_snapshots(Host* host) noexcept nogil:
    cdef SnapshotJob* job
    cdef Member* m
    cdef int code
    cdef int64_t now_ns = clock_now_ns(), monotonic_ns = clock_monotonic_ns()
    while True:
        job = snapshotter_take_done(host.snapshotter)
        if job == NULL:
            return
        m = member_of(host, job.group)
        if job.kind == JOB_WRITE:
            code = snapshots_done(m, job, monotonic_ns)
        else:
            code = transfer_done(m, job, now_ns, monotonic_ns)
        if code != OK:
            member_fail(m, code, OUTCOME_UNKNOWN)


# --------------------------------------------------------------------------------------------------------- the loop

cdef bint process(Host* host) noexcept nogil:
    cdef bint more = False
    cdef size_t i
    cdef int64_t now_ns = clock_now_ns(), monotonic_ns = clock_monotonic_ns()
    for i in range(host.members.size):
        more = member_process(host.members.data[i], now_ns, monotonic_ns + APPLY_NS) or more
        more = snapshots_step(host.members.data[i], monotonic_ns) or more
    if host.keeper != NULL:
        more = keeper_step(host.keeper, now_ns) or more
    if neighbours_follow(&host.neighbours, &host.members, host.transport, monotonic_ns):
        for i in range(host.members.size):
            member_members_changed(host.members.data[i])
    transport_flush(host.transport)
    return more


cdef void tick(Host* host, int64_t count, int64_t monotonic_ns) noexcept nogil:
    cdef int64_t now_ns = clock_now_ns(), _n
    cdef size_t i
    for i in range(host.members.size):
        if host.members.data[i].raft.failed == OK:
            for _n in range(count):
                member_tick(host.members.data[i], now_ns, monotonic_ns, host.config.stall_limit_ns)
            transfer_tick(host.members.data[i], now_ns, monotonic_ns)
            snapshots_tick(host.members.data[i], monotonic_ns)
            divergence_tick(host.members.data[i], monotonic_ns)
    if host.keeper != NULL:
        keeper_tick(host.keeper, now_ns, monotonic_ns)
    neighbours_tick(&host.neighbours, host.transport, monotonic_ns)
    transport_tick(host.transport, monotonic_ns)
    if host.front != NULL:
        front_tick(host.front, monotonic_ns)


cdef int64_t rest_ticks(const Host* host, int64_t next_tick_ns) noexcept nogil:
    """How many ticks may go by before the loop must look again, unless something wakes it."""
    cdef int64_t rest = REST_TICKS, due_ns = transport_due_ns(host.transport)
    cdef const Member* m
    cdef size_t i
    # relaxed: only the pace of an end depends on it
    if host.shared.stopping.load(memory_order_relaxed):
        return 1
    for i in range(host.members.size):
        m = host.members.data[i]
        if m.raft.failed == OK:
            rest = min(rest, <int64_t>member_rest_ticks(m))
            due_ns = min(due_ns, member_due_ns(m, host.config.stall_limit_ns))
    if host.keeper != NULL:
        due_ns = min(due_ns, keeper_due_ns(host.keeper))
    due_ns = min(due_ns, neighbours_due_ns(&host.neighbours))
    if host.front != NULL:
        due_ns = min(due_ns, front_due_ns(host.front))
    if due_ns <= next_tick_ns:
        return 1
    return min(rest, 1 + (due_ns - next_tick_ns + host.config.tick_ns - 1) // host.config.tick_ns)


cdef int sleep_ms(Host* host, int64_t until_ns) noexcept nogil:
    """How long epoll may sleep; call with the wakeup armed."""
    cdef int64_t left
    if queue_size(&host.shared.submissions) or queue_size(&host.writer.done) or queue_size(&host.snapshotter.done):
        return 0
    if host.front != NULL and front_has_mail(host.front):
        return 0
    left = until_ns - clock_monotonic_ns()
    return 0 if left <= 0 else <int>((left + 999999) // 1000000)


cdef void count_ticks(Host* host, Pace* pace, int64_t monotonic_ns) noexcept nogil:
    cdef int64_t passed = 1 + (monotonic_ns - pace.next_tick_ns) // host.config.tick_ns
    cdef int64_t counted = min(passed, pace.planned)
    if counted < passed:
        host.shared.missed_ticks.fetch_add(passed - counted, memory_order_relaxed)  # relaxed: statistics
    pace.next_tick_ns += passed * host.config.tick_ns
    tick(host, counted, monotonic_ns)


cdef void one_pass(Host* host, Pace* pace) noexcept nogil:
    cdef epoll_event events[MAX_EPOLL]
    cdef int count
    cdef size_t i
    cdef int64_t began, spent, now_ns
    pace.planned = 1
    if pace.more:
        count = epoll_wait(host.epoll_fd, events, MAX_EPOLL, 0)
    else:
        loop_wakeup_arm(&host.shared.wakeup)    # before the look at `stopping`: who stops later writes the descriptor
        pace.planned = rest_ticks(host, pace.next_tick_ns)
        count = epoll_wait(
            host.epoll_fd, events, MAX_EPOLL, sleep_ms(host, pace.next_tick_ns + (pace.planned - 1) * host.config.tick_ns))
        loop_wakeup_disarm(&host.shared.wakeup)
    began = clock_monotonic_ns()
    now_ns = clock_now_ns()
    for i in range(host.members.size):
        member_watch_lease(host.members.data[i], now_ns)
    if began >= pace.next_tick_ns:
        count_ticks(host, pace, began)
    for i in range(<size_t>max(count, 0)):
        if events[i].data.u64 == WAKEUP_TOKEN:
            loop_wakeup_drain(&host.shared.wakeup)
        elif events[i].data.u64 >> 56 == REDIS_TOKEN_TAG:
            front_on_event(host.front, events[i].data.u64, events[i].events)
        else:
            transport_on_event(host.transport, events[i].data.u64, events[i].events)
    take_submissions(host)
    take_written(host)
    if host.front != NULL:
        front_serve(host.front, began)
    take_snapshots(host)
    pace.more = process(host)
    if host.front != NULL and front_flush(host.front):
        pace.more = True
    spent = clock_monotonic_ns() - began
    # relaxed throughout: statistics
    host.shared.passes.fetch_add(1, memory_order_relaxed)
    if spent > host.config.tick_ns:
        host.shared.late_passes.fetch_add(1, memory_order_relaxed)
    if spent > host.shared.longest_pass_ns.load(memory_order_relaxed):
        host.shared.longest_pass_ns.store(spent, memory_order_relaxed)


cdef void hand_over(Host* host) noexcept nogil:
    """A graceful stop gives leadership away before it stops: lease cleared, promises released, TimeoutNow on its way."""
    cdef int64_t now_ns = clock_now_ns()
    cdef size_t i
    for i in range(host.members.size):
        if host.members.data[i].raft.role == LEADER and host.members.data[i].raft.failed == OK:
            raft_step_down(host.members.data[i].raft, now_ns)
    process(host)


cdef bint busy(Host* host) noexcept nogil:
    """Whether anything accepted is still on its way to an outcome."""
    cdef size_t i
    if host.keeper != NULL and host.keeper.held.size != 0 and host.keeper.member.raft.failed == OK:
        return True
    for i in range(host.members.size):
        if host.members.data[i].raft.failed == OK and (
            host.members.data[i].proposals_head < host.members.data[i].proposals.size
            or host.members.data[i].writes_in_flight > 0
        ):
            return True
    return not queue_drained(&host.shared.submissions)


cdef void* loop_body(void* argument) noexcept nogil:
    cdef Host* host = <Host*>argument
    cdef int64_t give_up_ns = 0
    cdef Pace pace
    cdef uint32_t stopping
    cdef size_t i
    pace.next_tick_ns = clock_monotonic_ns() + host.config.tick_ns
    pace.more = False
    while True:
        one_pass(host, &pace)
        # acquire: pairs with the release in host_stop
        stopping = host.shared.stopping.load(memory_order_acquire)
        if stopping == 0:
            continue
        if stopping == 2:
            break
        if give_up_ns == 0:
            give_up_ns = clock_monotonic_ns() + host.config.shutdown_limit_ns
            if host.front != NULL:
                front_stop(host.front)
            hand_over(host)
        elif not busy(host) or clock_monotonic_ns() > give_up_ns:
            break
    for i in range(host.members.size):
        if host.members.data[i].raft.failed == OK:
            member_fail(host.members.data[i], OUTCOME_CLOSED, OUTCOME_UNKNOWN)
    while take_submissions(host):
        pass
    if host.keeper != NULL:
        keeper_end(host.keeper)
    if host.front != NULL:
        front_end(host.front)
    return NULL


cdef int host_listen(Host* host, TransportConfig* config) noexcept nogil:
    cdef TransportCallbacks callbacks
    cdef int error = 0
    callbacks.context = host
    callbacks.deliver = deliver
    callbacks.unreachable = unreachable
    callbacks.deliver_data = deliver_data
    callbacks.connected = connected
    callbacks.introduced = introduced
    config.epoll_fd = host.epoll_fd
    host.transport = transport_open(config, &callbacks, &error)
    return error if host.transport == NULL else 0


cdef void end_helpers(Host* host) noexcept nogil:
    snapshotter_stop(host.snapshotter)
    host.snapshotter = NULL
    writer_stop(host.writer)
    host.writer = NULL


cdef int host_start(Host* host) noexcept nogil:
    cdef int code = 0
    cdef size_t i
    host.writer = writer_start(host.wal, &host.shared.wakeup)
    if host.writer == NULL:
        return -1
    host.snapshotter = snapshotter_start(host.directory, &host.shared.wakeup)
    if host.snapshotter == NULL:
        writer_stop(host.writer)
        host.writer = NULL
        return -1
    for i in range(host.members.size):
        host.members.data[i].writer = host.writer
        host.members.data[i].snapshots.snapshotter = host.snapshotter
    if host.front != NULL:
        code = front_start(host.front)
    if code == 0:
        code = thread_start(&host.shared.thread, b"tenure-loop", 0, loop_body, host)
    if code != 0:
        if host.front != NULL:
            front_close(host.front)                       # ends its threads
        end_helpers(host)
    return code


cdef void host_stop(Host* host, bint at_once) noexcept nogil:
    cdef Submission* left
    cdef uint32_t running = 0
    queue_close(&host.shared.submissions)
    # release: the closed queue is seen by the loop that sees this. A swap, so that an end that was hurried stays so
    if at_once:
        host.shared.stopping.store(2, memory_order_release)
    else:
        host.shared.stopping.compare_exchange_strong(running, 1, memory_order_release)
    loop_wakeup_notify(&host.shared.wakeup)
    pthread_join(host.shared.thread, NULL)
    end_helpers(host)
    # A producer may stand between its claim and its hand-over: the queue is empty for good once every claim was popped.
    while not queue_drained(&host.shared.submissions):
        if queue_pop_batch(&host.shared.submissions, <void**>&left, 1):
            waiter_answer(left.waiter, OUTCOME_CLOSED, 0, 0, 0, NULL)
            submission_free(left)
    release_resources(host)
    wakeup_notify(&host.shared.events_wakeup)


cdef void release_resources(Host* host) noexcept nogil:
    """Sockets, log and the lock of the directory: somebody may open the same directory as soon as this one is closed."""
    if host.front != NULL:
        front_close(host.front)
    if host.transport != NULL:
        transport_close(host.transport)
        host.transport = NULL
    if host.wal != NULL:
        wal_close(host.wal)
        host.wal = NULL
    if host.directory != NULL:
        directory_close(host.directory)
        host.directory = NULL


cdef void host_free(Host* host) noexcept nogil:
    cdef void* event
    cdef void* batch
    cdef size_t i
    release_resources(host)
    front_free(host.front)
    keeper_free(host.keeper)
    for i in range(host.members.size):
        member_release(host.members.data[i])
    neighbours_release(&host.neighbours)
    host.members.release()
    if host.shared != NULL:
        while queue_pop_batch(&host.shared.events, &event, 1):
            free(event)
        while queue_pop_batch(&host.shared.applies, &batch, 1):
            apply_batch_free(<ApplyBatch*>batch)
        queue_free(&host.shared.submissions)
        queue_free(&host.shared.events)
        queue_free(&host.shared.applies)
        loop_wakeup_close(&host.shared.wakeup)
        host_threads_free(host.shared)
    if host.epoll_fd >= 0:
        close(host.epoll_fd)
    free(host)
