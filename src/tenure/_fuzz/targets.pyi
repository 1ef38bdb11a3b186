from typing import NamedTuple

class Addresses(NamedTuple):
    run: int
    reseal: int
    bytes_per_byte: int
    base_bytes: int
    longest_input: int

class InvariantViolated(AssertionError): ...

NAMES: tuple[str, ...]

def run(name: str, data: bytes) -> int: ...
def reseal(name: str, data: bytes, seed: int = 1) -> bytes: ...
def addresses(name: str) -> Addresses: ...
