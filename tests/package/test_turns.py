"""Two workers share a run: what is marked `alone` meets nobody, ordinary tests meet, and the order is right."""

import os
import subprocess
import sys
from pathlib import Path

import turns

TESTS = Path(__file__).parents[1]

FILE = """
import os, time
from pathlib import Path
import pytest

PLACE = Path({place!r})

def stay(name):
    mine = PLACE / name
    mine.touch()
    seen = set()
    for _ in range(20):
        seen |= {{path.name for path in PLACE.iterdir() if not path.suffix}}
        time.sleep(0.01)
    mine.unlink()
    mine.with_suffix(".met").write_text(" ".join(sorted(seen - {{name}})))

@pytest.mark.parametrize("i", range(3))
def test_ordinary(i):
    stay(f"ordinary-{file}-{{i}}")

def test_ordinary_tests_meet():
    PLACE.joinpath("here-{file}.mark").touch()
    give_up = time.monotonic() + 30
    while len(list(PLACE.glob("here-*.mark"))) < 2:
        assert time.monotonic() < give_up
        time.sleep(0.01)

@pytest.mark.{mark}
@pytest.mark.parametrize("i", range(2))
def test_lonely(i):
    stay(f"lonely-{file}-{{i}}")
"""


def test_what_is_marked_alone_meets_nobody(tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    alone: a\n    figures: b\n")
    for file, mark in (("a", "alone"), ("b", "figures")):
        text = FILE.format(place=str(place), file=file, mark=mark)
        (tmp_path / f"test_{file}.py").write_text(text)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "turns", "-q", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder",
         "-p", "no:cacheprovider", "-c", str(tmp_path / "pytest.ini"), str(tmp_path)],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(TESTS)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "12 passed" in ran.stdout
    met = {path.stem: path.read_text().split() for path in place.glob("*.met")}
    assert len(met) == 10
    assert {name: others for name, others in met.items() if name.startswith("lonely") and others} == {}


class Item:
    """As much of a test as its place in the order depends on."""

    def __init__(self, path, name, marks=(), fixturenames=()):
        self.path, self.name, self.marks, self.fixturenames = path, name, marks, fixturenames

    def get_closest_marker(self, name):
        return name if name in self.marks else None


def test_files_that_wait_for_the_wheel_come_first_and_lonely_ones_last():
    items = [
        Item("a", "1", marks=["figures"]), Item("a", "2"), Item("b", "3"), Item("c", "4"),
        Item("c", "5", fixturenames=["distributions"]), Item("d", "6", marks=["alone"]),
        Item("e", "7", marks=["timeout"]),
    ]  # fmt: skip
    assert [item.name for item in turns.in_order(items)] == ["4", "5", "3", "7", "1", "2", "6"]


def test_every_test_of_the_faults_is_alone(request):
    """Of this run; there are none of them when it is of other tests."""
    faults = [item for item in request.session.items if (TESTS / "faults") in item.path.parents]
    assert all(map(turns.is_alone, faults))
