"""Sockets for the compiled core: declarations only, private to tenure."""

from libc.stdint cimport uint16_t


cdef extern from "<errno.h>" nogil:
    const int ECONNABORTED
    const int EEXIST
    const int EINPROGRESS
    const int EINVAL
    const int ENOENT
    const int ENOMEM


cdef extern from "<sys/socket.h>" nogil:
    const int AF_INET
    const int AF_INET6
    const int SOCK_STREAM
    const int SOCK_NONBLOCK
    const int SOCK_CLOEXEC
    const int SOL_SOCKET
    const int SO_ERROR
    const int SO_KEEPALIVE
    const int SO_REUSEADDR
    const int MSG_NOSIGNAL
    const int SHUT_RDWR
    const int SHUT_WR
    const int SOMAXCONN
    ctypedef unsigned int socklen_t
    ctypedef unsigned short sa_family_t
    cdef struct sockaddr:
        sa_family_t sa_family
    cdef struct sockaddr_storage:
        sa_family_t ss_family
    int socket(int domain, int kind, int protocol) noexcept
    int bind(int fd, const sockaddr* address, socklen_t length) noexcept
    int listen(int fd, int backlog) noexcept
    int accept4(int fd, sockaddr* address, socklen_t* length, int flags) noexcept
    int connect(int fd, const sockaddr* address, socklen_t length) noexcept
    int getsockname(int fd, sockaddr* address, socklen_t* length) noexcept
    int getsockopt(int fd, int level, int name, void* value, socklen_t* length) noexcept
    int setsockopt(int fd, int level, int name, const void* value, socklen_t length) noexcept
    ssize_t recv(int fd, void* buffer, size_t count, int flags) noexcept
    ssize_t send(int fd, const void* buffer, size_t count, int flags) noexcept
    int shutdown(int fd, int how) noexcept


cdef extern from "<netinet/in.h>" nogil:
    const int IPPROTO_TCP
    cdef struct sockaddr_in:
        uint16_t sin_port                                 # network order, as in sockaddr_in6
    cdef struct sockaddr_in6:
        uint16_t sin6_port
    uint16_t htons(uint16_t value) noexcept
    uint16_t ntohs(uint16_t value) noexcept


cdef extern from "<netinet/tcp.h>" nogil:
    const int TCP_NODELAY
    const int TCP_KEEPIDLE
    const int TCP_KEEPINTVL
    const int TCP_KEEPCNT
    const int TCP_USER_TIMEOUT


cdef extern from "<netdb.h>" nogil:
    const int AI_NUMERICHOST
    cdef struct addrinfo:
        int ai_flags
        int ai_family
        int ai_socktype
        socklen_t ai_addrlen
        sockaddr* ai_addr
    int getaddrinfo(const char* node, const char* service, const addrinfo* hints, addrinfo** result) noexcept
    void freeaddrinfo(addrinfo* result) noexcept
