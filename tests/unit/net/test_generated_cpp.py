"""What the loop thread runs calls nothing of Python."""

from __future__ import annotations

import pytest

from generated_cpp import function_body, generated_file, python_calls


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("buffer", ["buffer_reserve", "buffer_release"]),
        ("frame", ["frame_parse", "frame_seal"]),
        ("handshake", ["hello_encode", "hello_decode", "hello_judge", "incarnation_judge"]),
        ("message_codec", ["message_bytes", "message_encode", "message_decode", "get_entries", "get_snapshot"]),
        (
            "transport",
            [
                "transport_send",
                "transport_flush",
                "transport_on_event",
                "transport_tick",
                "transport_close",
                "read_input",
                "parse_input",
                "write_output",
                "on_message",
                "on_hello",
                "on_welcome",
                "on_introduction",
                "connection_close",
            ],
        ),
    ],
)
def test_functions_below_the_edge_make_no_call_into_python(module: str, names: list[str]) -> None:
    path = generated_file(f"tenure._net.{module}")
    for name in names:
        assert python_calls(function_body(path, name)) == set(), name
