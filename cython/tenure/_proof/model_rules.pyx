"""The rules of the lease model: what may happen next in a state, and what must hold in every state.

Each `*_steps` function adds the successors that one rule allows; whatever may happen at some time may happen now, so delay is
the choice to let something else happen first. A rule names the guard it keeps (`without(w, GAP_...)` is true where the guard is
missing). The numbers H01 to H31 and "rule n" are those of the lease contract. What the model leaves out only ever forbids:
pre-vote, check-quorum's stickiness and election timers may stop a member from campaigning or voting, never make it.

Pure functions over plain structs: any thread, no allocation but the growth of `steps`, whose failure is the return value.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset

from tenure._proof.model_state cimport *


cdef extern from *:
    int popcount "__builtin_popcount"(unsigned int mask) noexcept nogil
    int lowest_bit "__builtin_ctz"(unsigned int mask) noexcept nogil


cdef inline bint without(const World* w, int gap) noexcept nogil:
    return (w.gaps >> gap) & 1


cdef inline bint holds_one(unsigned int mask, int i) noexcept nogil:
    return (mask >> i) & 1


cdef inline uint8_t larger(uint8_t a, uint8_t b) noexcept nogil:
    return a if a > b else b


cdef inline uint8_t smaller(uint8_t a, uint8_t b) noexcept nogil:
    return a if a < b else b


cdef State* successor(Steps* steps, const State* s, Kind kind, int a=0, int b=0, int c=0, int d=0) noexcept nogil:
    """One more successor, as yet equal to `s`. NULL without memory, which `model_successors` says in the end."""
    cdef Step* step
    if not steps.found.reserve(steps.found.size + 1):
        steps.no_memory = True
        return NULL
    step = &steps.found.data[steps.found.size]
    steps.found.size += 1
    step.action.kind = kind
    step.action.a = a
    step.action.b = b
    step.action.c = c
    step.action.d = d
    step.state = s[0]
    return &step.state


# ------------------------------------------------------------------------------------------- quorums and configurations

cdef inline int promise_length(const World* w) noexcept nogil:
    return w.steps * FAST


cdef inline int lease_length(const World* w) noexcept nogil:
    """What of a promise the leader may count on: its clock may be slow, the peer's fast (rule 5)."""
    return promise_length(w) if without(w, GAP_H10) else w.steps * SLOW


cdef LogEntry configuration(const State* s, const Member* m) noexcept nogil:
    """The applied one: the latest change among what this member has applied."""
    cdef int index = m.applied
    while index > 0:
        if is_change(m.log[index - 1]):
            return m.log[index - 1]
        index -= 1
    return s.base


cdef inline unsigned int everybody(LogEntry c) noexcept nogil:
    return voters_of(c) | outgoing_of(c) | learners_of(c)


cdef inline bint is_voter(LogEntry c, int i) noexcept nogil:
    return holds_one(voters_of(c) | outgoing_of(c), i)


cdef inline bint is_majority(unsigned int members, unsigned int voters) noexcept nogil:
    return 2 * popcount(members & voters) > popcount(voters)


cdef inline bint is_quorum(LogEntry c, unsigned int members) noexcept nogil:
    return is_majority(members, voters_of(c)) and (outgoing_of(c) == 0 or is_majority(members, outgoing_of(c)))


cdef bint has_change_after(const Member* m, int index, int end) noexcept nogil:
    while index < end:
        if is_change(m.log[index]):
            return True
        index += 1
    return False


cdef Member* leader_of(State* s, int i, int term) noexcept nogil:
    """Member `i` if it still leads `term`: only then is a message to it about that term of any use."""
    if s.members[i].role == LEADER and s.members[i].term == term:
        return &s.members[i]
    return NULL


# ------------------------------------------------------------------------------------------------------------ the lease

cdef void withdraw(Member* m) noexcept nogil:
    """The word's next generation, without an expiry (rule 8)."""
    m.word = 0
    m.late_current = False


cdef int reached(const World* w, const Member* m, int self, unsigned int voters) noexcept nogil:
    """How long from now a majority of these voters will keep its promises to this leader."""
    cdef unsigned int counted = voters
    cdef int left[MODEL_MEMBERS]
    cdef int best = 0, i, p, as_long
    if without(w, GAP_H15):     # a removed leader still counts its own acknowledgement
        counted |= 1u << self
    for i in range(w.members):
        left[i] = promise_length(w) if i == self else m.peers[i].until
    for i in range(w.members):
        as_long = 0
        for p in range(w.members):
            as_long += holds_one(counted, p) and left[p] >= left[i]
        if left[i] > best and 2 * as_long > popcount(voters):
            best = left[i]
    return best


