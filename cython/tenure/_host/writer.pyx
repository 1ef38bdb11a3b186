"""The log writer: takes every job that is queued, writes them as one batch, syncs once, and hands them back in order.

While one fdatasync runs, the jobs of the meantime gather; the next batch takes them all. That is the whole of group commit:
no timer, no tuning, and an idle disk never waits. A failed write or sync is never repeated: this job and all later ones come
back with the code, and the loop fails their members.
"""

from libc.stdlib cimport free
from libcpp.atomic cimport memory_order_acquire, memory_order_relaxed, memory_order_release

from tenure._core.clock cimport clock_monotonic_ns
from tenure._core.posix cimport pthread_join, thread_start
from tenure._core.queue cimport PUSHED, queue_free, queue_open, queue_pop_batch, queue_push
from tenure._core.wakeup cimport LoopWakeup, loop_wakeup_notify, wakeup_notify, wakeup_wait
from tenure._raft.types cimport entries_release
from tenure._storage.error cimport STORAGE_OK
from tenure._storage.wal cimport Wal, wal_add, wal_add_snapshot, wal_flush

cdef enum:
    MAX_JOBS = 4096     # under way at once, of all groups; so neither queue is ever full
    SPARED_JOBS = 1024  # of them, for what is no Ready


cdef void write_job_free(WriteJob* job) noexcept nogil:
    if job != NULL:
        entries_release(&job.entries)
        free(job.snapshot)
        free(job)


cdef int write_batch(Wal* wal, WriteJob** jobs, size_t count) noexcept nogil:
    cdef int code
    cdef size_t i
    for i in range(count):
        if jobs[i].snapshot != NULL:
            code = wal_add_snapshot(wal, jobs[i].group, jobs[i].snapshot)
            if code != STORAGE_OK:
                return code
        code = wal_add(
            wal, jobs[i].group, &jobs[i].hard if jobs[i].has_hard else NULL, jobs[i].entries.data, jobs[i].entries.size)
        if code != STORAGE_OK:
            return code
    return wal_flush(wal)


cdef void* writer_body(void* argument) noexcept nogil:
    cdef Writer* writer = <Writer*>argument
    cdef WriteJob* jobs[MAX_JOBS]
    cdef size_t count, i
    cdef int code
    while True:
        count = queue_pop_batch(&writer.todo, <void**>jobs, MAX_JOBS)
        if count == 0:
            # acquire: pairs with the release in writer_stop; what was pushed before it is seen by one more look
            if writer.stopping.load(memory_order_acquire) != 0:
                count = queue_pop_batch(&writer.todo, <void**>jobs, MAX_JOBS)
                if count == 0:
                    return NULL
            else:
                wakeup_wait(&writer.wakeup, -1)
                continue
        # relaxed: a gauge that the loop reads to notice a disk that stalls
        writer.busy_since_ns.store(clock_monotonic_ns(), memory_order_relaxed)
        code = write_batch(<Wal*>writer.wal, jobs, count)
        writer.busy_since_ns.store(0, memory_order_relaxed)
        writer.batches.fetch_add(1, memory_order_relaxed)  # relaxed: statistics
        writer.jobs.fetch_add(count, memory_order_relaxed)  # relaxed: statistics
        for i in range(count):
            jobs[i].code = code
            queue_push(&writer.done, jobs[i])  # holds all that are under way: never full
        loop_wakeup_notify(writer.loop)


cdef Writer* writer_start(Wal* wal, LoopWakeup* loop) noexcept nogil:
    cdef Writer* writer = writer_new()
    if writer == NULL:
        return NULL
    writer.wal = wal
    writer.loop = loop
    if not queue_open(&writer.todo, MAX_JOBS) or not queue_open(&writer.done, MAX_JOBS) or thread_start(
            &writer.thread, b"tenure-log", 0, writer_body, writer) != 0:
        queue_free(&writer.todo)
        queue_free(&writer.done)
        writer_free(writer)
        return NULL
    return writer


cdef bint writer_push(Writer* writer, WriteJob* job) noexcept nogil:
    if writer.in_flight >= MAX_JOBS or queue_push(&writer.todo, job) != PUSHED:
        return False
    writer.in_flight += 1
    wakeup_notify(&writer.wakeup)
    return True


cdef size_t writer_take_done(Writer* writer, WriteJob** jobs, size_t limit) noexcept nogil:
    cdef size_t count = queue_pop_batch(&writer.done, <void**>jobs, limit)
    writer.in_flight -= count
    return count


cdef bint writer_has_room(const Writer* writer) noexcept nogil:
    return writer.in_flight < MAX_JOBS - SPARED_JOBS


cdef void writer_stop(Writer* writer) noexcept nogil:
    cdef void* job
    if writer == NULL:
        return
    # release: what was pushed before is visible to the thread that sees it
    writer.stopping.store(1, memory_order_release)
    wakeup_notify(&writer.wakeup)
    pthread_join(writer.thread, NULL)
    while queue_pop_batch(&writer.done, &job, 1):
        write_job_free(<WriteJob*>job)
    queue_free(&writer.todo)
    queue_free(&writer.done)
    writer_free(writer)
