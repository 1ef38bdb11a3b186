"""A member's process: it plays the host of one Raft member, with its disk, its state machine and its pauses."""

from libc.stdint cimport int64_t, uint64_t

from tenure._proof.world cimport Event, Member, World

cdef bint host_start(World* w, Member* m) noexcept nogil            # False when the core refuses its own durable state
cdef void host_stop(World* w, Member* m) noexcept nogil             # frees the process's memory, nothing else
cdef void host_crash(World* w, Member* m, uint64_t luck) noexcept nogil    # `luck` says what of the unsynced survives
cdef void host_pause(World* w, Member* m) noexcept nogil
cdef void host_resume(World* w, Member* m) noexcept nogil
cdef void host_restart_ticks(World* w, Member* m) noexcept nogil
cdef void host_event(World* w, Member* m, Event* event) noexcept nogil     # what the process itself is the target of
# The reading that goes with an input handled now, and what follows every input.
cdef int64_t host_reading(World* w, Member* m) noexcept nogil
cdef void host_after_input(World* w, Member* m) noexcept nogil
cdef void host_transfer(World* w, Member* m, uint64_t target) noexcept nogil
cdef void host_step_down(World* w, Member* m) noexcept nogil
cdef void host_forget_leader(World* w, Member* m) noexcept nogil
