"""Python's view of changes of membership, for tests, tools and data-driven runs.

A change is a list of `Change` values; the text of one is a letter and a member, as in etcd/raft's files: `v4` makes 4 a voter,
`l4` a learner, `r4` removes it, `u4` changes nothing but may carry a context. `Changer` is the arithmetic of `changer.pyx` on a
configuration of its own, with the progress that a leader would keep. One thread at a time.
"""

cimport cython
from libc.stdint cimport int32_t, uint64_t
from libc.string cimport memset

from dataclasses import make_dataclass

from tenure import errors

from tenure._core.blob cimport Blob, blob_new, blob_release
from tenure._raft.changer cimport Changed, change_enter_joint, change_leave_joint, change_simple, configuration_is_sane
from tenure._raft.conf_change cimport conf_change_check, conf_change_decode, conf_change_encode
from tenure._raft.describe cimport code_name, describe_members, describe_progress
from tenure._raft.describe import CHANGE_LETTERS
from tenure._raft.progress cimport progress_follow, progress_release
from tenure._raft.state cimport RaftConfig
from tenure._raft.types cimport (
    ENTRY_CONF_CHANGE, ENTRY_CONF_CHANGE_V2, ERR_ALREADY_JOINT, ERR_CHANGE_PENDING, ERR_NOT_JOINT, ERR_SIMPLE_IN_JOINT,
    MAX_CHANGES, OK, TRANSITION_AUTO, TRANSITION_EXPLICIT, TRANSITION_IMPLICIT, ConfChange, Entry, MemberChange,
)

KINDS = {letter: kind for kind, letter in CHANGE_LETTERS.items()}
TRANSITIONS = {"auto": TRANSITION_AUTO, "implicit": TRANSITION_IMPLICIT, "explicit": TRANSITION_EXPLICIT}
TRANSITION_NAMES = {number: name for name, number in TRANSITIONS.items()}

Change = make_dataclass(
    "Change", [("letter", str), ("id", int), ("context", bytes, b"")], frozen=True, slots=True,
    namespace={"__module__": __name__})


cdef object change_error(int code):
    if code in (ERR_CHANGE_PENDING, ERR_ALREADY_JOINT, ERR_NOT_JOINT, ERR_SIMPLE_IN_JOINT):
        return errors.ProposalRefused(code_name(code))
    return errors.InvalidArgument(code_name(code))


cdef list fill_change(ConfChange* into, object changes, str transition, bint v1):
    cdef MemberChange* each
    cdef bytes context
    keep = []
    memset(into, 0, sizeof(ConfChange))
    if transition not in TRANSITIONS:
        raise errors.InvalidArgument(f"transition is one of {', '.join(TRANSITIONS)}: {transition!r}")
    into.transition = TRANSITIONS[transition]
    into.is_v1 = v1
    for change in changes:
        if into.count == MAX_CHANGES:
            raise errors.InvalidArgument(f"at most {MAX_CHANGES} changes at once")
        each = &into.changes[into.count]
        context = change.context
        keep.append(context)
        if change.letter not in KINDS:
            raise errors.InvalidArgument(f"a change is one of {', '.join(KINDS)}: {change.letter!r}")
        each.kind = KINDS[change.letter]
        each.id = change.id
        each.context = context
        each.context_bytes = len(context)
        into.count += 1
    return keep


def encode_change(changes, *, str transition="auto", bint v1=False) -> bytes:
    """The payload of the entry that carries these changes."""
    cdef ConfChange change
    cdef int code
    cdef Blob* blob
    keep = fill_change(&change, changes, transition, v1)
    code = conf_change_check(&change)
    if code == OK:
        blob = conf_change_encode(&change, &code)
    if code != OK:
        raise change_error(code)
    try:
        return b"" if blob == NULL else blob.bytes()[:blob.size]
    finally:
        blob_release(blob)
        del keep


def decode_change(bytes payload not None, *, bint v1=False) -> tuple:
    """(changes, transition) out of an entry's payload."""
    cdef ConfChange change
    cdef Entry entry
    cdef MemberChange* each
    cdef int code
    cdef int32_t i
    memset(&entry, 0, sizeof(entry))
    entry.kind = ENTRY_CONF_CHANGE if v1 else ENTRY_CONF_CHANGE_V2
    if payload:
        entry.data = blob_new(payload, <uint64_t>len(payload))
        if entry.data == NULL:
            raise MemoryError
    try:
        code = conf_change_decode(&entry, &change)
        if code != OK:
            raise change_error(code)
        changes = []
        for i in range(change.count):
            each = &change.changes[i]
            context = each.context[:each.context_bytes] if each.context_bytes else b""
            changes.append(Change(CHANGE_LETTERS[each.kind], each.id, context))
        return changes, TRANSITION_NAMES[change.transition]
    finally:
        blob_release(entry.data)


@cython.final
cdef class Changer:
    """A configuration, empty at first, and the progress that a leader would keep of its members."""

    def __dealloc__(self):
        progress_release(&self.progress)

    def simple(self, changes, uint64_t last_index=0) -> None:
        cdef ConfChange change
        cdef Changed to
        keep = fill_change(&change, changes, "auto", False)
        self.switch(change_simple(&self.configuration, change.changes, change.count, &to), &to, last_index)
        del keep

    def enter_joint(self, changes, uint64_t last_index=0, *, bint auto_leave=False) -> None:
        cdef ConfChange change
        cdef Changed to
        keep = fill_change(&change, changes, "auto", False)
        self.switch(
            change_enter_joint(&self.configuration, auto_leave, change.changes, change.count, &to), &to, last_index)
        del keep

    def leave_joint(self, uint64_t last_index=0) -> None:
        cdef Changed to
        self.switch(change_leave_joint(&self.configuration, &to), &to, last_index)

    cdef int switch(self, int code, const Changed* to, uint64_t last_index) except -1:
        if code != OK:
            raise change_error(code)
        self.configuration = to.configuration
        if not progress_follow(&self.progress, to, max(last_index, <uint64_t>1), 0):
            raise MemoryError
        return 0

    @property
    def sane(self) -> bool:
        """Whether the invariants of a configuration hold."""
        return bool(configuration_is_sane(&self.configuration))

    def describe(self) -> str:
        """The configuration, then a line for every member's progress."""
        cdef RaftConfig config
        cdef size_t i
        memset(&config, 0, sizeof(config))
        config.max_inflight_messages = 1
        text = describe_members(&self.configuration) + "\n"
        for i in range(self.progress.size):
            text += f"{self.progress.data[i].id}: {describe_progress(&self.progress.data[i], &config)}\n"
        return text

    def __str__(self) -> str:
        return describe_members(&self.configuration)
