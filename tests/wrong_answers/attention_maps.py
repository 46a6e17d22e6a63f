"""Plausible wrong answers to notebook 11: label → (answer, part of the verdict)."""

WRONG: dict = {}

ALSO_RIGHT: dict = {}