cdef int derived_lease(const World* w, const State* s, int i) noexcept nogil:
    """Rule 5: what the word may be extended to now, 0 for not at all."""
    cdef const Member* m = &s.members[i]
    cdef LogEntry c
    cdef int until
    if m.role != LEADER or m.cleared:
        return 0
    if m.applied < m.own_index and not without(w, GAP_H13):
        return 0
    c = configuration(s, m)
    if without(w, GAP_H14) and voters_of(c) == 1u << i and outgoing_of(c) == 0:
        return ENDLESS
    until = reached(w, m, i, voters_of(c))
    if outgoing_of(c) != 0 and not without(w, GAP_H16_HALF):
        until = min(until, reached(w, m, i, outgoing_of(c)))
    return until


cdef void extend(const World* w, State* s, int i) noexcept nogil:
    """As soon as it may: a word extended later is valid less long."""
    cdef Member* m = &s.members[i]
    cdef int until = derived_lease(w, s, i)
    if until > m.word:
        m.word = until
        m.word_term = m.term


# -------------------------------------------------------------------------------------------------------- roles, promises

cdef void forget_office(const World* w, Member* m) noexcept nogil:
    """The end of a leadership or a candidacy."""
    if m.role == LEADER and not without(w, GAP_H19):
        withdraw(m)
    m.role = FOLLOWER
    m.grants = m.release_term = m.own_index = 0
    m.cleared = m.transferring = False
    memset(m.peers, 0, sizeof(m.peers))


cdef void become_follower(const World* w, Member* m, int term) noexcept nogil:
    forget_office(w, m)
    if term > m.term:
        m.term = term
        m.voted = False


cdef void become_candidate(const World* w, Member* m, int i, int release_term) noexcept nogil:
    forget_office(w, m)
    m.term += 1
    m.voted = True
    m.role = CANDIDATE
    m.grants = 1 << i
    m.release_term = release_term


cdef bint promise_forbids(const World* w, const Member* m, int candidate, int term, int release_term) noexcept nogil:
    """Rule 4: no vote and no campaign but for the holder, or under the release of the term before, by whoever led it."""
    if m.promise == 0 or candidate + 1 == m.promise_holder:
        return False
    if release_term != 0 and term == release_term + 1 and m.promise_term <= release_term:
        return False
    return not (release_term != 0 and without(w, GAP_H03_LATE))


cdef bint may_campaign(const World* w, const State* s, int i, int release_term) noexcept nogil:
    cdef const Member* m = &s.members[i]
    if m.term >= w.max_term or not is_voter(configuration(s, m), i):
        return False
    # Whose votes would count? A committed change that is not applied makes that unknown (H17).
    if has_change_after(m, m.applied, m.commit) and not without(w, GAP_H17_CAMPAIGN):
        return False
    return not promise_forbids(w, m, i, m.term + 1, release_term)


cdef bint log_is_up_to_date(const Member* candidate, const Member* voter) noexcept nogil:
    cdef int ours = 0 if voter.length == 0 else entry_term(voter.log[voter.length - 1])
    cdef int theirs = 0 if candidate.length == 0 else entry_term(candidate.log[candidate.length - 1])
    return theirs > ours or (theirs == ours and candidate.length >= voter.length)


# ------------------------------------------------------------------------------------------------------------ time

cdef uint8_t less(uint8_t left, int by) noexcept nogil:
    if left == ENDLESS:
        return left
    return left - by if left > by else 0


cdef bint waits_for_time(const State* s, int i) noexcept nogil:
    cdef const Member* m = &s.members[i]
    cdef int p, t
    if m.promise or m.word or m.late:
        return True
    for p in range(MODEL_MEMBERS):
        if m.peers[p].until or m.peers[p].reply:
            return True
    for t in range(MODEL_TERMS):
        if s.broadcasts[t].stamp and s.broadcasts[t].sender == i:
            return True
    return False


