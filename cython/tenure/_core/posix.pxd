"""Threads, futexes, eventfd and epoll for the compiled core: declarations only, private to tenure."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libcpp.atomic cimport atomic


cdef extern from "<errno.h>" nogil:
    int errno
    const int EAGAIN
    const int EINTR
    const int ETIMEDOUT


cdef extern from "<unistd.h>" nogil:
    ssize_t read(int fd, void* buffer, size_t count) noexcept
    ssize_t write(int fd, const void* buffer, size_t count) noexcept
    int close(int fd) noexcept
    int getpid() noexcept


cdef extern from "<pthread.h>" nogil:
    ctypedef unsigned long pthread_t                      # opaque
    int pthread_join(pthread_t thread, void** result) noexcept
    pthread_t pthread_self() noexcept


cdef extern from "<sys/eventfd.h>" nogil:
    const int EFD_CLOEXEC
    const int EFD_NONBLOCK
    int eventfd(unsigned int initial, int flags) noexcept


cdef extern from "<sys/epoll.h>" nogil:
    const int EPOLL_CLOEXEC
    const int EPOLL_CTL_ADD
    const int EPOLL_CTL_MOD
    const int EPOLL_CTL_DEL
    const uint32_t EPOLLIN
    const uint32_t EPOLLOUT
    const uint32_t EPOLLERR
    const uint32_t EPOLLHUP
    const uint32_t EPOLLRDHUP
    const uint32_t EPOLLET
    ctypedef union epoll_data_t:
        void* ptr
        int fd
        uint32_t u32
        uint64_t u64
    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags) noexcept
    int epoll_ctl(int epoll, int operation, int fd, epoll_event* event) noexcept
    int epoll_wait(int epoll, epoll_event* events, int max_events, int timeout_ms) noexcept


cdef extern from "tenure/_core/posix.hpp" namespace "tenure" nogil:
    const int64_t WAIT_FOREVER                            # -1

    # 0 woken, or EAGAIN, ETIMEDOUT, EINTR; the deadline is an instant of CLOCK_MONOTONIC, negative for none
    int futex_wait(atomic[uint32_t]* word, uint32_t expected, int64_t deadline_ns) noexcept
    void futex_wake(atomic[uint32_t]* word, int count) noexcept
    void futex_wake_all(atomic[uint32_t]* word) noexcept
    void cpu_pause() noexcept

    # a joinable thread with every signal blocked; 0 or an errno; stack_bytes 0 keeps the default
    int thread_start(pthread_t* thread, const char* name, size_t stack_bytes, void* (*body)(void*) noexcept nogil,
                     void* argument) noexcept
