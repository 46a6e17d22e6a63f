"""Checkers for notebook 08, the whole model."""

__all__: list[str] = []
