"""Decides whether a history of client operations is linearizable: is there one order of them, agreeing with real time,
in which a plain map would have answered what the clients saw?

Each key is judged alone (a history is linearizable exactly when its part on every key is). The search is Wing and
Gong's in Lowe's just-in-time form: it walks over the key's calls and returns in time order and places an operation only
when some return can no longer be passed without it. What has been decided is a configuration: the event at which it
waits, the key's value, and one bit per live operation that is already placed; a configuration seen twice is not entered
again. The walk is depth first, so a correct history seldom costs more than one pass.

Any thread may call; a `Checker` is used by one thread at a time. It owns its buffers and nothing else, it never touches
Python below `check`, and it never guesses: a bound that is hit yields UNDECIDED.

Four reductions keep the walk narrow. For each, why no linearizable history is lost:

1. *Observers go at once.* A definite operation that leaves the value as it is (a read, a failed cas, a del of nothing)
   and is legal now is placed now: take it out of its later place in any legal order and put it here; the values that
   all others meet are unchanged, and it has been called and has not returned.
2. *Unseen unknown effects are left out.* Let an unknown operation u be placed and the next change be blind (a set, or
   an unknown del), with no observer between. Without u the same order is legal still. So of all legal orders take one
   with the fewest unknown operations: there the effect of each is met by an observer or by a change that asks for it.
   The search follows that order, and where reduction 1 has already placed the observers that it keeps behind u, the
   search's own order is legal without u, against the choice of the fewest. Hence from a configuration whose last change
   was an unknown operation that nobody met, no blind operation is placed. In the same way no unknown operation is
   placed where it changes nothing, and unknown reads are dropped.
3. *Horizon.* By 2, an unknown operation is worth nothing after the last return of a definite operation to which its
   effect could be shown. It is dropped when that instant lies before its call, and forgotten at that instant otherwise;
   this is what makes unknown writes of unique values free. What could be shown to another unknown operation is kept
   without end.
4. *Twins.* Unknown operations with equal arguments never return and are interchangeable once called, so of those the
   one called first is placed first. Texts that nobody else mentions are all one text for this purpose: no operation
   of the key can tell them apart.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.limits cimport LLONG_MAX, LLONG_MIN
from libc.string cimport memcmp, memcpy, memset

cdef enum EventType:
    CALL = 0
    RETURN = 1
    RETIRE = 2

cdef enum Remembered:
    FRESH = 1
    SEEN_BEFORE = 0
    BOUND_HIT = -1
    # or NO_MEMORY

cdef int64_t NEVER = LLONG_MAX
cdef int64_t BEFORE_ALL = LLONG_MIN
cdef int64_t INTEGER_LIMIT = (<int64_t> 1) << 60


# ---- the model: one register that is absent, an integer or a text -----------------------------------------------------

cdef inline bint is_integer(int64_t word) noexcept nogil:
    return (word & 1) == 0 and word != word_absent()


cdef inline bint legal(const Item* item, int64_t state, int64_t* after) noexcept nogil:
    """May `item` come next when the key holds `state`, and what does it leave?"""
    cdef int64_t sum
    after[0] = state
    if item.kind == OP_SET:
        after[0] = item.arg1
        return True
    if item.kind == OP_GET:
        return state == item.out
    if item.kind == OP_INCR:
        if not is_integer(state) and state != word_absent():
            return not item.unknown and item.out == word_not_integer()
        sum = integer_word(item.arg1) if state == word_absent() else state + integer_word(item.arg1)
        after[0] = sum
        return item.unknown or item.out == sum
    if item.kind == OP_CAS:
        if item.unknown or item.out == 1:
            after[0] = item.arg2
            return state == item.arg1
        return state != item.arg1
    after[0] = word_absent()
    if item.unknown or item.out == 1:
        return state != word_absent()
    return state == word_absent()


cdef inline bint could_leave(const Item* item, int64_t word) noexcept nogil:
    """Might `item` leave this value, in some state? Says yes rather than no."""
    if item.kind == OP_SET:
        return item.arg1 == word
    if item.kind == OP_CAS:
        return item.arg2 == word
    if item.kind == OP_INCR:
        return is_integer(word)
    return word == word_absent()


# ---- the caller's operations, made ready -------------------------------------------------------------------------------

cdef inline int64_t magnitude(int64_t value) noexcept nogil:
    """Distance from zero, cut off at the limit."""
    if value >= INTEGER_LIMIT or value <= -INTEGER_LIMIT:
        return INTEGER_LIMIT
    return value if value >= 0 else -value


cdef bint acceptable(const Operation* op) noexcept nogil:
    if op.kind < OP_SET or op.kind > OP_DEL or op.status < STATUS_OK or op.status > STATUS_UNKNOWN:
        return False
    if (op.kind == OP_SET and op.arg1 == word_absent()) or (op.kind == OP_CAS and op.arg2 == word_absent()):
        return False
    if op.status == STATUS_OK:
        if op.ret < op.call:
            return False
        if op.kind == OP_INCR and op.out != word_not_integer() and (
            not is_integer(op.out) or magnitude(op.out // 2) >= INTEGER_LIMIT
        ):
            return False
        if (op.kind == OP_CAS or op.kind == OP_DEL) and op.out != 0 and op.out != 1:
            return False
    return True


cdef bint integers_in_range(const Operation* ops, const uint32_t* order, size_t count) noexcept nogil:
    """No sum that the search can form leaves the range in which words are exact."""
    cdef int64_t most = 0
    cdef int64_t sums = 0
    cdef bint counts = False
    cdef size_t i
    cdef const Operation* op
    for i in range(count):
        op = &ops[order[i]]
        if op.status == STATUS_FAIL:
            continue
        if op.kind == OP_INCR:
            counts = True
            sums += magnitude(op.arg1)
            if sums >= INTEGER_LIMIT:
                return False
        elif op.kind == OP_SET and is_integer(op.arg1):
            most = max(most, magnitude(op.arg1 // 2))
        elif op.kind == OP_CAS and is_integer(op.arg2):
            most = max(most, magnitude(op.arg2 // 2))
    return not counts or most + sums < INTEGER_LIMIT


cdef bint saw(Checker* c, int64_t value, int64_t last) noexcept nogil:
    cdef Seen entry
    entry.value = value
    entry.last = last
    return c.seen.push(entry)


cdef int prepare_unknown(Checker* c) noexcept nogil:
    """Sets horizon and twin of the unknown operations (reductions 3 and 4)."""
    cdef int64_t any_value = BEFORE_ALL      # last return of those to which any value at all may be shown
    cdef int64_t any_present = BEFORE_ALL    # ... any value but absence
    cdef int64_t any_text = BEFORE_ALL
    cdef int64_t countable = BEFORE_ALL      # of unknown increments, which take every integer and absence
    cdef bint increments = False
    cdef Item* item
    cdef int64_t before, left, horizon
    cdef const Seen* found
    cdef size_t i
    cdef Item* other
    c.seen.clear()
    for i in range(c.items.size):
        item = &c.items.data[i]
        if item.kind == OP_GET:
            if not saw(c, item.out, item.ret):
                return NO_MEMORY
        elif item.kind == OP_INCR:
            increments = True
            if item.unknown:
                countable = NEVER
            elif item.out == word_not_integer():
                any_text = max(any_text, item.ret)
            else:
                before = item.out - integer_word(item.arg1)
                if not saw(c, before, item.ret) or (before == 0 and not saw(c, word_absent(), item.ret)):
                    return NO_MEMORY
        elif item.kind == OP_CAS:
            if not item.unknown and item.out == 0:
                any_value = max(any_value, item.ret)
                if not saw(c, item.arg1, BEFORE_ALL):
                    return NO_MEMORY
            else:
                before = NEVER if item.unknown else item.ret
                if not saw(c, item.arg1, before):
                    return NO_MEMORY
        elif item.kind == OP_DEL and not item.unknown:
            if item.out == 1:
                any_present = max(any_present, item.ret)
            elif not saw(c, word_absent(), item.ret):
                return NO_MEMORY
    sort_seen(c.seen.data, c.seen.size)
    c.scratch.clear()
    for i in range(c.items.size):
        item = &c.items.data[i]
        if not item.unknown:
            continue
        if item.kind == OP_INCR:
            horizon = NEVER  # another unknown increment can count on from it
        else:
            left = item.arg1 if item.kind == OP_SET else item.arg2 if item.kind == OP_CAS else word_absent()
            found = find_seen(c.seen.data, c.seen.size, left)
            horizon = any_value
            if found != NULL:
                horizon = max(horizon, found.last)
            if left != word_absent():
                horizon = max(horizon, any_present)
            if left & 1:
                horizon = max(horizon, any_text)
            else:
                horizon = max(horizon, countable)
            if found == NULL and left != word_absent() and (left & 1 or not increments):
                if item.kind == OP_SET:
                    item.arg1 = word_unnamed()
                else:
                    item.arg2 = word_unnamed()
        item.horizon = horizon
        if horizon >= item.call and not c.scratch.push(<uint32_t> i):
            return NO_MEMORY
    sort_by_effect(c.scratch.data, c.scratch.size, c.items.data)
    for i in range(1, c.scratch.size):
        item = &c.items.data[c.scratch.data[i]]
        other = &c.items.data[c.scratch.data[i - 1]]
        if item.kind == other.kind and item.arg1 == other.arg1 and item.arg2 == other.arg2:
            # Equal arguments have equal horizons, so twins retire together.
            item.twin = <int32_t> c.scratch.data[i - 1]
    return 0


cdef int load_key(Checker* c, const Operation* ops, const uint32_t* order, size_t count) noexcept nogil:
    """Makes items and events of one key's operations, and gives every live operation a slot."""
    cdef size_t i, words
    cdef const Operation* op
    cdef Item item
    cdef Item* at
    cdef Event event
    cdef bint any_unknown = False
    cdef int32_t slots = 0
    c.items.clear()
    c.events.clear()
    for i in range(count):
        op = &ops[order[i]]
        if op.status == STATUS_FAIL:
            continue
        if op.status == STATUS_UNKNOWN and (op.kind == OP_GET or (op.kind == OP_CAS and op.arg1 == op.arg2)):
            continue  # it changes nothing and tells nothing
        item.arg1 = op.arg1 if op.kind != OP_DEL else 0
        item.arg2 = op.arg2 if op.kind == OP_CAS else 0
        item.out = op.out
        item.call = op.call
        item.ret = op.ret
        item.horizon = NEVER
        item.source = order[i]
        item.slot = -1
        item.twin = -1
        item.kind = <uint8_t> op.kind
        item.unknown = op.status == STATUS_UNKNOWN
        item.observer = not item.unknown and (
            op.kind == OP_GET
            or (op.kind == OP_INCR and op.out == word_not_integer())
            or (op.kind == OP_CAS and (op.out == 0 or op.arg1 == op.arg2))
            or (op.kind == OP_DEL and op.out == 0)
        )
        item.blind = op.kind == OP_SET or (op.kind == OP_DEL and item.unknown)
        any_unknown = any_unknown or item.unknown
        if not c.items.push(item):
            return NO_MEMORY
    if any_unknown and prepare_unknown(c) != 0:
        return NO_MEMORY
    for i in range(c.items.size):
        at = &c.items.data[i]
        if at.unknown and at.horizon < at.call:
            continue
        event.item = <uint32_t> i
        event.time = at.call
        event.type = CALL
        if not c.events.push(event):
            return NO_MEMORY
        event.time = at.horizon if at.unknown else at.ret
        event.type = RETIRE if at.unknown else RETURN
        if (not at.unknown or at.horizon != NEVER) and not c.events.push(event):
            return NO_MEMORY
    sort_events(c.events.data, c.events.size)
    c.scratch.clear()
    for i in range(c.events.size):
        at = &c.items.data[c.events.data[i].item]
        if c.events.data[i].type != CALL:
            if not c.scratch.push(<uint32_t> at.slot):
                return NO_MEMORY
        elif c.scratch.size:
            c.scratch.size -= 1
            at.slot = <int32_t> c.scratch.data[c.scratch.size]
        else:
            at.slot = slots
            slots += 1
    words = (<size_t> slots + 63) // 64
    c.words = words if words else 1
    if not (c.live.reserve(c.words) and c.observing.reserve(c.words) and c.placed.reserve(c.words)
            and c.slots.reserve(<size_t> slots + 1)):
        return NO_MEMORY
    return 0


