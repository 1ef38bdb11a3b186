"""One target under libFuzzer, in the fuzzing build: `python -m tests.fuzz.worker TARGET [libFuzzer's arguments]`.

Started by `python -m tests.fuzz`, which prepares the environment that this needs. libFuzzer ends the process.
"""

from __future__ import annotations

import ctypes
import sys

from tests.fuzz.build import engine_library

from tenure._fuzz import targets


def main() -> int:
    name = sys.argv[1]
    target = targets.addresses(name)
    engine = ctypes.CDLL(str(engine_library()))
    engine.tenure_fuzz.argtypes = [
        ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64,
    ]  # fmt: skip
    arguments = [name, f"-max_len={target.longest_input}", *sys.argv[2:]]
    argv = (ctypes.c_char_p * (len(arguments) + 1))(*(argument.encode() for argument in arguments), None)
    return engine.tenure_fuzz(
        len(arguments), argv, target.run, target.reseal or None, target.bytes_per_byte, target.base_bytes
    )


if __name__ == "__main__":
    sys.exit(main())
