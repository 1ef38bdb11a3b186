"""A store whose keys come, change and go takes no more room after long than after a while.

Items of one size serve the next of that size, so the room is that of the most items there ever were of each size: it
settles, ever more slowly. In a process of its own, whose memory nothing else moves.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tenure._kv import codec
from tenure._kv.machine import KeyValueMachine

SRC = Path(__file__).resolve().parents[3] / "src"
ROUNDS = 5
ENTRIES = 150_000
KEYS = 10_000
ALLOWED_KIB = 64


def resident_kib() -> int:
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0])


def churn(machine: KeyValueMachine, source: random.Random, first: int) -> None:
    """Values of all sizes, counters, lives that end, deletions, and dumps beside them."""
    bytes_, draw = bytes(512), source.random
    dumping = False
    for number in range(first, first + ENTRIES):
        now_ms = 1_000_000_000_000 + number
        hint_ts, key, kind = codec.hint(now_ms), b"key:%d" % int(draw() * KEYS), draw()
        if kind < 0.6:
            machine.apply(codec.encode_set(key, bytes_[: 8 + int(draw() * 400)], hint_ts=hint_ts))
        elif kind < 0.7:
            machine.apply(codec.encode_incrby(b"counter:%d" % (number % 100), 1, hint_ts=hint_ts))
        elif kind < 0.9:
            machine.apply(codec.encode_set(key, b"short", hint_ts=hint_ts, until_ms=now_ms + int(draw() * 5_000)))
        else:
            machine.apply(codec.encode_del([key], hint_ts=hint_ts))
        if number % 2_000 == 0:
            _, ended = machine.find_expired(now_ms, limit=1_000, steps=100_000)
            if ended:
                machine.apply(codec.encode_collect(ended, hint_ts=hint_ts))
        if number % 10_000 == 0 and not dumping:
            machine.begin_dump()
            dumping = True
        elif dumping and number % 50 == 0 and not machine.read_dump():
            machine.close_dump()
            dumping = False


def main() -> None:
    machine, source = KeyValueMachine(seed=(1, 2)), random.Random(1)
    found = []
    for round_ in range(ROUNDS):
        churn(machine, source, round_ * ENTRIES)
        found.append(resident_kib())
    print(json.dumps({"resident_kib": found, "size": machine.size}))


@pytest.mark.figures
@pytest.mark.timeout(120)
def test_the_room_that_churn_takes_settles() -> None:
    """Fails when one item of a hundred, or what a dump keeps alive, is not used again."""
    done = subprocess.run(
        [sys.executable, __file__],
        env={**os.environ, "PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    grown = [later - earlier for earlier, later in pairwise(found["resident_kib"])]
    print(f"{found['size']} keys, {found['resident_kib'][0]} KiB, then {grown}")
    assert min(grown) < ALLOWED_KIB


if __name__ == "__main__":
    main()
