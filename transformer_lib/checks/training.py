"""Checkers for notebook 09, training."""

__all__: list[str] = []