# ---- memoised configurations -------------------------------------------------------------------------------------------
# A configuration is `words + 2` integers: event and "the last change was an unknown operation", value, placed bits.

cdef inline uint64_t digest(const uint64_t* config, size_t size) noexcept nogil:
    cdef uint64_t h = 0x9e3779b97f4a7c15u
    cdef size_t i
    for i in range(size):
        h = (h ^ config[i]) * 0xff51afd7ed558ccdu
        h ^= h >> 32
    return h


cdef int remember(Checker* c, uint32_t* index) noexcept nogil:
    """Keeps the configuration that stands at the end of `configs`: a `Remembered` code."""
    cdef size_t size = c.words + 2
    cdef size_t count = c.configs.size // size
    cdef uint64_t* fresh = c.configs.data + c.configs.size
    cdef size_t i, place
    if (count + 1) * 2 > c.mask + 1:
        if <int64_t> ((count + 1) * size * 8 + (c.mask + 1) * 8) > c.max_bytes or count > 0x7ffffff0u:
            return BOUND_HIT
        if not c.table.reserve((c.mask + 1) * 2):
            return NO_MEMORY
        c.mask = c.mask * 2 + 1
        memset(c.table.data, 0, (c.mask + 1) * sizeof(uint32_t))
        for i in range(count):
            place = <size_t> digest(c.configs.data + i * size, size) & c.mask
            while c.table.data[place]:
                place = (place + 1) & c.mask
            c.table.data[place] = <uint32_t> (i + 1)
    if <int64_t> ((c.configs.size + size) * 8) > c.max_bytes:
        return BOUND_HIT
    place = <size_t> digest(fresh, size) & c.mask
    while c.table.data[place]:
        if memcmp(c.configs.data + (c.table.data[place] - 1) * size, fresh, size * 8) == 0:
            return SEEN_BEFORE
        place = (place + 1) & c.mask
    c.table.data[place] = <uint32_t> (count + 1)
    c.configs.size += size
    index[0] = <uint32_t> count
    return FRESH


