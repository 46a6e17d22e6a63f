"""Checkers for notebook 04, embeddings and positions."""

__all__: list[str] = []
