"""Reads the generated C++ of a compiled module and tells which Python API a function calls.

"Runs without the GIL" and "builds nothing but its result" are promises about generated code, so tests look there:

    body = function_body(generated_file("tenure._core.fence"), "try_lease_read")
    assert python_calls(body) <= {"__Pyx_PyLong_From_int64_t"}
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GENERATED = ROOT / "build" / "cython" / "cpp"

# Expand to nothing, or to counting a reference, without a call: no allocation, no lookup, no GIL hand-over.
HARMLESS = frozenset(
    [
        "__Pyx_RefNannyDeclarations",
        "__Pyx_RefNannySetupContext",
        "__Pyx_RefNannyFinishContext",
        "__Pyx_XGIVEREF",
        "__Pyx_GIVEREF",
        "__Pyx_GOTREF",
        "__Pyx_XGOTREF",
        "__Pyx_TraceDeclarations",
        "__Pyx_INCREF",
        "__Pyx_XINCREF",
        "__Pyx_DECREF",
        "__Pyx_XDECREF",
        "__Pyx_DECREF_SET",
        "__Pyx_NewRef",
        "Py_INCREF",
        "Py_DECREF",
        "__Pyx_PyBool_FromLong",
    ]
)
CALL = re.compile(r"\b(_?Py[A-Z_]\w*|__Pyx_\w+)\s*\(")
COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.DOTALL)


def generated_file(module: str) -> Path:
    """The newest C++ file generated for a module such as `tenure._core.fence`."""
    found = list(GENERATED.rglob("/".join(module.split(".")) + ".cpp"))
    if not found:
        raise FileNotFoundError(f"no generated C++ of {module} under {GENERATED}: build in place first")
    return max(found, key=lambda path: path.stat().st_mtime)


def function_body(path: Path, name: str) -> str:
    """The body of the function `name`, without comments and strings.

    `name` is the name in the Cython source: of a method or `def` function (its implementation `__pyx_pf_`, not the
    argument parser), or of a `cdef` function (`__pyx_f_`).
    """
    text = COMMENT_OR_STRING.sub(" ", path.read_text())
    parts = path.with_suffix("").parts
    module = parts[len(parts) - 1 - parts[::-1].index("tenure") :]
    # Cython mangles a name as length and text of each package and class, with a running number before a method's name
    mangled = "".join(f"{len(part)}{part}_" for part in module)
    head_of = rf"^[\w \t*&:<>,]*\b__pyx_(?:pf|f)_{mangled}(?:\d+[A-Z]\w*?_)?\d*{re.escape(name)}\s*\("
    bodies = []
    for head in re.finditer(head_of, text, re.MULTILINE):
        parameters_end = _matching(text, head.end() - 1, "()")
        rest = re.compile(r"\s*(noexcept)?\s*\{").match(text, parameters_end + 1)
        if rest:
            start = rest.end() - 1
            bodies.append(text[start : _matching(text, start, "{}") + 1])
    if len(bodies) != 1:
        raise LookupError(f"{len(bodies)} definitions of {name!r} in {path}")
    return bodies[0]


def _matching(text: str, start: int, pair: str) -> int:
    depth = 0
    for at in range(start, len(text)):
        if text[at] == pair[0]:
            depth += 1
        elif text[at] == pair[1]:
            depth -= 1
            if depth == 0:
                return at
    raise ValueError("unbalanced " + pair)


def hot_part(body: str) -> str:
    """The body up to Cython's error exit, which only runs when an exception was raised."""
    return re.split(r"^\s*__pyx_L\d+_error:;", body, maxsplit=1, flags=re.MULTILINE)[0]


def python_calls(body: str) -> set[str]:
    """Python API functions and Cython helpers that the code calls, other than counting references."""
    return set(CALL.findall(body)) - HARMLESS
