"""The simulator and the judges: clusters from one seed, histories of operations, and whether those are linearizable.

Public: use it to test your own deployments and your own histories. `docs/simulator.md` says how.
"""

from tenure.sim.history import HistoryError, HistoryWriter, Operation, read_history, write_history
from tenure.sim.linearizability import Report, Verdict, Violation, check
from tenure.sim.profile import PROFILES, Profile
from tenure.sim.scenarios import SCENARIOS, Scenario
from tenure.sim.simulation import GUARDS, InvariantViolation, Simulation, SimulationReport, StaleHistory

__all__ = [
    "GUARDS",
    "PROFILES",
    "SCENARIOS",
    "HistoryError",
    "HistoryWriter",
    "InvariantViolation",
    "Operation",
    "Profile",
    "Report",
    "Scenario",
    "Simulation",
    "SimulationReport",
    "StaleHistory",
    "Verdict",
    "Violation",
    "check",
    "read_history",
    "write_history",
]
