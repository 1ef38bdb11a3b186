"""Every interleaving of three threads on one lease word is as specified; every planted mistake is found."""

from __future__ import annotations

from itertools import combinations_with_replacement

import pytest

from .lease_model import CLOSED, CORRECT, LAST_GENERATION, Mutation, Program, Violation, Word, explore

PROGRAMS: dict[str, Program] = {
    "extend early": (("generation", ()), ("extend", (4, "g"))),
    "extend late": (("generation", ()), ("extend", (8, "g"))),
    "stale extend": (("extend", (9, 1)),),
    "invalidate": (("invalidate", ()),),
    "switch": (("invalidate", ()), ("generation", ()), ("extend", (2, "g"))),
    "read": (("valid", (3,)), ("valid", (8,)), ("valid", (0,))),
    "close": (("close", ()),),
}
STARTS: tuple[Word, ...] = ((1, 0), (1, 5), (LAST_GENERATION, 6), CLOSED)


def explore_all(broken: Mutation) -> int:
    return sum(
        explore((PROGRAMS[name] for name in names), start, broken)
        for names in combinations_with_replacement(PROGRAMS, 3)
        for start in STARTS
    )


def test_every_interleaving_of_three_threads_is_as_specified() -> None:
    states = explore_all(CORRECT)
    assert states > 50_000, "the exploration became too small to mean anything"


@pytest.mark.parametrize(
    "mistake",
    [
        "ignores_generation",
        "ignores_later_end",
        "stores_blindly",
        "invalidate_keeps_generation",
        "invalidate_keeps_expiry",
        "revives_closed",
        "valid_at_the_end",
        "valid_without_clock",
    ],
)
def test_a_mistake_in_the_steps_is_found(mistake: str) -> None:
    with pytest.raises(Violation):
        explore_all(Mutation(**{mistake: True}))


def test_h20_a_late_completion_revives_nothing() -> None:
    """Generation sampled, lease withdrawn, then the completion: the swap must refuse it, wherever it was cut."""
    late: Program = (("generation", ()), ("extend", (9, "g")))
    withdraw: Program = (("invalidate", ()), ("valid", (1,)))
    explore([late, late, withdraw], (1, 3))
    with pytest.raises(Violation, match="extend"):
        explore([late, late, withdraw], (1, 3), Mutation(ignores_generation=True))
