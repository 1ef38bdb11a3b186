"""Where inputs are kept, and which of those that were found are worth keeping.

`tests/fuzz/corpus/TARGET` is part of the repository: seeds (`seed-...`) and what fuzzing found besides. A run also
reads and extends `build/fuzz/corpus/TARGET`, which stays on the machine.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from tests.fuzz.build import BUILD

KEPT = Path(__file__).with_name("corpus")
FOUND = BUILD / "corpus"
FOUND_NAME = re.compile("[0-9a-f]{16}")


def control_of(target: str) -> str:
    """What libFuzzer's merge reads: every input of a target, what stays in any case first, then the shorter ones."""
    paths = [path for folder in (KEPT / target, FOUND / target) if folder.is_dir() for path in folder.iterdir()]
    paths.sort(key=lambda path: (path.parent != KEPT / target or is_by_fuzzing(path), path.stat().st_size, path.name))
    return f"{len(paths)}\n0\n" + "".join(f"{path}\n" for path in paths)


def is_by_fuzzing(path: Path) -> bool:
    """Whether a kept input may be replaced: seeds have names, and so have inputs that once were findings."""
    return FOUND_NAME.fullmatch(path.name) is not None


def cover(control: str) -> list[Path]:
    """A small set of inputs that reaches every edge that all of them reach, from libFuzzer's merge control file.

    The file says of each input which edges it reached first. Greedy: the input that adds most comes next; of two that
    add as much, the shorter one.
    """
    sizes: dict[int, int] = {}
    edges: dict[int, set[int]] = {}
    lines = control.splitlines()
    count = int(lines[0])
    names = lines[2 : 2 + count]
    for line in lines[2 + count :]:
        word, number, *rest = line.split()
        if word == "STARTED":
            sizes[int(number)] = int(rest[0])
        elif word == "COV":
            edges[int(number)] = set(map(int, rest))
    chosen = []
    reached: set[int] = set()
    while edges:
        best = max(edges, key=lambda i: (len(edges[i] - reached), -sizes[i], -i))
        if not edges[best] - reached:
            break
        reached |= edges.pop(best)
        chosen.append(Path(names[best]))
    return chosen


def keep(target: str, chosen: list[Path]) -> int:
    """Replace what was kept of former runs by the chosen inputs; how many those are."""
    folder = KEPT / target
    contents = {path: path.read_bytes() for path in chosen if path.parent != folder or is_by_fuzzing(path)}
    for stale in folder.iterdir():
        if is_by_fuzzing(stale):
            stale.unlink()
    for content in contents.values():
        (folder / hashlib.sha1(content, usedforsecurity=False).hexdigest()[:16]).write_bytes(content)
    return len(contents)
