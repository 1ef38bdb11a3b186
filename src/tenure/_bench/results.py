"""What the suite finds, with what it is judged by: the goals, and how a finding reads in JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenure._bench.timing import Summary

__all__ = ["Finding", "Goal", "Shape", "ratio_at_most"]

UNIT_NS = {"ns": 1.0, "us": 1e3, "ms": 1e6}


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on a finding's ratio, or on its value where it has no reference."""

    of: str  # "ratio" or "value"
    sign: str  # "<=" or ">="
    bound: float

    def __str__(self) -> str:
        return f"{self.of} {self.sign} {self.bound:g}"

    def met_by(self, finding: Finding) -> bool:
        """Whether the finding is within the bound."""
        found = finding.ratio if self.of == "ratio" else finding.value
        if found is None:
            raise ValueError(f"{finding.name} has no ratio")
        return found <= self.bound if self.sign == "<=" else found >= self.bound


def ratio_at_most(bound: float) -> Goal:
    """A bound on the multiple of the reference."""
    return Goal("ratio", "<=", bound)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `value` and `reference` are in `unit`."""

    name: str
    value: float
    unit: str
    reference: float | None = None
    reference_name: str | None = None
    goal: Goal | None = None
    floor: Goal | None = None
    samples: Summary | None = None
    reference_samples: Summary | None = None
    note: str | None = None

    @property
    def ratio(self) -> float | None:
        """The value as a multiple of its reference."""
        return self.value / self.reference if self.reference else None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        return None if self.goal is None else self.goal.met_by(self)

    @property
    def floor_met(self) -> bool | None:
        """Whether the least that must be reached is; None without one."""
        return None if self.floor is None else self.floor.met_by(self)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        scale = UNIT_NS.get(self.unit, 1.0)
        return {
            "name": self.name,
            "value": round(self.value, 4),
            "unit": self.unit,
            "reference": None if self.reference is None else round(self.reference, 4),
            "reference_name": self.reference_name,
            "ratio": None if self.ratio is None else round(self.ratio, 4),
            "goal": None if self.goal is None else str(self.goal),
            "met": self.met,
            "floor": None if self.floor is None else str(self.floor),
            "floor_met": self.floor_met,
            "samples": None if self.samples is None else self.samples.as_dict(scale),
            "reference_samples": None if self.reference_samples is None else self.reference_samples.as_dict(scale),
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class Shape:
    """A distribution of latencies for the picture, with that of the skeleton beside it."""

    name: str
    nanoseconds: list[int]
    bare: list[int] = field(default_factory=list)
