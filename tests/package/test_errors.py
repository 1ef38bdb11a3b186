"""The error tree: stable codes, honest retry advice, and every error survives pickling with what it carries."""

import inspect
import pickle

import pytest

from tenure import errors
from tenure.errors import TenureError

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, TenureError)]
SAMPLES = {"path": "/data/0001.wal", "cause": "disk_full", "limit": "uncommitted_bytes", "reason": "cluster_id"}

# Codes are part of the protocol: a row here changes only together with a major version.
STABLE = {
    "error": False,
    "refused": False,
    "not_leader": True,
    "lease_unavailable": True,
    "clock_unavailable": False,
    "overloaded": True,
    "proposal_refused": True,
    "invalid_argument": False,
    "too_large": False,
    "change_in_progress": True,
    "would_lose_quorum": False,
    "unknown_member": False,
    "already_member": False,
    "not_a_learner": False,
    "learner_behind": True,
    "timeout": True,
    "outcome_unknown": False,
    "closed": False,
    "forked_process": False,
    "member_failed": False,
    "state_diverged": False,
    "unauthorized": False,
    "address_unavailable": True,
    "storage": False,
    "corrupt_log": False,
    "directory_locked": True,
    "foreign_cluster": False,
    "newer_format": False,
    "disk_full": False,
    "protocol": False,
    "handshake_refused": False,
}


def sample(kind):
    """An error with every keyword of its constructor filled in."""
    keywords = [
        parameter.name
        for parameter in inspect.signature(kind).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    return kind("what happened", **{name: SAMPLES.get(name, 7) for name in keywords}), keywords


def test_the_table_of_codes_is_the_published_one():
    assert {kind.code: kind.retryable for kind in ALL} == STABLE
    assert len(ALL) == len(STABLE), "two classes share a code"


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_an_error_survives_pickling_with_all_it_carries(kind):
    error, keywords = sample(kind)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == "what happened"
    assert copy.details == error.details
    assert all(getattr(copy, name) == SAMPLES.get(name, 7) for name in keywords)


def test_an_unknown_outcome_is_never_caught_as_a_timeout_or_a_refusal():
    assert not issubclass(errors.OutcomeUnknown, TimeoutError | errors.Refused)


def test_errors_are_caught_by_the_builtin_they_resemble():
    assert issubclass(errors.Timeout, TimeoutError)
    assert issubclass(errors.InvalidArgument, ValueError)


def test_a_message_is_never_empty():
    assert str(errors.NotLeader()) == "not leader"
