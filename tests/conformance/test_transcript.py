"""The runner must be able to fail: its parser, its comparison and its rewriting."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conformance.datadriven import agrees, main, rewrite_file, run_file
from tests.conformance.transcript import BadTranscript, parse, rewrite

CLUSTER = "add-nodes 3 voters=(1,2,3) index=2\n----\nok\n\ncampaign 1\n----\nok\n\nraft-state\n----\n"
STATE = """1: StateCandidate (Voter) Term:1 Lead:0
2: StateFollower (Voter) Term:0 Lead:0
3: StateFollower (Voter) Term:0 Lead:0
"""


def test_a_directive_has_words_options_input_and_an_expectation() -> None:
    (directive,) = parse("# comment\n\ndo 1 x key=(a, b) one=2\nfirst\nsecond\n----\nout\n more\n\n")
    assert directive.command == "do"
    assert directive.words == ["1", "x"]
    assert directive.options == {"key": ("a", "b"), "one": ("2",)}
    assert directive.input == ("first", "second")
    assert directive.expected == "out\n more"
    assert directive.line == 3


def test_a_doubled_separator_encloses_blank_lines() -> None:
    first, second = parse("one\n----\n----\na\n\nb\n----\n----\n\ntwo\n----\nok")
    assert first.expected == "a\n\nb"
    assert second.command == "two"


@pytest.mark.parametrize("text", ["one\n\n", "one", "one\n----\n----\nnever closed\n"])
def test_a_malformed_file_is_refused(text: str) -> None:
    with pytest.raises(BadTranscript):
        parse(text)


def test_rewriting_keeps_everything_but_the_outputs() -> None:
    text = "# why\none\n----\nold\n\n# then\ntwo\n----\nold\n"
    one, two = parse(text)
    assert rewrite(text, [(one, "a\n\nb"), (two, "c")]) == (
        "# why\none\n----\n----\na\n\nb\n----\n----\n\n# then\ntwo\n----\nc\n"
    )


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("INFO 1 became leader", "ok", True),
        ("a\n  DEBUG noise\nb", "a\nb", True),
        ("a\nb", "a\nb ", False),
        ("a\nb", "b\na", False),
        ("ok", "a", False),
    ],
)
def test_comparison_drops_log_lines_and_nothing_else(expected: str, printed: str, same: bool) -> None:
    assert agrees(expected, printed) is same


@pytest.mark.parametrize(
    ("expected", "verdict"), [(STATE, "PASS"), (STATE.replace("Candidate", "Leader"), "FAIL"), ("ok\n", "FAIL")]
)
def test_a_file_passes_only_if_the_cluster_does_what_it_says(tmp_path: Path, expected: str, verdict: str) -> None:
    path = tmp_path / "file.txt"
    path.write_text(CLUSTER + expected)
    assert run_file(path).verdict == verdict
    assert main([str(tmp_path)]) == (0 if verdict == "PASS" else 1)


def test_rewrite_makes_a_file_pass(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text(CLUSTER + "ok\n")
    assert rewrite_file(path).verdict == "PASS"
    assert path.read_text() == CLUSTER + STATE


@pytest.mark.parametrize("text", ["# nothing\n", "no-such-command\n----\nok\n", "add-nodes 1 colour=red\n----\nok\n"])
def test_an_empty_or_unknown_file_fails(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file.txt"
    path.write_text(text)
    assert run_file(path).verdict == "FAIL"
