"""A client side: the clients of one thread, from accepted sockets to their replies. Only that thread."""

from libc.stdint cimport uint32_t, uint64_t

from tenure._host.redis_types cimport Client, ClientSide, Front
from tenure._net.socket cimport sockaddr, socklen_t

cdef ClientSide* side_new(Front* f, uint32_t number, int epoll_fd) noexcept nogil      # null without memory
cdef void side_close(ClientSide* s) noexcept nogil          # its thread has ended: closes every socket
cdef void side_free(ClientSide* s) noexcept nogil           # nothing of it is under way

# Any thread. Owns `fd` unless it returns null, for want of memory. Whoever makes one counts it in its side's gauge.
cdef Client* client_new(uint64_t id, int fd, const sockaddr* address, socklen_t bytes) noexcept nogil
cdef void client_drop(ClientSide* s, Client* c) noexcept nogil      # any thread: one that no side has taken up
cdef void side_admit(ClientSide* s, Client* c) noexcept nogil

# The order of a pass. epoll reported `events` for a client's token.
cdef void side_on_event(ClientSide* s, uint64_t token, uint32_t events) noexcept nogil
# Parses and executes for about a millisecond; `pass_ns` and `now_ms` are those of the pass.
cdef void side_serve(ClientSide* s) noexcept nogil
# Replies leave. True: something is left to do at once.
cdef bint side_flush(ClientSide* s) noexcept nogil
cdef void side_tick(ClientSide* s) noexcept nogil           # now and then while some linger

cdef uint64_t token_of(uint32_t generation, uint32_t slot) noexcept nogil
cdef bint watch(int epoll_fd, int operation, int fd, uint64_t token, uint32_t events) noexcept nogil
cdef void set_option(int fd, int level, int name, int value) noexcept nogil
