"""The simulator and the judges: clusters from one seed, histories of operations, and whether those are linearizable.

Public: use it to test your own deployments and your own histories. `docs/simulator.md` says how.
"""

from tenure.sim.history import HistoryError, HistoryWriter, Operation, read_history, write_history
from tenure.sim.hunting import Failure, hunt
from tenure.sim.linearizability import Report, Verdict, Violation, check
from tenure.sim.machines import Command, Machine, MachineViolation, Read, Workload, Write
from tenure.sim.profile import PROFILES, Profile
from tenure.sim.scenarios import SCENARIOS, Scenario
from tenure.sim.schedule import Fault, Schedule
from tenure.sim.sequential import SequentialModel
from tenure.sim.shrinking import shrink
from tenure.sim.simulation import GUARDS, InvariantViolation, Simulation, SimulationReport, StaleHistory

__all__ = [
    "GUARDS",
    "PROFILES",
    "SCENARIOS",
    "Command",
    "Failure",
    "Fault",
    "HistoryError",
    "HistoryWriter",
    "InvariantViolation",
    "Machine",
    "MachineViolation",
    "Operation",
    "Profile",
    "Read",
    "Report",
    "Scenario",
    "Schedule",
    "SequentialModel",
    "Simulation",
    "SimulationReport",
    "StaleHistory",
    "Verdict",
    "Violation",
    "Workload",
    "Write",
    "check",
    "hunt",
    "read_history",
    "shrink",
    "write_history",
]
