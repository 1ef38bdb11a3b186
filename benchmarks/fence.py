"""What the fence of a lease read costs, against the clock call it contains.

Everything is timed side by side: each round runs every candidate once, in turn, and the medians of the rounds are
compared, so that a slow second of the machine hurts all alike. Run `python benchmarks/fence.py`; the goals are:
from Python at most 0.9 x `time.monotonic_ns()`, compiled at most 1.15 x one clock reading.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

from tenure._bench.timing import call_ns
from tenure._core import clock, stress
from tenure._core.applied_index import AppliedIndex
from tenure._core.fence import Fence
from tenure._core.lease import Lease

PYTHON_GOAL = 0.9
COMPILED_GOAL = 1.15


def held_fence() -> Fence:
    """A fence under a lease that outlasts any benchmark."""
    lease, applied = Lease(), AppliedIndex()
    lease.extend(clock.now_ns() + 10**13, lease.generation)
    applied.publish(1_000_000)
    return Fence(lease, applied)


def interleaved(candidates: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The median of each candidate's rounds."""
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, candidate in candidates.items():
            samples[name].append(candidate())
    return {name: median(values) for name, values in samples.items()}


def measure(rounds: int = 401, count: int = 2_000) -> dict[str, float]:
    """Median nanoseconds of each candidate, and the two ratios."""
    checked = held_fence()
    assert checked.try_lease_read() == 1_000_000
    read = checked.try_lease_read
    found = interleaved(
        {
            "fence from Python": lambda: call_ns(read, count),
            "time.monotonic_ns()": lambda: call_ns(time.monotonic_ns, count),
            "compiled fence": lambda: stress.fence_loop_ns(checked, count)[0] / count,
            "compiled clock reading": lambda: stress.clock_loop_ns(count)[0] / count,
        },
        rounds,
    )
    found["Python ratio"] = found["fence from Python"] / found["time.monotonic_ns()"]
    found["compiled ratio"] = found["compiled fence"] / found["compiled clock reading"]
    return found


def main() -> None:
    found = measure()
    for name, value in found.items():
        if name.endswith("ratio"):
            goal = PYTHON_GOAL if name.startswith("Python") else COMPILED_GOAL
            print(f"{name:24} {value:8.3f}   goal {goal}   {'met' if value <= goal else 'MISSED'}")
        else:
            print(f"{name:24} {value:8.1f} ns")


if __name__ == "__main__":
    main()
