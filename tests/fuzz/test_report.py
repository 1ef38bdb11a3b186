"""What is made of libFuzzer's output, of its merges, and of a machine without it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from tests.fuzz import build, inputs
from tests.fuzz.__main__ import parse, tell
from tests.fuzz.report import as_command, excerpt, read_log, table

QUIET = """\
INFO: Loaded 26 modules   (30315 inline 8-bit counters): 1396 [0x1, 0x2),
INFO: Loaded 26 PC tables (30315 PCs): 1396 [0x1,0x2),
#2	INITED cov: 16 ft: 17 corp: 1/1b exec/s: 0 rss: 79Mb
#5	NEW    cov: 18 ft: 26 corp: 2/43b lim: 4096 exec/s: 0 rss: 79Mb L: 42/42 MS: 6 ChangeBinInt-
#318571	DONE   cov: 124 ft: 165 corp: 63/11913b lim: 4096 exec/s: 24505 rss: 474Mb
stat::number_of_executed_units: 318571
stat::average_exec_per_sec:     24505
stat::new_units_added:          62
"""

VIOLATED = """\
#2	INITED cov: 16 ft: 17 corp: 1/1b exec/s: 0 rss: 79Mb
#1024	pulse  cov: 99 ft: 100 corp: 63/11913b lim: 4096 exec/s: 24505 rss: 474Mb
INVARIANT VIOLATED: too much memory was held (70000 bytes for an input of 12)
==7== ERROR: libFuzzer: deadly signal
SUMMARY: libFuzzer: deadly signal
artifact_prefix='x/'; Test unit written to /somewhere/resp-crash-0a
"""


def test_a_run_without_findings():
    report = read_log("resp", QUIET, 0)
    assert report.ok
    assert report.artifact is None
    assert (report.executions, report.executions_per_second, report.new_entries) == (318571, 24505, 62)
    assert (report.edges_before, report.edges, report.features, report.instrumented_edges) == (16, 124, 165, 30315)


def test_a_broken_invariant():
    report = read_log("resp", VIOLATED, 77)
    assert not report.ok
    assert report.finding == "too much memory was held (70000 bytes for an input of 12)"
    assert report.artifact == Path("/somewhere/resp-crash-0a")
    assert (report.executions, report.edges) == (1024, 99)


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("a.cpp:4:6: runtime error: null pointer\nSUMMARY: Undefined\n", "a.cpp:4:6: runtime error: null pointer"),
        ("SUMMARY: AddressSanitizer: heap-buffer-overflow a.cpp:1\n", "AddressSanitizer: heap-buffer-overflow a.cpp:1"),
        ("Traceback\nImportError: no module\n", "ended with status 1: ImportError: no module"),
        ("", "ended with status 1: no output"),
    ],
)  # fmt: skip
def test_other_findings(text, finding):
    assert read_log("log", text, 1).finding == finding


def test_the_table_has_a_line_for_each_target():
    lines = table([read_log("resp", QUIET, 0), read_log("log", VIOLATED, 77)]).splitlines()
    assert [line.split()[0] for line in lines] == ["target", "resp", "log"]
    assert lines[1].split() == ["resp", "318571", "24505", "16", "124", "165", "62", "none"]
    assert lines[2].endswith("too much memory was held (70000 bytes for an input of 12)")


def test_what_is_kept_reaches_every_edge_with_few_and_short_inputs():
    control = "\n".join(
        [
            "4", "0", "/a", "/b", "/c", "/d",
            "STARTED 0 10", "FT 0 1 2", "COV 0 1 2 3", "STARTED 1 5", "FT 1 1 2", "COV 1 1 2 3",
            "STARTED 2 90", "FT 2 3", "COV 2 3 4", "STARTED 3 1", "FT 3 3", "COV 3 4",
        ]
    )  # fmt: skip
    assert inputs.cover(control) == [Path("/b"), Path("/d")]


@pytest.fixture
def folders(tmp_path, monkeypatch):
    for name in ("KEPT", "FOUND"):
        monkeypatch.setattr(inputs, name, tmp_path / name)
        (tmp_path / name / "resp").mkdir(parents=True)
    return tmp_path / "KEPT" / "resp", tmp_path / "FOUND" / "resp"


def test_keeping_replaces_what_fuzzing_found_and_nothing_else(folders):
    kept, found = folders
    former, stays = kept / "0123456789abcdef", kept / "fedcba9876543210"
    for path in (kept / "seed-a", kept / "once-a-finding", former, stays, found / "new"):
        path.write_bytes(path.name.encode())
    assert inputs.keep("resp", [kept / "seed-a", stays, found / "new"]) == 2
    assert {path.read_bytes() for path in kept.iterdir()} == {b"seed-a", b"once-a-finding", b"fedcba9876543210", b"new"}
    assert not former.exists()


def test_what_stays_in_any_case_is_merged_first(folders):
    kept, found = folders
    for path, size in ((kept / "seed-long", 9), (kept / "0123456789abcdef", 2), (found / "short", 1)):
        path.write_bytes(bytes(size))
    lines = inputs.control_of("resp").splitlines()
    assert lines == ["3", "0", *map(str, (kept / "seed-long", found / "short", kept / "0123456789abcdef"))]


def test_without_a_compiler_it_says_what_is_needed(monkeypatch):
    monkeypatch.setenv("CLANGXX", "no-such-compiler")
    with pytest.raises(SystemExit, match="libclang-rt"):
        build.find_compiler()


def test_a_compiler_without_the_libraries_is_none(tmp_path, monkeypatch):
    compiler = tmp_path / "clang++"
    compiler.write_text('#!/bin/sh\necho "${1#-print-file-name=}"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CLANGXX", str(compiler))
    with pytest.raises(SystemExit, match="libFuzzer"):
        build.find_compiler()


def test_every_module_that_a_target_touches_is_instrumented():
    modules = build.modules_under_test()
    assert {"tenure._fuzz.targets", "tenure._net.resp", "tenure._storage.recovery", "tenure._kv.store"} <= set(modules)
    assert not [name for name in modules if name.startswith(("tenure._proof", "tenure._bench"))]


def test_the_arguments_of_the_command():
    options = parse(["--seconds", "600", "--target", "resp", "--target", "log"])
    assert (options.seconds, options.target, options.jobs) == (600, ["resp", "log"], 1)
    with pytest.raises(SystemExit):
        parse(["--target", "nothing"])


def test_the_printed_input_is_made_anew_by_a_shell(tmp_path):
    """What a machine that is gone has printed is enough."""
    content = bytes(range(256)) * 40
    target = tmp_path / "build" / "it's found"
    subprocess.run(["bash", "-eu", "-o", "pipefail", "-c", as_command(content, target)], check=True)
    assert target.read_bytes() == content


@pytest.mark.parametrize(
    "begin",
    ["INVARIANT VIOLATED: a term fell", "==12== ERROR: libFuzzer: deadly signal", "a/b.cpp:1:2: runtime error: null"],
)
def test_the_excerpt_begins_with_the_trouble(begin):
    noise = "".join(f"#{i}\tNEW    cov: 1 ft: 1\n" for i in range(500))
    stack = "".join(f"    #{i} 0x1 in f\n" for i in range(9))
    assert excerpt(f"{noise}{begin}\n{stack}", lines=5).splitlines() == [begin, *stack.splitlines()[:4]]


def test_without_known_trouble_the_excerpt_is_the_end():
    assert excerpt("a\nb\nc\n", lines=2) == "b\nc"


def test_what_is_told_of_a_finding_is_enough_to_see_it_again(tmp_path, capsys):
    artifact = tmp_path / "crash-1"
    artifact.write_bytes(b"\0\1\2 canary")
    text = f"{QUIET}INVARIANT VIOLATED: a term fell\n    #0 0x1 in step\nTest unit written to {artifact}\n"
    tell(read_log("core", text, 77), text)
    told = capsys.readouterr().out
    assert "    #0 0x1 in step" in told
    (again,) = re.findall(r"^again: make fuzz TARGET=core FUZZ_INPUT=(.*)$", told, re.MULTILINE)
    (anew,) = re.findall(r"^on another machine, first: (.*)$", told, re.MULTILINE)
    artifact.unlink()
    subprocess.run(["bash", "-c", anew], check=True, cwd=build.ROOT)
    assert (build.ROOT / again).read_bytes() == b"\0\1\2 canary"
