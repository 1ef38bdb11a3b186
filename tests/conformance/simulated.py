"""The simulator's own directives: `world` with the decisions of a schedule, and `run`. See `tenure.sim.text`."""

from __future__ import annotations

import dataclasses

from tests.conformance.transcript import BadTranscript, Directive

from tenure.sim.schedule import Schedule
from tenure.sim.simulation import Simulation
from tenure.sim.text import BadScenario, outcome, read_world


class Simulated:
    """`guards_off` are left out of every run, besides those that a run names."""

    def __init__(self, guards_off: tuple[str, ...] = ()) -> None:
        self.guards_off = guards_off
        self.schedule: Schedule | None = None

    def run(self, directive: Directive) -> str:
        try:
            if directive.command == "world":
                options = {key: values[0] for key, values in directive.options.items()}
                self.schedule = read_world(options, directive.input)
                return f"{self.schedule.size} decisions"
            if directive.command == "run" and self.schedule is not None:
                return self.play(directive.options.get("without", ()))
        except (BadScenario, ValueError) as bad:
            raise BadTranscript(f"line {directive.line}: {bad}") from None
        raise BadTranscript(f"line {directive.line}: the simulator has no {directive.command!r} here")

    def play(self, without: tuple[str, ...]) -> str:
        assert self.schedule is not None
        off = tuple(sorted({*self.guards_off, *without}))
        return outcome(Simulation.replay(dataclasses.replace(self.schedule, guards_off=off)).run())
