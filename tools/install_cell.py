"""The install cell, the first code cell of every notebook. Run this file to print it."""

import tomllib
from pathlib import Path

PYPROJECT = tomllib.loads(
    Path(__file__).resolve().parents[1].joinpath("pyproject.toml").read_text("utf-8")
)
REPOSITORY = PYPROJECT["project"]["urls"]["Repository"]

INSTALL_CELL = f"""\
import importlib.util
import subprocess
import sys
from pathlib import Path

if importlib.util.find_spec("transformer_lib") is None:
    source = "git+{REPOSITORY}"
    if Path("../transformer_lib").exists():
        source = ".."
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", source], check=True)
    importlib.invalidate_caches()"""

if __name__ == "__main__":
    print(INSTALL_CELL)
