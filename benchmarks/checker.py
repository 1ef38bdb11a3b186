"""Operations per second of the linearizability checker: `python benchmarks/checker.py [--seconds N]`.

Histories come from a simulated register whose clients overlap little (low) or all the time (high). "compiled" is the
search alone, on a buffer of integers as compiled callers hand it over; "python" adds the interning of texts in
`tenure.sim.check`; "file" adds reading JSON lines. Medians of interleaved rounds.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tenure._proof import linearizability as compiled
from tenure.sim import Operation, Verdict, check, read_history, write_history
from tenure.sim.linearizability import MAX_BYTES, MAX_STEPS, Interner, encode


def history(operations: int, keys: int, clients: int, think_ns: int, unknown: float, seed: int = 1) -> list[Operation]:
    """Clients around real registers: the effect falls between call and return, an unknown one any time or never."""
    chance = random.Random(seed)
    free_at = [chance.randrange(1000 + think_ns) for _ in range(clients)]
    planned = []
    for number in range(operations):
        client = min(range(clients), key=free_at.__getitem__)
        call = free_at[client]
        effect = call + chance.randrange(1, 500)
        ret = effect + chance.randrange(1, 500)
        free_at[client] = ret + chance.randrange(think_ns) + 1
        lost = chance.random() < unknown
        if lost:
            effect += chance.choice([0, 5000, 1 << 60])
        op = chance.choice(["get", "get", "set", "incr", "cas"])
        key = f"{'c' if op == 'incr' else 'r'}{chance.randrange(keys)}"
        if op == "get" and chance.random() < 0.3:
            key = "c" + key[1:]
        planned.append((effect, number, client, op, key, call, ret, lost))
    held: dict[str, str] = {}
    done: list[Operation | None] = [None] * operations
    for effect, number, client, op, key, call, ret, lost in sorted(planned):
        happens = effect < 1 << 60
        value: object = None
        out: object = None
        if op == "get":
            out = held.get(key)
        elif op == "set":
            value = f"v{number}"
            if happens:
                held[key] = f"v{number}"
        elif op == "incr":
            out = int(held.get(key, "0")) + 1
            if happens:
                held[key] = str(out)
        else:
            value = (held.get(key) if chance.random() < 0.7 else "other", f"v{number}")
            out = value[0] == held.get(key)
            if out and happens:
                held[key] = f"v{number}"
        done[number] = Operation(client, op, key, value, out, call, ret, "unknown" if lost else "ok")  # type: ignore[arg-type]
    return [one for one in done if one is not None]


def rounds(jobs: Sequence[tuple[str, Callable[[], Verdict]]], seconds: float) -> dict[str, float]:
    spent: dict[str, list[float]] = {name: [] for name, _ in jobs}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not all(spent.values()):
        for name, job in jobs:
            start = time.perf_counter()
            verdict = job()
            spent[name].append(time.perf_counter() - start)
            if verdict is not Verdict.LINEARIZABLE:
                raise SystemExit(f"{name}: {verdict} on a history of a real register")
    return {name: statistics.median(times) for name, times in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="per history")
    seconds = parser.parse_args().seconds
    cases = [
        ("low: 50 000 ops, 300 keys, 5 clients", history(50_000, 300, 5, 3000, 0.0)),
        ("low, 2 % unknown", history(50_000, 300, 5, 3000, 0.02)),
        ("high: 50 000 ops, 10 keys, 20 clients", history(50_000, 10, 20, 1, 0.0)),
        ("high, 1 % unknown", history(50_000, 10, 20, 1, 0.01)),
        ("very high: 20 000 ops, 1 key, 10 clients", history(20_000, 1, 10, 1, 0.0)),
    ]
    print(f"{'history':<42} {'compiled':>12} {'python':>12} {'file':>12}   operations/s   steps/op")
    with tempfile.TemporaryDirectory() as folder:
        for name, operations in cases:
            path = Path(folder) / "history.jsonl"
            write_history(path, operations)
            records = encode(operations, Interner(), {})
            times = rounds(
                [
                    ("compiled", lambda: list(Verdict)[compiled.check(records, MAX_STEPS, MAX_BYTES)[0]]),  # noqa: B023
                    ("python", lambda: check(operations).verdict),  # noqa: B023
                    ("file", lambda: check(read_history(path)).verdict),  # noqa: B023
                ],
                seconds,
            )
            speed = [len(operations) / times[column] for column in ("compiled", "python", "file")]
            steps = check(operations).steps / len(operations)
            print(f"{name:<42} " + " ".join(f"{one:>12,.0f}" for one in speed) + f"   {'':<12} {steps:>10.1f}")


if __name__ == "__main__":
    main()
