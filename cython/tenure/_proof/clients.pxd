"""The clients: each has one operation outstanding and believes what it was told last."""

from libc.stdint cimport int32_t

from tenure._proof.world cimport Event, World

# Every idle client calls again soon; in a replay: every recorded call is made.
cdef void clients_begin(World* w) noexcept nogil
cdef void client_event(World* w, Event* event) noexcept nogil      # EV_START, EV_CALL, EV_REPLY, EV_TIMEOUT
