"""The fuzzing build: what the targets use, compiled by clang with coverage and sanitizers, under `build/fuzz`.

Nothing in `src` is touched. What is up to date is not compiled again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.compiled_sources import ROOT, SOURCES, compiled_modules, dependencies, module_name

BUILD = ROOT / "build" / "fuzz"
ENGINE_SOURCE = Path(__file__).with_name("engine.cpp")
VERSIONS = range(30, 11, -1)

MISSING = """\
Fuzzing needs clang++ with its runtime libraries (libFuzzer and AddressSanitizer):
    Debian, Ubuntu   apt-get install clang libclang-rt-dev    (libclang-rt-VERSION-dev before Debian 12)
    Fedora           dnf install clang compiler-rt
or name a compiler in CLANGXX. The corpus is replayed without any of it: python -m pytest tests/fuzz"""


@dataclass(frozen=True)
class Compiler:
    command: str
    fuzzer_library: Path
    sanitizer_library: Path


def find_compiler() -> Compiler:
    """The first clang++ that has what it takes. Ends the program with what to install when there is none."""
    named = os.environ.get("CLANGXX")
    for command in [named] if named else ["clang++", *(f"clang++-{version}" for version in VERSIONS)]:
        if shutil.which(command) is None:
            continue
        machine = os.uname().machine
        fuzzer = runtime_library(command, f"libclang_rt.fuzzer_no_main-{machine}.a", "libclang_rt.fuzzer_no_main.a")
        sanitizer = runtime_library(command, f"libclang_rt.asan-{machine}.so", "libclang_rt.asan.so")
        if fuzzer and sanitizer:
            return Compiler(command, fuzzer, sanitizer)
    raise SystemExit(MISSING)


def runtime_library(command: str, *names: str) -> Path | None:
    for name in names:
        found = subprocess.run([command, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
        path = Path(found.stdout.strip())
        if path.is_absolute() and path.exists():
            return path
    return None


def modules_under_test() -> list[str]:
    """The targets, and every module that they cimport from, near or far."""
    files = set()
    for name, source in compiled_modules().items():
        if name.startswith("tenure._fuzz."):
            files |= dependencies(source)
    needed = {module_name(path) for path in files if path.suffix in {".pxd", ".pyx"}}
    waiting = [name for name in needed if name in compiled_modules()]
    while waiting:
        for path in dependencies(SOURCES.joinpath(*waiting.pop().split(".")).with_suffix(".pyx")):
            name = module_name(path)
            if path.suffix == ".pxd" and name in compiled_modules() and name not in needed:
                needed.add(name)
                waiting.append(name)
    return sorted(name for name in needed if name in compiled_modules())


def build(compiler: Compiler) -> None:
    names = ",".join(name.removeprefix("tenure.") for name in modules_under_test())
    c_compiler = compiler.command.replace("clang++", "clang")
    environment = {
        **os.environ,
        "TENURE_SANITIZE": "fuzz",
        "TENURE_ONLY": names,
        "CC": c_compiler,
        "CXX": compiler.command,
        "LDSHARED": f"{c_compiler} -shared",
        "LDCXXSHARED": f"{compiler.command} -shared",
    }
    folders = ["--build-base", str(BUILD), "--build-lib", str(BUILD / "lib")]
    subprocess.run([sys.executable, "setup.py", "--quiet", "build", *folders], check=True, cwd=ROOT, env=environment)
    engine = engine_library()
    newest = max(ENGINE_SOURCE.stat().st_mtime_ns, compiler.fuzzer_library.stat().st_mtime_ns)
    if not engine.exists() or engine.stat().st_mtime_ns < newest:
        subprocess.run(
            [compiler.command, "-shared", "-fPIC", "-O2", "-std=c++17", "-Wall", "-Wextra", "-o", str(engine),
             str(ENGINE_SOURCE), str(compiler.fuzzer_library), "-lpthread"],
            check=True,
        )  # fmt: skip


def engine_library() -> Path:
    return BUILD / "engine.so"


def environment(compiler: Compiler) -> dict[str, str]:
    """In which `tests.fuzz.worker` runs: engine and sanitizer first, instrumented modules before those in `src`."""
    return {
        **os.environ,
        "LD_PRELOAD": f"{engine_library()} {compiler.sanitizer_library}",
        "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": os.pathsep.join([str(BUILD / "lib"), str(ROOT)]),
    }
