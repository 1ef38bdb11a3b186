"""Every message meets its own fate, drawn when it is sent; random delays reorder. A held message comes seconds later, long
after what it answers; a blocked direction loses what is sent into it.

A message's chance hangs on its link and its number there alone. In a replay only what was recorded befalls messages.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset

from tenure._proof.monitor cimport monitor_send
from tenure._proof.raft.types cimport MSG_TIMEOUT_NOW, MSG_VOTE_RESP, Message, message_release
from tenure._proof.world cimport (
    COUNT_DROPPED,
    COUNT_DUPLICATED,
    COUNT_HELD,
    COUNT_MESSAGES,
    EV_DELIVER,
    FATE_DROPPED,
    FATE_DUPLICATED,
    FATE_HELD,
    MAX_SIM_MEMBERS,
    STREAM_LINK,
    TRACE_SEND,
    Event,
    Fate,
    Member,
    World,
    count,
    message_copy,
    message_take,
    random_below,
    random_between,
    random_hit,
    stream_of,
    world_schedule,
    world_trace_message,
)


cdef void in_flight(World* w, int32_t to, Message* message, int64_t delay, uint64_t number) noexcept nogil:
    cdef Event* event
    if message == NULL:
        w.no_memory = True
        return
    event = world_schedule(w, w.now_ns + delay, EV_DELIVER, to)
    event.message = message
    event.a = <int64_t>number


cdef bint before(const Fate* fate, int32_t from_, int32_t to, uint64_t number) noexcept nogil:
    if fate.from_ != from_:
        return fate.from_ < from_
    if fate.to != to:
        return fate.to < to
    return fate.number < number


cdef int32_t recorded_fate(const World* w, int32_t from_, int32_t to, uint64_t number) noexcept nogil:
    cdef size_t low = 0, high = w.fates.size, middle
    while low < high:
        middle = (low + high) // 2
        if before(&w.fates.data[middle], from_, to, number):
            low = middle + 1
        else:
            high = middle
    if low == w.fates.size or w.fates.data[low].from_ != from_ or w.fates.data[low].to != to:
        return 0
    return w.fates.data[low].what if w.fates.data[low].number == number else 0


cdef int32_t drawn_fate(World* w, int32_t from_, int32_t to, const Message* message, uint64_t* chance) noexcept nogil:
    cdef int32_t what = 0
    cdef bint held
    cdef Fate fate
    if random_hit(chance, w.profile.drop_ppm):
        what += FATE_DROPPED
    if random_hit(chance, w.profile.duplicate_ppm):
        what += FATE_DUPLICATED
    held = random_hit(chance, w.profile.hold_ppm)
    if message.type == MSG_TIMEOUT_NOW:
        held = held or random_below(chance, 100) < w.profile.hold_timeout_now_percent
    elif message.type == MSG_VOTE_RESP:
        held = held or random_below(chance, 100) < w.profile.hold_vote_percent
    if held:
        what += FATE_HELD
    if what != 0 and w.recording:
        memset(&fate, 0, sizeof(fate))
        fate.number = w.sent[from_][to]
        fate.from_ = from_
        fate.to = to
        fate.what = what
        if not w.fates.push(fate):
            w.no_memory = True
    return what


cdef void network_send(World* w, Member* m, Message* message) noexcept nogil:
    cdef int32_t to = <int32_t>message.to - 1, what
    cdef uint64_t number, chance
    cdef int64_t delay, again, held
    count(w, COUNT_MESSAGES)
    world_trace_message(w, TRACE_SEND, m, message)
    monitor_send(w, m, message)
    if to < 0 or to >= w.count or to == m.at:
        count(w, COUNT_DROPPED)
        message_release(message)
        return
    w.sent[m.at][to] += 1
    number = w.sent[m.at][to]
    chance = stream_of(w, STREAM_LINK, (number * MAX_SIM_MEMBERS + <uint64_t>m.at) * MAX_SIM_MEMBERS + <uint64_t>to)
    delay = random_between(&chance, w.profile.delay_min_ns, w.profile.delay_max_ns)
    again = random_between(&chance, w.profile.delay_min_ns, w.profile.delay_max_ns)
    held = random_below(&chance, w.profile.hold_max_ns)
    what = recorded_fate(w, m.at, to, number) if w.replaying else drawn_fate(w, m.at, to, message, &chance)
    if what & FATE_DROPPED or w.blocked_from_ns[m.at][to] <= w.now_ns < w.blocked_until_ns[m.at][to]:
        count(w, COUNT_DROPPED)
        message_release(message)
        return
    if what & FATE_HELD:
        count(w, COUNT_HELD)
        delay += held
    if what & FATE_DUPLICATED:
        count(w, COUNT_DUPLICATED)
        in_flight(w, to, message_copy(message), again, number)
    in_flight(w, to, message_take(message), delay, number)


cdef void network_block(World* w, int32_t from_, int32_t to, int64_t from_ns, int64_t until_ns) noexcept nogil:
    if from_ == to or until_ns <= w.blocked_until_ns[from_][to]:
        return
    if w.now_ns >= w.blocked_until_ns[from_][to] or from_ns < w.blocked_from_ns[from_][to]:
        w.blocked_from_ns[from_][to] = from_ns
    w.blocked_until_ns[from_][to] = until_ns
