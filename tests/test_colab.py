"""Each notebook in a simulated Colab: alone in an empty folder, the course not installed.

The first cell runs as it stands; but at the repository's address git finds a copy of this checkout,
and pip has no network: what Colab lacks comes from wheels, packed out of the packages here.
The exercises have their solutions filled in, so that one run proves both: the notebook works there,
and so do its solutions.
"""

import json
import os
import shutil
import subprocess
import venv
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZipFile

import pytest
from nbformat.v4 import new_code_cell
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from exercises import exercises, with_solutions
from install_cell import PYPROJECT, REPOSITORY
from notebooks import KERNEL, ROOT, execute, read, write

NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
COURSE = PYPROJECT["project"]["name"]
COLAB_HAS = "ipykernel joblib lxml matplotlib numpy pip pooch regex safetensors seaborn tabulate "
COLAB_HAS += "tokenizers torch tqdm"
COLAB_LACKS = {"colorama", "portalocker", "sacrebleu", "sacremoses"}
WHERE = "import google.colab, transformer_lib; print(transformer_lib.__file__)"
PUBLISHED = [".gitignore", "LICENSE", "README.md", "data", "pyproject.toml", "transformer_lib"]


def with_all_they_need(names):
    """Add to the names of installed packages what they depend on."""
    found, missing = set(), [*map(canonicalize_name, names)]
    while missing:
        name = missing.pop()
        found.add(name)
        needed = map(Requirement, distribution(name).requires or [])
        needed = {canonicalize_name(r.name) for r in needed if not r.marker or r.marker.evaluate()}
        missing += needed - found
    return found


def files(name):
    """List an installed package's files, without its commands and byte code."""
    own = distribution(name).files
    return [file for file in own if ".." not in file.parts and file.suffix != ".pyc"]


def pack(name, folder):
    """Make a wheel again of an installed package."""
    package = distribution(name)
    wheel = folder / f"{package.name.replace('-', '_')}-{package.version}-py3-none-any.whl"
    with ZipFile(wheel, "w") as archive:
        for file in files(name):
            archive.write(file.locate(), file)


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """Make what lies outside the machine; return the variables that lead git and pip there."""
    home = tmp_path_factory.mktemp("outside")
    (home / "repository").mkdir()
    for name in PUBLISHED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, home / "repository" / name)
    git = ["git", "-C", home / "repository", "-c", "user.name=A", "-c", "user.email=a@b.c"]
    for command in ("init --quiet", "add .", "commit --quiet -m course"):
        subprocess.run([*git, *command.split()], check=True)
    for name in COLAB_LACKS | with_all_they_need(["hatchling"]):
        pack(name, home)
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{home / 'repository'}.insteadOf",
        "GIT_CONFIG_VALUE_0": REPOSITORY,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_FIND_LINKS": home.as_uri(),
        "PIP_NO_INDEX": "1",
        "PYTHONPATH": "",
        "TRANSFORMER_LIB_MULTI30K": os.environ.get("TRANSFORMER_LIB_MULTI30K", "no-multi30k"),
    }


def machine(home, packages):
    """Make a Python that has these packages, as links to those here, and nothing else."""
    shared = home / "shared"
    (shared / "google" / "colab").mkdir(parents=True)  # can be imported, as it can there
    for name in packages:
        for top in {file.parts[0] for file in files(name)}:
            (shared / top).symlink_to(distribution(name).locate_file(top))
    venv.create(home / "venv", symlinks=True)
    python = home / "venv" / "bin" / "python"
    (site_packages(python) / "shared.pth").write_text(str(shared), "utf-8")
    return python


def site_packages(python):
    [folder] = python.parents[1].glob("lib/python*/site-packages")
    return folder


@pytest.fixture(scope="module")
def colab(outside, tmp_path_factory):
    """Make the machine; its kernel takes the place of the one here."""
    home = tmp_path_factory.mktemp("colab")
    python = machine(home, with_all_they_need(COLAB_HAS.split()))
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel = home / "kernels" / KERNEL["name"] / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps(KERNEL | {"argv": argv, "env": outside}), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(home))
        yield python


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_with_its_solutions_runs_in_colab(colab, shorten, path, tmp_path):
    notebook = with_solutions(read(path))
    notebook.cells.append(new_code_cell(WHERE))
    write(tmp_path / path.name, notebook)
    shorten(tmp_path)
    done = execute(tmp_path / path.name)
    assert Path(done.cells[-1].outputs[0].text.strip()).is_relative_to(site_packages(colab))
    for one in exercises(done):
        [output] = done.cells[one.check].outputs
        assert output.text.startswith("✓ "), output.text


@pytest.mark.slow
def test_installing_replaces_neither_torch_nor_numpy_however_new(outside, tmp_path):
    newer = {"torch": "2.99.0", "numpy": "3.0.0"}
    python = machine(tmp_path, with_all_they_need(COLAB_HAS.split()) - newer.keys())
    for name, version in newer.items():
        info = site_packages(python) / f"{name}-{version}.dist-info"
        info.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (info / "METADATA").write_text(metadata, "utf-8")
    command = [python, "-m", "pip", "install", "--quiet", "--dry-run", "--report", "-"]
    command.append(f"git+{REPOSITORY}")
    env = os.environ | outside
    report = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout
    planned = {package["metadata"]["name"] for package in json.loads(report)["install"]}
    assert planned == {COURSE} | COLAB_LACKS
