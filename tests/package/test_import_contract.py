"""The arrows of the house point down, in the compiled core too, which the import linter cannot see."""

from __future__ import annotations

import ast

import pytest

from compiled_sources import PACKAGES, SOURCES, imported_names, module_name

# Each may use those after it. `_bench`, `_proof` and `_fuzz` judge: nobody below knows of them.
COMPILED_ORDER = ("_bench", "_proof", "_fuzz", "capi", "_host", "_kv", "_net", "_storage", "_raft", "_core")

SOURCE_FILES = sorted(path for path in SOURCES.rglob("*") if path.suffix in {".pyx", ".pxd", ".pxi"})


def package_of(name: str) -> str:
    """`tenure._raft.node` -> `_raft`."""
    return name.split(".")[1]


def upward(user: str, used: str) -> bool:
    """Whether the package `used` stands above `user`, or is none of the compiled core's own business."""
    if used not in COMPILED_ORDER:
        return used != "errors"  # the one Python module that the edge raises from
    return COMPILED_ORDER.index(used) < COMPILED_ORDER.index(user)


def violations(user: str, names) -> list[str]:
    return [name for name in names if upward(user, package_of(name))]


@pytest.mark.parametrize("path", SOURCE_FILES, ids=lambda path: str(path.relative_to(SOURCES)))
def test_a_compiled_source_uses_only_what_stands_below_it(path):
    assert not violations(package_of(module_name(path)), imported_names(path))


def test_every_compiled_package_has_its_place_in_the_order():
    assert {package_of(module_name(path)) for path in SOURCE_FILES} <= set(COMPILED_ORDER)


def test_the_source_root_never_shadows_the_compiler():
    assert not list(SOURCES.glob("__init__.*"))


@pytest.mark.parametrize(
    "line",
    [
        "from tenure._raft.node cimport Node",
        "from tenure._raft cimport node",
        "cimport tenure._raft.node",
        "    import tenure._raft.node as raft",
        "from tenure._raft.node cimport (\n    Node,\n    Ready,\n)",
        "from tenure.engine import Engine",
        "from tenure import engine",
    ],
)
def test_the_contract_sees_an_arrow_that_points_up(tmp_path, line):
    source = tmp_path / "clock.pyx"
    source.write_text(f'"""A module."""\n\n{line}\nfrom tenure._core.lease cimport Lease\n')
    assert violations("_core", imported_names(source))


def python_imports(path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update(f"{node.module}.{name.name}" for name in node.names)
    return found


def test_only_the_simulator_knows_the_proof_build():
    users = {
        str(path.relative_to(PACKAGES / "tenure"))
        for path in (PACKAGES / "tenure").rglob("*.py*")
        if path.suffix in {".py", ".pyi"}
        if any(name.startswith("tenure._proof") for name in python_imports(path))
    }
    assert {user for user in users if not user.startswith(("sim/", "_proof/"))} == set()
