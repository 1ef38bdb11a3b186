"""What `make tsan` and `make asan` see of the processes below them: every kind of report, modules of another build."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests import sanitized

import tenure

MISTAKES = """
#include <pthread.h>
#include <string.h>
#include <stdlib.h>
int number, shift = 40;
static void *body(void *unused) { number++; return unused; }
void thread(void) {
    pthread_t other;
    pthread_create(&other, 0, body, 0);
    number++;
    pthread_join(other, 0);
}
void heap(void) { char *memory = malloc(8); memset(memory, 0, shift); free(memory); }
void undefined(void) { number <<= shift; }
"""
FLAGS = {"thread": "-fsanitize=thread", "address": "-fsanitize=address,undefined"}


@pytest.mark.uninstrumented
@pytest.mark.parametrize(
    ("sanitizer", "mistake", "said"),
    [
        ("thread", "thread", "data race"),
        ("address", "heap", "heap-buffer-overflow"),
        ("address", "undefined", "shift exponent 40 is too large"),
    ],
)
def test_a_report_of_a_process_that_nobody_waits_for_is_found(tmp_path, monkeypatch, capsys, sanitizer, mistake, said):
    """Fails when a sanitizer writes where only the process's own parent could see it."""
    monkeypatch.setattr(sanitized, "ROOT", tmp_path)
    reports = tmp_path / "reports"
    reports.mkdir()
    library = tmp_path / "mistakes.so"
    compiler = ["gcc", "-shared", "-fPIC", "-g", "-x", "c", "-", "-o", str(library), FLAGS[sanitizer], "-pthread"]
    flags = ["-fno-sanitize-recover=undefined"] if sanitizer == "address" else []
    subprocess.run([*compiler, *flags], input=MISTAKES, text=True, check=True)
    child = f"import ctypes; ctypes.CDLL({str(library)!r}).{mistake}()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], stderr=subprocess.DEVNULL)"
    variables = sanitized.environment(sanitizer, tmp_path, reports)
    subprocess.run([sys.executable, "-c", parent], env=variables, check=True, cwd=tmp_path)
    assert sanitized.show(reports) == 1
    assert said in capsys.readouterr().out


def test_silence_is_no_report(tmp_path, capsys):
    (tmp_path / "report.1").write_text("\n")
    assert sanitized.show(tmp_path) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("ours", [True, False])
def test_a_process_below_with_modules_of_another_build_is_noticed(tmp_path, ours):
    """Fails when a run over other modules than the instrumented ones passes for a proof."""
    packages = Path(tenure.__file__).parents[1]
    watch = sanitized.Watch(packages if ours else tmp_path)
    program = "import sys, tenure._core.clock; sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
    try:
        watch.start()
        end = time.monotonic() + 30
        while not (watch.instrumented or watch.strangers):
            assert time.monotonic() < end, "the process below was not seen"
            time.sleep(0.01)
    finally:
        watch.over.set()
        watch.join()
        child.communicate()
    assert (set(watch.instrumented), set(watch.strangers)) == (({child.pid}, set()) if ours else (set(), {child.pid}))