# ---- the walk ----------------------------------------------------------------------------------------------------------

cdef inline bint is_set(const uint64_t* bits, int32_t slot) noexcept nogil:
    return (bits[slot >> 6] >> (slot & 63)) & 1


cdef inline void put(uint64_t* bits, int32_t slot) noexcept nogil:
    bits[slot >> 6] |= (<uint64_t> 1) << (slot & 63)


cdef inline void drop(uint64_t* bits, int32_t slot) noexcept nogil:
    bits[slot >> 6] &= ~((<uint64_t> 1) << (slot & 63))


cdef inline void enter(Checker* c, uint32_t number) noexcept nogil:
    cdef Item* item = &c.items.data[number]
    c.slots.data[item.slot] = <int32_t> number
    put(c.live.data, item.slot)
    if item.observer:
        put(c.observing.data, item.slot)


cdef inline void leave(Checker* c, uint32_t number) noexcept nogil:
    cdef int32_t slot = c.items.data[number].slot
    drop(c.live.data, slot)
    drop(c.observing.data, slot)


cdef void rewind(Checker* c, size_t position) noexcept nogil:
    """Takes the set of live operations back to what it was before the event at `position`."""
    cdef Event* event
    while c.position > position:
        c.position -= 1
        event = &c.events.data[c.position]
        if event.type == CALL:
            leave(c, event.item)
        else:
            enter(c, event.item)


