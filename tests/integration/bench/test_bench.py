"""`tenure bench` runs, reports what it promises, and draws: with little effort, and no word on absolute speed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time

import pytest

pytestmark = [pytest.mark.timeout(120), pytest.mark.alone]

FIELDS = {"name", "value", "unit", "reference", "ratio", "goal", "met"}
SAMPLE_FIELDS = {"n", "min", "p50", "p90", "p99", "p99.9", "max"}
SENTENCE = re.compile(r"(ratio|value) (<=|>=) ([\d.]+)")


def tenure(*arguments, **kwargs):
    environment = {**os.environ, "COLUMNS": "160", **kwargs.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-m", "tenure.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        env=environment,
        check=False,
        **kwargs,
    )


@pytest.fixture(scope="module")
def short_run(tmp_path_factory):
    pytest.importorskip("rich")
    place = tmp_path_factory.mktemp("bench")
    began = time.monotonic()
    drawn = ("--plot", str(place / "pictures")) if matplotlib_is_there() else ()
    done = tenure("bench", "--short", "--json", str(place / "found.json"), *drawn)
    assert done.returncode == 0, done.stdout + done.stderr
    return place, done, time.monotonic() - began


def matplotlib_is_there():
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True


@pytest.fixture
def findings(short_run):
    return json.loads((short_run[0] / "found.json").read_text())


def test_it_ends_in_time(short_run):
    assert short_run[2] < 45


def test_every_finding_has_the_promised_shape(findings):
    for finding in findings:
        assert finding.keys() >= FIELDS
        assert isinstance(finding["value"], float | int)
        assert finding["value"] > 0, finding
        assert finding["unit"]
        assert isinstance(finding["met"], bool | None)
        for samples in filter(None, (finding["samples"], finding["reference_samples"])):
            assert samples.keys() == SAMPLE_FIELDS
            assert samples["n"] > 0
            assert (
                samples["min"]
                <= samples["p50"]
                <= samples["p90"]
                <= samples["p99"]
                <= samples["p99.9"]
                <= samples["max"]
            )


def test_ratio_and_verdict_follow_from_the_numbers(findings):
    judged = 0
    for finding in findings:
        if finding["reference"] is None:
            assert finding["ratio"] is None
        else:
            assert finding["ratio"] == pytest.approx(finding["value"] / finding["reference"], rel=0.01)
        for goal, met in ((finding["goal"], finding["met"]), (finding["floor"], finding["floor_met"])):
            if goal is None:
                assert met is None
                continue
            of, sign, bound = SENTENCE.fullmatch(goal).groups()
            assert met == (finding[of] <= float(bound) if sign == "<=" else finding[of] >= float(bound))
            judged += 1
    assert judged >= 10


def test_what_is_measured(findings):
    names = [finding["name"] for finding in findings]
    assert len(set(names)) == len(names)
    for part in (
        "fence from Python", "fence in compiled code", "lease_read(), live leader", "ReadIndex p50", "ReadIndex p99",
        "durable write p50", "durable write p99", "writes per fdatasync, 64 callers", "durable writes, 64 callers",
        "apply loop, native machine", "memory overhead a key", "idle, three members",
    ):  # fmt: skip
        assert part in names


def test_a_lease_read_is_far_below_a_quorum_round_and_that_is_below_a_durable_write(findings):
    found = {finding["name"]: finding["value"] for finding in findings}
    read_us, write_us = found["ReadIndex p50"], found["durable write p50"]
    assert found["lease_read(), live leader"] / 1e3 < read_us / 20
    assert read_us < write_us * 3  # memory may stand in for a disk where this runs


def test_writes_of_many_callers_share_a_sync(findings):
    found = {finding["name"]: finding["value"] for finding in findings}
    assert 2 < found["writes per fdatasync, 64 callers"] <= 64


def test_the_table_shows_every_finding(short_run, findings):
    for finding in findings:
        assert finding["name"] in short_run[1].stdout


def test_the_pictures_are_there_and_the_page_needs_nothing_else(short_run):
    pytest.importorskip("matplotlib")
    pictures = short_run[0] / "pictures"
    assert (pictures / "latency.png").read_bytes().startswith(b"\x89PNG")
    page = (pictures / "latency.html").read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)\s*=|url\(|@import|fetch\(|https?://(?!www\.w3\.org/2000/svg)""", page)
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL).group(1))
    assert [shape["name"] for shape in data["shapes"] if not shape["bare"]] == [
        "lease read",
        "ReadIndex",
        "durable write",
    ]


def test_nothing_is_left_behind(short_run):
    plain = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}  # ps hangs with a sanitizer
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True, env=plain).stdout
    assert "tenure-bench-" not in left


def test_a_missing_extra_gets_a_sentence(tmp_path):
    (tmp_path / "matplotlib.py").write_text("raise ModuleNotFoundError('no', name='matplotlib')\n")
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH", ""))))
    done = tenure("bench", "--plot", str(tmp_path / "p"), env={"PYTHONPATH": path})
    assert done.returncode == 69
    assert "tenure[bench]" in done.stderr
    assert "Traceback" not in done.stderr
