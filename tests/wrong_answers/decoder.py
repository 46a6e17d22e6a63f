"""Plausible wrong answers to notebook 07: label → (answer, part of the verdict)."""

WRONG: dict = {}

ALSO_RIGHT: dict = {}