cdef inline int place_observers(Checker* c, int64_t state, bint* any_placed) noexcept nogil:
    """Reduction 1, after the value has changed."""
    cdef size_t w
    cdef uint64_t rest
    cdef int32_t slot
    cdef int64_t after
    for w in range(c.words):
        rest = c.observing.data[w] & ~c.placed.data[w]
        while rest:
            slot = <int32_t> (w * 64) + lowest_bit(rest)
            rest &= rest - 1
            if legal(&c.items.data[c.slots.data[slot]], state, &after):
                put(c.placed.data, slot)
                any_placed[0] = True
                if not c.path.push(<uint32_t> c.slots.data[slot]):
                    return NO_MEMORY
    return 0


cdef bint hopeless(Checker* c, const Item* blocked, int64_t state) noexcept nogil:
    """The value that `blocked` asks for is not there and no operation that is still to be placed could leave it."""
    cdef size_t w
    cdef uint64_t rest
    cdef const Item* item
    cdef int64_t wanted
    if blocked.kind == OP_GET:
        wanted = blocked.out
    elif blocked.kind == OP_CAS and blocked.out == 1:
        wanted = blocked.arg1
    else:
        return False
    if state == wanted:
        return False
    for w in range(c.words):
        rest = c.live.data[w] & ~c.observing.data[w] & ~c.placed.data[w]
        while rest:
            item = &c.items.data[c.slots.data[w * 64 + lowest_bit(rest)]]
            rest &= rest - 1
            if could_leave(item, wanted):
                return False
    return True


