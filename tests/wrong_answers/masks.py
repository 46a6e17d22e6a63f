"""Plausible wrong answers to notebook 02: label → (answer, part of the verdict)."""

WRONG: dict = {}

ALSO_RIGHT: dict = {}
