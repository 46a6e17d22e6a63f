"""Checkers for notebook 11, attention maps."""

__all__: list[str] = []