cdef inline bint may_place(Checker* c, const Item* item, int64_t state, bint unmet, int64_t* after) noexcept nogil:
    """Reductions 2 and 4 on top of the model."""
    if (unmet and item.blind) or not legal(item, state, after):
        return False
    if item.unknown:
        return after[0] != state and (item.twin < 0 or is_set(c.placed.data, c.items.data[item.twin].slot))
    return True


cdef int branch(Checker* c, const Item* blocked, int64_t state, bint unmet) noexcept nogil:
    """Puts every possible next operation on the stack, the most promising on top. 0, BOUND_HIT or NO_MEMORY."""
    cdef size_t w
    cdef uint64_t rest
    cdef int64_t after, ignored
    cdef Item* item
    cdef Frame frame
    cdef uint64_t* config
    cdef int rank, this_rank, kept
    for rank in range(3):
        for w in range(c.words):
            rest = c.live.data[w] & ~c.observing.data[w] & ~c.placed.data[w]
            while rest:
                frame.item = c.slots.data[w * 64 + lowest_bit(rest)]
                rest &= rest - 1
                item = &c.items.data[frame.item]
                if not may_place(c, item, state, unmet, &after):
                    continue
                this_rank = 2 if item == blocked else 1 if legal(blocked, after, &ignored) else 0
                if this_rank != rank:
                    continue
                if not c.configs.reserve(c.configs.size + c.words + 2):
                    return NO_MEMORY
                config = c.configs.data + c.configs.size
                config[0] = <uint64_t> c.position * 2 + (1 if item.unknown else 0)
                config[1] = <uint64_t> after
                memcpy(config + 2, c.placed.data, c.words * 8)
                put(config + 2, item.slot)
                c.spent += 1
                kept = remember(c, &frame.config)
                if kept < 0:
                    return kept
                frame.path_size = <uint32_t> c.path.size
                if kept == FRESH and not c.stack.push(frame):
                    return NO_MEMORY
    return 0


