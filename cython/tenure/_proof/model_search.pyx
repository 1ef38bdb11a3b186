"""Every state of the lease model, breadth first, so that the first state found to break an invariant is one of the nearest.

States that differ by the members' names alone are one: the least of the packed forms of a state, over the orders of its
members, stands for all. A state once seen is remembered by a 64-bit fingerprint of that form, and by the record of the state
it came from; only the two levels at the edge of the search are kept whole. Two states with one fingerprint would hide one
of them: among n states that has a probability below n^2 / 2^65, which `collision_probability` tells.

One thread at a time; no GIL and no Python object inside `advance`. A search owns its tables and nothing else. It never
guesses: without memory it raises.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from tenure._core.vec cimport Vec
from tenure._proof.model_rules cimport (
    entry_term,
    has_valid_lease,
    is_change,
    learners_of,
    model_start,
    model_successors,
    model_violation,
    outgoing_of,
    voters_of,
)
from tenure._proof.model_state cimport *

# In the order of the enumerations in `model_state`.
GAPS = (
    "H01", "H02", "H03-word", "H03-resume", "H03-late", "H04-wait", "H04-bound", "H04-wiped", "H05", "H06", "H07", "H08",
    "H10", "H11", "H12", "H13", "H14", "H15", "H16-half", "H16-switch", "H17-applied", "H17-carried", "H17-campaign",
    "H17-durable", "H18-learner", "H18-forget", "H19", "H20", "H21",
)
CHANGES = ("remove", "add", "promote", "demote", "joint-shrink", "joint-grow", "joint-swap")
ACTIONS = (
    "start", "tick", "campaign", "vote", "refuse", "win", "learn", "step_down", "broadcast", "receive", "reply", "commit",
    "apply", "write", "transfer", "abort", "timeout_now", "restart", "persist", "propose", "leave", "forget", "capture",
    "complete", "call", "check", "load", "wipe",
)
INVARIANTS = ("", "two-leases", "commit-under-lease", "holder-behind", "stale-read", "divergence")
ROLES = ("follower", "candidate", "leader")

cdef extern from *:
    void prefetch "__builtin_prefetch"(const void* address) noexcept nogil

cdef enum:
    MAX_PACKED = 512
    MAX_ORDERS = 24

cdef size_t MAX_RECORDS = 4294967280

cdef struct Order:
    int at[MODEL_MEMBERS]           # the member that comes at a place
    int place[MODEL_MEMBERS]        # the place of a member
    uint8_t mask[16]                # a set of members, by places


# ------------------------------------------------------------------------------------------------------- packed states

cdef inline LogEntry renamed(LogEntry e, const Order* o) noexcept nogil:
    if not is_change(e):
        return e
    return <LogEntry>(e & 15 | o.mask[voters_of(e)] << 4 | o.mask[outgoing_of(e)] << 8 | o.mask[learners_of(e)] << 12)


cdef inline uint8_t* put_log(uint8_t* out, const LogEntry* log, int length, const Order* o) noexcept nogil:
    cdef LogEntry e
    cdef int i
    for i in range(length):
        e = renamed(log[i], o)
        out[0] = <uint8_t>e
        out[1] = <uint8_t>(e >> 8)
        out += 2
    return out


cdef inline const uint8_t* get_log(const uint8_t* packed, LogEntry* log, int length) noexcept nogil:
    cdef int i
    for i in range(length):
        log[i] = <LogEntry>(packed[0] | packed[1] << 8)
        packed += 2
    return packed


cdef uint8_t* put_member(uint8_t* out, const World* w, const Member* m, const Order* o) noexcept nogil:
    cdef int i
    out[0] = m.term | m.role << 2 | m.voted << 4 | m.bound_durable << 5 | m.cleared << 6 | m.transferring << 7
    out[1] = m.length | m.durable_commit << 4
    out[2] = m.commit | m.applied << 4
    out[3] = o.mask[m.grants] | m.release_term << 4 | m.word_term << 6
    out[4] = m.own_index | m.late_term << 4 | m.late_current << 6
    out[5] = m.promise
    out[6] = (0 if m.promise_holder == 0 else o.place[m.promise_holder - 1] + 1) | m.promise_term << 4
    out[7] = m.word
    out[8] = m.late
    out = put_log(out + 9, m.log, m.length, o)
    if m.role == LEADER:
        for i in range(w.members):
            out[0] = m.peers[o.at[i]].match
            out[1] = m.peers[o.at[i]].reply
            out[2] = m.peers[o.at[i]].until
            out += 3
    return out


cdef const uint8_t* get_member(const uint8_t* packed, const World* w, Member* m) noexcept nogil:
    cdef int i
    m.term, m.role, m.voted = packed[0] & 3, packed[0] >> 2 & 3, packed[0] >> 4 & 1
    m.bound_durable, m.cleared, m.transferring = packed[0] >> 5 & 1, packed[0] >> 6 & 1, packed[0] >> 7
    m.length, m.durable_commit = packed[1] & 15, packed[1] >> 4
    m.commit, m.applied = packed[2] & 15, packed[2] >> 4
    m.grants, m.release_term, m.word_term = packed[3] & 15, packed[3] >> 4 & 3, packed[3] >> 6
    m.own_index, m.late_term, m.late_current = packed[4] & 15, packed[4] >> 4 & 3, packed[4] >> 6
    m.promise, m.promise_holder, m.promise_term = packed[5], packed[6] & 15, packed[6] >> 4
    m.word = packed[7]
    m.late = packed[8]
    packed = get_log(packed + 9, m.log, m.length)
    if m.role == LEADER:
        for i in range(w.members):
            m.peers[i].match, m.peers[i].reply, m.peers[i].until = packed[0], packed[1], packed[2]
            packed += 3
    return packed


cdef size_t pack(const World* w, const State* s, const Order* o, uint8_t* packed) noexcept nogil:
    cdef uint8_t* out = packed
    cdef const Broadcast* b
    cdef int i, t
    for i in range(w.members):
        out = put_member(out, w, &s.members[o.at[i]], o)
    for t in range(w.max_term):
        b = &s.broadcasts[t]
        out[0] = b.sent | o.mask[s.timeout_now[t]] << 4
        out += 1
        if b.sent:
            out[0] = o.place[b.sender] | o.mask[b.recipients] << 4
            out[1] = b.length | b.commit << 4
            out[2] = b.stamp
            out = put_log(out + 3, b.log, b.length, o)
    out = put_log(out, &s.base, 1, o)
    out[0] = s.writes | s.restarts << 4
    out[1] = s.transfers | s.changes << 4
    out[2] = s.stale | s.diverged << 1 | s.shown << 4
    out[3] = s.reader | (o.place[s.reader_at] if s.reader else 0) << 4
    out[4] = s.reader_floor | s.reader_index << 4
    out[5] = s.chosen_length
    return put_log(out + 6, s.chosen, s.chosen_length, o) - packed


cdef void unpack(const World* w, const uint8_t* packed, State* s) noexcept nogil:
    cdef Broadcast* b
    cdef int i, t
    memset(s, 0, sizeof(State))
    for i in range(w.members):
        packed = get_member(packed, w, &s.members[i])
    for t in range(w.max_term):
        b = &s.broadcasts[t]
        b.sent, s.timeout_now[t] = packed[0] & 1, packed[0] >> 4
        packed += 1
        if b.sent:
            b.sender, b.recipients = packed[0] & 15, packed[0] >> 4
            b.length, b.commit, b.stamp = packed[1] & 15, packed[1] >> 4, packed[2]
            packed = get_log(packed + 3, b.log, b.length)
    packed = get_log(packed, &s.base, 1)
    s.writes, s.restarts = packed[0] & 15, packed[0] >> 4
    s.transfers, s.changes = packed[1] & 15, packed[1] >> 4
    s.stale, s.diverged, s.shown = packed[2] & 1, packed[2] >> 1 & 1, packed[2] >> 4
    s.reader, s.reader_at = packed[3] & 15, packed[3] >> 4
    s.reader_floor, s.reader_index = packed[4] & 15, packed[4] >> 4
    s.chosen_length = packed[5]
    get_log(packed + 6, s.chosen, s.chosen_length)


cdef inline uint64_t mixed(uint64_t z) noexcept nogil:
    z = (z ^ (z >> 32)) * <uint64_t>0xD6E8FEB86659FD93
    z = (z ^ (z >> 29)) * <uint64_t>0xA0761D6478BD642F
    return z ^ (z >> 32)


cdef uint64_t fingerprint(const uint8_t* packed, size_t size) noexcept nogil:
    cdef uint64_t h = size, word
    cdef size_t i = 0
    while i < size:
        word = 0
        memcpy(&word, packed + i, min(<size_t>8, size - i))
        h = mixed(h ^ word) + <uint64_t>0x9E3779B97F4A7C15
        i += 8
    return h


cdef tuple entry_seen(LogEntry e):
    """Its term, and the masks of voters, outgoing voters and learners when it is a change."""
    if is_change(e):
        return entry_term(e), voters_of(e), outgoing_of(e), learners_of(e)
    return (entry_term(e),)


cdef list entries(const LogEntry* log, int length):
    return [entry_seen(log[i]) for i in range(length)]


cdef int place_of(name, tuple names) except -1:
    if name not in names:
        raise ValueError(f"{name!r} is none of {', '.join(filter(None, names))}")
    return names.index(name)


cdef dict snapshot(const World* w, const State* s):
    """A state for people to read."""
    return {
        "members": [
            {
                "term": s.members[i].term,
                "role": ROLES[<int>s.members[i].role],
                "log": entries(s.members[i].log, s.members[i].length),
                "commit": s.members[i].commit,
                "applied": s.members[i].applied,
                "lease": s.members[i].word,
                "lease_term": s.members[i].word_term,
                "promise": s.members[i].promise,
                "promise_holder": s.members[i].promise_holder - 1,
                "promise_term": s.members[i].promise_term,
            }
            for i in range(w.members)
        ],
        "shown": s.shown,
        "committed": entries(s.chosen, s.chosen_length),
    }


# ----------------------------------------------------------------------------------------------------------- the search

cdef int fill_orders(int members, Order* orders) noexcept nogil:
    """All orders of the members, that of their numbers first; how many there are."""
    cdef int total = 1, count = 0, code, rest, i, set_
    cdef unsigned int seen
    cdef Order o
    for _ in range(members):
        total *= members
    for code in range(total):
        rest, seen = code, 0
        for i in range(MODEL_MEMBERS - 1, -1, -1):
            o.at[i] = i
            if i < members:
                o.at[i] = rest % members
                rest //= members
            o.place[o.at[i]] = i
            seen |= 1u << o.at[i]
        if seen != (1u << MODEL_MEMBERS) - 1:
            continue
        for set_ in range(16):
            o.mask[set_] = 0
            for i in range(MODEL_MEMBERS):
                if set_ >> i & 1:
                    o.mask[set_] |= 1 << o.place[i]
        orders[count] = o
        count += 1
    return count


cdef uint64_t nameless(const Member* m) noexcept nogil:
    """What tells members apart without naming any: orders that do not sort by it need not be looked at."""
    cdef uint64_t h
    h = m.term | m.role << 2 | m.voted << 4 | m.cleared << 5 | m.transferring << 6 | m.bound_durable << 7
    h = h << 8 | m.length << 4 | m.commit
    h = h << 8 | m.applied << 4 | m.own_index
    h = h << 8 | m.promise
    h = h << 8 | m.word
    h = h << 8 | m.promise_term << 4 | m.durable_commit
    h = h << 8 | m.late
    return h << 8 | (entry_term(m.log[0]) | entry_term(m.log[1]) << 3)


@cython.final
cdef class Search:
    """One world, its guards or the lack of some, and all its states."""
    cdef World w
    cdef Order orders[MAX_ORDERS]
    cdef int orders_count
    cdef Vec[uint64_t] prints           # of every state found, in the order in which they were found
    cdef Vec[uint32_t] parents          # the record of the state that it was found from
    cdef uint64_t* slots                # the same fingerprints as a hash table: open addressing, 0 is an empty slot
    cdef size_t slots_mask
    cdef Vec[uint8_t] frontier          # packed states, each after its size in two bytes, of this level
    cdef Vec[uint8_t] found             # and of the next
    cdef size_t frontier_at             # the next to expand
    cdef size_t record_at               # and its record
    cdef size_t level_end               # the first record of the next level
    cdef Steps steps                    # the successors of the state that is being expanded
    cdef Vec[uint64_t] step_prints      # and their fingerprints; 0 for what leads back to it
    cdef readonly int depth
    cdef uint64_t fired[KIND_COUNT]
    cdef uint64_t expanded, leased
    cdef Invariant broken
    cdef bint no_memory, finished
    cdef bint torn                      # a state is not what was packed: a fault of this file

    def __cinit__(self, dict world, gaps=(), judged=None, bint symmetry=True):
        memset(&self.w, 0, sizeof(World))
        self.w.members = world["members"]
        self.w.max_term = world["terms"]
        self.w.max_log = world["log"]
        self.w.steps = world["steps"]
        self.w.writes = world["writes"]
        self.w.restarts = world["restarts"]
        self.w.transfers = world["transfers"]
        self.w.changes = world["changes"]
        self.w.step_downs = world["step_downs"]
        self.w.late = world["late"]
        self.w.reader = world["reader"]
        self.w.unread_clocks = world["unread_clocks"]
        self.w.slow_apply = world["slow_apply"]
        self.w.bound_unsaved = world["bound_unsaved"]
        self.w.voters = (1 << <int>world["voters"]) - 1
        self.w.learners = ((1 << <int>world["learners"]) - 1) << <int>world["voters"]
        for name in world["change_kinds"]:
            self.w.change_kinds |= 1u << place_of(name, CHANGES)
        for name in gaps:
            self.w.gaps |= <uint64_t>1 << place_of(name, GAPS)
        for name in INVARIANTS[1:] if judged is None else judged:
            self.w.judged |= 1u << place_of(name, INVARIANTS)
        if not (
            1 <= world["voters"] and 0 <= world["learners"] and world["voters"] + world["learners"] <= self.w.members
            and self.w.members <= MODEL_MEMBERS and 1 <= self.w.max_term <= MODEL_TERMS and 0 <= self.w.max_log <= MODEL_LOG
            and 1 <= self.w.steps <= 15 and self.w.max_term - 1 <= self.w.max_log
            and 0 <= min(self.w.writes, self.w.restarts, self.w.transfers, self.w.changes)
            and max(self.w.writes, self.w.restarts, self.w.transfers, self.w.changes) <= 15
        ):
            raise ValueError("a bound of the world is outside of what the model can hold")
        self.orders_count = fill_orders(self.w.members, self.orders)
        if not symmetry:
            self.orders_count = 1
        self.slots_mask = (1 << 16) - 1
        self.slots = <uint64_t*>calloc(self.slots_mask + 1, sizeof(uint64_t))
        if self.slots == NULL:
            raise MemoryError("no memory for the states of the model")
        self.begin()

    def __dealloc__(self):
        free(self.slots)
        self.prints.release()
        self.parents.release()
        self.frontier.release()
        self.found.release()
        self.steps.found.release()
        self.step_prints.release()

    cdef void begin(self) noexcept nogil:
        cdef State start
        model_start(&self.w, &start)
        self.broken = model_violation(&self.w, &start)
        self.finished = self.broken != HOLDS
        self.note(&start, self.print_of(&start), 0)
        self.next_level()
        self.depth = 0

    cdef size_t canonical(self, const State* s, uint8_t* best) noexcept nogil:
        """The least packed form of `s` under any names; its size."""
        cdef uint64_t keys[MODEL_MEMBERS]
        cdef uint8_t packed[MAX_PACKED]
        cdef size_t size = 0
        cdef const Order* o
        cdef int i, k
        cdef bint first = True
        for i in range(self.w.members):
            keys[i] = nameless(&s.members[i]) if self.orders_count > 1 else 0
        for k in range(self.orders_count):
            o = &self.orders[k]
            for i in range(self.w.members - 1):
                if keys[o.at[i]] > keys[o.at[i + 1]]:
                    break
            else:
                if first:
                    size = pack(&self.w, s, o, best)
                    first = False
                elif memcmp(packed, best, pack(&self.w, s, o, packed)) < 0:
                    memcpy(best, packed, size)
        return size

    cdef bint grow(self) noexcept nogil:
        cdef size_t mask = 2 * self.slots_mask + 1, at, i
        cdef uint64_t* slots = <uint64_t*>calloc(mask + 1, sizeof(uint64_t))
        if slots == NULL:
            return False
        for i in range(self.prints.size):
            at = self.prints.data[i] & mask
            while slots[at] != 0:
                at = (at + 1) & mask
            slots[at] = self.prints.data[i]
        free(self.slots)
        self.slots = slots
        self.slots_mask = mask
        return True

    cdef uint64_t print_of(self, const State* s) noexcept nogil:
        cdef uint8_t packed[MAX_PACKED]
        cdef size_t size = self.canonical(s, packed)
        cdef uint64_t print_ = fingerprint(packed, size)
        return print_ if print_ != 0 else 1

    cdef bint note(self, const State* s, uint64_t print_, size_t parent) noexcept nogil:
        """Remember `s`; whether it is new."""
        cdef uint8_t* packed
        cdef size_t at = print_ & self.slots_mask, size
        while self.slots[at] != 0:
            if self.slots[at] == print_:
                return False
            at = (at + 1) & self.slots_mask
        if not (
            self.prints.size < MAX_RECORDS
            and self.prints.push(print_)
            and self.parents.push(<uint32_t>parent)
            and self.found.reserve(self.found.size + MAX_PACKED + 2)
        ):
            self.no_memory = True
            return False
        self.slots[at] = print_
        if 10 * self.prints.size > 6 * self.slots_mask and not self.grow():
            self.no_memory = True
        packed = self.found.data + self.found.size
        size = self.canonical(s, packed + 2)
        packed[0] = <uint8_t>size
        packed[1] = <uint8_t>(size >> 8)
        self.found.size += size + 2
        return True

    cdef void next_level(self) noexcept nogil:
        cdef Vec[uint8_t] spare = self.frontier
        self.frontier = self.found
        self.found = spare
        self.found.clear()
        self.frontier_at = 0
        self.level_end = self.prints.size
        self.depth += 1

    cdef void expand(self) noexcept nogil:
        """All successors of the next state of this level. That it is packed, unpacked and named right is checked as it goes."""
        cdef uint8_t packed[MAX_PACKED]
        cdef State s
        cdef size_t size, i
        cdef Step* step
        size = self.frontier.data[self.frontier_at] | <size_t>self.frontier.data[self.frontier_at + 1] << 8
        unpack(&self.w, self.frontier.data + self.frontier_at + 2, &s)
        if self.canonical(&s, packed) != size or memcmp(packed, self.frontier.data + self.frontier_at + 2, size) != 0:
            self.torn = True
            return
        self.frontier_at += size + 2
        self.expanded += 1
        self.leased += has_valid_lease(&self.w, &s)
        if not model_successors(&self.w, &s, &self.steps):
            self.no_memory = True
            return
        if not self.step_prints.reserve(self.steps.found.size):
            self.no_memory = True
            return
        for i in range(self.steps.found.size):    # the table is larger than any cache: ask for all slots first
            step = &self.steps.found.data[i]
            self.step_prints.data[i] = 0
            if memcmp(&step.state, &s, sizeof(State)) != 0:
                self.step_prints.data[i] = self.print_of(&step.state)
                prefetch(&self.slots[self.step_prints.data[i] & self.slots_mask])
        for i in range(self.steps.found.size):
            step = &self.steps.found.data[i]
            if self.step_prints.data[i] == 0:
                continue
            self.fired[step.action.kind] += 1
            if self.note(&step.state, self.step_prints.data[i], self.record_at):
                self.broken = model_violation(&self.w, &step.state)
                if self.broken != HOLDS:
                    self.finished = True
                    self.depth += 1
                    return
        self.record_at += 1

    cdef void run(self, size_t count) noexcept nogil:
        while count > 0 and not self.finished and not self.no_memory and not self.torn:
            if self.record_at == self.level_end:
                if self.found.size == 0:
                    self.finished = True
                    return
                self.next_level()
            self.expand()
            count -= 1

    def advance(self, size_t states):
        """Expand so many states more, or fewer at the end; whether there is more to do."""
        with nogil:
            self.run(states)
        if self.no_memory:
            raise MemoryError("no memory for the states of the model")
        if self.torn:
            raise RuntimeError("a state was not unpacked as it was packed")
        return not self.finished

    @property
    def states(self):
        """How many different ones were found."""
        return self.prints.size

    @property
    def transitions(self):
        return {ACTIONS[kind]: self.fired[kind] for kind in range(<int>KIND_COUNT)}

    @property
    def leased_states(self):
        """In how many of the states expanded some member has a valid lease."""
        return self.leased

    @property
    def violation(self):
        return INVARIANTS[<int>self.broken] or None

    @property
    def collision_probability(self):
        return self.prints.size * float(self.prints.size) / 2.0**65

    def trace(self):
        """The way to the violation: (action, its numbers, the state after it), from the initial state on."""
        cdef State s, start
        cdef size_t at = self.prints.size - 1, i
        cdef uint64_t wanted
        if self.broken == HOLDS:
            return []
        way = []
        while at != 0:
            way.append(at)
            at = self.parents.data[at]
        model_start(&self.w, &start)
        s = start
        told = [(ACTIONS[0], (0, 0, 0, 0), snapshot(&self.w, &s))]
        for at in reversed(way):
            wanted = self.prints.data[at]
            if not model_successors(&self.w, &s, &self.steps):
                raise MemoryError("no memory for the states of the model")
            for i in range(self.steps.found.size):
                # Names may have been exchanged on the way; the rules do not care, so some successor has this fingerprint.
                if self.print_of(&self.steps.found.data[i].state) == wanted:
                    break
            else:
                raise RuntimeError("the search lost its way: a rule treats members by their names")
            s = self.steps.found.data[i].state
            told.append((
                ACTIONS[self.steps.found.data[i].action.kind],
                (
                    self.steps.found.data[i].action.a, self.steps.found.data[i].action.b,
                    self.steps.found.data[i].action.c, self.steps.found.data[i].action.d,
                ),
                snapshot(&self.w, &s),
            ))
        return told
