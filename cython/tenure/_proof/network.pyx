"""Every message meets its own fate, drawn when it is sent; random delays reorder. A held message comes seconds later, long
after what it answers; a blocked direction loses what is sent into it."""

from libc.stdint cimport int32_t, int64_t

from tenure._proof.monitor cimport monitor_send
from tenure._proof.raft.types cimport Message, message_release
from tenure._proof.world cimport (
    COUNT_DROPPED,
    COUNT_DUPLICATED,
    COUNT_HELD,
    COUNT_MESSAGES,
    EV_DELIVER,
    TRACE_SEND,
    Event,
    Member,
    World,
    count,
    message_copy,
    message_take,
    random_between,
    random_below,
    random_hit,
    world_schedule,
    world_trace_message,
)


cdef void in_flight(World* w, int32_t to, Message* message) noexcept nogil:
    cdef Event* event
    cdef int64_t delay = random_between(w, w.profile.delay_min_ns, w.profile.delay_max_ns)
    if message == NULL:
        w.no_memory = True
        return
    if random_hit(w, w.profile.hold_ppm):
        count(w, COUNT_HELD)
        delay += random_below(w, w.profile.hold_max_ns)
    event = world_schedule(w, w.now_ns + delay, EV_DELIVER, to)
    event.message = message


cdef void network_send(World* w, Member* m, Message* message) noexcept nogil:
    cdef int32_t to = <int32_t>message.to - 1
    count(w, COUNT_MESSAGES)
    world_trace_message(w, TRACE_SEND, m, message)
    monitor_send(w, m, message)
    if (to < 0 or to >= w.count or to == m.at
            or w.blocked_from_ns[m.at][to] <= w.now_ns < w.blocked_until_ns[m.at][to]
            or random_hit(w, w.profile.drop_ppm)):
        count(w, COUNT_DROPPED)
        message_release(message)
        return
    if random_hit(w, w.profile.duplicate_ppm):
        count(w, COUNT_DUPLICATED)
        in_flight(w, to, message_copy(message))
    in_flight(w, to, message_take(message))


cdef void network_block(World* w, int32_t from_, int32_t to, int64_t from_ns, int64_t until_ns) noexcept nogil:
    if from_ == to or until_ns <= w.blocked_until_ns[from_][to]:
        return
    if w.now_ns >= w.blocked_until_ns[from_][to] or from_ns < w.blocked_from_ns[from_][to]:
        w.blocked_from_ns[from_][to] = from_ns
    w.blocked_until_ns[from_][to] = until_ns