cdef int walk(Checker* c, bint stop_at_furthest) noexcept nogil:
    """Searches one key. With `stop_at_furthest` it repeats a failed search as far as the furthest dead end, so that
    `path` and `result` tell what was reached."""
    cdef int64_t state = word_absent()
    cdef int64_t after = 0
    cdef int64_t next_state = 0
    cdef bint unmet = False   # the last change was an unknown operation whose effect nobody has met yet
    cdef bint met
    cdef Event* event
    cdef Item* item
    cdef Item* only
    cdef Frame frame
    cdef const uint64_t* config
    cdef size_t w
    cdef uint64_t rest
    cdef int32_t slot
    cdef int choices, code
    c.mask = 255
    if not c.table.reserve(256):
        return NO_MEMORY
    memset(c.table.data, 0, 256 * sizeof(uint32_t))
    memset(c.live.data, 0, c.words * 8)
    memset(c.observing.data, 0, c.words * 8)
    memset(c.placed.data, 0, c.words * 8)
    c.configs.clear()
    c.stack.clear()
    c.path.clear()
    c.position = 0
    while c.position < c.events.size:
        c.spent += 1
        if c.spent > c.allowed:
            return UNDECIDED
        event = &c.events.data[c.position]
        item = &c.items.data[event.item]
        if event.type == CALL:
            enter(c, event.item)
            c.position += 1
            if item.observer and legal(item, state, &after):
                put(c.placed.data, item.slot)
                if not c.path.push(event.item):
                    return NO_MEMORY
            continue
        if event.type == RETIRE or is_set(c.placed.data, item.slot):
            leave(c, event.item)
            drop(c.placed.data, item.slot)
            c.position += 1
            continue
        # The return cannot be passed yet: something has to be placed.
        choices = 0
        only = NULL
        for w in range(c.words):
            rest = c.live.data[w] & ~c.observing.data[w] & ~c.placed.data[w]
            while rest:
                slot = <int32_t> (w * 64) + lowest_bit(rest)
                rest &= rest - 1
                if may_place(c, &c.items.data[c.slots.data[slot]], state, unmet, &after):
                    choices += 1
                    if only == NULL:
                        only = &c.items.data[c.slots.data[slot]]
                        next_state = after
        if choices and hopeless(c, item, state):
            choices = 0
        if choices == 1:
            put(c.placed.data, only.slot)
            if not c.path.push(<uint32_t> (only - c.items.data)):
                return NO_MEMORY
            state = next_state
            met = False
            if place_observers(c, state, &met) != 0:
                return NO_MEMORY
            unmet = only.unknown and not met
            continue
        if choices == 0:
            if stop_at_furthest and c.position == c.furthest:
                c.result.operation = item.source
                c.result.state = state
                return VIOLATION
            if c.position > c.furthest:
                c.furthest = c.position
        else:
            code = branch(c, item, state, unmet)
            if code != 0:
                return UNDECIDED if code == BOUND_HIT else NO_MEMORY
        if c.stack.size == 0:
            return VIOLATION
        c.stack.size -= 1
        frame = c.stack.data[c.stack.size]
        config = c.configs.data + <size_t> frame.config * (c.words + 2)
        rewind(c, <size_t> (config[0] >> 1))
        state = <int64_t> config[1]
        memcpy(c.placed.data, config + 2, c.words * 8)
        c.path.size = frame.path_size
        if not c.path.push(<uint32_t> frame.item):
            return NO_MEMORY
        met = False
        if place_observers(c, state, &met) != 0:
            return NO_MEMORY
        unmet = (config[0] & 1) and not met
    return LINEARIZABLE


cdef int judge_key(Checker* c, const Operation* ops, const uint32_t* order, size_t count) noexcept nogil:
    cdef int verdict
    cdef size_t i
    if load_key(c, ops, order, count) != 0:
        return NO_MEMORY
    c.spent = 0
    c.allowed = c.max_steps + <int64_t> c.events.size * 2
    c.furthest = 0
    verdict = walk(c, False)
    c.result.steps += c.spent
    if verdict != VIOLATION:
        return verdict
    # The same search once more, now stopping where it came furthest. It cannot cost more than the first did.
    c.spent = 0
    c.allowed = NEVER
    if walk(c, True) != VIOLATION:
        return NO_MEMORY
    c.prefix.clear()
    for i in range(c.path.size):
        if not c.prefix.push(c.items.data[c.path.data[i]].source):
            return NO_MEMORY
    return VIOLATION


cdef void checker_init(Checker* checker, int64_t max_steps, int64_t max_bytes) noexcept nogil:
    memset(<void*> checker, 0, sizeof(Checker))
    checker.max_steps = max_steps
    checker.max_bytes = max_bytes


