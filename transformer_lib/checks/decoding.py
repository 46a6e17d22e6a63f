"""Checkers for notebook 10, decoding."""

__all__: list[str] = []
