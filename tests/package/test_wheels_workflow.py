"""The workflow that builds wheels: it parses, the link points the right way, and it builds what is promised."""

import itertools
import re

import pytest
import yaml

from compiled_sources import ROOT

WORKFLOW = ROOT / ".github" / "workflows" / "wheels.yml"
LINK = ROOT / "wheels.yml"

pytestmark = pytest.mark.skipif((ROOT / "PKG-INFO").exists(), reason="a source distribution carries no workflows")


@pytest.fixture(scope="module")
def workflow():
    return yaml.safe_load(WORKFLOW.read_text())


def steps(workflow):
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def builder(workflow):
    (step,) = [step for step in workflow["jobs"]["wheels"]["steps"] if "cibuildwheel" in step.get("uses", "")]
    return step


def test_the_top_level_name_is_a_relative_link_to_the_real_file():
    assert not WORKFLOW.is_symlink()
    assert LINK.is_symlink()
    assert str(LINK.readlink()) == ".github/workflows/wheels.yml"


def test_it_builds_the_promised_wheels(workflow):
    matrix = workflow["jobs"]["wheels"]["strategy"]["matrix"]
    built = set(itertools.product(matrix["build"], matrix["libc"], matrix["arch"]))
    interpreters = ("cp311", "cp312", "cp314t", "cp315t")
    assert built == set(itertools.product(interpreters, ("manylinux", "musllinux"), ("x86_64", "aarch64")))
    assert matrix["include"] == [{"build": "cp312", "abi3": "1"}]
    environment = builder(workflow)["env"]
    assert environment["CIBW_BUILD"] == "${{ matrix.build }}-${{ matrix.libc }}_${{ matrix.arch }}"
    assert environment["CIBW_MANYLINUX_X86_64_IMAGE"] == environment["CIBW_MANYLINUX_AARCH64_IMAGE"] == "manylinux_2_28"
    assert environment["CIBW_MUSLLINUX_X86_64_IMAGE"] == environment["CIBW_MUSLLINUX_AARCH64_IMAGE"] == "musllinux_1_2"


def test_wheels_are_made_from_the_source_distribution_and_tested(workflow):
    assert workflow["jobs"]["wheels"]["needs"] == "sdist"
    assert builder(workflow)["with"]["package-dir"] == "source"
    assert "import tenure" in builder(workflow)["env"]["CIBW_TEST_COMMAND"]
    assert "tests/unit" in builder(workflow)["env"]["CIBW_TEST_COMMAND"]


def test_every_checkout_fetches_the_tags_that_the_version_comes_from(workflow):
    checkouts = [step for step in steps(workflow) if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["fetch-depth"] == 0 for step in checkouts)


def test_actions_are_pinned_by_major_version(workflow):
    used = [step["uses"] for step in steps(workflow) if "uses" in step]
    assert used
    assert [name for name in used if not re.fullmatch(r"[\w./-]+@(release/)?v\d+(\.\d+)?", name)] == []
