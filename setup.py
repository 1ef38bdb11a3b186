"""Builds the compiled core.

Every `cython/tenure/**/X.pyx` becomes the extension module of the same dotted name. The pure Raft sources are built a
second time under `tenure._proof.raft`, with the guard switches compiled in (TENURE_PROOF): that copy is what the
simulator judges, and no production module links it.

Cython runs when `build_ext` does, so that metadata and source distributions cost nothing.

Environment:
    TENURE_JOBS=N                    compile N modules at a time (default: the cores this process may use)
    TENURE_ONLY=_core,_raft          build only modules whose name below `tenure.` starts with one of these
    TENURE_SANITIZE=thread|address   instrument our modules (run under LD_PRELOAD of the sanitizer's library)
    TENURE_SANITIZE=fuzz             the same with coverage, for clang (CC, CXX): `python -m tests.fuzz` sees to it
    TENURE_ABI3=1                    build for the stable ABI of CPython 3.12 and later (3.12+, not free-threaded)
    TENURE_WITHOUT_EXPIRY_CHECK=1    UNSAFE: leases never expire. For the test in tests/faults/ that must fail
                                     without the check; only `build_ext` into build/unguarded accepts it
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
SOURCES = Path("cython")
PACKAGES = Path("src")
GENERATED = Path("build/cython")
PROOF_SOURCES = GENERATED / "proof"
PUBLIC_INTERFACE = ("capi.pxd", "capi.hpp")

COMPILE = [
    "-std=c++17",
    "-O2",
    "-g1",
    "-fno-strict-aliasing",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    "-Wno-unused-parameter",
    "-Wno-unused-function",
    "-Wno-missing-field-initializers",
]
SANITIZERS = {
    "thread": ["-fsanitize=thread"],
    "address": ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"],
    "fuzz": [
        "-fsanitize=fuzzer-no-link,address,undefined",
        "-fno-sanitize=function,vptr",
        "-fno-sanitize-recover=undefined",
        "-shared-libasan",
        "-w",  # warnings are g++'s to give
    ],
}
DIRECTIVES = {
    "language_level": 3,
    "binding": False,
    "embedsignature": True,
    "embedsignature.format": "clinic",
    "auto_pickle": False,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "freethreading_compatible": True,
    "legacy_implicit_noexcept": False,
}
ABI3 = os.environ.get("TENURE_ABI3") == "1"
ABI3_VERSION = (3, 12)
WITHOUT_EXPIRY_CHECK = os.environ.get("TENURE_WITHOUT_EXPIRY_CHECK") == "1"
UNGUARDED = Path("build/unguarded")


def jobs() -> int:
    """How many modules to translate or compile at a time."""
    return int(os.environ.get("TENURE_JOBS") or len(os.sched_getaffinity(0)))


def generate_proof_sources() -> None:
    """Copy `_raft`, sources and stubs, to `_proof/raft` under its second name.

    A copy gets its source's time stamp, so that an incremental build stays incremental and a later edit is seen.
    """
    for source_root, target_root, suffixes in (
        (SOURCES, PROOF_SOURCES, {".pyx", ".pxd", ".hpp"}),
        (PACKAGES, PACKAGES, {".pyi"}),
    ):
        source_folder = source_root / "tenure" / "_raft"
        target_folder = target_root / "tenure" / "_proof" / "raft"
        target_folder.mkdir(parents=True, exist_ok=True)
        wanted = set()
        for source in sorted(source_folder.iterdir()) if source_folder.exists() else ():
            if source.suffix in suffixes:
                target = target_folder / source.name
                text = re.sub(r"\btenure\._raft\b", "tenure._proof.raft", source.read_text())
                modified_ns = source.stat().st_mtime_ns
                if not target.exists() or target.stat().st_mtime_ns != modified_ns or target.read_text() != text:
                    target.write_text(text)
                    os.utime(target, ns=(modified_ns, modified_ns))
                wanted.add(source.name)
        for stale in target_folder.iterdir():
            if stale.suffix in suffixes and stale.name not in wanted:
                stale.unlink()


def extensions() -> list[Extension]:
    """One module for every `.pyx`, with the switches of the environment."""
    chosen = os.environ.get("TENURE_SANITIZE")
    sanitizer = [*SANITIZERS[chosen], "-g", "-fno-omit-frame-pointer"] if chosen else []
    only = tuple(filter(None, os.environ.get("TENURE_ONLY", "").split(",")))
    found = []
    for root in (SOURCES, PROOF_SOURCES):
        for source in sorted(root.rglob("*.pyx")):
            name = ".".join(source.relative_to(root).with_suffix("").parts)
            if only and not name.removeprefix("tenure.").startswith(only):
                continue
            macros: list[tuple[str, str | None]] = []
            if name.startswith("tenure._proof."):
                macros.append(("TENURE_PROOF", "1"))
            if WITHOUT_EXPIRY_CHECK:
                macros.append(("TENURE_WITHOUT_EXPIRY_CHECK", "1"))
            if ABI3:
                macros.append(("Py_LIMITED_API", "0x{:02X}{:02X}0000".format(*ABI3_VERSION)))
            found.append(
                Extension(
                    name,
                    [str(source)],
                    language="c++",
                    include_dirs=[str(SOURCES)],
                    define_macros=macros,
                    extra_compile_args=[*COMPILE, *sanitizer],
                    extra_link_args=["-pthread", *sanitizer],
                    py_limited_api=ABI3,
                )
            )
    return found


def with_included_headers(headers: list[str]) -> list[str]:
    """Add the headers of ours that these headers include, at any depth: Cython knows only the first step."""
    found: list[str] = []
    waiting = list(headers)
    while waiting:
        header = waiting.pop()
        if header in found:
            continue
        found.append(header)
        if header.endswith(".hpp") and Path(header).exists():
            included = re.findall(r'^\s*#\s*include\s+"(tenure/[^"]+)"', Path(header).read_text(), re.MULTILINE)
            waiting.extend(str(SOURCES / name) for name in included)
    return sorted(found)


class BuildExt(build_ext):
    """Translates the `.pyx` files and compiles them, several at a time."""

    def finalize_options(self) -> None:
        super().finalize_options()
        if not self.parallel:
            self.parallel = jobs()
        if WITHOUT_EXPIRY_CHECK:
            for folder in (self.build_lib, self.build_temp):
                if self.inplace or not Path(folder).resolve().is_relative_to(ROOT / UNGUARDED):
                    raise SystemExit(f"TENURE_WITHOUT_EXPIRY_CHECK=1 is unsafe: it builds into {UNGUARDED} alone")

    def run(self) -> None:
        from Cython.Build import cythonize

        translated = cythonize(
            self.extensions,
            include_path=[str(SOURCES), str(PROOF_SOURCES)],
            build_dir=str(GENERATED / "cpp"),
            compiler_directives=DIRECTIVES,
            nthreads=jobs(),
            quiet=not self.distribution.verbose,
        )
        for module, result in zip(self.extensions, translated, strict=True):
            module.sources = result.sources
            module.depends = with_included_headers(result.depends)
        super().run()


class BuildPy(build_py):
    """Ships the public C interface: `tenure/capi.pxd` and the header it needs."""

    def run(self) -> None:
        if WITHOUT_EXPIRY_CHECK:
            raise SystemExit("TENURE_WITHOUT_EXPIRY_CHECK=1 is unsafe: nothing built with it is packaged or installed")
        super().run()
        if not self.editable_mode:
            for source in self.interface():
                target = Path(self.build_lib) / "tenure" / source.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        outputs: list[str] = super().get_outputs(include_bytecode)
        return [*outputs, *(str(Path(self.build_lib) / "tenure" / source.name) for source in self.interface())]

    @staticmethod
    def interface() -> list[Path]:
        sources = (SOURCES / "tenure" / name for name in PUBLIC_INTERFACE)
        return [source for source in sources if source.exists()]


if ABI3 and (sys.version_info < ABI3_VERSION or sysconfig.get_config_var("Py_GIL_DISABLED")):
    raise SystemExit("TENURE_ABI3=1 needs CPython 3.12 or later with the GIL; build without it for this interpreter")

os.chdir(ROOT)
generate_proof_sources()
setup(
    cmdclass={"build_ext": BuildExt, "build_py": BuildPy},
    ext_modules=extensions(),
    options={"bdist_wheel": {"py_limited_api": "cp{}{}".format(*ABI3_VERSION)}} if ABI3 else {},
)
