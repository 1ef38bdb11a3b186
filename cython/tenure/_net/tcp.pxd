"""Addresses and options of TCP sockets."""

from libc.stdint cimport uint16_t

from tenure._net.socket cimport sockaddr_storage, socklen_t

# A numeric address; no name is ever looked up. False when it is none.
cdef bint tcp_resolve(const char* address, uint16_t port, sockaddr_storage* into, socklen_t* bytes) noexcept nogil
# What a connection between hosts has: no delay, and an end when the other side is silent or gone.
cdef void tcp_set_options(int fd) noexcept nogil
