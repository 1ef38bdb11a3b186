"""What goes wrong, and what operators do: each kind of fault comes again and again at random intervals."""

from tenure._proof.world cimport Event, World

cdef void faults_begin(World* w) noexcept nogil
cdef void fault_event(World* w, Event* event) noexcept nogil       # EV_FAULT
