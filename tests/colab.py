"""A machine like Colab's, for tests: the course is not installed, and no network.

At the repository's address git finds a copy of this checkout; what Colab lacks, pip finds as
wheels, packed out of the packages here.
"""

import os
import shutil
import subprocess
import venv
from importlib.metadata import distribution
from zipfile import ZipFile

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from install_cell import REPOSITORY
from notebooks import ROOT

HAS = "ipykernel joblib lxml matplotlib numpy pip pooch regex safetensors seaborn tabulate "
HAS += "tokenizers torch tqdm"
LACKS = {"colorama", "portalocker", "sacrebleu", "sacremoses"}
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


def outside(home):
    """Make what lies outside the machine; return the variables that lead git and pip there."""
    (home / "repository").mkdir()
    for name in PUBLISHED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, home / "repository" / name)
    git = ["git", "-C", home / "repository", "-c", "user.name=A", "-c", "user.email=a@b.c"]
    for command in ("init --quiet", "add .", "commit --quiet -m course"):
        subprocess.run([*git, *command.split()], check=True)
    for name in LACKS | with_all_they_need(["hatchling"]):
        pack(name, home)
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{home / 'repository'}.insteadOf",
        "GIT_CONFIG_VALUE_0": REPOSITORY,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_FIND_LINKS": home.as_uri(),
        "PIP_NO_INDEX": "1",
        "PYTHONPATH": "",
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
