"""Where inputs are kept, and which of those that were found are worth keeping.

`tests/fuzz/corpus/TARGET` is part of the repository: seeds (`seed-...`) and what fuzzing found besides. A run also
reads and extends `build/fuzz/corpus/TARGET`, which stays on the machine.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.fuzz.build import BUILD

KEPT = Path(__file__).with_name("corpus")
FOUND = BUILD / "corpus"


def cover(control: str) -> list[Path]:
    """A small set of inputs that reaches every edge that all of them reach, from libFuzzer's merge control file.

    Greedy: the input that adds most comes next; of two that add as much, the shorter one.
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
    """Replace what was kept besides the seeds by the chosen inputs; how many those are."""
    folder = KEPT / target
    contents = {path: path.read_bytes() for path in chosen if not path.name.startswith("seed-")}
    for stale in folder.iterdir():
        if not stale.name.startswith("seed-"):
            stale.unlink()
    for content in contents.values():
        (folder / hashlib.sha1(content, usedforsecurity=False).hexdigest()[:16]).write_bytes(content)
    return len(contents)
