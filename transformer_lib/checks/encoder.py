"""Checkers for notebook 06, the encoder."""

__all__: list[str] = []
