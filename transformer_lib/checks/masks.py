"""Checkers for notebook 02, masks."""

__all__: list[str] = []
