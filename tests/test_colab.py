"""Colab has a torch and a numpy of its own: installing the course there must leave them alone."""

import json
import os
import subprocess

import pytest

from colab import HAS, LACKS, machine, outside, site_packages, with_all_they_need
from install_cell import PYPROJECT, REPOSITORY


@pytest.mark.slow
def test_installing_replaces_neither_torch_nor_numpy_however_new(tmp_path):
    newer = {"torch": "2.99.0", "numpy": "3.0.0"}
    python = machine(tmp_path / "machine", with_all_they_need(HAS.split()) - newer.keys())
    for name, version in newer.items():
        info = site_packages(python) / f"{name}-{version}.dist-info"
        info.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (info / "METADATA").write_text(metadata, "utf-8")
    command = [python, "-m", "pip", "install", "--quiet", "--dry-run", "--report", "-"]
    command.append(f"git+{REPOSITORY}")
    env = os.environ | outside(tmp_path)
    report = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout
    planned = {package["metadata"]["name"] for package in json.loads(report)["install"]}
    assert planned == {PYPROJECT["project"]["name"]} | LACKS
