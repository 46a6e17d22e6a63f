"""Each seeded bug can be planted: its old text stands once in its module, its new one differs."""

import ast
import importlib
import os

import pytest

import mutants
from mutants import HERE, LIBRARY, MUTANTS


@pytest.mark.parametrize("module", MUTANTS)
def test_each_mutant_changes_one_place_and_can_be_read(module):
    source = (LIBRARY / f"{module}.py").read_text("utf-8")
    for name, old, new in MUTANTS[module]:
        assert source.count(old) == 1, f"{name}: {old!r}"
        assert old != new, name
        ast.parse(source.replace(old, new))


@pytest.mark.parametrize("module", MUTANTS)
def test_each_mutant_has_its_own_name_and_its_tests_exist(module):
    names = [name for name, *_ in MUTANTS[module]]
    assert len(names) == len(set(names))
    for file in mutants.tests_of(module):
        assert (HERE / file).is_file()


def test_importing_the_mutants_leaves_the_environment_alone(monkeypatch):
    monkeypatch.setattr(os, "environ", {})
    importlib.reload(mutants)
    assert os.environ == {}
