"""Quorum arithmetic against definitions written out by brute force."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from tenure._raft.node import committed_index, vote_result

MEMBERS = st.frozensets(st.integers(1, 9), max_size=7)


def majorities(members: frozenset[int]) -> list[tuple[int, ...]]:
    return list(combinations(sorted(members), len(members) // 2 + 1)) if members else []


def reached_by_a_majority(members: frozenset[int], acked: dict[int, int], index: int) -> bool:
    """Nobody to ask agrees to everything."""
    return not members or any(all(acked.get(id, 0) >= index for id in quorum) for quorum in majorities(members))


@given(MEMBERS, MEMBERS, st.dictionaries(st.integers(1, 9), st.integers(0, 50)))
def test_committed_index_is_the_greatest_that_a_majority_of_both_halves_reached(
    voters: frozenset[int], outgoing: frozenset[int], acked: dict[int, int]
) -> None:
    result = committed_index(acked, voters, outgoing)
    if not voters and not outgoing:
        assert result is None
    else:
        assert result == max(
            index
            for index in {0, *acked.values()}
            if reached_by_a_majority(voters, acked, index) and reached_by_a_majority(outgoing, acked, index)
        )


def verdict(members: frozenset[int], votes: dict[int, bool]) -> str:
    if not members or any(all(votes.get(id, False) for id in quorum) for quorum in majorities(members)):
        return "VoteWon"
    if any(all(votes.get(id, True) for id in quorum) for quorum in majorities(members)):
        return "VotePending"
    return "VoteLost"


@given(MEMBERS, MEMBERS, st.dictionaries(st.integers(1, 9), st.booleans()))
def test_a_vote_is_won_lost_or_pending_in_both_halves(
    voters: frozenset[int], outgoing: frozenset[int], votes: dict[int, bool]
) -> None:
    halves = {verdict(voters, votes), verdict(outgoing, votes)}
    expected = "VoteLost" if "VoteLost" in halves else "VotePending" if "VotePending" in halves else "VoteWon"
    assert vote_result(votes, voters, outgoing) == expected
