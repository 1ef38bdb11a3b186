from typing_extensions import Buffer

ABSENT: int
NOT_INTEGER: int
UNNAMED: int
INTEGER_BOUND: int

def check(
    records: Buffer, max_steps: int, max_bytes: int
) -> tuple[int, int, int, int, int, int, list[int], list[int]]: ...
