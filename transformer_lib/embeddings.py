"""From token ids to vectors: what a token is, plus where it stands."""

import math

import torch
from torch import Tensor, nn

__all__ = ["PositionalEncoding", "TokenEmbedding", "sinusoidal_encoding"]


class TokenEmbedding(nn.Embedding):
    """A learned vector per token, multiplied by √d_model (section 3.4).

    The vectors start with standard deviation 1/√d_model, which suits an output layer that
    shares them; the factor brings them to 1, so that positions do not drown them.

    Args:
        vocab_size: V, the number of different tokens.
        d_model: D, the size of a token's vector.
    """

    def __init__(self, vocab_size: int, d_model: int):
        super().__init__(vocab_size, d_model)
        self.scale = math.sqrt(d_model)
        nn.init.normal_(self.weight, std=1 / self.scale)

    def forward(self, tokens: Tensor) -> Tensor:
        """Look tokens (B, T) up, giving (B, T, D).

        Raises:
            ValueError: a token id is not between 0 and V - 1.
        """
        try:
            return super().forward(tokens) * self.scale
        except IndexError:
            raise ValueError(
                f"token ids must be between 0 and {self.num_embeddings - 1}, "
                f"got {tokens.min().item()} to {tokens.max().item()}"
            ) from None


def sinusoidal_encoding(length: int, d_model: int) -> Tensor:
    """Positions as sines and cosines of many wavelengths (section 3.5).

        PE(pos, 2i) = sin(pos / 10000^(2i/D))        PE(pos, 2i+1) = cos(pos / 10000^(2i/D))

    Args:
        length: T, the number of positions.
        d_model: D, the size of a position's vector; even, as sines and cosines pair up.

    Returns:
        float32 (T, D).

    Raises:
        ValueError: d_model is odd.
    """
    if d_model % 2 != 0:
        raise ValueError(f"d_model must be even to pair sines with cosines, got {d_model}")
    positions = torch.arange(length, dtype=torch.float64)[:, None]  # (T, 1)
    exponents = torch.arange(0, d_model, 2, dtype=torch.float64) / d_model  # (D/2,)
    angles = positions / 10000**exponents  # (T, D/2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).float()  # (T, D)


class PositionalEncoding(nn.Module):
    """Add the sinusoidal encoding to the tokens, then dropout (sections 3.5 and 5.4).

    Args:
        d_model: D, even.
        max_len: the longest sequence that can be encoded.
        dropout: probability of dropping an element of the sum.

    Raises:
        ValueError: d_model is odd.
    """

    def __init__(self, d_model: int, max_len: int = 5000, dropout: float = 0.0):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        # Not a parameter and not saved: it follows from its two sizes.
        self.register_buffer("encoding", sinusoidal_encoding(max_len, d_model), persistent=False)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """Encode x (B, T, D), whose first token stands at position `start`.

        Raises:
            ValueError: the sequence starts below 0 or ends beyond max_len.
        """
        if start < 0:
            raise ValueError(f"start must be at least 0, got {start}")
        end = start + x.size(-2)
        if end > self.encoding.size(0):
            raise ValueError(
                f"a sequence of {end} tokens is longer than max_len={self.encoding.size(0)}"
            )
        return self.dropout(x + self.encoding[start:end].to(x.dtype))  # (T, D) broadcasts over B
