"""Waiters: how a caller learns the outcome of what it submitted.

The loop answers each waiter exactly once; the caller waits on its futex word without the GIL, or, inside asyncio, finds it in
its loop's inbox, which costs one descriptor write for all completions until the inbox is emptied. A caller that gives up drops
its reference: the operation goes on, its outcome is unknown to that caller, and whoever is last frees the memory.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libcpp.atomic cimport memory_order_acq_rel, memory_order_acquire, memory_order_release

from tenure._core.blob cimport Blob, blob_release
from tenure._core.posix cimport EINTR, ETIMEDOUT, futex_wait, futex_wake_all
from tenure._core.queue cimport PUSHED, queue_free, queue_pop_batch, queue_push
from tenure._core.wakeup cimport loop_wakeup_close, loop_wakeup_notify


cdef extern from "tenure/_host/waiter.hpp" namespace "tenure" nogil:
    void inbox_free(Inbox* inbox) noexcept


cdef void inbox_release(Inbox* inbox) noexcept nogil:
    cdef void* item
    # acq_rel: every use before any release happens before the memory is freed
    if inbox == NULL or inbox.references.fetch_sub(1, memory_order_acq_rel) != 1:
        return
    while queue_pop_batch(&inbox.queue, &item, 1):
        waiter_release(<Waiter*>item)
    queue_free(&inbox.queue)
    loop_wakeup_close(&inbox.wakeup)
    inbox_free(inbox)


cdef void waiter_release(Waiter* waiter) noexcept nogil:
    # acq_rel: every use before any release happens before the memory is freed
    if waiter == NULL or waiter.references.fetch_sub(1, memory_order_acq_rel) != 1:
        return
    blob_release(waiter.value)
    inbox_release(waiter.inbox)
    waiter_free(waiter)


cdef void waiter_answer(
        Waiter* waiter, int32_t code, uint64_t index, uint64_t term, uint64_t leader, Blob* value) noexcept nogil:
    cdef Inbox* inbox
    if waiter == NULL:
        blob_release(value)
        return
    waiter.code = code
    waiter.index = index
    waiter.term = term
    waiter.leader = leader
    waiter.value = value
    inbox = inbox_retain_of(waiter)
    # release: the fields above are visible to whoever sees `done`
    waiter.done.store(1, memory_order_release)
    if inbox == NULL:
        futex_wake_all(&waiter.done)
        waiter_release(waiter)
        return
    # This side's reference travels with the waiter; a full inbox means the asyncio loop holds that many unread completions.
    if queue_push(&inbox.queue, waiter) == PUSHED:
        loop_wakeup_notify(&inbox.wakeup)
    else:
        waiter_release(waiter)
    inbox_release(inbox)


cdef void caller_answer(
        const Caller* caller, int32_t code, uint64_t index, uint64_t term, uint64_t leader, Blob* value) noexcept nogil:
    if caller.completion != NULL:
        caller.completion.done(caller.completion, code, index, term, leader, value)
    else:
        waiter_answer(caller.waiter, code, index, term, leader, value)


cdef Inbox* inbox_retain_of(Waiter* waiter) noexcept nogil:
    from_waiter = waiter.inbox
    return inbox_retain(from_waiter) if from_waiter != NULL else NULL


cdef int waiter_wait(Waiter* waiter, int64_t deadline_ns) noexcept nogil:
    cdef int result
    # acquire: pairs with the release in waiter_answer
    while waiter.done.load(memory_order_acquire) == 0:
        result = futex_wait(&waiter.done, 0, deadline_ns)
        if result == ETIMEDOUT:
            return 1 if waiter.done.load(memory_order_acquire) else 0
        if result == EINTR:
            return -1
    return 1
