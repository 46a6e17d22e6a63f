"""Checkers for notebook 05, feed-forward, residuals and norms."""

__all__: list[str] = []
