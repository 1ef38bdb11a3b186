"""Threads that serve Redis clients beside the loop, and what goes to and fro between the two. See the `.pyx`."""

from tenure._host.redis_types cimport Client, ClientSide, Front

# Before the loop starts, for a front end whose threads are not made yet: 0 or an errno. `threads_close` cleans up after it too.
cdef int threads_open(Front* f) noexcept nogil
cdef int threads_start(Front* f) noexcept nogil
# After the loop has ended, or when it was never started: ends and joins what was started.
cdef void threads_close(Front* f) noexcept nogil
cdef void threads_free(Front* f) noexcept nogil

# The loop. Where a client that was just accepted belongs: the thread with the fewest; null: no thread can take one now.
cdef ClientSide* threads_least_loaded(Front* f) noexcept nogil
cdef void threads_admit(ClientSide* s, Client* client) noexcept nogil
# Begins what the threads have handed over.
cdef void threads_take(Front* f) noexcept nogil
# Something was handed over. After the wakeup was armed, too.
cdef bint threads_have_mail(const Front* f) noexcept nogil
# Hands back what is settled. True: some of it must wait for room.
cdef bint threads_answer(Front* f) noexcept nogil
# At the loop's end, `ops_end` done: answers all that still comes, until every thread has said that nothing more will.
cdef void threads_end(Front* f) noexcept nogil
