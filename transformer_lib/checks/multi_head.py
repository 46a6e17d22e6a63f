"""Checkers for notebook 03, multi-head attention."""

__all__: list[str] = []