cdef void pass_time(const World* w, State* s, int i, int elapsed) noexcept nogil:
    cdef Member* m = &s.members[i]
    cdef int p, t
    m.promise = less(m.promise, elapsed)
    m.late = less(m.late, elapsed)
    if not without(w, GAP_H02):
        m.word = less(m.word, elapsed)
    for p in range(MODEL_MEMBERS):
        m.peers[p].until = less(m.peers[p].until, elapsed)
        if not without(w, GAP_H01):
            m.peers[p].reply = less(m.peers[p].reply, elapsed)
    for t in range(MODEL_TERMS):
        if s.broadcasts[t].sender == i and not without(w, GAP_H01):
            s.broadcasts[t].stamp = less(s.broadcasts[t].stamp, elapsed)


cdef void tick_steps(const World* w, const State* s, Steps* steps) noexcept nogil:
    """One step of true time. Every clock that matters moves by one of the extremes of its rate."""
    cdef int speeds = 3 if without(w, GAP_H06) else 2     # H06: a member that counts ticks misses one
    cdef int total = 1, choice, rest, speed, i, code
    cdef bint running[MODEL_MEMBERS]
    cdef bint any_running = False
    cdef State* n
    for i in range(w.members):
        running[i] = waits_for_time(s, i)
        any_running |= running[i]
        total *= speeds
    if not any_running:
        return
    for choice in range(total):
        rest, code = choice, 0
        for i in range(w.members):
            speed = rest % speeds
            rest //= speeds
            if speed != 0 and not running[i]:
                break       # the same as slow
            code |= speed << 2 * i
        else:
            n = successor(steps, s, TICK, code)
            if n != NULL:
                for i in range(w.members):
                    speed = code >> 2 * i & 3
                    pass_time(w, n, i, 0 if speed == 2 else FAST if speed == 1 else SLOW)


# ------------------------------------------------------------------------------------------------------------ elections

cdef void election_steps(const World* w, const State* s, int i, Steps* steps) noexcept nogil:
    cdef const Member* m = &s.members[i]
    cdef const Member* other
    cdef State* n
    cdef int v
    if m.role != LEADER and may_campaign(w, s, i, 0):
        n = successor(steps, s, CAMPAIGN, i)
        if n != NULL:
            become_candidate(w, &n.members[i], i, 0)
    if m.role == CANDIDATE:
        for v in range(w.members):
            if v != i and is_voter(configuration(s, m), v):
                vote_steps(w, s, v, i, steps)
        if is_quorum(configuration(s, m), m.grants) and m.length < w.max_log:
            n = successor(steps, s, WIN, i)
            if n != NULL:
                win(w, n, i)
    if m.role != FOLLOWER:      # a reply from the future
        for v in range(w.members):
            other = &s.members[v]
            if other.term > m.term:
                n = successor(steps, s, LEARN, i, v)
                if n != NULL:
                    become_follower(w, &n.members[i], other.term)


cdef void vote_steps(const World* w, const State* s, int voter, int candidate, Steps* steps) noexcept nogil:
    """The request is on its way for as long as the candidacy lasts; a grant, once made, may be counted at any later time."""
    cdef const Member* v = &s.members[voter]
    cdef const Member* c = &s.members[candidate]
    cdef State* n
    if v.term > c.term or (v.term == c.term and (v.voted or v.role != FOLLOWER)):
        return
    if promise_forbids(w, v, candidate, c.term, c.release_term):
        return      # and nothing else: neither term nor timer changes
    if log_is_up_to_date(c, v):
        n = successor(steps, s, VOTE, voter, candidate)
        if n != NULL:
            become_follower(w, &n.members[voter], c.term)
            n.members[voter].voted = True
            n.members[candidate].grants |= 1 << voter
    elif v.term < c.term:
        n = successor(steps, s, REFUSE, voter, candidate)
        if n != NULL:
            become_follower(w, &n.members[voter], c.term)


cdef void win(const World* w, State* n, int i) noexcept nogil:
    cdef Member* m = &n.members[i]
    forget_office(w, m)
    m.role = LEADER
    append(w, m, m.term)
    m.own_index = m.length


# ---------------------------------------------------------------------------------------------------------- replication

