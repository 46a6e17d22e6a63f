"""Scaled dot-product attention: the one formula that everything else is built around."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["check_mask", "scaled_dot_product_attention"]


def check_mask(mask: Tensor, shape: Sequence[int]) -> None:
    """Raise an error for a mask that is not bool or does not fit.

    Args:
        mask: should be bool, True = may attend.
        shape: (…, T, S), the shape of the scores that it is for.

    Raises:
        TypeError: the mask is not bool.
        ValueError: the mask does not fit the scores.
    """
    if mask.dtype != torch.bool:
        raise TypeError(f"mask must be bool (True = may attend), not {mask.dtype}")
    fits = all(m in (1, s) for m, s in zip(mask.shape, shape, strict=False))
    if mask.dim() != len(shape) or not fits:
        raise ValueError(
            f"mask {tuple(mask.shape)} does not fit the scores {tuple(shape)}: "
            "it needs as many dimensions, each of the same size or 1"
        )


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    dropout: float = 0.0,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Attend from each query to all keys and mix their values (section 3.2.1, equation 1).

        weights = softmax(query @ keyᵀ · scale)        output = weights @ value

    Args:
        query: (…, T, d_k), what each of the T positions looks for.
        key: (…, S, d_k), what each of the S positions offers.
        value: (…, S, d_v), what each of the S positions hands over.
        mask: bool, True = may attend; as many dimensions as the scores (…, T, S), each of
            the same size or 1. A query that may attend to nothing gets zeros.
        dropout: probability with which a weight is dropped on its way into the output.
        scale: factor on the scores; 1/√d_k when None.

    Returns:
        output (…, T, d_v), and weights (…, T, S): before dropout, each row sums to 1.

    Raises:
        TypeError: the mask is not bool.
        ValueError: a sequence is empty, or the mask does not fit the scores.
    """
    if query.size(-2) == 0 or key.size(-2) == 0:
        raise ValueError(f"empty sequence: query {tuple(query.shape)}, key {tuple(key.shape)}")
    if scale is None:
        scale = 1 / math.sqrt(query.size(-1))

    scores = (query * scale) @ key.transpose(-2, -1)  # (…, T, S)

    if mask is None:
        weights = scores.softmax(dim=-1)
    else:
        check_mask(mask, scores.shape)
        # The lowest finite number instead of -inf keeps fully masked rows, and their
        # gradients, free of NaN; the second fill makes every masked weight exactly zero.
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        weights = scores.softmax(dim=-1).masked_fill(~mask, 0.0)

    dropped = F.dropout(weights, dropout) if dropout > 0 else weights
    return dropped @ value, weights  # (…, T, d_v), (…, T, S)
