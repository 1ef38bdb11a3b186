"""Doing what a `Fault` says."""

from tenure._proof.world cimport Event, Fault, World

cdef void harm_begin(World* w) noexcept nogil      # every machine boots
cdef void harm_do(World* w, const Fault* fault) noexcept nogil
cdef void harm_end(World* w, Event* event) noexcept nogil      # EV_RESUME, EV_RESTART, EV_THAW