cdef void broadcast_steps(const World* w, const State* s, int i, Steps* steps) noexcept nogil:
    """The stamp is read before the message can be received (rule 1); no commit index above `applied` leaves (rule 6)."""
    cdef const Member* m = &s.members[i]
    cdef Broadcast* b
    cdef State* n
    cdef int left_out
    if m.role != LEADER:
        return
    for left_out in range(2 if without(w, GAP_H17_CARRIED) else 1):
        n = successor(steps, s, BROADCAST, i, left_out)
        if n == NULL:
            return
        b = &n.broadcasts[m.term - 1]
        b.sent = True
        b.sender = i
        b.recipients = everybody(configuration(s, m)) & ~(1u << i)
        b.length = m.length
        b.commit = 0 if left_out else m.commit if without(w, GAP_H12) else m.applied
        b.stamp = lease_length(w)
        memcpy(b.log, m.log, sizeof(m.log))


cdef void receive_steps(const World* w, const State* s, int i, int term, Steps* steps) noexcept nogil:
    """Member `i` gets some part of the append: a heartbeat, or its first entries. It may be unable to read its clock."""
    cdef const Broadcast* b = &s.broadcasts[term - 1]
    cdef State* n
    cdef int count, promises
    if not b.sent or not holds_one(b.recipients, i) or s.members[i].term > term:
        return
    for count in range(b.length + 1):
        for promises in range(0 if w.unread_clocks else 1, 2):
            n = successor(steps, s, RECEIVE, i, term, count, promises)
            if n != NULL:
                receive(w, n, b, i, term, count, promises)


cdef void receive(const World* w, State* n, const Broadcast* b, int i, int term, int count, bint promises) noexcept nogil:
    cdef Member* m = &n.members[i]
    cdef Member* leader = leader_of(n, b.sender, term)
    if m.term < term or m.role != FOLLOWER:
        become_follower(w, m, term)
    if count > 0:
        accept_entries(w, n, b, i, count)
        if leader != NULL:
            leader.peers[i].match = larger(leader.peers[i].match, count)
    # A promise is made before the reply can leave, and is no longer than the bound that is already durable (H04).
    if promises and (m.bound_durable or without(w, GAP_H04_BOUND)):
        if not (without(w, GAP_H18_LEARNER) and not is_voter(configuration(n, m), i)):
            # H08: without the guard the promise runs from a reading of the clock that is one step old.
            m.promise = larger(m.promise, promise_length(w) - (FAST if without(w, GAP_H08) else 0))
            m.promise_holder = b.sender + 1
            m.promise_term = term
    elif not without(w, GAP_H07):
        return      # the reply says that nothing was promised
    if leader != NULL:
        leader.peers[i].reply = larger(leader.peers[i].reply, lease_length(w) if without(w, GAP_H01) else b.stamp)


cdef void accept_entries(const World* w, State* n, const Broadcast* b, int i, int count) noexcept nogil:
    """Raft's rule: what agrees stays, also beyond `count`; from the first entry that does not, the leader's take its place."""
    cdef Member* m = &n.members[i]
    cdef int agreed = 0, j
    cdef bint written
    while agreed < count and agreed < m.length and m.log[agreed] == b.log[agreed]:
        agreed += 1
    written = agreed < count
    if written:
        n.diverged |= agreed < m.commit
        for j in range(agreed, MODEL_LOG):
            m.log[j] = b.log[j] if j < count else 0
        m.length = count
    m.commit = larger(m.commit, smaller(b.commit, count))
    if written:
        save_commit(w, m)


cdef inline void save_commit(const World* w, Member* m) noexcept nogil:
    """The commit index is not synced for its own sake, but it is on disk with whatever entries were written after it."""
    if w.change_kinds != 0 and not without(w, GAP_H17_DURABLE):     # nothing else depends on it
        m.durable_commit = m.commit


cdef void leader_steps(const World* w, const State* s, int i, Steps* steps) noexcept nogil:
    cdef const Member* m = &s.members[i]
    cdef unsigned int acknowledged
    cdef State* n
    cdef int p, index
    if m.role != LEADER:
        return
    for p in range(w.members):
        if m.peers[p].reply:
            n = successor(steps, s, REPLY, i, p)
            if n != NULL:
                n.members[i].peers[p].until = larger(m.peers[p].until, m.peers[p].reply)
                n.members[i].peers[p].reply = 0     # a second time it would say nothing new
    index = m.length
    while index > m.commit and entry_term(m.log[index - 1]) == m.term:
        acknowledged = 1 << i
        for p in range(w.members):
            if m.peers[p].match >= index:
                acknowledged |= 1 << p
        if is_quorum(configuration(s, m), acknowledged):
            n = successor(steps, s, COMMIT, i, index)
            if n != NULL:
                commit(n, i, index)
            break
        index -= 1
    if s.writes and m.length < w.max_log and not m.transferring:
        n = successor(steps, s, WRITE, i)
        if n != NULL:
            n.writes -= s.writes != UNLIMITED
            append(w, &n.members[i], m.term)


