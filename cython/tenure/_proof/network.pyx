"""Every message meets its own fate, drawn when it is sent; random delays reorder. A held message comes seconds later, long
after what it answers; a blocked direction loses what is sent into it.

A message's chance hangs on its link and its number there alone. In a replay only what was recorded befalls messages: the first
of the recorded type that leaves on the recorded link at the recorded time or later, so that it is the same one even when
other messages are left out.
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
    MESSAGE_TYPES,
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


cdef void network_take_fates(World* w) noexcept nogil:
    cdef int32_t i, position = <int32_t>w.fates.size
    cdef const Fate* fate
    for i in range(MAX_SIM_MEMBERS * MAX_SIM_MEMBERS * MESSAGE_TYPES):
        (&w.next_fate[0][0][0])[i] = position
    while position > 0:
        position -= 1
        fate = &w.fates.data[position]
        w.next_fate[fate.from_][fate.to][fate.type] = position


cdef bint recorded_fate(World* w, int32_t from_, int32_t to, const Message* message, Fate* fate) noexcept nogil:
    cdef int32_t* position = &w.next_fate[from_][to][message.type]
    cdef const Fate* next
    if <size_t>position[0] >= w.fates.size:
        return False
    next = &w.fates.data[position[0]]
    if next.from_ != from_ or next.to != to or next.type != message.type or next.at_ns > w.now_ns:
        return False
    if next.at_ns == w.now_ns and next.nth > w.left_before[from_][to][message.type]:
        return False
    position[0] += 1
    fate[0] = next[0]
    return True


cdef bint drawn_fate(World* w, int32_t from_, int32_t to, const Message* message, uint64_t* chance, Fate* fate) noexcept nogil:
    cdef bint held
    if w.calm:
        return False
    held = random_hit(chance, w.profile.hold_ppm)
    fate.held_ns = random_below(chance, w.profile.hold_max_ns)
    if random_hit(chance, w.profile.drop_ppm):
        fate.what += FATE_DROPPED
    if random_hit(chance, w.profile.duplicate_ppm):
        fate.what += FATE_DUPLICATED
    if message.type == MSG_TIMEOUT_NOW:
        held = held or random_below(chance, 100) < w.profile.hold_timeout_now_percent
    elif message.type == MSG_VOTE_RESP:
        held = held or random_below(chance, 100) < w.profile.hold_vote_percent
    if held:
        fate.what += FATE_HELD
    if fate.what == 0:
        return False
    if w.recording:
        fate.at_ns = w.now_ns
        fate.nth = w.left_before[from_][to][message.type]
        fate.type = message.type
        fate.from_ = from_
        fate.to = to
        if not w.fates.push(fate[0]):
            w.no_memory = True
    return True


cdef void network_send(World* w, Member* m, Message* message) noexcept nogil:
    cdef int32_t to = <int32_t>message.to - 1
    cdef uint64_t number, chance
    cdef int64_t delay, again
    cdef Fate fate
    count(w, COUNT_MESSAGES)
    world_trace_message(w, TRACE_SEND, m, message)
    monitor_send(w, m, message)
    if to < 0 or to >= w.count or to == m.at:
        count(w, COUNT_DROPPED)
        message_release(message)
        return
    w.sent[m.at][to] += 1
    if w.left_ns[m.at][to][message.type] == w.now_ns:
        w.left_before[m.at][to][message.type] += 1
    else:
        w.left_ns[m.at][to][message.type] = w.now_ns
        w.left_before[m.at][to][message.type] = 0
    number = w.sent[m.at][to]
    chance = stream_of(w, STREAM_LINK, (number * MAX_SIM_MEMBERS + <uint64_t>m.at) * MAX_SIM_MEMBERS + <uint64_t>to)
    delay = random_between(&chance, w.profile.delay_min_ns, w.profile.delay_max_ns)
    again = random_between(&chance, w.profile.delay_min_ns, w.profile.delay_max_ns)
    memset(&fate, 0, sizeof(fate))
    if w.replaying:
        recorded_fate(w, m.at, to, message, &fate)
    else:
        drawn_fate(w, m.at, to, message, &chance, &fate)
    if fate.what & FATE_DROPPED or w.blocked_from_ns[m.at][to] <= w.now_ns < w.blocked_until_ns[m.at][to]:
        count(w, COUNT_DROPPED)
        message_release(message)
        return
    if fate.what & FATE_HELD:
        count(w, COUNT_HELD)
        delay += fate.held_ns
    if fate.what & FATE_DUPLICATED:
        count(w, COUNT_DUPLICATED)
        in_flight(w, to, message_copy(message), again, number)
    in_flight(w, to, message_take(message), delay, number)


cdef void network_block(World* w, int32_t from_, int32_t to, int64_t from_ns, int64_t until_ns) noexcept nogil:
    if from_ == to or until_ns <= w.blocked_until_ns[from_][to]:
        return
    if w.now_ns >= w.blocked_until_ns[from_][to] or from_ns < w.blocked_from_ns[from_][to]:
        w.blocked_from_ns[from_][to] = from_ns
    w.blocked_until_ns[from_][to] = until_ns
