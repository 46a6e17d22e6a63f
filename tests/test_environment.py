"""The files that say what to install agree with one another."""

import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from notebooks import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
CONDA_NAMES = {"pytorch": "torch"}


def requirements(lines):
    """Map each name to its version range."""
    parsed = [Requirement(line) for line in lines]
    return {canonicalize_name(r.name): r.specifier for r in parsed}


RUN = requirements(PROJECT["dependencies"] + EXTRAS["lab"])
ALL = RUN | requirements(EXTRAS["dev"] + EXTRAS["book"])


@pytest.mark.parametrize("name", ALL)
def test_metadata_holds_one_lower_bound(name):
    assert [bound.operator for bound in ALL[name]] == [">="]


def test_conda_environment_is_the_same():
    lines = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    assert lines.pop() == {"pip": ["-e ."]}
    conda = requirements(lines)
    assert str(conda.pop("python")) == PROJECT["requires-python"]
    assert str(conda.pop("pip")) == ""
    assert {CONDA_NAMES.get(name, name): bound for name, bound in conda.items()} == RUN


@pytest.mark.parametrize("name", ALL)
def test_constraints_pin_one_version_within_the_bounds(name):
    pins = requirements((ROOT / "constraints.txt").read_text("utf-8").splitlines())
    (pin,) = pins[name]
    assert pin.operator == "=="
    assert pin.version in ALL[name]


def test_torch_is_pinned_for_every_platform():
    assert "torch==2.13.0\n" in (ROOT / "constraints.txt").read_text("utf-8")


def test_no_start_waits_for_parsers_that_nobody_uses():
    pins = requirements((ROOT / "constraints.txt").read_text("utf-8").splitlines())
    assert "jsonschema" in pins
    assert "rfc3987-syntax" not in pins  # builds 38 of them whenever jsonschema is imported