cdef void append(const World* w, Member* m, LogEntry entry) noexcept nogil:
    m.log[m.length] = entry
    m.length += 1
    save_commit(w, m)


cdef void commit(State* n, int i, int index) noexcept nogil:
    cdef Member* m = &n.members[i]
    cdef int j
    m.commit = index
    for j in range(index):
        if j < n.chosen_length:
            n.diverged |= n.chosen[j] != m.log[j]
        else:
            n.chosen[j] = m.log[j]
    n.chosen_length = larger(n.chosen_length, index)


cdef void apply_steps(const World* w, const State* s, int i, Steps* steps) noexcept nogil:
    cdef const Member* m = &s.members[i]
    cdef State* n
    if m.applied >= m.commit:
        return
    n = successor(steps, s, APPLY, i, m.applied + 1)
    if n == NULL:
        return
    n.members[i].applied += 1
    n.shown = larger(n.shown, n.members[i].applied)
    if is_change(m.log[m.applied]) and m.role == LEADER:
        switch_configuration(w, n, i)


cdef void switch_configuration(const World* w, State* n, int i) noexcept nogil:
    """A leader applies a change: who left is forgotten (H18), and the word is computed anew (H16)."""
    cdef Member* m = &n.members[i]
    cdef LogEntry c = configuration(n, m)
    cdef int p
    for p in range(w.members):
        if not holds_one(everybody(c), p) and not without(w, GAP_H18_FORGET):
            memset(&m.peers[p], 0, sizeof(Peer))
    if not is_voter(c, i):      # removed or demoted: no lease and no office (H15)
        if not without(w, GAP_H15):
            withdraw(m)
            become_follower(w, m, m.term)
    elif not without(w, GAP_H16_SWITCH) and not without(w, GAP_H14):
        withdraw(m)


# ------------------------------------------------------------------------------------------------ withdrawal and release

cdef void step_down_steps(const World* w, const State* s, int i, Steps* steps) noexcept nogil:
    """Check-quorum, a stalled disk, a graceful stop; the last two tell a voter that it may take over."""
    cdef const Member* m = &s.members[i]
    cdef State* n
    cdef int target
    if m.role != LEADER or not w.step_downs:
        return
    for target in range(-1, w.members):
        if target >= 0 and (target == i or not is_voter(configuration(s, m), target)):
            continue
        n = successor(steps, s, STEP_DOWN, i, target + 1)
        if n != NULL:
            become_follower(w, &n.members[i], m.term)
            if target >= 0:
                n.timeout_now[m.term - 1] |= 1 << target


cdef void transfer_steps(const World* w, const State* s, int i, Steps* steps) noexcept nogil:
    cdef const Member* m = &s.members[i]
    cdef State* n
    cdef int target
    if m.role != LEADER:
        return
    if m.transferring:
        abort_steps(w, s, i, steps)
        return
    for target in range(w.members):
        if s.transfers == 0 or target == i or not is_voter(configuration(s, m), target):
            continue
        if m.peers[target].match < m.length:
            continue
        n = successor(steps, s, TRANSFER, i, target)
        if n != NULL:
            n.transfers -= s.transfers != UNLIMITED
            n.timeout_now[m.term - 1] |= 1 << target
            n.members[i].transferring = True
            if not without(w, GAP_H03_WORD):    # cleared for the rest of the term, in this very step
                withdraw(&n.members[i])
                n.members[i].cleared = True


cdef void abort_steps(const World* w, const State* s, int i, Steps* steps) noexcept nogil:
    """The target did not take over in time. The term is over for its leases: the leader opens the next one itself (H03)."""
    cdef const Member* m = &s.members[i]
    cdef State* n
    if without(w, GAP_H03_RESUME) or without(w, GAP_H03_WORD):
        n = successor(steps, s, ABORT, i)
        if n != NULL:
            n.members[i].transferring = False
            n.members[i].cleared = False
    elif may_campaign(w, s, i, m.term):
        n = successor(steps, s, ABORT, i)
        if n != NULL:
            become_candidate(w, &n.members[i], i, m.term)
    elif m.term < w.max_term:
        n = successor(steps, s, ABORT, i)
        if n != NULL:
            become_follower(w, &n.members[i], m.term)


