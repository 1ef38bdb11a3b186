"""The fuzz targets by name, for Python: one input at a time here, millions under libFuzzer (`tests/fuzz/worker.py`).

A target's bound says how much memory an input of n bytes may make the code under test hold at any moment: n times
`bytes_per_byte`, and `base_bytes`. It is checked where the allocator can be watched, which is in the fuzzing build.
"""

from libc.stdint cimport UINT32_MAX, uint64_t, uintptr_t

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from tenure._fuzz.core cimport fuzz_core
from tenure._fuzz.kit cimport Resealer, Target
from tenure._fuzz.log cimport fuzz_history, fuzz_log, reseal_log
from tenure._fuzz.peer cimport fuzz_frame, fuzz_handshake, fuzz_message, reseal_frames
from tenure._fuzz.requests cimport fuzz_redis, fuzz_resp
from tenure._fuzz.roster cimport fuzz_roster
from tenure._fuzz.snapshot cimport fuzz_snapshot, reseal_snapshot
from tenure._fuzz.state cimport fuzz_command, fuzz_dump

from collections import namedtuple

cdef enum:
    KIBIBYTE = 1024
    MEBIBYTE = 1 << 20

cdef struct Description:
    const char* name
    Target run
    Resealer reseal
    uint64_t bytes_per_byte
    uint64_t base_bytes
    uint64_t longest_input


cdef const char* fuzz_canary(const char* data, size_t size, uint64_t* accepted) noexcept nogil:
    """Breaks its promise for one input in 2^48: an engine that does not find it is not guided by coverage."""
    cdef const char* word = b"canary"
    cdef size_t i
    for i in range(6):
        if i >= size or data[i] != word[i]:
            return NULL
        accepted[0] += 1
    return b"the canary sings"


cdef enum:
    COUNT = 13

cdef Description[COUNT] descriptions


cdef void describe(
        int place, const char* name, Target run, Resealer reseal, uint64_t bytes_per_byte, uint64_t base_bytes,
        uint64_t longest_input) noexcept nogil:
    descriptions[place].name = name
    descriptions[place].run = run
    descriptions[place].reseal = reseal
    descriptions[place].bytes_per_byte = bytes_per_byte
    descriptions[place].base_bytes = base_bytes
    descriptions[place].longest_input = longest_input


describe(0, b"canary", fuzz_canary, NULL, 0, 0, 16)
describe(1, b"frame", fuzz_frame, reseal_frames, 4, 8 * KIBIBYTE, 4096)
describe(2, b"message", fuzz_message, NULL, 4, 4 * KIBIBYTE, 4096)
describe(3, b"handshake", fuzz_handshake, NULL, 1, KIBIBYTE, 128)
describe(4, b"resp", fuzz_resp, NULL, 64, 8 * KIBIBYTE, 4096)
describe(5, b"redis", fuzz_redis, NULL, 64, 128 * KIBIBYTE, 4096)
describe(6, b"log", fuzz_log, reseal_log, 16, 8 * MEBIBYTE, 16384)
describe(7, b"history", fuzz_history, NULL, 2048, 16 * MEBIBYTE, 512)
describe(8, b"snapshot", fuzz_snapshot, reseal_snapshot, 32, 4 * MEBIBYTE, 8192)
describe(9, b"command", fuzz_command, NULL, 128, 512 * KIBIBYTE, 4096)
describe(10, b"dump", fuzz_dump, NULL, 128, 512 * KIBIBYTE, 4096)
describe(11, b"core", fuzz_core, NULL, 2 * KIBIBYTE, 64 * KIBIBYTE, 1024)
describe(12, b"roster", fuzz_roster, NULL, 64, 16 * KIBIBYTE, 4096)

Addresses = namedtuple("Addresses", ["run", "reseal", "bytes_per_byte", "base_bytes", "longest_input"])


class InvariantViolated(AssertionError):
    """What the code under test promises for every input did not hold for this one."""


cdef const Description* find(str name) except NULL:
    if name not in NAMES:
        raise ValueError(f"no target is called {name}; there are {', '.join(NAMES)}")
    return &descriptions[NAMES.index(name)]


NAMES = tuple([(<bytes> descriptions[place].name).decode() for place in range(COUNT)])


def run(str name not None, bytes data not None) -> int:
    """Give one input to a target; how many things in it were accepted.

    Raises:
        InvariantViolated: with what did not hold.
    """
    cdef const Description* description = find(name)
    cdef uint64_t accepted = 0
    cdef const char* begin = PyBytes_AS_STRING(data)
    cdef size_t size = PyBytes_GET_SIZE(data)
    cdef const char* verdict
    with nogil:
        verdict = description.run(begin, size, &accepted)
    if verdict != NULL:
        raise InvariantViolated((<bytes> verdict).decode())
    return accepted


def reseal(str name not None, bytes data not None, uint64_t seed=1) -> bytes:
    """Mutated bytes with their checksums made right (most of them), as the engine does before it tries them."""
    cdef const Description* description = find(name)
    cdef bytearray copy = bytearray(data)
    cdef size_t size = len(copy), room = size + 64
    if description.reseal == NULL:
        return data
    copy.extend(bytes(64))
    size = description.reseal(<char*> copy, size, room, <unsigned int> (seed & UINT32_MAX))
    return bytes(copy[:size])


def addresses(str name not None) -> Addresses:
    """What the engine needs of a target: functions as addresses in this process, and its bound on memory."""
    cdef const Description* description = find(name)
    return Addresses(
        <uintptr_t> description.run, <uintptr_t> description.reseal, description.bytes_per_byte, description.base_bytes,
        description.longest_input)
