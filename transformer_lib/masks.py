"""Masks say who may look at whom: bool tensors, True = may attend, combined with &."""

import torch
from torch import Tensor

__all__ = ["causal_mask", "padding_mask"]


def padding_mask(tokens: Tensor, pad_id: int) -> Tensor:
    """Hide padding: every query may attend to every key that is not padding.

    Args:
        tokens: (B, S) token ids, the sequence that keys and values come from.
        pad_id: the id that fills short sequences up.

    Returns:
        bool (B, 1, 1, S), True where a token is real; broadcasts over heads and queries.

    Raises:
        ValueError: `tokens` is not of shape (B, S).
    """
    if tokens.dim() != 2:
        raise ValueError(f"tokens must be (B, S), got shape {tuple(tokens.shape)}")
    return (tokens != pad_id)[:, None, None, :]


def causal_mask(length: int, device: torch.device | str | None = None) -> Tensor:
    """Hide the future: position i may attend to positions 0 … i (section 3.2.3).

    Args:
        length: T, the number of tokens.
        device: where to put the mask.

    Returns:
        bool (1, 1, T, T), True on and below the diagonal.

    Raises:
        ValueError: `length` is less than 1.
    """
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length}")
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()[None, None]