cdef void timeout_now_steps(const World* w, const State* s, int i, int term, Steps* steps) noexcept nogil:
    cdef const Member* m = &s.members[i]
    cdef State* n
    if not holds_one(s.timeout_now[term - 1], i) or m.role != FOLLOWER:
        return
    if m.term != term and not without(w, GAP_H03_LATE):     # of a lower term: nothing that it says is worth anything now
        return
    if may_campaign(w, s, i, term):
        n = successor(steps, s, TIMEOUT_NOW, i, term)
        if n != NULL:
            become_candidate(w, &n.members[i], i, term)


cdef void restart_steps(const World* w, const State* s, int i, Steps* steps) noexcept nogil:
    """A crash and a start. Who forgot its promise waits out the longest that it can have made (H04)."""
    cdef const Member* m = &s.members[i]
    cdef Member* r
    cdef State* n
    if s.restarts == 0:
        return
    n = successor(steps, s, RESTART, i)
    if n == NULL:
        return
    r = &n.members[i]
    n.restarts -= s.restarts != UNLIMITED
    forget_office(w, r)
    r.word = r.late = 0
    r.late_current = False
    r.commit = m.durable_commit
    r.applied = 0
    r.promise = promise_length(w) if m.bound_durable and not without(w, GAP_H04_WAIT) else 0
    r.promise_holder = 0
    r.promise_term = m.term
    if n.reader and n.reader_at == i:
        n.reader = n.reader_at = n.reader_floor = n.reader_index = 0


cdef void bound_steps(const World* w, const State* s, int i, Steps* steps) noexcept nogil:
    cdef State* n
    if not s.members[i].bound_durable:
        n = successor(steps, s, PERSIST, i)
        if n != NULL:
            n.members[i].bound_durable = True


cdef void forget_steps(const World* w, const State* s, int i, Steps* steps) noexcept nogil:
    """A member forgets its leader. Its promise stays, unless it is tied to that (H05)."""
    cdef State* n
    if without(w, GAP_H05) and s.members[i].promise and s.members[i].role == FOLLOWER:
        n = successor(steps, s, FORGET, i)
        if n != NULL:
            n.members[i].promise = 0


cdef void late_steps(const World* w, const State* s, int i, Steps* steps) noexcept nogil:
    """An extension computed now and made later, as a coordinator over another engine does (H20)."""
    cdef const Member* m = &s.members[i]
    cdef int until = derived_lease(w, s, i)
    cdef State* n
    if until and w.late:
        n = successor(steps, s, CAPTURE, i)
        if n != NULL:
            n.members[i].late = until
            n.members[i].late_term = m.term
            n.members[i].late_current = True
    if m.late:
        n = successor(steps, s, COMPLETE, i)
        if n != NULL:
            if (m.late_current or without(w, GAP_H20)) and m.late > m.word:
                n.members[i].word = m.late
                n.members[i].word_term = m.late_term
            n.members[i].late = 0


# ---------------------------------------------------------------------------------------------------------- membership

cdef void propose(const World* w, const State* s, int i, Kind kind, int change, int whom, unsigned int voters,
                  unsigned int outgoing, unsigned int learners, Steps* steps) noexcept nogil:
    cdef State* n
    if voters == 0:
        return
    n = successor(steps, s, kind, i, change, whom)
    if n != NULL:
        n.changes -= kind == PROPOSE
        append(w, &n.members[i], configuration_entry(s.members[i].term, voters, outgoing, learners))


