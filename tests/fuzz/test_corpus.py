"""Every input that is kept keeps its promises, in the ordinary build too; and the seeds are what they should be."""

from __future__ import annotations

import random

import pytest
from tests.fuzz import seeds
from tests.fuzz.__main__ import CANARY, TARGETS
from tests.fuzz.inputs import KEPT

from tenure._fuzz import targets

# Nothing in these is meant to be accepted (by the core: to be committed).
REFUSED = {
    ("frame", "half"), ("handshake", "cut"), ("roster", "cut"), ("roster", "none"), ("log", "new"),
    ("core", "follower"), ("core", "snapshot"), ("core", "timeout-now"),
    *{("resp", f"broken-{i}") for i in (0, 1, 2, 5, 6, 7, 8, 9, 10)},
}  # fmt: skip
# The log draws a salt for every segment.
REPEATABLE = sorted(set(TARGETS) - {"log"})


@pytest.fixture(scope="module")
def made() -> dict[str, dict[str, bytes]]:
    return seeds.seeds()


def kept(target: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((KEPT / target).iterdir())]


def test_every_target_is_known_here_and_there():
    assert set(targets.NAMES) == {CANARY, *TARGETS}
    assert {path.name for path in KEPT.iterdir()} == set(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_is_replayed(target):
    accepted = [targets.run(target, data) for data in kept(target)]
    assert sum(accepted) > 0


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_reach_what_is_behind_the_door(made, target):
    for name, data in made[target].items():
        assert (targets.run(target, data) > 0) == ((target, name) not in REFUSED), name


@pytest.mark.parametrize("target", REPEATABLE)
def test_kept_seeds_are_what_the_encoders_write_today(made, target):
    found = {path.name.removeprefix("seed-"): path.read_bytes() for path in (KEPT / target).glob("seed-*")}
    assert found == made[target]


def test_the_log_has_its_seeds(made):
    assert {path.name.removeprefix("seed-") for path in (KEPT / "log").glob("seed-*")} == set(made["log"])


@pytest.mark.parametrize("target", TARGETS)
def test_truncated_and_mutated_inputs_keep_the_promises(target):
    chance = random.Random(target)
    for data in chance.sample(inputs := kept(target), min(8, len(inputs))):
        for _ in range(6):
            mutated = bytearray(data[: chance.randrange(len(data) + 1)])
            for _ in range(chance.randrange(4) if mutated else 0):
                mutated[chance.randrange(len(mutated))] = chance.randrange(256)
            targets.run(target, bytes(mutated))
            targets.run(target, targets.reseal(target, bytes(mutated), chance.randrange(1 << 31)))


@pytest.mark.parametrize("target", ["frame", "log", "snapshot"])
def test_resealing_lets_a_changed_input_in(made, target):
    """A seed with one byte changed behind its headers is refused as it stands, and often accepted once resealed."""
    name = {"frame": "MsgApp", "log": "short", "snapshot": "joint"}[target]
    data = made[target][name]
    plain = resealed = 0
    whole = targets.run(target, data)
    for seed in range(1, 41):
        changed = bytearray(data)
        changed[-30] ^= seed
        plain += targets.run(target, bytes(changed)) >= whole
        resealed += targets.run(target, targets.reseal(target, bytes(changed), seed)) >= whole
    assert plain == 0
    assert resealed > 10


def test_a_promise_that_is_not_kept_is_told():
    assert targets.run(CANARY, b"can") == 3
    with pytest.raises(targets.InvariantViolated, match="the canary sings"):
        targets.run(CANARY, b"canary")


def test_an_unknown_target_is_named():
    with pytest.raises(ValueError, match="no target is called nothing; there are canary, frame"):
        targets.run("nothing", b"")