cdef void checker_release(Checker* checker) noexcept nogil:
    checker.prefix.release()
    checker.undecided.release()
    checker.order.release()
    checker.scratch.release()
    checker.items.release()
    checker.events.release()
    checker.seen.release()
    checker.slots.release()
    checker.live.release()
    checker.observing.release()
    checker.placed.release()
    checker.configs.release()
    checker.table.release()
    checker.stack.release()
    checker.path.release()


cdef int checker_run(Checker* checker, const Operation* ops, size_t count) noexcept nogil:
    """Judges a whole history: VIOLATION of the first key (by number) that has one, else UNDECIDED when any is."""
    cdef size_t i, start
    cdef int verdict
    memset(<void*> &checker.result, 0, sizeof(Result))
    checker.result.operation = -1
    checker.prefix.clear()
    checker.undecided.clear()
    if count > 0x3fffffffu:
        return BAD_INPUT
    if not checker.order.reserve(count):
        return NO_MEMORY
    for i in range(count):
        if not acceptable(&ops[i]):
            checker.result.operation = <int64_t> i
            return BAD_INPUT
        checker.order.data[i] = <uint32_t> i
    checker.order.size = count
    sort_by_key_and_call(checker.order.data, count, ops)
    start = 0
    while start < count:
        i = start + 1
        while i < count and ops[checker.order.data[i]].key == ops[checker.order.data[start]].key:
            i += 1
        checker.result.key = ops[checker.order.data[start]].key
        checker.result.keys += 1
        if not integers_in_range(ops, checker.order.data + start, i - start):
            checker.result.operation = checker.order.data[start]
            return BAD_INPUT
        verdict = judge_key(checker, ops, checker.order.data + start, i - start)
        if verdict == VIOLATION or verdict == NO_MEMORY:
            return verdict
        if verdict == UNDECIDED and not checker.undecided.push(checker.result.key):
            return NO_MEMORY
        start = i
    return UNDECIDED if checker.undecided.size else LINEARIZABLE


# ---- the Python edge ---------------------------------------------------------------------------------------------------

ABSENT = word_absent()
NOT_INTEGER = word_not_integer()
UNNAMED = word_unnamed()
INTEGER_BOUND = INTEGER_LIMIT


def check(records, long long max_steps, long long max_bytes):
    """Judge a buffer of int64, eight per operation: key, kind, arg1, arg2, out, call, ret, status.

    Returns (verdict, keys, steps, key, operation, state, prefix, undecided). Raises ValueError for a malformed history.
    The GIL is released meanwhile; the caller must not change the buffer.
    """
    cdef Py_buffer view
    cdef Checker checker
    cdef const Operation* ops
    cdef size_t count, i
    cdef int verdict
    if max_steps < 0 or max_bytes < 0 or max_steps > (<long long> 1 << 61):
        raise ValueError("bounds must not be negative or absurdly large")
    checker_init(&checker, max_steps, max_bytes)
    PyObject_GetBuffer(records, &view, PyBUF_SIMPLE)
    try:
        if view.len % sizeof(Operation) or (view.len and <size_t> view.buf % sizeof(int64_t)):
            raise ValueError("not a whole number of aligned records")
        ops = <const Operation*> view.buf
        count = <size_t> view.len // sizeof(Operation)
        with nogil:
            verdict = checker_run(&checker, ops, count)
        if verdict == NO_MEMORY:
            raise MemoryError
        if verdict == BAD_INPUT:
            raise ValueError(f"malformed operation, or integers out of range on its key: record {checker.result.operation}")
        return (
            verdict,
            checker.result.keys,
            checker.result.steps,
            checker.result.key,
            checker.result.operation,
            checker.result.state,
            [checker.prefix.data[i] for i in range(checker.prefix.size)],
            [checker.undecided.data[i] for i in range(checker.undecided.size)],
        )
    finally:
        checker_release(&checker)
        PyBuffer_Release(&view)