cdef void membership_steps(const World* w, const State* s, int i, Steps* steps) noexcept nogil:
    """A change is proposed only when the former one is applied here (H17)."""
    cdef const Member* m = &s.members[i]
    cdef LogEntry c = s.base
    cdef unsigned int all_members = (1u << w.members) - 1
    cdef unsigned int voters, learners, one
    cdef int p, q
    if m.role != LEADER or m.transferring or m.length >= w.max_log:
        return
    if has_change_after(m, m.applied, m.length) and not without(w, GAP_H17_APPLIED):
        return
    for p in range(m.length):
        if is_change(m.log[p]):
            c = m.log[p]
    voters, learners = voters_of(c), learners_of(c)
    if outgoing_of(c):
        propose(w, s, i, LEAVE, 0, 0, voters, 0, learners, steps)
        return
    if s.changes == 0:
        return
    for p in range(w.members):
        one = 1u << p
        if w.change_kinds >> CHANGE_REMOVE & 1 and voters & one:
            propose(w, s, i, PROPOSE, CHANGE_REMOVE, p, voters & ~one, 0, learners, steps)
        if w.change_kinds >> CHANGE_DEMOTE & 1 and voters & one:
            propose(w, s, i, PROPOSE, CHANGE_DEMOTE, p, voters & ~one, 0, learners | one, steps)
        if w.change_kinds >> CHANGE_ADD & 1 and not everybody(c) & one:
            propose(w, s, i, PROPOSE, CHANGE_ADD, p, voters | one, 0, learners, steps)
        if w.change_kinds >> CHANGE_PROMOTE & 1 and learners & one:
            propose(w, s, i, PROPOSE, CHANGE_PROMOTE, p, voters | one, 0, learners & ~one, steps)
        if w.change_kinds >> CHANGE_JOINT_SHRINK & 1 and voters & one and voters != one:
            propose(w, s, i, PROPOSE, CHANGE_JOINT_SHRINK, p, one, voters, learners, steps)
        if w.change_kinds >> CHANGE_JOINT_SWAP & 1 and not everybody(c) & one:
            for q in range(w.members):
                if holds_one(voters, q):
                    propose(w, s, i, PROPOSE, CHANGE_JOINT_SWAP, p, (voters | one) & ~(1u << q), voters, learners, steps)
    if w.change_kinds >> CHANGE_JOINT_GROW & 1 and voters != all_members:
        propose(w, s, i, PROPOSE, CHANGE_JOINT_GROW, 0, all_members, voters, 0, steps)


cdef void wipe_steps(const World* w, const State* s, int i, Steps* steps) noexcept nogil:
    """A member starts in an empty directory under its old name. Only who provably never joined need not wait (H04)."""
    cdef State* n
    if s.restarts != 0 and without(w, GAP_H04_WIPED):
        n = successor(steps, s, WIPE, i)
        if n != NULL:
            memset(&n.members[i], 0, sizeof(Member))
            n.members[i].bound_durable = True
            n.restarts -= s.restarts != UNLIMITED


# ------------------------------------------------------------------------------------------------------------ the reader

cdef void reader_steps(const World* w, const State* s, Steps* steps) noexcept nogil:
    """One call of the fence at a time (rule 7): it begins, checks the word, loads the applied index, and returns it."""
    cdef bint check_first = without(w, GAP_H11)     # one check serves calls that began after it
    cdef bint load_first = without(w, GAP_H21)      # the index is loaded before the word
    cdef State* n
    cdef int i
    if not w.reader:
        return
    for i in range(w.members):
        if not check_first:
            n = successor(steps, s, CALL, i)
            if n != NULL:
                n.reader, n.reader_at, n.reader_floor, n.reader_index = 1, i, s.shown, 0
        elif s.members[i].word:
            n = successor(steps, s, CHECK, i)
            if n != NULL:
                n.reader, n.reader_at, n.reader_floor, n.reader_index = 1, i, 0, 0
    i = s.reader_at
    if s.reader == 1:
        if check_first:
            n = successor(steps, s, CALL, i)
            if n != NULL:
                n.reader, n.reader_floor = 2, s.shown
        elif load_first:
            n = successor(steps, s, LOAD, i)
            if n != NULL:
                n.reader, n.reader_index = 2, s.members[i].applied
        elif s.members[i].word:
            n = successor(steps, s, CHECK, i)
            if n != NULL:
                n.reader = 2
    elif s.reader == 2:
        if load_first:
            if s.members[i].word:
                n = successor(steps, s, CHECK, i)
                if n != NULL:
                    answer(n, s.reader_index)
        else:
            n = successor(steps, s, LOAD, i)
            if n != NULL:
                answer(n, s.members[i].applied)


cdef void answer(State* n, int index) noexcept nogil:
    n.stale |= index < n.reader_floor
    n.reader = n.reader_at = n.reader_floor = n.reader_index = 0


