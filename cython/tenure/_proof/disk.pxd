"""A member's disk: what is written, what is durable, what a crash leaves."""

from libc.stdint cimport int64_t, uint64_t

from tenure._proof.world cimport DiskWrite, Member, World

cdef void disk_write(World* w, Member* m, DiskWrite* write) noexcept nogil         # takes what it owns
cdef void disk_schedule(World* w, Member* m) noexcept nogil        # starts a sync if there is something to sync
cdef size_t disk_synced(World* w, Member* m, uint64_t number) noexcept nogil       # how many of `writes` are durable now
cdef size_t disk_crash(World* w, Member* m, uint64_t luck) noexcept nogil          # how many of them survive
cdef void disk_wipe(Member* m) noexcept nogil      # everything is gone; the process must be
cdef void disk_drop_log(Member* m, uint64_t index) noexcept nogil  # entries up to and with it, which a snapshot holds
cdef void disk_forget_writes(Member* m) noexcept nogil     # the process is gone
cdef uint64_t disk_last_index(const Member* m) noexcept nogil
cdef bint disk_holds(const Member* m, uint64_t index, uint64_t term) noexcept nogil
cdef int64_t disk_delay(World* w, Member* m) noexcept nogil        # until a sync that begins now is done
