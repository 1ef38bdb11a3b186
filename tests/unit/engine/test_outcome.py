"""Codes become errors: each as what it is, and only a write may be unknown."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from tenure import errors
from tenure.engine.outcome import Call, Code, Outcomes, failure_name, is_transient, opening_error, timed_out

ROOT = Path(__file__).parents[3]
ADDRESSES = {1: "127.0.0.1:7001", 2: "127.0.0.1:7002"}


@pytest.fixture
def outcomes():
    return Outcomes(ADDRESSES, 1000, lambda: "disk_full")


def test_not_leader_names_the_leader_and_where_it_listens(outcomes):
    error = outcomes.error(Call.WRITE, Code.NOT_LEADER, 2)
    assert type(error) is errors.NotLeader
    assert (error.leader, error.address) == (2, "127.0.0.1:7002")
    assert error.retryable


def test_a_state_that_differs_is_told_with_both_hashes():
    gauges = {"diverged_index": 7, "diverged_hash": 0xAB, "leader_hash": 0xCD}
    failed = Outcomes(ADDRESSES, 1000, lambda: failure_name(Code.DIVERGED), lambda: gauges)
    for code in (Code.FAILED, Code.DIVERGED):
        error = failed.error(Call.WRITE, code)
        assert type(error) is errors.StateDiverged
        assert (error.index, error.own_hash, error.leader_hash, error.cause) == (7, 0xAB, 0xCD, "state_diverged")
        assert "index 7" in str(error)


def test_no_leader_names_nobody(outcomes):
    error = outcomes.error(Call.READ, Code.NO_LEADER, 0)
    assert type(error) is errors.NotLeader
    assert (error.leader, error.address) == (None, None)


def test_a_leader_without_a_known_address(outcomes):
    assert outcomes.error(Call.WRITE, Code.NOT_LEADER, 9).address is None


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (Code.MEMORY, errors.MemberFailed),
        (Code.INVARIANT, errors.MemberFailed),
        (Code.OVERLOADED, errors.Overloaded),
        (Code.TRANSFER, errors.ProposalRefused),
        (Code.TOO_LARGE, errors.TooLarge),
        (Code.REMOVED, errors.NotLeader),
        (Code.BAD_TARGET, errors.InvalidArgument),
        (Code.STEPPED_DOWN, errors.NotLeader),
        (Code.CHANGE_PENDING, errors.ProposalRefused),
        (Code.NOT_JOINT, errors.ProposalRefused),
        (Code.NO_VOTERS, errors.InvalidArgument),
        (Code.BAD_CHANGE, errors.InvalidArgument),
        (Code.UNKNOWN, errors.OutcomeUnknown),
        (Code.CLOSED, errors.Closed),
        (Code.FAILED, errors.MemberFailed),
        (Code.LOST, errors.NotLeader),
        (Code.STORAGE_IO, errors.MemberFailed),
        (Code.STATE_MACHINE_RAISED, errors.MemberFailed),
        (9999, errors.OutcomeUnknown),
    ],
)
def test_what_a_write_ends_with(outcomes, code, kind):
    assert type(outcomes.error(Call.WRITE, code, 1, size_bytes=2000)) is kind


@pytest.mark.parametrize("code", [*Code, 9999])
@pytest.mark.parametrize("call", [Call.READ, Call.CONTROL])
def test_only_a_write_may_be_unknown(outcomes, call, code):
    assert isinstance(outcomes.error(call, code, 1), errors.Refused)


def test_too_large_says_how_large(outcomes):
    error = outcomes.error(Call.WRITE, Code.TOO_LARGE, size_bytes=2000)
    assert (error.size_bytes, error.limit_bytes) == (2000, 1000)


def test_a_failed_member_says_why(outcomes):
    assert outcomes.error(Call.READ, Code.FAILED).cause == "disk_full"
    assert outcomes.error(Call.READ, Code.STORAGE_FULL).cause == "disk_full"


def test_overload_names_its_limit(outcomes):
    assert outcomes.error(Call.WRITE, Code.OVERLOADED).limit == "uncommitted_bytes"
    assert outcomes.error(Call.READ, Code.OVERLOADED).limit == "pending_reads"


def test_a_late_write_is_unknown_and_a_late_read_is_a_timeout():
    assert type(timed_out(Call.WRITE)) is errors.OutcomeUnknown
    assert type(timed_out(Call.READ)) is errors.Timeout
    assert type(timed_out(Call.CONTROL)) is errors.Timeout


def test_reads_look_for_a_leader_but_do_not_insist_on_an_overloaded_one():
    assert all(is_transient(code) for code in (Code.NO_LEADER, Code.NOT_LEADER, Code.STEPPED_DOWN, Code.TRANSFER))
    assert not any(is_transient(code) for code in (Code.OVERLOADED, Code.FAILED, Code.CLOSED, Code.MEMORY))


def test_closing_is_no_failure():
    assert failure_name(0) is None
    assert failure_name(Code.CLOSED) is None
    assert failure_name(Code.STORAGE_IO) == "storage"
    assert failure_name(77) == "code_77"


def opened(kind, errno=0, path=""):
    return opening_error(SimpleNamespace(kind=kind, errno=errno, path=path))


def test_an_address_in_use_is_not_a_matter_of_storage():
    error = opened("network", errno=98, path="127.0.0.1:7001")
    assert type(error) is errors.AddressUnavailable
    assert (error.address, error.errno) == ("127.0.0.1:7001", 98)


def test_a_configuration_that_the_core_refuses_is_an_argument():
    assert type(opened("raft")) is errors.InvalidArgument


def test_a_state_machine_that_is_used_up_is_an_argument():
    error = opened("machine")
    assert type(error) is errors.InvalidArgument
    assert error.details["field"] == "state_machine"


@pytest.mark.parametrize(
    ("file", "prefix"),
    [("_raft/types.pxd", "ERR_"), ("_host/member.pxd", "OUTCOME_"), ("_storage/error.pxd", "STORAGE_")],
)
def test_the_numbers_are_those_of_the_core(file, prefix):
    """Every code of the core but OK and those that never leave it has a row here."""
    source = (ROOT / "cython/tenure" / file).read_text()
    found = {name: int(number) for name, number in re.findall(rf"^    ({prefix}\w+) = (\d+)", source, re.MULTILINE)}
    assert len(found) > 3
    for name, number in found.items():
        if number == 0 or name in ("ERR_COMPACTED", "ERR_UNAVAILABLE", "ERR_UNKNOWN_PEER"):
            continue
        assert Code[name if prefix == "STORAGE_" else name.removeprefix(prefix)] == number
