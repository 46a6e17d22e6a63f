"""Who may import whom, and what `import transformer_lib` does (next to nothing)."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import transformer_lib

FOLDER = Path(transformer_lib.__file__).parent
MODULES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
CHECKERS = sorted(FOLDER.glob("checks/*.py"))

# A module imports only from floors below its own.
FLOORS = (
    {"data", "text"},  # special tokens, vocabularies, batches, ordinary text: no model
    {"attention", "masks", "embeddings", "feed_forward"},
    {"multi_head"},
    {"encoder", "decoder"},
    {"transformer"},
    {"checkpoint"},
    {"attention_maps"},
    {"decoding"},
    {"training"},
    {"break_it", "presets"},
    {"checks"},
    {"__main__"},
)
# These take arrays, strings and torch's modules, so they need none of the model's.
FREE_STANDING = {"plots", "viewer", "parity", "metrics"}
DRAWING = {"matplotlib", "seaborn"}


def imports(source):
    """Names of everything that a source imports, at its top or in its functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(filter(None, ["transformer_lib" * bool(node.level), node.module]))
            if package == "transformer_lib":  # from transformer_lib import masks, causal_mask
                yield from (f"{package}.{alias.name}" for alias in node.names)
            else:
                yield package


def allowed(module):
    """Modules of ours that `module` may import."""
    if module in FREE_STANDING:
        return {"plots"} if module == "viewer" else set()  # for the pictures it saves
    floor = next(i for i, names in enumerate(FLOORS) if module in names)
    below = set().union(*FLOORS[:floor])
    return below | FREE_STANDING if module in ("checks", "__main__") else below


def forbidden(module, source):
    """Imports that break a rule."""
    ours = [name.split(".") for name in imports(source)]
    used = {name[1] if len(name) > 1 else "*" for name in ours if name[0] == "transformer_lib"}
    drawing = {name[0] for name in ours} & DRAWING
    return used - allowed(module) | (set() if module == "plots" else drawing)


def test_every_module_has_a_floor():
    known = FREE_STANDING.union(*FLOORS)
    assert set(MODULES) <= known, "give the new module a floor in this file"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_floors_below(module):
    source = (FOLDER / f"{module}.py").read_text(encoding="utf-8")
    assert forbidden(module, source) == set()


@pytest.mark.parametrize("path", CHECKERS, ids=lambda path: path.stem)
def test_checkers_import_from_floors_below_and_from_each_other(path):
    assert forbidden("checks", path.read_text(encoding="utf-8")) <= {"checks"}


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("masks", "import transformer_lib.attention", {"attention"}),
        ("encoder", "from transformer_lib.decoder import Decoder", {"decoder"}),
        ("encoder", "from .transformer import Transformer", {"transformer"}),
        ("encoder", "from . import decoder", {"decoder"}),
        ("encoder", "from transformer_lib import multi_head, plots", {"plots"}),
        ("encoder", "from transformer_lib import MultiHeadAttention", {"MultiHeadAttention"}),
        ("encoder", "import transformer_lib", {"*"}),
        ("plots", "def f():\n    from transformer_lib.masks import causal_mask", {"masks"}),
        ("viewer", "import matplotlib.pyplot as plt", {"matplotlib"}),
        ("viewer", "def f():\n    from transformer_lib import plots", set()),
        ("viewer", "from transformer_lib.masks import causal_mask", {"masks"}),
        ("plots", "import matplotlib, seaborn", set()),
        ("training", "from transformer_lib.transformer import Transformer", set()),
        ("__main__", "from transformer_lib import plots, training", set()),
    ],
)
def test_the_rules_see_what_breaks_them(module, source, found):
    assert forbidden(module, source) == found


WATCH_THE_IMPORT = """
import json, os, sys, torch

def state():
    return {
        "random numbers": torch.get_rng_state().tolist(),
        "threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
        "dtype": str(torch.get_default_dtype()),
        "device": str(torch.get_default_device()),
        "gradients": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "precision": torch.get_float32_matmul_precision(),
        "environment": dict(os.environ),
    }

before, modules = state(), set(sys.modules)
import transformer_lib
after = state()
print(json.dumps({
    "file": transformer_lib.__file__,
    "changed": [name for name in before if before[name] != after[name]],
    "loaded": sorted({name.partition(".")[0] for name in set(sys.modules) - modules}),
}))
"""


@pytest.fixture(scope="module")
def watched_import():
    command = [sys.executable, "-P", "-c", WATCH_THE_IMPORT]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    report = json.loads(run.stdout)
    assert Path(report["file"]).parent == FOLDER
    return report


def test_importing_the_library_changes_no_global_state(watched_import):
    assert watched_import["changed"] == []


def test_importing_the_library_loads_nothing_heavier_than_torch(watched_import):
    heavy = {"matplotlib", "seaborn", "pandas", "tokenizers", "sacrebleu", "IPython", "pooch"}
    heavy |= {"sacremoses"}
    assert heavy & set(watched_import["loaded"]) == set()
    assert "transformer_lib" in watched_import["loaded"]


def test_every_public_name_of_the_package_exists_and_is_listed_once():
    names = transformer_lib.__all__
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(transformer_lib, name)] == []
