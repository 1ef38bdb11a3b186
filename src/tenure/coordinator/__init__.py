"""Coordinators: what an application talks to. A `Coordinator` stands before the engine of one group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenure.coordinator.coordinator import Coordinator

if TYPE_CHECKING:
    from tenure.coordinator.keyvalue import AsyncKeyValue, KeyValue

__all__ = ["AsyncKeyValue", "Coordinator", "KeyValue"]


def __getattr__(name: str) -> Any:
    """The compiled store is loaded with the first use of what needs it."""
    if name in {"AsyncKeyValue", "KeyValue"}:
        from tenure.coordinator import keyvalue

        return getattr(keyvalue, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
