"""The generated C++ of the hot functions calls no Python API beyond what builds their result."""

from __future__ import annotations

import pytest

from generated_cpp import function_body, generated_file, hot_part, python_calls


def test_the_fence_builds_an_integer_and_nothing_else() -> None:
    body = function_body(generated_file("tenure._core.fence"), "try_lease_read")
    assert "tenure::fence(" in body
    assert python_calls(hot_part(body)) == {"__Pyx_PyLong_From_int64_t"}


def test_lease_valid_makes_no_call_into_python() -> None:
    body = function_body(generated_file("tenure._core.lease"), "valid")
    assert "tenure::lease_valid(" in body
    assert python_calls(hot_part(body)) <= {"__Pyx_PyBool_FromLong"}


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("applied_index", ["applied_publish", "applied_fail", "applied_wait", "wake_all"]),
        ("queue", ["queue_push", "queue_pop_batch", "queue_close", "queue_drained"]),
        ("wakeup", ["wakeup_notify", "wakeup_wait", "loop_wakeup_notify", "loop_wakeup_arm", "loop_wakeup_drain"]),
        ("capsule", ["try_lease_read", "applied_index", "lease_remaining_ns", "retain", "release"]),
    ],
)
def test_functions_below_the_edge_make_no_call_into_python(module: str, names: list[str]) -> None:
    path = generated_file(f"tenure._core.{module}")
    for name in names:
        assert python_calls(function_body(path, name)) == set(), name


def test_the_check_sees_a_call_where_there_is_one() -> None:
    body = function_body(generated_file("tenure._core.applied_index"), "wait")
    assert "PyErr_CheckSignals" in python_calls(body)


def test_an_unknown_function_is_an_error_and_not_an_empty_body() -> None:
    with pytest.raises(LookupError):
        function_body(generated_file("tenure._core.fence"), "no_such_function")
