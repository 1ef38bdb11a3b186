"""`MemberReport`: everything that one member says about itself, as JSON and as metrics in Prometheus' text format.

Building a report asks nobody and waits for nothing. The names in the JSON and of the metrics are part of the interface:
they may be added to, never changed.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from tenure import __version__
from tenure._core.clock import now_ns
from tenure.engine.protocol import State
from tenure.errors import TenureError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tenure.coordinator import Coordinator

__all__ = ["MemberReport", "metrics_text"]

COUNTERS = frozenset(
    {
        "missed_ticks",
        "passes",
        "late_passes",
        "proposals",
        "applied_entries",
        "reads",
        "elections_won",
        "hashes_compared",
    }
)


class MemberReport:
    """Says what a member is and how it does. Any thread."""

    def __init__(
        self,
        coordinator: Coordinator,
        *,
        facts: Mapping[str, Any],
        extras: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        """Report on the engine of `coordinator`.

        Args:
            coordinator: the member.
            facts: what never changes (addresses, directory), merged into every report.
            extras: what does change and the engine does not know, merged as well.
        """
        self._coordinator = coordinator
        self._facts = dict(facts)
        self._extras = extras
        self._started = time.monotonic()

    def status(self) -> dict[str, Any]:
        """The whole report; of a member that is closed, what can still be said."""
        engine = self._coordinator.engine
        report: dict[str, Any] = {
            "version": __version__,
            "pid": os.getpid(),
            "uptime_s": round(time.monotonic() - self._started, 3),
            "member_id": engine.member_id,
            "state": str(engine.state),
            "lease_clock_ns": now_ns(),
            **self._facts,
        }
        try:
            status = engine.status()
            lease_remaining_ns = self._coordinator.lease_remaining_ns
        except TenureError:  # it was closed, perhaps since the last line
            return report | {"state": str(engine.state)}
        report |= {
            "state": str(status.state),
            "term": status.term,
            "leader": status.leader,
            "leader_address": status.leader_address,
            "commit_index": status.commit_index,
            "applied_index": status.applied_index,
            "first_index": status.first_index,
            "last_index": status.last_index,
            "lease_remaining_ns": lease_remaining_ns,
            "lease_duration_ns": getattr(engine, "lease_duration_ns", 0),
            "failure": status.failure,
            "counters": dict(status.counters),
        }
        report |= self._extras()
        return report

    def healthy(self) -> bool:
        """Whether this member takes part and knows a leader."""
        engine = self._coordinator.engine
        return engine.state not in (State.FAILED, State.CLOSED) and engine.leader is not None


def metrics_text(report: Mapping[str, Any]) -> str:
    """A report as metrics, one member to a page, in Prometheus' text format."""
    lines: list[str] = []

    def add(name: str, kind: str, meaning: str, *samples: tuple[str, float]) -> None:
        lines.append(f"# HELP tenure_{name} {meaning}")
        lines.append(f"# TYPE tenure_{name} {kind}")
        lines.extend(f"tenure_{name}{labels} {value:.9g}" for labels, value in samples)

    state = report["state"]
    add("up", "gauge", "1 while the member runs", ("", float(state not in ("failed", "closed"))))
    add("state", "gauge", "1 for the state the member is in", *((f'{{state="{s}"}}', float(s == state)) for s in State))
    for name, meaning in (
        ("term", "the term the member is in"),
        ("commit_index", "the last index known to be committed"),
        ("applied_index", "the last index applied to the state machine"),
        ("last_index", "the last index of the log"),
        ("keys", "keys in the store"),
    ):
        if name in report:
            add(name, "gauge", meaning, ("", report[name]))
    if "lease_remaining_ns" in report:
        remaining = report["lease_remaining_ns"] / 1e9
        add("lease_remaining_seconds", "gauge", "how long the lease still holds; 0 without one", ("", remaining))
    lapses = {name.removeprefix("lapses_"): n for name, n in report.get("counters", {}).items() if is_lapse(name)}
    if lapses:
        samples = ((f'{{cause="{cause}"}}', float(count)) for cause, count in sorted(lapses.items()))
        add("lease_lapses_total", "counter", "leases that ended, by cause", *samples)
    for name, value in sorted(report.get("counters", {}).items()):
        if name in COUNTERS:
            add(f"{name}_total", "counter", f"{name.replace('_', ' ')} since the start", ("", value))
    for name, value in sorted(report.get("fences", {}).items()):
        add(f"fence_{name}_total", "counter", f"reads of this process: {name.replace('_', ' ')}", ("", value))
    for name, value in sorted(report.get("redis", {}).items()):
        if name == "clients":
            add("redis_clients", "gauge", "Redis clients connected now", ("", value))
        else:
            add(f"redis_{name}_total", "counter", f"Redis front end: {name.replace('_', ' ')}", ("", value))
    threads = [(f'{{thread="{number}"}}', one) for number, one in enumerate(report.get("redis_threads", ()), 1)]
    if threads:
        clients = ((label, one["clients"]) for label, one in threads)
        add("redis_thread_clients", "gauge", "Redis clients connected now, by the thread that serves them", *clients)
        commands = ((label, one["commands"]) for label, one in threads)
        add("redis_thread_commands_total", "counter", "Redis commands, by the thread that served them", *commands)
        busy = ((label, one["busy_ns"] / 1e9) for label, one in threads)
        add("redis_thread_busy_seconds_total", "counter", "time that a thread for Redis clients was awake", *busy)
    quantiles = [
        (f'{{call="{call}",quantile="{share}"}}', found[field] / 1e9)
        for call, found in sorted(report.get("latencies", {}).items())
        for share, field in (("0.5", "p50_ns"), ("0.99", "p99_ns"))
        if field in found
    ]
    if quantiles:
        add("latency_seconds", "gauge", "of the last calls measured in this process", *quantiles)
    return "\n".join(lines) + "\n"


def is_lapse(counter: str) -> bool:
    """Whether this counter counts leases that ended."""
    return counter.startswith("lapses_")