# --------------------------------------------------------------------------------------------------- the whole and the end

cdef void settle(const World* w, State* s) noexcept nogil:
    """Leaders extend their words, and what can no longer matter is forgotten, so that equal futures are equal states."""
    cdef Member* m
    cdef Broadcast* b
    cdef int i, t
    cdef unsigned int hearers
    for i in range(w.members):
        m = &s.members[i]
        if m.role != LEADER and not w.slow_apply:
            m.applied = m.commit
            s.shown = larger(s.shown, m.applied)
        extend(w, s, i)
        if m.word == 0:
            m.word_term = 0
        if m.promise == 0:
            m.promise_holder = m.promise_term = 0
        if m.late == 0:
            m.late_term = 0
            m.late_current = False
        for t in range(w.members):
            if m.peers[t].reply <= m.peers[t].until and not without(w, GAP_H01):
                m.peers[t].reply = 0
    for t in range(MODEL_TERMS):
        b = &s.broadcasts[t]
        hearers = 0
        for i in range(w.members):
            if s.members[i].term <= t + 1:
                hearers |= 1 << i
        if not without(w, GAP_H03_LATE):
            s.timeout_now[t] &= hearers
        if b.sent:
            if leader_of(s, b.sender, t + 1) == NULL:
                b.stamp = 0
            if b.recipients & hearers == 0:
                memset(b, 0, sizeof(Broadcast))


cdef bint model_successors(const World* w, const State* s, Steps* steps) noexcept nogil:
    """Every state that one step leads to, into `steps`. False without memory."""
    cdef size_t k
    cdef int i, t
    steps.found.clear()
    steps.no_memory = False
    for i in range(w.members):
        election_steps(w, s, i, steps)
        broadcast_steps(w, s, i, steps)
        for t in range(w.max_term):
            receive_steps(w, s, i, t + 1, steps)
            timeout_now_steps(w, s, i, t + 1, steps)
        leader_steps(w, s, i, steps)
        apply_steps(w, s, i, steps)
        step_down_steps(w, s, i, steps)
        transfer_steps(w, s, i, steps)
        restart_steps(w, s, i, steps)
        bound_steps(w, s, i, steps)
        forget_steps(w, s, i, steps)
        late_steps(w, s, i, steps)
        membership_steps(w, s, i, steps)
        wipe_steps(w, s, i, steps)
    reader_steps(w, s, steps)
    tick_steps(w, s, steps)
    for k in range(steps.found.size):
        settle(w, &steps.found.data[k].state)
    return not steps.no_memory


cdef void model_start(const World* w, State* s) noexcept nogil:
    """Member 0 leads term 1, whose first entry everybody has applied: it is index 0 here. Nobody has promised anything."""
    cdef unsigned int members = w.voters | w.learners
    cdef int i
    memset(s, 0, sizeof(State))
    s.base = configuration_entry(0, w.voters, 0, w.learners)
    s.writes, s.restarts, s.transfers, s.changes = w.writes, w.restarts, w.transfers, w.changes
    for i in range(w.members):
        s.members[i].term = holds_one(members, i)
        s.members[i].voted = holds_one(w.voters, i)
        s.members[i].bound_durable = not w.bound_unsaved
    s.members[0].role = LEADER
    settle(w, s)


cdef bint has_valid_lease(const World* w, const State* s) noexcept nogil:
    cdef int i
    for i in range(w.members):
        if s.members[i].word:
            return True
    return False


cdef Invariant model_violation(const World* w, const State* s) noexcept nogil:
    """The first of the invariants under judgement that does not hold here."""
    cdef const Member* m
    cdef int i, j, holders = 0
    cdef unsigned int broken = s.diverged << DIVERGENCE | s.stale << STALE_READ
    for i in range(w.members):
        m = &s.members[i]
        if m.word == 0:
            continue
        holders += 1
        for j in range(s.chosen_length):
            if entry_term(s.chosen[j]) > m.word_term:
                broken |= 1 << COMMIT_UNDER_LEASE
        if m.applied < s.shown:
            broken |= 1 << HOLDER_BEHIND
    if holders > 1:
        broken |= 1 << TWO_LEASES
    broken &= w.judged
    return <Invariant>(lowest_bit(broken) if broken else HOLDS)
