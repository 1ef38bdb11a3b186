"""`Exerciser`: a small mixed load inside a member's own process, timed call by call, and judged.

It works while its member leads and idles while it follows. Most calls are lease reads, some are quorum reads, some are
writes to a counter; every call that succeeds is timed. It also knows what each read must at least show: its own last
acknowledged increment. A read that shows less is counted in `stale`, and one such read is a failure of the product.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from tenure._core.clock import now_ns
from tenure.admin.latency import Latencies, timer_cost_ns
from tenure.engine.protocol import State
from tenure.errors import TenureError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenure._kv.machine import KeyValueMachine
    from tenure.coordinator import Coordinator

__all__ = ["COUNTER", "Exerciser"]

COUNTER = b"demo:counter"
CALL_S = 1.0
IDLE_S = 0.02
# One round: what is done in it, in this order.
ROUND = ("write",) + ("lease_read",) * 8 + ("linearizable_read",) + ("lease_read",) * 6


class Exerciser:
    """One thread of load."""

    def __init__(self, coordinator: Coordinator, machine: KeyValueMachine, rate: float) -> None:
        """Aim at `rate` calls a second."""
        self._coordinator = coordinator
        self._machine = machine
        self._pause_s = len(ROUND) / rate
        self._stop = threading.Event()
        self._latencies = Latencies("lease_read", "linearizable_read", "write")
        self._calls: dict[str, Callable[[], int]] = {
            "lease_read": self._lease_read,
            "linearizable_read": self._linearizable_read,
            "write": self._write,
        }
        self._timer_ns = timer_cost_ns()
        self._at_least = 0
        self._leadership = {"term": 0, "first_write_ns": 0, "first_lease_read_ns": 0}
        self._counts = {"hits": 0, "misses": 0, "quorum_reads": 0, "writes": 0, "unknown": 0, "failed": 0, "stale": 0}
        self._thread = threading.Thread(target=self._run, name="tenure-exercise", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; returns once the last call has ended."""
        self._stop.set()
        self._thread.join(2 * CALL_S)

    def report(self) -> dict[str, Any]:
        """What was counted and measured so far. Any thread."""
        return {
            "fences": dict(self._counts),
            "latencies": self._latencies.summary(),
            "leadership": dict(self._leadership),
        }

    def _run(self) -> None:
        engine = self._coordinator.engine
        while not self._stop.is_set():
            if engine.state is not State.LEADER:
                self._stop.wait(IDLE_S)
                continue
            begin = time.monotonic()
            if (term := engine.status().term) != self._leadership["term"]:
                self._leadership = {"term": term, "first_write_ns": 0, "first_lease_read_ns": 0}
            for kind in ROUND:
                if self._stop.is_set():
                    return
                self._measure(kind)
            self._stop.wait(max(0.0, self._pause_s - (time.monotonic() - begin)))

    def _measure(self, kind: str) -> None:
        call = self._calls[kind]
        try:
            duration_ns = call()
        except TenureError as error:
            self._counts["unknown" if error.code == "outcome_unknown" else "failed"] += 1
            self._stop.wait(IDLE_S)
            return
        self._latencies[kind].record(max(0, duration_ns - self._timer_ns))

    def _lease_read(self) -> int:
        hit = self._coordinator.try_lease_read() is not None
        self._counts["hits" if hit else "misses"] += 1
        if hit:
            self._first("first_lease_read_ns")
        begin = time.perf_counter_ns()
        self._coordinator.lease_read(timeout=CALL_S)
        duration_ns = time.perf_counter_ns() - begin
        self._look()
        return duration_ns

    def _linearizable_read(self) -> int:
        begin = time.perf_counter_ns()
        self._coordinator.linearizable_read(timeout=CALL_S)
        duration_ns = time.perf_counter_ns() - begin
        self._counts["quorum_reads"] += 1
        self._look()
        return duration_ns

    def _write(self) -> int:
        begin = time.perf_counter_ns()
        value = self._coordinator.kv.increment(COUNTER, timeout=CALL_S)
        duration_ns = time.perf_counter_ns() - begin
        self._counts["writes"] += 1
        self._first("first_write_ns")
        if value <= self._at_least:
            self._counts["stale"] += 1
        self._at_least = max(self._at_least, value)
        return duration_ns

    def _first(self, what: str) -> None:
        """Note the instant of the first of its kind since this member came to lead."""
        if not self._leadership[what]:
            self._leadership[what] = now_ns()

    def _look(self) -> None:
        """After a fence: the counter must show what was acknowledged before the fence."""
        shown = int(self._machine.get(COUNTER) or 0)
        if shown < self._at_least:
            self._counts["stale"] += 1
        self._at_least = max(self._at_least, shown)
