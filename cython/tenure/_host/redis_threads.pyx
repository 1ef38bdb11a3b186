"""With `io_threads`, clients are served by threads of their own; the loop keeps the log, the peers and the listener.

    loop   --- arrivals: clients ------------------------->  thread
    thread --- the front end's inbox: chains of ops ------>  loop
    loop   --- answers: chains of settled ops ------------>  thread

Each thread owns its clients (sockets, parsers, order of replies, output), an epoll set and a wakeup. It answers by itself
what `redis_clients.pyx` answers where it was parsed: reads under the lease, commands about the connection. The lease word,
the applied index and the store are read by any thread; the fence is checked after the request came, once for each read, and
the store is looked at after the fence. All else goes to the loop: what a pass has gathered is one chain, one push and, when
the loop sleeps, one wakeup, and so it is on the way back. An op comes back exactly once, whatever becomes of its client,
of the leader or of the member; `away` counts those that have not.

The loop accepts and gives each client to the thread with the fewest. Listeners of the threads' own on one port would have the
kernel choose by a hash: of few clients most may meet on one thread; the limit of clients would be no thread's to keep; and
a listener that closes resets the connections that wait on it.

The end: the loop, with nothing of its own left to wait for, tells the threads to begin nothing more. Each hands over what it
has gathered and says that it is quiet. When all are, and the inbox is empty, the loop has settled every op there is and
ends. A thread ends once its ops are back and their replies were given to the kernel. Nobody waits for a client.

A thread never takes a lock but a shard's of the store, never asks for the GIL, and is joined by whoever stops the host.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libcpp.atomic cimport memory_order_acquire, memory_order_relaxed, memory_order_release

from tenure._core.clock cimport clock_monotonic_ns, clock_wall_ms
from tenure._core.posix cimport (
    EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLLIN, close, epoll_create1, epoll_event, epoll_wait, errno, pthread_join, thread_start,
)
from tenure._core.queue cimport PUSHED, queue_capacity, queue_free, queue_open, queue_pop_batch, queue_push, queue_size
from tenure._core.wakeup cimport (
    loop_wakeup_arm, loop_wakeup_close, loop_wakeup_disarm, loop_wakeup_drain, loop_wakeup_notify, loop_wakeup_open,
)
from tenure._host.redis_clients cimport (
    client_drop, side_admit, side_close, side_flush, side_free, side_new, side_on_event, side_serve, side_tick, watch,
)
from tenure._host.redis_ops cimport chain_add, op_answered, op_begin, ops_end
from tenure._host.redis_session cimport list_side
from tenure._host.redis_types cimport (
    Op, OpChain, front_inbox_free, front_inbox_new, side_thread_free, side_thread_new,
)
from tenure._kv.read cimport store_time_ms
from tenure._net.socket cimport ENOMEM

cdef extern from "<unistd.h>" nogil:
    int usleep(unsigned int microseconds) noexcept

cdef enum:
    CHAINS = 1024                   # of ops, on their way; more wait where they are, and become one
    ARRIVALS = 1024
    MAX_CHAINS = 64                 # taken at once
    MAX_EPOLL = 128
    WAKEUP_TOKEN = 0
    TICK_MS = 10                    # while clients linger
    RETRY_MS = 1                    # while the loop has no room
    END_LOOK_US = 200


# ------------------------------------------------------------------------------------------------------- the thread

cdef void take_arrivals(ClientSide* s) noexcept nogil:
    cdef void* taken[MAX_CHAINS]
    cdef size_t count, i
    while True:
        count = queue_pop_batch(&s.thread.arrivals, taken, MAX_CHAINS)
        for i in range(count):
            if s.ending:
                client_drop(s, <Client*>taken[i])
            else:
                side_admit(s, <Client*>taken[i])
        if count < MAX_CHAINS:
            return


cdef void take_answers(ClientSide* s) noexcept nogil:
    cdef void* taken[MAX_CHAINS]
    cdef size_t count, i
    cdef Op* op
    cdef Op* following
    count = queue_pop_batch(&s.thread.answers, taken, MAX_CHAINS)
    for i in range(count):
        op = <Op*>taken[i]
        while op != NULL:
            following = op.newer
            if op.settled:
                s.away -= 1
                op_answered(op)
            else:
                list_side(s, op)                          # a list on its way through the threads
                chain_add(&s.outbox, op)
            op = following


cdef void send_outbox(ClientSide* s) noexcept nogil:
    """Without room the chain stays, and grows."""
    if s.outbox.first != NULL and queue_push(&s.front.inbox.queue, s.outbox.first) == PUSHED:
        s.outbox.first = s.outbox.last = NULL
        loop_wakeup_notify(s.front.wakeup)


cdef int side_sleep_ms(ClientSide* s) noexcept nogil:
    """How long epoll may sleep; call with the wakeup armed."""
    # relaxed: who stores it notifies afterwards, and the wakeup is armed
    if queue_size(&s.thread.arrivals) or queue_size(&s.thread.answers) or (
            not s.ending and s.thread.stopping.load(memory_order_relaxed)):
        return 0
    if s.outbox.first != NULL:
        return RETRY_MS
    return TICK_MS if s.lingering_count else -1


cdef bint side_pass(ClientSide* s, bint more) noexcept nogil:
    """True: something is left to do at once."""
    cdef epoll_event events[MAX_EPOLL]
    cdef int count, i
    if more:
        count = epoll_wait(s.epoll_fd, events, MAX_EPOLL, 0)
    else:
        loop_wakeup_arm(&s.thread.wakeup)
        count = epoll_wait(s.epoll_fd, events, MAX_EPOLL, side_sleep_ms(s))
        loop_wakeup_disarm(&s.thread.wakeup)
    s.pass_ns = clock_monotonic_ns()
    s.now_ms = max(s.now_ms, store_time_ms(s.front.store, clock_wall_ms()))
    # acquire: pairs with the release in `tell_all_to_stop`; what the loop handed over before is seen below
    if s.thread.stopping.load(memory_order_acquire):
        s.ending = True
    for i in range(count):
        if events[i].data.u64 == WAKEUP_TOKEN:
            loop_wakeup_drain(&s.thread.wakeup)
        else:
            side_on_event(s, events[i].data.u64, events[i].events)
    take_arrivals(s)
    take_answers(s)
    side_serve(s)
    send_outbox(s)
    more = side_flush(s)
    if s.outbox.first != NULL:
        send_outbox(s)                                    # reads that met a key in doubt when their turn came
    side_tick(s)
    # relaxed, both: numbers for people
    s.gauges.passes.fetch_add(1, memory_order_relaxed)
    s.gauges.busy_ns.fetch_add(clock_monotonic_ns() - s.pass_ns, memory_order_relaxed)
    return more and not s.ending


cdef void* thread_body(void* argument) noexcept nogil:
    cdef ClientSide* s = <ClientSide*>argument
    cdef bint more = False
    while True:
        more = side_pass(s, more)
        if not s.ending or s.outbox.first != NULL or queue_size(&s.thread.answers):
            continue
        # relaxed: this thread alone stores it
        if not s.thread.quiet.load(memory_order_relaxed):
            # release: the loop that sees it finds in its inbox all that ever came from here
            s.thread.quiet.store(1, memory_order_release)
            loop_wakeup_notify(s.front.wakeup)
        if s.away == 0:
            return NULL


# --------------------------------------------------------------------------------------------------------- the loop

cdef ClientSide* threads_least_loaded(Front* f) noexcept nogil:
    cdef ClientSide* least = NULL
    cdef ClientSide* s
    cdef uint64_t clients, fewest = 0
    cdef uint32_t i
    for i in range(1, f.sides_count):
        s = f.sides[i]
        # relaxed: the loop counts up, and a little less will do
        clients = s.gauges.clients.load(memory_order_relaxed)
        if (least == NULL or clients < fewest) and queue_size(&s.thread.arrivals) < queue_capacity(&s.thread.arrivals):
            least = s
            fewest = clients
    return least


cdef void threads_admit(ClientSide* s, Client* client) noexcept nogil:
    if queue_push(&s.thread.arrivals, client) == PUSHED:  # the loop alone pushes, and looked for room
        loop_wakeup_notify(&s.thread.wakeup)
    else:
        client_drop(s, client)


cdef void threads_take(Front* f) noexcept nogil:
    cdef void* taken[MAX_CHAINS]
    cdef size_t count, i
    cdef Op* op
    cdef Op* following
    if f.inbox == NULL:
        return
    count = queue_pop_batch(&f.inbox.queue, taken, MAX_CHAINS)
    for i in range(count):
        op = <Op*>taken[i]
        while op != NULL:
            following = op.newer
            op_begin(f, op)
            op = following


cdef bint threads_have_mail(const Front* f) noexcept nogil:
    return f.inbox != NULL and queue_size(&f.inbox.queue) != 0


cdef bint threads_answer(Front* f) noexcept nogil:
    cdef OpChain* chain
    cdef uint32_t i
    if f.answered_count == 0:
        return False
    for i in range(1, f.sides_count):
        chain = &f.answered[i]
        if chain.first != NULL and queue_push(&f.sides[i].thread.answers, chain.first) == PUSHED:
            chain.first = chain.last = NULL
            f.answered_count -= 1
            loop_wakeup_notify(&f.sides[i].thread.wakeup)
    return f.answered_count != 0


cdef void tell_all_to_stop(Front* f) noexcept nogil:
    cdef uint32_t i
    for i in range(1, f.sides_count):
        if f.sides[i].thread != NULL:
            # release: what was handed over before is visible to the thread that sees this
            f.sides[i].thread.stopping.store(1, memory_order_release)
            loop_wakeup_notify(&f.sides[i].thread.wakeup)


cdef bint all_quiet(Front* f) noexcept nogil:
    cdef uint32_t i
    for i in range(1, f.sides_count):
        # acquire: pairs with the release in `thread_body`
        if f.sides[i].thread.started and not f.sides[i].thread.quiet.load(memory_order_acquire):
            return False
    return True


cdef void threads_end(Front* f) noexcept nogil:
    cdef bint quiet, left
    while threads_answer(f):                              # lists on their way, too: no thread is asked for one after its end
        usleep(END_LOOK_US)
    tell_all_to_stop(f)
    while True:
        quiet = all_quiet(f)                              # before the look at the inbox
        while threads_have_mail(f):
            threads_take(f)
        ops_end(f)
        left = threads_answer(f)
        if quiet and not left:
            return
        usleep(END_LOOK_US)


# ------------------------------------------------------------------------------------------------------ their life

cdef int side_open(Front* f, uint32_t number) noexcept nogil:
    cdef ClientSide* s = side_new(f, number, epoll_create1(EPOLL_CLOEXEC))
    cdef int code
    if s == NULL:
        return ENOMEM
    f.sides[number] = s
    f.sides_count = number + 1
    s.thread = side_thread_new()
    if s.thread == NULL or not queue_open(&s.thread.arrivals, ARRIVALS) or not queue_open(&s.thread.answers, CHAINS):
        return ENOMEM
    code = loop_wakeup_open(&s.thread.wakeup)
    if code != 0:
        return code
    return 0 if watch(s.epoll_fd, EPOLL_CTL_ADD, s.thread.wakeup.descriptor, WAKEUP_TOKEN, EPOLLIN) else errno


cdef int threads_open(Front* f) noexcept nogil:
    cdef uint32_t i
    cdef int code
    if f.config.io_threads == 0:
        return 0
    f.answered = <OpChain*>calloc(1 + f.config.io_threads, sizeof(OpChain))
    f.inbox = front_inbox_new()
    if f.answered == NULL or f.inbox == NULL or not queue_open(&f.inbox.queue, CHAINS):
        return ENOMEM
    for i in range(1, 1 + f.config.io_threads):
        code = side_open(f, i)
        if code != 0:
            return code
    return 0


cdef int threads_start(Front* f) noexcept nogil:
    cdef uint32_t i
    cdef int code
    cdef char name[16]
    for i in range(1, f.sides_count):
        name_of(name, i)
        code = thread_start(&f.sides[i].thread.thread, name, 0, thread_body, f.sides[i])
        if code != 0:
            return code
        f.sides[i].thread.started = True
    return 0


cdef void name_of(char* name, uint32_t number) noexcept nogil:
    """tenure-io-1 and so on."""
    cdef const char* text = b"tenure-io-"
    cdef int size = 0
    while text[size]:
        name[size] = text[size]
        size += 1
    if number >= 10:
        name[size] = c"0" + number // 10
        size += 1
    name[size] = c"0" + number % 10
    name[size + 1] = 0


cdef void threads_close(Front* f) noexcept nogil:
    cdef ClientSide* s
    cdef uint32_t i
    cdef void* client
    tell_all_to_stop(f)
    for i in range(1, f.sides_count):
        s = f.sides[i]
        if s.thread == NULL:
            continue
        if s.thread.started:
            pthread_join(s.thread.thread, NULL)
            s.thread.started = False
        while queue_pop_batch(&s.thread.arrivals, &client, 1):
            client_drop(s, <Client*>client)
        side_close(s)


cdef void threads_free(Front* f) noexcept nogil:
    cdef ClientSide* s
    cdef uint32_t i
    for i in range(1, f.sides_count):
        s = f.sides[i]
        if s.thread != NULL:
            queue_free(&s.thread.arrivals)
            queue_free(&s.thread.answers)
            loop_wakeup_close(&s.thread.wakeup)
            side_thread_free(s.thread)
        if s.epoll_fd >= 0:
            close(s.epoll_fd)
        side_free(s)
    if f.inbox != NULL:
        queue_free(&f.inbox.queue)
        front_inbox_free(f.inbox)
    free(f.answered)
