"""The arithmetic of membership changes, against a model made of Python sets; and changes as bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tenure import errors
from tenure._raft.changes import Change, Changer, decode_change, encode_change

IDS = st.integers(0, 6)
CHANGES = st.lists(st.builds(Change, st.sampled_from("vlru"), IDS), max_size=6)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("simple"), CHANGES),
        st.tuples(st.just("enter"), CHANGES),
        st.tuples(st.just("leave"), st.just([])),
    ),
    max_size=12,
)


def changes(text: str) -> list[Change]:
    return [Change(word[0], int(word[1:])) for word in text.split()]


class Impossible(Exception):
    pass


@dataclass
class Model:
    voters: set[int] = field(default_factory=set)
    outgoing: set[int] = field(default_factory=set)
    learners: set[int] = field(default_factory=set)
    learners_next: set[int] = field(default_factory=set)

    def copy(self) -> Model:
        return Model(set(self.voters), set(self.outgoing), set(self.learners), set(self.learners_next))

    def remove(self, member: int) -> None:
        for members in (self.voters, self.learners, self.learners_next):
            members.discard(member)

    def work_through(self, wanted: list[Change]) -> None:
        for change in wanted:
            if change.id == 0 or change.letter == "u":
                continue
            if change.letter == "v":
                self.remove(change.id)
                self.voters.add(change.id)
            elif change.letter == "r":
                self.remove(change.id)
            elif change.id not in self.learners:
                self.remove(change.id)
                (self.learners_next if change.id in self.outgoing else self.learners).add(change.id)
        if not self.voters:
            raise Impossible("NoVoters")

    def after(self, operation: str, wanted: list[Change]) -> Model:
        new = self.copy()
        if operation == "leave":
            if not self.outgoing:
                raise Impossible("NotJoint")
            return Model(new.voters, set(), new.learners | new.learners_next, set())
        if self.outgoing:
            raise Impossible("SimpleChangeInJoint" if operation == "simple" else "AlreadyJoint")
        if operation == "enter":
            if not self.voters:
                raise Impossible("JointWithoutVoters")
            new.outgoing = set(self.voters)
        new.work_through(wanted)
        if operation == "simple" and len(new.voters ^ self.voters) > 1:
            raise Impossible("NeedsJoint")
        return new

    def __str__(self) -> str:
        def members(ids: set[int]) -> str:
            return "(" + " ".join(map(str, sorted(ids))) + ")"

        text = f"voters={members(self.voters)}" + (f"&&{members(self.outgoing)}" if self.outgoing else "")
        text += f" learners={members(self.learners)}" if self.learners else ""
        return text + (f" learners_next={members(self.learners_next)}" if self.learners_next else "")


def run(changer: Changer, operation: str, wanted: list[Change]) -> str | None:
    """Why it was refused, or None."""
    try:
        match operation:
            case "simple":
                changer.simple(wanted)
            case "enter":
                changer.enter_joint(wanted)
            case _:
                changer.leave_joint()
    except errors.Refused as refused:
        return str(refused)
    return None


@given(OPERATIONS)
@example([("simple", changes("v1")), ("enter", changes("v2 l1 r1 l1 v3")), ("leave", [])])
def test_every_sequence_of_changes_does_what_the_model_does(operations: list[tuple[str, list[Change]]]) -> None:
    changer, model = Changer(), Model()
    for operation, wanted in operations:
        expected: str | None = None
        try:
            model = model.after(operation, wanted)
        except Impossible as impossible:
            expected = str(impossible)
        assert run(changer, operation, wanted) == expected
        assert str(changer) == str(model)
        assert changer.sane
        tracked = [int(line.split(":")[0]) for line in changer.describe().splitlines()[1:]]
        assert tracked == sorted(model.voters | model.outgoing | model.learners)


@given(OPERATIONS)
def test_majorities_of_neighbouring_configurations_meet(operations: list[tuple[str, list[Change]]]) -> None:
    """Two configurations one change apart have no two disjoint quorums: what elections and leases rest on."""
    changer, model = Changer(), Model()
    for operation, wanted in operations:
        before = model.copy()
        if run(changer, operation, wanted) is None:
            model = model.after(operation, wanted)
            if before.voters:
                assert not disjoint_quorums(before, model)


def disjoint_quorums(a: Model, b: Model) -> bool:
    everybody = sorted(a.voters | a.outgoing | b.voters | b.outgoing)
    for bits in range(1 << len(everybody)):
        chosen = {member for at, member in enumerate(everybody) if bits >> at & 1}
        if is_quorum(chosen, a) and is_quorum(set(everybody) - chosen, b):
            return True
    return False


def is_quorum(chosen: set[int], model: Model) -> bool:
    return all(2 * len(chosen & half) > len(half) for half in (model.voters, model.outgoing) if half)


def test_whoever_is_dropped_and_taken_back_in_one_change_starts_anew() -> None:
    changer = Changer()
    changer.simple(changes("v1"), 3)
    changer.simple(changes("v2"), 5)
    changer.simple(changes("r2 v2"), 9)
    assert changer.describe().splitlines()[1:] == [
        "1: StateProbe match=0 next=3",
        "2: StateProbe match=0 next=9",
    ]


def test_there_is_a_limit_to_the_number_of_members_and_joint_configurations_can_always_be_left() -> None:
    changer = Changer()
    changer.simple([Change("v", 1)])
    for member in range(2, 33):
        changer.simple([Change("v", member)])
    for member in range(101, 132):
        changer.simple([Change("l", member)])
    assert run(changer, "simple", changes("v33")) == "TooManyMembers"
    assert run(changer, "enter", changes("l1 l2")) == "TooManyMembers"
    assert run(changer, "enter", changes("l1")) is None
    assert run(changer, "leave", []) is None
    assert changer.sane
    assert run(changer, "simple", changes("l133")) == "TooManyMembers"


ANY_CHANGE = st.builds(Change, st.sampled_from("vlru"), st.integers(1, 2**64 - 1), st.binary(max_size=1024))


@given(
    st.lists(ANY_CHANGE, max_size=64),
    st.sampled_from(["auto", "implicit", "explicit"]),
)
def test_changes_survive_being_bytes(wanted: list[Change], transition: str) -> None:
    if not wanted and transition != "auto":
        with pytest.raises(errors.InvalidArgument, match="BadChange"):
            encode_change(wanted, transition=transition)
        return
    assert decode_change(encode_change(wanted, transition=transition)) == (wanted, transition)


def test_an_empty_change_is_no_bytes_at_all() -> None:
    assert encode_change([]) == b""
    assert decode_change(b"") == ([], "auto")


PAYLOAD = encode_change([Change("v", 4, b"host:1"), Change("r", 2)], transition="explicit")


@pytest.mark.parametrize(
    "payload",
    [
        b"\x02" + PAYLOAD[1:],
        PAYLOAD[:1] + b"\x03" + PAYLOAD[2:],
        PAYLOAD[:-1],
        PAYLOAD + b"\x00",
        PAYLOAD[:2] + b"\x00\x00" + PAYLOAD[4:],
        PAYLOAD[:2] + b"\x03\x00" + PAYLOAD[4:],
        PAYLOAD[:4] + bytes(8) + PAYLOAD[12:],
        PAYLOAD[:12] + b"\x04" + PAYLOAD[13:],
        PAYLOAD[:13] + b"\x01" + PAYLOAD[14:],
        PAYLOAD[:14] + b"\xff\xff" + PAYLOAD[16:],
        b"\x01",
    ],
    ids=[
        "a later version",
        "an unknown transition",
        "cut off",
        "too long",
        "no changes",
        "more changes announced",
        "member 0",
        "an unknown kind",
        "a reserved byte",
        "a context beyond the end",
        "no header",
    ],
)
def test_malformed_bytes_are_refused(payload: bytes) -> None:
    with pytest.raises(errors.InvalidArgument, match="BadChange"):
        decode_change(payload)


@given(st.binary(max_size=80))
@example(PAYLOAD)
def test_decoding_either_refuses_or_understands_everything(payload: bytes) -> None:
    try:
        wanted, transition = decode_change(payload)
    except errors.InvalidArgument:
        return
    assert encode_change(wanted, transition=transition) == payload


@pytest.mark.parametrize(
    ("wanted", "options"),
    [
        (changes("v0"), {}),
        (changes("v1 v2"), {"v1": True}),
        ([], {"v1": True}),
        (changes("v1"), {"v1": True, "transition": "explicit"}),
        ([Change("v", 1, bytes(1025))], {}),
        (changes("x1"), {}),
        (changes("v1"), {"transition": "sometime"}),
        (changes("v1") * 65, {}),
    ],
)
def test_what_is_no_change_is_refused(wanted: list[Change], options: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidArgument):
        encode_change(wanted, **options)
