"""The judges: histories of client operations and the check that they are linearizable.

Public: use it to test your own state machines and your own deployments.
"""

from tenure.sim.history import HistoryError, HistoryWriter, Operation, read_history, write_history
from tenure.sim.linearizability import Report, Verdict, Violation, check

__all__ = [
    "HistoryError",
    "HistoryWriter",
    "Operation",
    "Report",
    "Verdict",
    "Violation",
    "check",
    "read_history",
    "write_history",
]
