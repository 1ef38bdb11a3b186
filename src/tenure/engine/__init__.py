"""Engines: the handle of one member of a replicated group. `NativeEngine` is tenure's own, compiled one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenure.engine.protocol import (
    Change,
    Command,
    Engine,
    LeaseProvider,
    LeaseReader,
    MemberChange,
    MemberInfo,
    Members,
    Membership,
    ProposalResult,
    State,
    StateMachine,
    Status,
)

if TYPE_CHECKING:
    from tenure._core.lease import Lease
    from tenure.engine.aio import AsyncEngine
    from tenure.engine.native import NativeEngine

__all__ = [
    "AsyncEngine",
    "Change",
    "Command",
    "Engine",
    "Lease",
    "LeaseProvider",
    "LeaseReader",
    "MemberChange",
    "MemberInfo",
    "Members",
    "Membership",
    "NativeEngine",
    "ProposalResult",
    "State",
    "StateMachine",
    "Status",
]


def __getattr__(name: str) -> Any:
    """Compiled code is loaded with the first use of what needs it."""
    if name == "Lease":
        from tenure._core.lease import Lease

        return Lease
    if name == "NativeEngine":
        from tenure.engine.native import NativeEngine

        return NativeEngine
    if name == "AsyncEngine":
        from tenure.engine.aio import AsyncEngine

        return AsyncEngine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
