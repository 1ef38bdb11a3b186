"""Changes of membership as faults: one number that says who is added, promoted, demoted and removed.

    value = up to three changes of one byte each, lowest first: (ChangeKind + 1) << 4 | id;  0 = leave the joint configuration
    direction = Transition
"""

from libc.stdint cimport int64_t

from tenure._proof.raft.types cimport Configuration
from tenure._proof.world cimport Fault, Member, World

cdef bint changes_decide(World* w, Fault* fault, const Configuration* c) noexcept nogil    # False: nothing to change now
cdef void changes_propose(World* w, Member* m, const Fault* fault) noexcept nogil
