"""What reaches a member's process from its clients and its coordinators."""

from libc.stdint cimport int64_t

from tenure._proof.world cimport Event, Member, World

cdef void requests_serve(World* w, Member* m, Event* event) noexcept nogil     # `World.serve`
cdef void requests_capture_extension(World* w, Member* m, int64_t wait_ns) noexcept nogil
