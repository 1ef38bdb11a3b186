"""Addresses and options of TCP sockets: see `tcp.pxd`."""

from libc.stdint cimport uint16_t
from libc.string cimport memcpy, memset

from tenure._net.socket cimport (
    AF_INET, AF_INET6, AI_NUMERICHOST, IPPROTO_TCP, SO_KEEPALIVE, SOCK_STREAM, SOL_SOCKET, TCP_KEEPCNT, TCP_KEEPIDLE,
    TCP_KEEPINTVL, TCP_NODELAY, TCP_USER_TIMEOUT, addrinfo, freeaddrinfo, getaddrinfo, htons, setsockopt, sockaddr_in,
    sockaddr_in6, sockaddr_storage, socklen_t,
)

cdef enum:
    # Bytes that are not acknowledged for so long: dial anew. TCP itself would ask again after 0.2, 0.4, 0.8, ... s, so a cut
    # that lasted for seconds would go on for as long again, while a new connection is there a second after the healing.
    USER_TIMEOUT_MS = 2000
    KEEPALIVE_IDLE_S = 5                    # a connection on which nothing is under way is found dead after about 10 s
    KEEPALIVE_INTERVAL_S = 2
    KEEPALIVE_COUNT = 3


cdef bint tcp_resolve(const char* address, uint16_t port, sockaddr_storage* into, socklen_t* bytes) noexcept nogil:
    cdef addrinfo hints
    cdef addrinfo* found = NULL
    memset(&hints, 0, sizeof(hints))
    hints.ai_flags = AI_NUMERICHOST
    hints.ai_socktype = SOCK_STREAM
    if address == NULL or getaddrinfo(address, NULL, &hints, &found) != 0:
        return False
    memset(into, 0, sizeof(sockaddr_storage))
    memcpy(into, found.ai_addr, found.ai_addrlen)
    bytes[0] = found.ai_addrlen
    freeaddrinfo(found)
    if into.ss_family == AF_INET:
        (<sockaddr_in*>into).sin_port = htons(port)
    elif into.ss_family == AF_INET6:
        (<sockaddr_in6*>into).sin6_port = htons(port)
    else:
        return False
    return True


cdef void set_option(int fd, int level, int name, int value) noexcept nogil:
    # what cannot be set costs speed or patience, not correctness
    setsockopt(fd, level, name, &value, sizeof(value))


cdef void tcp_set_options(int fd) noexcept nogil:
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1)
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1)
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT)
