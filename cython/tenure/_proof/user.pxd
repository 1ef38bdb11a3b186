"""State machines that a user wrote in Python, in the place of the registers."""

from tenure._proof.world cimport Machines

# `bridge` is a `tenure.sim.machines.Bridge`, which must outlive the world.
cdef Machines user_machines(object bridge)
