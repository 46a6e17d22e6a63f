"""Checkers for notebook 07, the decoder."""

__all__: list[str] = []
