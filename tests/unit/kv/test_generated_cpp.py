"""The generated C++ of the store calls no Python API below the edge."""

from __future__ import annotations

import pytest

from generated_cpp import function_body, generated_file, python_calls


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("store", ["store_apply", "store_adopt", "store_lead", "store_pend", "apply_one", "put", "remove"]),
        ("read", ["store_instant", "store_look", "store_look_many", "store_copy"]),
        ("table", ["shard_find", "shard_prepare", "shard_replace", "table_free_some"]),
        ("dump", ["step", "walk_table", "load_feed"]),
        ("codec", ["check", "command_next", "result_read"]),
    ],
)
def test_functions_below_the_edge_make_no_call_into_python(module: str, names: list[str]) -> None:
    path = generated_file(f"tenure._kv.{module}")
    for name in names:
        assert python_calls(function_body(path, name)) == set(), name
