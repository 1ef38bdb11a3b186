"""How fast the native state machine applies commands decoded from log bytes, and how fast keys are read.

Each round fills a new store with a million distinct random keys and 64-byte values, sets them once more, and looks keys
up at random from compiled code and from Python. The medians of the rounds count. Run `python benchmarks/apply.py`; the
goal is 2 million entries a second, the floor 1 million.
"""

from __future__ import annotations

import random
import time
from statistics import median

from tenure._kv import stress
from tenure._kv.machine import KeyValueMachine

GOAL, FLOOR = 2_000_000, 1_000_000
KEYS, VALUE_BYTES = 1_000_000, 64


def python_get_ns(machine: KeyValueMachine, keys: list[bytes]) -> float:
    get = machine.get
    begin = time.perf_counter_ns()
    for key in keys:
        get(key)
    return (time.perf_counter_ns() - begin) / len(keys)


def measure(rounds: int = 5, keys: int = KEYS) -> dict[str, float]:
    log, few = stress.CommandLog(), stress.CommandLog()
    log.add_sets(keys, 1, VALUE_BYTES)
    few.add_sets(keys, 1, VALUE_BYTES, 1000)
    some = log.keys(100_000)
    random.Random(1).shuffle(some)
    samples: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        samples.setdefault(name, []).append(value)

    for _ in range(rounds):
        machine = KeyValueMachine()
        note("new keys, entries/s", 1e9 * keys / stress.apply_loop_ns(machine, log))
        assert machine.size == keys
        ahead = KeyValueMachine()
        note("new keys, fetched ahead, entries/s", 1e9 * keys / stress.apply_ahead_ns(ahead, log))
        assert ahead.state_hash == machine.state_hash
        note("keys set again, entries/s", 1e9 * keys / stress.apply_loop_ns(machine, log))
        begin, found = stress.get_loop(machine, keys, 1, keys)
        assert found == keys
        note("keys set again, fetched ahead, entries/s", 1e9 * keys / stress.apply_ahead_ns(ahead, log))
        assert ahead.state_hash == machine.state_hash
        del ahead
        note("get of a random key, compiled, ns", begin / keys)
        note("get of a random key, Python, ns", python_get_ns(machine, some))
        note("get of one key, Python, ns", python_get_ns(machine, some[:1] * len(some)))
        note("1000 hot keys, entries/s", 1e9 * keys / stress.apply_loop_ns(KeyValueMachine(), few))
    return {name: median(values) for name, values in samples.items()}


def main() -> None:
    for name, value in measure().items():
        verdict = ""
        if name.startswith("new keys"):
            verdict = f"   goal {GOAL:,}: {'met' if value >= GOAL else 'missed'}; floor {FLOOR:,}: " + (
                "met" if value >= FLOOR else "MISSED"
            )
        print(f"{name:42} {value:12,.0f}{verdict}")


if __name__ == "__main__":
    main()
