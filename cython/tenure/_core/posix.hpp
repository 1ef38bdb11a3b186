// What Cython cannot say about POSIX and Linux: futex calls, the processor's pause, and the start of a thread with every
// signal blocked. Nothing here keeps state.
#pragma once
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

namespace tenure {

constexpr int64_t WAIT_FOREVER = -1;

static_assert(sizeof(std::atomic<uint32_t>) == 4, "the kernel waits on the plain word inside the atomic");

// Sleeps while *word is `expected`, at most until the instant `deadline_ns` of CLOCK_MONOTONIC (negative: no limit).
// Returns 0 when woken, or EAGAIN (another value), ETIMEDOUT, EINTR. May wake for no reason: the caller looks again.
inline int futex_wait(std::atomic<uint32_t>* word, uint32_t expected, int64_t deadline_ns) noexcept {
    timespec until;
    if (deadline_ns >= 0) {
        until.tv_sec = static_cast<time_t>(deadline_ns / 1000000000);
        until.tv_nsec = static_cast<long>(deadline_ns % 1000000000);
    }
    // WAIT_BITSET takes an absolute deadline, so an interrupted wait is resumed without drifting
    const long result = syscall(SYS_futex, reinterpret_cast<uint32_t*>(word), FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG,
                                expected, deadline_ns >= 0 ? &until : nullptr, nullptr, FUTEX_BITSET_MATCH_ANY);
    return result == 0 ? 0 : errno;
}

inline void futex_wake(std::atomic<uint32_t>* word, int count) noexcept {
    syscall(SYS_futex, reinterpret_cast<uint32_t*>(word), FUTEX_WAKE | FUTEX_PRIVATE_FLAG, count, nullptr, nullptr, 0);
}

inline void futex_wake_all(std::atomic<uint32_t>* word) noexcept { futex_wake(word, INT_MAX); }

inline void cpu_pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield" ::: "memory");
#endif
}

// Starts a joinable thread. Every signal is blocked before it exists, so that signals reach the threads of Python.
// `stack_bytes` 0 keeps the default; a name is cut to 15 characters. Returns 0 or an errno.
inline int thread_start(pthread_t* thread, const char* name, size_t stack_bytes, void* (*body)(void*),
                        void* argument) noexcept {
    pthread_attr_t attributes;
    int result = pthread_attr_init(&attributes);
    if (result != 0) return result;
    if (stack_bytes != 0) result = pthread_attr_setstacksize(&attributes, stack_bytes);
    if (result == 0) {
        sigset_t all, before;
        sigfillset(&all);
        result = pthread_sigmask(SIG_SETMASK, &all, &before);
        if (result == 0) {
            result = pthread_create(thread, &attributes, body, argument);
            pthread_sigmask(SIG_SETMASK, &before, nullptr);
        }
    }
    pthread_attr_destroy(&attributes);
    if (result == 0 && name != nullptr) {
        char cut[16];
        size_t n = 0;
        for (; n < sizeof(cut) - 1 && name[n] != 0; n++) cut[n] = name[n];
        cut[n] = 0;
        pthread_setname_np(*thread, cut);  // a name is a courtesy: failure is of no consequence
    }
    return result;
}

}  // namespace tenure
