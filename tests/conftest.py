"""What every test shares: one thread, fixed random numbers, and fixtures that several files use."""

import os
import shutil

import pytest
import torch
from hypothesis import Phase, settings

torch.set_num_threads(1)  # The tensors are tiny: more threads only wait for each other.
settings.register_profile("course", deadline=None, derandomize=True, max_examples=25, database=None)
# For mutants.py: that a test fails is enough, so no time goes into a smaller example and why.
only_find = [Phase.explicit, Phase.generate]
settings.register_profile("mutants", settings.get_profile("course"), phases=only_find)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "course"))


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: seconds, not milliseconds; mutants.py skips it")


def pytest_collection_modifyitems(items):
    """Start with the files that run for minutes, and end with the first notebooks, which are short.

    So no worker is left alone with a long one.
    """
    longest = "test_lab.py", "09_training.ipynb"
    # The tests keep their order: test_training.py has memory kept, test_benchmarks.py measures it.
    items.sort(
        key=lambda item: item.path.name if item.path.suffix == ".ipynb" else "tests", reverse=True
    )
    items.sort(key=lambda item: longest.index(item.path.name) if item.path.name in longest else 2)


@pytest.fixture(autouse=True)
def _same_random_numbers():
    torch.manual_seed(0)


@pytest.fixture
def randomise():
    """Move every parameter off its first value: biases of 0 and norms of 1 hide mistakes."""

    def randomise(module):
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
        return module

    return randomise


@pytest.fixture
def multi30k():
    """Skip a test of the real Multi30k where nobody has said where it is."""
    if not os.environ.get("TRANSFORMER_LIB_MULTI30K"):
        pytest.skip("TRANSFORMER_LIB_MULTI30K does not say where Multi30k is")


@pytest.fixture(scope="module")
def browser():
    """Start Chromium; skip what needs it where there is none."""
    from playwright.sync_api import sync_playwright

    names = "chromium", "chromium-browser", "google-chrome"
    chromium = next(filter(None, map(shutil.which, names)), None)
    if not chromium:
        pytest.skip("NO CHROMIUM FOUND: what needs a real browser was not tried")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


class GrowingCache:
    """Self-attention: append the new tokens' keys and values to those so far."""

    def __init__(self):
        self.so_far = None

    def __call__(self, attention, key, value):
        pieces = [self.so_far, attention.keys_values(key, value)]
        self.so_far = [torch.cat(pair, dim=2) for pair in zip(*filter(None, pieces), strict=True)]
        return self.so_far


class OnceCache:
    """Cross-attention: the memory's keys and values never change."""

    def __init__(self):
        self.computed = None

    def __call__(self, attention, key, value):
        self.computed = self.computed or attention.keys_values(key, value)
        return self.computed


@pytest.fixture
def empty_caches():
    """Make what a caller needs to decode step by step: two caches for each decoder layer."""
    return lambda num_layers: [(GrowingCache(), OnceCache()) for _ in range(num_layers)]


def pytest_terminal_summary(terminalreporter):
    """Print what the exercises' checkers caught: exercise × wrong answers."""
    table = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            for key, value in getattr(report, "user_properties", []):
                if key == "checker":
                    kind, notebook, name = value
                    row = table.setdefault((notebook, name), {"solution": 0, "wrong": 0})
                    row[kind] += 1
    if table:
        terminalreporter.section("exercises: what their checkers caught")
        for (notebook, name), row in sorted(table.items()):
            accepted = "accepted" if row["solution"] else "NOT accepted"
            line = (
                f"{notebook}  {name:<34} solution {accepted}, wrong answers caught {row['wrong']}"
            )
            terminalreporter.write_line(line)
