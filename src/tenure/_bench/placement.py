"""Which cores the members of a cluster may use: what is compared must stand on the same cores.

Three members and their caller on one machine are a dozen threads that wake each other, and what a wakeup costs depends
on where the woken thread runs: a switch on the same core takes about a microsecond, waking an idle core several, in a
virtual machine tens. A kernel that is free to choose stays with one choice for seconds and takes another one for the
next process, so two clusters are measured on different machines, so to speak, although they take turns.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Placement", "anywhere", "apart", "own_cores", "together"]


@dataclass(frozen=True, slots=True)
class Placement:
    """The cores of each member, the leader's first."""

    name: str
    cores: tuple[frozenset[int], ...]

    def apply(self, processes: Sequence[int]) -> None:
        """Put every thread of each process where it belongs; a thread that is gone by then needs no place."""
        for process, cores in zip(processes, self.cores, strict=True):
            for thread in Path(f"/proc/{process}/task").iterdir():
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(int(thread.name), cores)


def own_cores() -> list[int]:
    """What this process may use."""
    return sorted(os.sched_getaffinity(0))


def apart(cores: Sequence[int], members: int) -> Placement:
    """The leader has a core to itself, the others share what is left: as near as one machine comes to several."""
    others = cores[1:] or cores
    places = [cores[0], *(others[i % len(others)] for i in range(members - 1))]
    return Placement("apart", tuple(frozenset({core}) for core in places))


def together(cores: Sequence[int], members: int) -> Placement:
    """Everybody on one core: no core is ever woken, and what is measured is work and switches."""
    return Placement("one core", (frozenset(cores[:1]),) * members)


def anywhere(cores: Sequence[int], members: int) -> Placement:
    """The kernel chooses."""
    return Placement("unpinned", (frozenset(cores),) * members)
