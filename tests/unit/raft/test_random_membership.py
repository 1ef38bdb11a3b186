"""Random changes of membership in a bad world: nothing that must hold is broken, and the world goes on afterwards."""

from __future__ import annotations

from collections import Counter

import pytest

from tenure._proof.raft.node import RawNode as ProofNode

from .random_cluster import Violation, World

SEEDS = range(1, 25)
STEPS = 6000


@pytest.mark.parametrize("seed", SEEDS)
def test_members_change_and_nothing_breaks(seed: int) -> None:
    world = World(seed)
    world.run(STEPS)
    assert world.heal(), f"no progress after everybody came back: {world.counts}"


def test_these_worlds_are_worth_something() -> None:
    total: Counter[str] = Counter()
    for seed in SEEDS[:8]:
        total += World(seed).run(STEPS)
    assert total["changes applied"] > 200
    assert total["watched leases"] > 5000
    assert total["crashes"] > 30
    assert total["snapshots"] > 15


def run_without(guard: int) -> None:
    for seed in SEEDS:
        World(seed, node_type=ProofNode, guards_off=1 << guard).run(STEPS)  # type: ignore[arg-type]


@pytest.mark.parametrize("guard", [12, 13])
def test_these_worlds_notice_a_missing_guard(guard: int) -> None:
    """The other guards need worlds of their own, which the scenarios make."""
    with pytest.raises(Violation, match="holds a lease"):
        run_without(guard)
