"""Runs tests against the instrumented copies of the compiled modules. `python -m tests.sanitized thread tests/unit`

`make tsan` and `make asan` build the copies and come here. Each folder of tests is a run of its own, so that a crash in
one leaves the others. A sanitizer writes what it finds into a file for each process, and the files are judged at the
end: a report of any process fails the run, also one of a member that a test killed, or whose exit status nobody saw.

A test proves nothing about a process that runs other modules than the instrumented ones. So the processes that descend
from the run are looked at while it lasts, and one with a compiled module of ours from elsewhere fails the run too.

Exit status: 66 after a report or such a process, else that of the first run of pytest that failed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from collections import Counter
from pathlib import Path

from tests.compiled_sources import ROOT, compiled_modules

REPORTED = 66
LIBRARIES = {"thread": ("libtsan.so",), "address": ("libasan.so", "libubsan.so")}
FOLDERS = {"thread": "tsan", "address": "asan"}
LOOK_S = 0.5
SHOWN = 20
MAPPED = re.compile(r"\s(/.+\.so)$", re.MULTILINE)
MODULES = tuple(f"/{name.replace('.', '/')}{sysconfig.get_config_var('EXT_SUFFIX')}" for name in compiled_modules())
SUMMARY = re.compile(r"^(?:SUMMARY: .*|.*runtime error: .*|.*FATAL: .*)$", re.MULTILINE)
PROCESS = re.compile(r"^==\d+==|\(pid=\d+\)", re.MULTILINE)
# The two libraries of `address` have a report file each, and what the second one is told of it goes to the first one.
TELL_UBSAN = """
#include <dlfcn.h>
#include <stdlib.h>
__attribute__((constructor)) static void tell(void) {
    void *library = dlopen("libubsan.so.1", RTLD_LAZY | RTLD_NOLOAD);
    void *set = library ? dlsym(library, "__sanitizer_set_report_path") : 0;
    const char *path = getenv("UBSAN_REPORTS");
    if (set && path) ((void (*)(const char *))set)(path);
}
"""


def preloaded(sanitizer: str, build: Path) -> list[str]:
    """The sanitizer's libraries, in the order that they ask for, and what tells the second where to report."""
    found = [
        subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
        for name in LIBRARIES[sanitizer]
    ]
    if sanitizer == "address":
        tell = str(build / "tell_ubsan.so")
        compiler = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", tell, "-ldl"]
        subprocess.run(compiler, input=TELL_UBSAN, text=True, check=True)
        found.append(tell)
    return found


def environment(sanitizer: str, build: Path, reports: Path) -> dict[str, str]:
    """That of every process of the run: the instrumented modules come first, whatever its working directory."""
    log = f"log_path={reports / 'report'}"
    options = {
        "thread": {"TSAN_OPTIONS": f"exitcode={REPORTED} {log}"},
        "address": {
            # Python's own memory is not given back at its end. Who asks for too much gets null, as elsewhere.
            "ASAN_OPTIONS": f"detect_leaks=0 allocator_may_return_null=1 exitcode={REPORTED} {log}",
            "UBSAN_OPTIONS": f"print_stacktrace=1 exitcode={REPORTED}",
            "UBSAN_REPORTS": f"{reports / 'undefined'}",
            # what Python itself allocates is watched too, where it lets its allocator be chosen
            **({} if sysconfig.get_config_var("Py_GIL_DISABLED") else {"PYTHONMALLOC": "malloc"}),
        },
    }[sanitizer]
    preload = " ".join(preloaded(sanitizer, build))
    return {
        **os.environ,
        **options,
        "PYTHONPATH": str(build / "lib"),
        "LD_PRELOAD": preload,
        "TENURE_SANITIZED": sanitizer,
    }


def ancestry() -> dict[int, int]:
    """The parent of every process."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # behind the name, which may hold anything: state, parent, ...
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    return parents


class Watch(threading.Thread):
    """Looks at what the processes below this one have loaded."""

    def __init__(self, library: Path) -> None:
        super().__init__(name="watch", daemon=True)
        self.library = f"{library}/"
        self.over = threading.Event()
        self.instrumented: set[int] = set()
        self.strangers: dict[int, str] = {}

    def run(self) -> None:
        while not self.over.wait(LOOK_S):
            parents = ancestry()
            for pid in parents:
                if self.is_ours(pid, parents):
                    self.look_at(pid)

    @staticmethod
    def is_ours(pid: int, parents: dict[int, int]) -> bool:
        while pid in parents:
            pid = parents[pid]
            if pid == os.getpid():
                return True
        return False

    def look_at(self, pid: int) -> None:
        with contextlib.suppress(OSError):
            mapped = set(MAPPED.findall(Path(f"/proc/{pid}/maps").read_text()))
            modules = {path for path in mapped if path.endswith(MODULES)}
            elsewhere = {module for module in modules if not module.startswith(self.library)}
            if elsewhere and pid not in self.strangers:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                self.strangers[pid] = f"{min(elsewhere)}\n    in {command[:300]}"
            elif modules and not elsewhere:
                self.instrumented.add(pid)


def show(reports: Path) -> int:
    """Print what was found, the same thing once; returns how many processes reported."""
    files = [path for path in sorted(reports.iterdir()) if path.read_text(errors="replace").strip()]
    seen: Counter[str] = Counter()
    for path in files:
        text = path.read_text(errors="replace")
        kind = "\n".join(sorted(set(SUMMARY.findall(PROCESS.sub("", text))))) or text[:200]
        seen[kind] += 1
        if seen[kind] == 1 and len(seen) <= SHOWN:
            print(f"\n---- {path.relative_to(ROOT)}\n{text.rstrip()}", flush=True)
    if files:
        print("\n---- in short: how many processes reported what")
        for kind, count in seen.most_common():
            print(f"{count}: {kind}")
    return len(files)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sanitizer", choices=sorted(FOLDERS))
    parser.add_argument("tests", nargs="+", help="folders or files; each is a run of its own")
    parser.add_argument("--pytest-args", default="", help="more arguments of pytest, as one word")
    arguments = parser.parse_args()
    build = ROOT / "build" / FOLDERS[arguments.sanitizer]
    reports = build / "reports"
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    watch = Watch(build / "lib")
    watch.start()
    variables = environment(arguments.sanitizer, build, reports)
    status = 0
    for tests in arguments.tests:
        began = time.monotonic()
        code = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--timeout", "300"),
                *("-m", "not figures and not uninstrumented", tests, *arguments.pytest_args.split()),
            ],
            cwd=ROOT,
            env=variables,
            check=False,
        ).returncode
        print(f"{tests}: exit status {code} after {time.monotonic() - began:.0f} s", flush=True)
        status = status or code
    watch.over.set()
    watch.join()
    reported = show(reports)
    for stranger in watch.strangers.values():
        print(f"\n---- a process that is not instrumented: {stranger}")
    seen, others = len(watch.instrumented), len(watch.strangers)
    print(f"\n{seen} instrumented processes were seen, {others} others; {reported} reported")
    if reported or watch.strangers:
        return REPORTED
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
